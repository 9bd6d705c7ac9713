/** What all clients of one endpoint share. */

import type { TimerWheel } from '../../base/timer-wheel.ts';
import type { EndpointCounters } from '../../observe/counters.ts';
import type { Observer } from '../../observe/events.ts';
import type { ClientCloseReason } from '../../observe/reasons.ts';
import type { EngineSettings } from '../contract.ts';
import type { Session } from './session.ts';

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
  /** KILL of one of our own clients, by the number in its greeting; false when there is none. */
  kill(threadId: number, isQueryOnly: boolean, done: () => void): boolean;
}
