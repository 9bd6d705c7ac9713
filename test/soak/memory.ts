/** The proxy's resident set over the time of a soak: flat, or growing? */

import { residentBytesOf } from '../../bench/process-usage.ts';
import { median } from '../../bench/statistics.ts';

const SAMPLE_MS = 1_000;

/** Shares of the time: until then caches fill and code warms up; then the two that are compared. */
const WARM_FROM = 0.35;
const WARM_TO = 0.5;
const END_FROM = 0.85;
/** How many values tell the course. */
const COURSE = 20;

export interface Growth {
  readonly warmBytes: number;
  readonly endBytes: number;
  readonly course: readonly number[];
}

export class MemoryWatch {
  readonly #samples: number[] = [];
  readonly #timer: ReturnType<typeof setInterval>;

  constructor(pid: number) {
    this.#timer = setInterval(() => {
      try {
        this.#samples.push(residentBytesOf(pid));
      } catch {
        // The process is gone, which the actors notice louder.
      }
    }, SAMPLE_MS);
  }

  /** Medians. */
  stop(): Growth {
    clearInterval(this.#timer);
    return {
      warmBytes: this.#medianBetween(WARM_FROM, WARM_TO),
      endBytes: this.#medianBetween(END_FROM, 1),
      course: Array.from({ length: COURSE }, (_, step) =>
        this.#medianBetween(step / COURSE, (step + 1) / COURSE),
      ),
    };
  }

  #medianBetween(from: number, to: number): number {
    const { length } = this.#samples;
    const first = Math.min(Math.floor(from * length), Math.max(length - 1, 0));
    return median(this.#samples.slice(first, Math.max(Math.ceil(to * length), first + 1)));
  }
}
