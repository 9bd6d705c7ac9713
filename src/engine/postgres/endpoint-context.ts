/** What all clients of one endpoint share. */

import type { TimerWheel } from '../../base/timer-wheel.ts';
import type { EndpointCounters } from '../../observe/counters.ts';
import type { Observer } from '../../observe/events.ts';
import type { ClientCloseReason } from '../../observe/reasons.ts';
import type { EngineSettings } from '../contract.ts';
import type { NotificationHub } from './notification/hub.ts';
import type { Session } from './session.ts';

export interface EndpointContext {
  readonly proxy: string;
  readonly name: string;
  readonly wheel: TimerWheel;
  readonly observer: Observer;
  readonly counters: EndpointCounters;
  /** The settings in force; replaced as a whole when the configuration changes. */
  readonly limits: EngineSettings;
  /** Its clients read from readers. */
  readonly isReadOnly: boolean;
  /** Who listens on a database for all clients. */
  hubFor(database: string): NotificationHub;
  /** The session has ended and holds nothing any more. */
  sessionClosed(session: Session, reason: ClientCloseReason): void;
}
