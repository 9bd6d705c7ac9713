/**
 * The debug logging of one proxy: on until its time is over, whoever has switched it on. While it is on, all that
 * the proxy tells is worth a line of the log.
 */

import { Timer, type TimerWheel } from '../base/timer-wheel.ts';
import type { Event, Observer } from '../observe/events.ts';

export interface DebugLoggingOptions {
  readonly proxy: string;
  readonly wheel: TimerWheel;
  readonly observer: Observer;
  /** Milliseconds since 1970. */
  readonly now: () => number;
  /** Its time is over. */
  readonly ended: () => void;
}

export class DebugLogging implements Observer {
  private readonly options: DebugLoggingOptions;
  private readonly timer: Timer;
  /** Milliseconds since 1970. */
  private until: number | undefined = undefined;
  isOn = false;

  constructor(options: DebugLoggingOptions) {
    this.options = options;
    this.timer = new Timer(() => this.look());
  }

  emit(event: Event): void {
    this.options.observer.emit(event, this.isOn);
  }

  /** `until` may be over already. */
  use(until: number | undefined): void {
    const isSame = until === this.until;
    this.until = until;
    this.update(!isSame);
  }

  stop(): void {
    this.options.wheel.disarm(this.timer);
  }

  /** The clock of the wheel and the one on the wall may differ by then. */
  private look(): void {
    this.update(false);
    if (!this.isOn) this.options.ended();
  }

  private update(isNew: boolean): void {
    const { until, timer } = this;
    const { wheel, proxy, observer, now } = this.options;
    const leftMs = (until ?? 0) - now();
    const wasOn = this.isOn;
    this.isOn = leftMs > 0;
    wheel.disarm(timer);
    if (this.isOn) wheel.arm(timer, leftMs);
    if (this.isOn === wasOn && !(this.isOn && isNew)) return;
    const shown = this.isOn && until !== undefined ? new Date(until).toISOString() : '';
    observer.emit({ event: 'proxy.debug_logging', proxy, isOn: this.isOn, until: shown });
  }
}
