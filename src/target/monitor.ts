/**
 * Watches one target: asks it, on a connection of its own, what it allows and whether it answers.
 * The connection is opened for each look and counts against the proxy's limit while it is open, so
 * the database never sees more connections than were allowed. When every permitted connection is in
 * use there is no room to look, and no need as long as anybody gets answers. When they are idle, one of
 * them makes room.
 *
 * Whoever sees a connection fail asks for a look before its time. What that look finds decides, so one
 * lost connection is no outage; the look's own is not, either.
 */

import { Timer, type TimerWheel } from '../base/timer-wheel.ts';
import type { Observer } from '../observe/events.ts';
import type { Standing } from './topology.ts';

/** What a database says of itself. */
export interface TargetFacts {
  /** The version as the database writes it. */
  readonly version: string;
  readonly maxConnections: number;
  /** Of those, connections that ordinary users do not get. */
  readonly reservedConnections: number;
  readonly standing: Standing;
}

export type TargetFailureReason = 'UNREACHABLE' | 'CONNECTION_FAILED' | 'AUTH_FAILURE';

export type Observation =
  /** `facts` are absent when the target is known to answer but there was no room to ask it more. */
  | { readonly isOk: true; readonly facts: TargetFacts | undefined }
  | {
      readonly isOk: false;
      readonly reason: TargetFailureReason;
      readonly detail: string;
      /** The target itself has said so. */
      readonly isAnswer?: boolean;
      /** It is there, and refuses only us: there is no connection to spare, or the password is wrong. */
      readonly isAlive?: boolean;
    };

/** How a target is, in RDS Proxy's words. */
export type TargetHealth =
  | { readonly state: 'REGISTERING' | 'AVAILABLE' }
  | {
      readonly state: 'UNAVAILABLE';
      readonly reason: TargetFailureReason | 'PENDING_PROXY_CAPACITY' | 'INVALID_REPLICATION_STATE';
      readonly detail: string;
    };

export interface Prober {
  /** Looks once; `undefined` when that was not possible now. Does not throw. */
  probe(): Promise<Observation | undefined>;
}

export interface MonitorOptions {
  readonly proxy: string;
  readonly target: string;
  readonly prober: Prober;
  readonly wheel: TimerWheel;
  readonly observer: Observer;
  /** Called for each look that told something, good or bad. */
  readonly noted: (observation: Observation) => void;
  /** Somebody else says when to look, by `pace`; otherwise it looks now and then by itself. */
  readonly isPaced: boolean;
}

/** From the end of a look to the next, at a target that answers. */
const LOOK_EVERY_MS = 10_000;
/** The same at one that does not, or that somebody doubts; never less, but to make sure of a failure. */
const LOOK_AGAIN_MS = 1_000;

/** Of a target that somebody else paces and somebody doubts. */
const DOUBTED_EVERY_MS = 50;

/** RDS Proxy's text, word for word. */
const NO_CAPACITY: TargetHealth = {
  state: 'UNAVAILABLE',
  reason: 'PENDING_PROXY_CAPACITY',
  detail: 'DBProxy Target is waiting for proxy to scale to desired capacity',
};

export class Monitor {
  private readonly options: MonitorOptions;
  private readonly timer: Timer;
  private isStopped = false;
  private isSuspended = false;
  private looked: (() => void) | undefined = undefined;
  private isLooking = false;
  /** Wheel time at which the last look ended. */
  private lookedAt = Number.NEGATIVE_INFINITY;
  /** Whether a look has ended, even one that there was no room for. */
  private hasLooked = false;
  /** Somebody has seen something fail since the last look began. */
  private isDoubted = false;
  /** The last look was cut off; the next one tells whether that was the target or only the connection. */
  private isMakingSure = false;
  /** When the last look ended, by a finer clock than the wheel's. */
  private lookedTo = Number.NEGATIVE_INFINITY;
  /** When the look that is under way began. */
  private lookedFrom = 0;
  /** `undefined` until the first look has ended. */
  private last: Observation | undefined = undefined;

  constructor(options: MonitorOptions) {
    this.options = options;
    this.timer = new Timer(() => void this.look());
  }

