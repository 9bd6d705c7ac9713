/**
 * The clock of a client after its login, whatever the engine: for how long it is silent, when that is too
 * long, and when it is looked at next. There is one timer for each client, and it carries no closure.
 */

import { type TimerWheel, WheelTimer } from '../base/timer-wheel.ts';
import type { EngineSettings } from './contract.ts';
import { type Overdue, overdueBorrower, overdueIdler } from './overdue.ts';

/** While a statement runs for long, or a client takes nothing, it is looked at this often at least. */
const LOOK_AGAIN_MS = 1_000;

interface Timed {
  lookAtClock(): void;
}

interface Place {
  readonly wheel: TimerWheel;
  /** The settings in force; replaced as a whole when the configuration changes. */
  readonly limits: EngineSettings;
}

export class SessionClock extends WheelTimer {
  private readonly session: Timed;
  private readonly place: Place;
  private readonly openedAt: number;
  /** Wheel time of the last byte from or to the client. */
  private activeAt: number;

  constructor(session: Timed, place: Place) {
    super();
    this.session = session;
    this.place = place;
    this.openedAt = place.wheel.now;
    this.activeAt = place.wheel.now;
  }

  /** Bytes came from the client, or went to it. */
  active(): void {
    this.activeAt = this.place.wheel.now;
  }

  get silentMs(): number {
    return this.place.wheel.now - this.activeAt;
  }

  get ageMs(): number {
    return this.place.wheel.now - this.openedAt;
  }

  /**
   * Why the session is to end now. `isStuck`: it holds a connection that can only go on when the client
   * does something. `isIdle`: nothing is in flight.
   */
  overdue(isStuck: boolean, isIdle: boolean): Overdue | undefined {
    const { limits } = this.place;
    if (isStuck) return overdueBorrower(limits, this.silentMs);
    return isIdle ? overdueIdler(limits, this.silentMs, this.ageMs) : undefined;
  }

  /** Looks again when something can be overdue next; soon, while the client takes nothing. */
  lookAgain(isCongested: boolean): void {
    const { limits } = this.place;
    const first = Math.min(limits.borrowedIdleTimeoutMs, limits.idleClientTimeoutMs);
    const inMs = Math.max(first - this.silentMs, Math.min(first, LOOK_AGAIN_MS));
    this.lookIn(isCongested ? LOOK_AGAIN_MS : inMs);
  }

  lookIn(ms: number): void {
    this.place.wheel.arm(this, ms);
  }

  /** The session is over. */
  stop(): void {
    this.place.wheel.disarm(this);
  }

  fire(): void {
    this.session.lookAtClock();
  }
}
