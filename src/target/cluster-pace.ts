/**
 * How often the members of a cluster are looked at: seldom while the writer answers, and at short intervals
 * as soon as there is a doubt about it, so that a new writer is known a moment after it has been promoted.
 * A writer that hangs answers nothing and closes nothing; so does one behind a network that drops everything.
 * It is found because clients wait for it: then it is asked at once, and has to answer soon.
 */

import type { Monitor } from './monitor.ts';

const CALM_EVERY_MS = 1_000;
const URGENT_EVERY_MS = 50;
/** How often all this is considered while nothing is urgent. */
const CONSIDERED_EVERY_MS = 100;
/** A writer that clients wait for and that has answered nobody for this long is asked. */
const STALLED_AFTER_MS = 100;
/** It is asked once in this time, while one statement runs for long. */
const STALLED_EVERY_MS = 200;
/** A writer that has not answered us after this long is in doubt, and the others are asked. */
const DOUBTED_AFTER_MS = 100;

export interface PacedMember {
  readonly monitor: Monitor;
  readonly engine: {
    readonly activity: { readonly answers: number; readonly isBusy: boolean };
  };
}

export interface ClusterPaceOptions {
  readonly members: () => Iterable<PacedMember>;
  /** Undefined while there is none. */
  readonly writer: () => PacedMember | undefined;
}

export class ClusterPace {
  private readonly options: ClusterPaceOptions;
  private timer: ReturnType<typeof setTimeout> | undefined = undefined;
  /** Of the writer, when it was considered last. */
  private answers = 0;
  /** Since when the writer has answered nobody. */
  private quietSince = 0;

  constructor(options: ClusterPaceOptions) {
    this.options = options;
  }

  start(): void {
    this.timer ??= setTimeout(() => this.consider(), 0);
  }

  stop(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
  }

  private consider(): void {
    const writer = this.options.writer();
    const isUrgent = writer === undefined || isDoubtful(writer);
    // The wheel's tick is too coarse for those who wait.
    const nextMs = isUrgent ? URGENT_EVERY_MS : CONSIDERED_EVERY_MS;
    this.timer = setTimeout(() => this.consider(), nextMs);
    for (const { monitor } of this.options.members()) {
      monitor.pace(isUrgent ? URGENT_EVERY_MS : CALM_EVERY_MS);
    }
    if (writer !== undefined && this.isStalled(writer)) writer.monitor.pace(STALLED_EVERY_MS);
  }

  private isStalled({ engine }: PacedMember): boolean {
    const { answers, isBusy } = engine.activity;
    const now = performance.now();
    if (answers !== this.answers || !isBusy) this.quietSince = now;
    this.answers = answers;
    return now - this.quietSince >= STALLED_AFTER_MS;
  }
}

function isDoubtful({ monitor }: PacedMember): boolean {
  return !monitor.isAvailable || monitor.waitsMs > DOUBTED_AFTER_MS;
}
