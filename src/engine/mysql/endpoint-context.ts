/** What all clients of one endpoint share. */

import type { TimerWheel } from '../../base/timer-wheel.ts';
import type { Stream } from '../../net/stream.ts';
import type { EndpointCounters } from '../../observe/counters.ts';
import type { Observer } from '../../observe/events.ts';
import type { ClientCloseReason } from '../../observe/reasons.ts';
import type { EngineSettings } from '../contract.ts';
import type { ClientSession } from './client-session.ts';
import type { Session } from './session.ts';
import type { StatementRegistry } from './statement/registry.ts';
import type { UserChange } from './user-change.ts';
import type { UserPool } from './user-pool.ts';
import type { ChangeUser } from './wire/handshake.ts';

export interface EndpointContext {
  readonly proxy: string;
  readonly name: string;
  readonly wheel: TimerWheel;
  readonly observer: Observer;
  readonly counters: EndpointCounters;
  /** The settings in force; replaced as a whole when the configuration changes. */
  readonly limits: EngineSettings;
  /** The texts that clients have prepared. */
  readonly statements: StatementRegistry;
  /** The session has ended and holds nothing any more. */
  sessionClosed(session: Session, reason: ClientCloseReason): void;
  /** The session's pool is another from here on; `hasSchema`: of those that have one. */
  changePool(userPool: UserPool, hasSchema: boolean): UserPool;
  /** Asks the client for the password of another user; the session hears of the end. */
  changeUser(session: ClientSession, stream: Stream, change: ChangeUser): UserChange;
  /** The client whose greeting had the number `threadId`. */
  sessionFor(threadId: number): Session | undefined;
}
