/**
 * Clients that write without a pause, and keep books: which writes were acknowledged, and what failed. For
 * tests of what happens to the database meanwhile.
 */

import { eventually } from './polling.ts';

/** Writes these ids, in one transaction. Rejects when the write was not acknowledged. */
export type Write = (ids: readonly string[]) => Promise<unknown>;

export class BusyClients {
  /** What was acknowledged. */
  readonly written: string[] = [];
  readonly errors: unknown[] = [];
  private readonly rounds: number[];
  private readonly loops: Promise<void>[];
  private isStopped = false;

  constructor(writes: readonly Write[]) {
    this.rounds = writes.map(() => 0);
    this.loops = writes.map((write, client) => this.loop(write, client));
  }

  private async loop(write: Write, client: number): Promise<void> {
    while (!this.isStopped) {
      const round = this.rounds[client] ?? 0;
      const ids = ['a', 'b'].map((each) => `${client}.${round}${each}`);
      try {
        await write(ids);
        this.written.push(...ids);
      } catch (error) {
        this.errors.push(error);
        return;
      }
      this.rounds[client] = round + 1;
    }
  }

  /** Resolves when each has done so many rounds more. */
  async untilEachHasDone(more: number): Promise<void> {
    const goals = this.rounds.map((round) => round + more);
    const look = () =>
      this.errors.length > 0 || this.rounds.every((round, client) => round >= (goals[client] ?? 0));
    await eventually(() => look() || undefined, `${more} rounds of each client`);
  }

  /** Resolves when what is under way has ended. */
  async stop(): Promise<void> {
    this.isStopped = true;
    await Promise.all(this.loops);
  }
}
