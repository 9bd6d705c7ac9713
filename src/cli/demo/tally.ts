/** Counts what the clients of one run meet with, and how long things take. */

import type { Outcome, Percentiles, Progress } from './messages.ts';

export class Tally {
  arrived = 0;
  connected = 0;
  served = 0;
  turnedAway = 0;
  transfers = 0;
  otherTransactions = 0;
  failed = 0;
  readonly connectMs: number[] = [];
  readonly beginMs: number[] = [];
  readonly transferMs: number[] = [];
  readonly readMs: number[] = [];
  private connectedMost = 0;
  private readonly refusals = new Map<string, number>();
  private readonly errors = new Map<string, number>();

  get progress(): Progress {
    const { arrived, connected, turnedAway } = this;
    return { arrived, connected, turnedAway, transactions: this.transactions };
  }

  get outcome(): Outcome {
    const { arrived, connectedMost, served, turnedAway, transfers, failed } = this;
    return {
      arrived,
      connectedMost,
      served,
      turnedAway,
      transactions: this.transactions,
      transfers,
      failed,
      refusals: Object.fromEntries(this.refusals),
      errors: Object.fromEntries(this.errors),
      connectMs: percentiles(this.connectMs),
      beginMs: percentiles(this.beginMs),
      transferMs: percentiles(this.transferMs),
      readMs: percentiles(this.readMs),
    };
  }

  entered(): void {
    this.connected++;
    this.connectedMost = Math.max(this.connectedMost, this.connected);
  }

  refused(message: string): void {
    this.turnedAway++;
    add(this.refusals, message);
  }

  wentWrong(message: string): void {
    this.failed++;
    add(this.errors, message);
  }

  private get transactions(): number {
    return this.transfers + this.otherTransactions;
  }
}

function add(counts: Map<string, number>, key: string): void {
  counts.set(key, (counts.get(key) ?? 0) + 1);
}

/** The nearest-rank percentiles; all 0 for no values. */
export function percentiles(values: readonly number[]): Percentiles {
  const sorted = Float64Array.from(values).sort();
  const at = (share: number) => sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)] ?? 0;
  return { p50: at(0.5), p95: at(0.95), p99: at(0.99) };
}
