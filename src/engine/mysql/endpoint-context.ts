/** What all clients of one endpoint share. */

import type { TimerWheel } from '../../base/timer-wheel.ts';
import type { EndpointCounters } from '../../observe/counters.ts';
import type { Observer } from '../../observe/events.ts';
import type { ClientCloseReason } from '../../observe/reasons.ts';
import type { EngineSettings } from '../contract.ts';
import type { Session } from './session.ts';
import type { UserPool } from './user-pool.ts';

export interface EndpointContext {
  readonly proxy: string;
  readonly name: string;
  readonly wheel: TimerWheel;
  readonly observer: Observer;
  readonly counters: EndpointCounters;
  /** The settings in force; replaced as a whole when the configuration changes. */
  readonly limits: EngineSettings;
  /** The session has ended and holds nothing any more. */
  sessionClosed(session: Session, reason: ClientCloseReason): void;
  /** The session's pool is another from here on; `hasSchema`: of those that have one. */
  changePool(userPool: UserPool, hasSchema: boolean): UserPool;
  /** The client whose greeting had the number `threadId`. */
  sessionFor(threadId: number): Session | undefined;
}
