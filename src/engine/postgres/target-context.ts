/** What everything that talks to one target of one proxy shares. */

import type { TimerWheel } from '../../base/timer-wheel.ts';
import type { Address } from '../../net/address.ts';
import type { TargetCounters } from '../../observe/counters.ts';
import type { Observer } from '../../observe/events.ts';
import type { DatabaseTls } from '../contract.ts';
import type { Canceller } from './cancel.ts';
import type { ServerProtocol } from './login/server-protocol.ts';
import type { SchemaGeneration } from './statement/connection-statements.ts';

export interface TargetContext {
  readonly proxy: string;
  readonly target: string;
  readonly address: Address;
  readonly wheel: TimerWheel;
  readonly observer: Observer;
  readonly counters: TargetCounters;
  readonly canceller: Canceller;
  /** What is in force; replaced as a whole when the configuration changes. */
  readonly databaseTls: DatabaseTls;
  readonly schema: SchemaGeneration;
  readonly protocol: ServerProtocol;
}