  get isAvailable(): boolean {
    return this.last?.isOk === true;
  }

  /** What the looks so far say. */
  get health(): TargetHealth {
    if (this.last === undefined) return this.hasLooked ? NO_CAPACITY : { state: 'REGISTERING' };
    if (this.last.isOk) return { state: 'AVAILABLE' };
    const { reason, detail } = this.last;
    return { state: 'UNAVAILABLE', reason, detail };
  }

  start(): void {
    void this.look();
  }

  /** A connection to the target failed: looks as soon as it may. */
  doubt(): void {
    if (this.isStopped || this.isSuspended || this.isDoubted) return;
    this.isDoubted = true;
    if (this.options.isPaced) this.pace(DOUBTED_EVERY_MS);
    else if (!this.isLooking && !this.isMakingSure) this.armNext();
  }

  /** Looks if the last look was `everyMs` ago, or somebody has doubted what it saw. */
  pace(everyMs: number): void {
    if (this.isStopped || this.isSuspended || this.isLooking) return;
    const pauseMs = this.isDoubted ? Math.min(everyMs, DOUBTED_EVERY_MS) : everyMs;
    if (performance.now() - this.lookedTo >= pauseMs) void this.look();
  }

  /** For how long it has been waiting for an answer, in milliseconds; 0 while it is not. */
  get waitsMs(): number {
    return this.isLooking ? performance.now() - this.lookedFrom : 0;
  }

  /** Does not look until `resume`: nobody may hold up a database that is to be stopped, or take that for an outage. */
  suspend(): void {
    this.isSuspended = true;
    this.options.wheel.disarm(this.timer);
  }

  /** Looks again, now. `looked` is called when it has, or could not; not when it is stopped or suspended before. */
  resume(looked: () => void): void {
    if (this.isStopped) return;
    this.isSuspended = false;
    this.isMakingSure = false;
    this.looked = looked;
    // What is under way may have begun before everything was different.
    if (this.isLooking) this.isDoubted = true;
    else void this.look();
  }

  stop(): void {
    this.isStopped = true;
    this.options.wheel.disarm(this.timer);
  }

  private async look(): Promise<void> {
    const { prober, wheel } = this.options;
    wheel.disarm(this.timer);
    this.isLooking = true;
    this.lookedFrom = performance.now();
    this.isDoubted = false;
    const observation = await prober.probe();
    this.isLooking = false;
    this.lookedAt = wheel.now;
    this.lookedTo = performance.now();
    this.hasLooked = true;
    if (this.isStopped || this.isSuspended) return;
    this.isMakingSure = !this.isMakingSure && this.isSurprising(observation);
    if (this.isMakingSure) {
      if (this.options.isPaced) void this.look();
      else wheel.arm(this.timer, 0);
      return;
    }
    if (observation !== undefined) this.note(observation);
    if (!this.options.isPaced) this.armNext();
    const { looked } = this;
    this.looked = undefined;
    looked?.();
  }

  /** The target has taken the connection and then failed, and it answered before. */
  private isSurprising(observation: Observation | undefined): boolean {
    if (observation === undefined || observation.isOk) return false;
    return this.isAvailable && observation.reason === 'CONNECTION_FAILED';
  }

  private armNext(): void {
    const { wheel } = this.options;
    const isCalm = this.isAvailable && !this.isDoubted;
    const pauseMs = isCalm ? LOOK_EVERY_MS : LOOK_AGAIN_MS;
    wheel.arm(this.timer, this.lookedAt + pauseMs - wheel.now);
  }

  private note(observation: Observation): void {
    const before = this.last;
    this.last = observation;
    const { proxy, target, observer, noted } = this.options;
    noted(observation);
    const isNews =
      before === undefined ||
      before.isOk !== observation.isOk ||
      (!before.isOk && !observation.isOk && before.reason !== observation.reason);
    if (!isNews) return;
    observer.emit({
      event: 'target.health_changed',
      proxy,
      target,
      state: observation.isOk ? 'AVAILABLE' : 'UNAVAILABLE',
      reason: observation.isOk ? undefined : observation.reason,
      detail: observation.isOk ? (observation.facts?.version ?? '') : observation.detail,
    });
  }
}
