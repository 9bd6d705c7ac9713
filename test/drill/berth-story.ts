/** What Berth did in a failover, by its own log, and how long its queue became. */

import type { Berth, LogLine } from '../harness/berth.ts';

export interface StoryLine {
  /** After the fault. */
  readonly ms: number;
  readonly text: string;
  /** The DB instance that it is about. */
  readonly member?: string;
}

/** What the log says of targets from this moment on. */
export function storyOf(berth: Berth, at: number): StoryLine[] {
  const lines: StoryLine[] = [];
  for (const line of berth.logged(isOfTargets)) {
    const ms = Date.parse(String(line.time)) - at;
    // The log counts whole milliseconds.
    const about = typeof line.target === 'string' ? { member: line.target } : {};
    const name = 'member' in about ? `${about.member}: ` : '';
    if (ms > -1) lines.push({ ms: Math.max(ms, 0), ...about, text: `${name}${line.msg}` });
  }
  return lines;
}

/** Resolves when Berth has seen since this moment that the member is a reader. */
export async function untilReader(berth: Berth, member: string, since: number): Promise<void> {
  await berth.untilLogged(
    (line) =>
      line.event === 'target.role_changed' &&
      line.target === member &&
      line.msg.startsWith('The DB instance is a reader') &&
      Date.parse(String(line.time)) >= since,
  );
}

function isOfTargets({ event }: LogLine): boolean {
  return event.startsWith('target.') || event.startsWith('failover.');
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
