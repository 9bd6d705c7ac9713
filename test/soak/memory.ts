/** The proxy's resident set over the time of a soak: flat, or growing? */

import { residentBytesOf } from '../../bench/process-usage.ts';
import { median } from '../../bench/statistics.ts';

const SAMPLE_MS = 1_000;

export interface Growth {
  readonly firstThirdBytes: number;
  readonly lastThirdBytes: number;
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

  /** Medians of the first and the last third. */
  stop(): Growth {
    clearInterval(this.#timer);
    const third = Math.max(Math.floor(this.#samples.length / 3), 1);
    return {
      firstThirdBytes: median(this.#samples.slice(0, third)),
      lastThirdBytes: median(this.#samples.slice(-third)),
    };
  }
}
