/** What Berth did in a failover, by its own log, and how long its queue became. */

import type { Berth } from '../harness/berth.ts';

export interface StoryLine {
  /** After the fault. */
  readonly ms: number;
  readonly text: string;
}

/** What the log says of targets from this moment on. */
export function storyOf(berth: Berth, at: number): StoryLine[] {
  const lines: StoryLine[] = [];
  for (const line of berth.logged(({ event }) => event.startsWith('target.'))) {
    const ms = Date.parse(String(line.time)) - at;
    // The log counts whole milliseconds.
    if (ms > -1) lines.push({ ms: Math.max(ms, 0), text: `${nameOf(line.target)}${line.msg}` });
  }
  return lines;
}

function nameOf(target: unknown): string {
  return typeof target === 'string' ? `${target}: ` : '';
}

const LOOK_EVERY_MS = 50;

/** Looks at the number of waiting clients until it is stopped. */
export class QueueWatch {
  readonly #berth: Berth;
  readonly #done: Promise<void>;
  #peak = 0;
  #isOver = false;

  constructor(berth: Berth) {
    this.#berth = berth;
    this.#done = this.#watch();
  }

  /** Returns the peak. */
  async stop(): Promise<number> {
    this.#isOver = true;
    await this.#done;
    return this.#peak;
  }

  async #watch(): Promise<void> {
    while (!this.#isOver) {
      this.#peak = Math.max(this.#peak, await this.#berth.metric('berth_borrow_queue_depth'));
      await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS));
    }
  }
}
