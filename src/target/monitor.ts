/**
 * Watches one target: asks it, on a connection of its own, what it allows and whether it answers.
 * The connection is opened for each look and counts against the proxy's limit while it is open, so
 * the database never sees more connections than were allowed. When every permitted connection is in
 * use there is no room to look, and no need as long as anybody gets answers. When they are idle, one of
 * them makes room.
 */

import { Timer, type TimerWheel } from '../base/timer-wheel.ts';
import type { Observer } from '../observe/events.ts';

/** What a database says of itself. */
export interface TargetFacts {
  /** The version as the database writes it. */
  readonly version: string;
  readonly maxConnections: number;
  /** Of those, connections that ordinary users do not get. */
  readonly reservedConnections: number;
}

export type TargetFailureReason = 'UNREACHABLE' | 'CONNECTION_FAILED' | 'AUTH_FAILURE';

export type Observation =
  /** `facts` are absent when the target is known to answer but there was no room to ask it more. */
  | { readonly isOk: true; readonly facts: TargetFacts | undefined }
  | { readonly isOk: false; readonly reason: TargetFailureReason; readonly detail: string };

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
  /** Called for each successful look. */
  readonly learnt: (facts: TargetFacts) => void;
}

/** Between two looks at a target that answers, and at one that does not. */
const LOOK_EVERY_MS = 10_000;
const LOOK_AGAIN_MS = 1_000;

export class Monitor {
  private readonly options: MonitorOptions;
  private readonly timer: Timer;
  private isStopped = false;
  /** `undefined` until the first look has ended. */
  private last: Observation | undefined = undefined;

  constructor(options: MonitorOptions) {
    this.options = options;
    this.timer = new Timer(() => void this.look());
  }

  get isAvailable(): boolean {
    return this.last?.isOk === true;
  }

  start(): void {
    void this.look();
  }

  stop(): void {
    this.isStopped = true;
    this.options.wheel.disarm(this.timer);
  }

  private async look(): Promise<void> {
    const observation = await this.options.prober.probe();
    if (this.isStopped) return;
    if (observation !== undefined) this.note(observation);
    this.options.wheel.arm(this.timer, this.isAvailable ? LOOK_EVERY_MS : LOOK_AGAIN_MS);
  }

  private note(observation: Observation): void {
    const before = this.last;
    this.last = observation;
    const { proxy, target, observer, learnt } = this.options;
    if (observation.isOk && observation.facts !== undefined) learnt(observation.facts);
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
