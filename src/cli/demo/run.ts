/**
 * One run of the clients, against a port: lets them work, looks at the database and the proxy while
 * they do, and says what was measured.
 */

import type { Bank } from './bank.ts';
import type { ClientProcess } from './client-process.ts';
import type { Assignment, Outcome, Progress } from './messages.ts';

const LOOK_INTERVAL_MS = 50;

export interface RunResult {
  readonly outcome: Outcome;
  readonly durationMs: number;
  /** Connections that the database had open at the same time, at most. */
  readonly connectionsMost: number;
  /** Connections that were made to the database. */
  readonly connectionsMade: number;
}

/** How things are in the middle of a run. */
export interface Moment {
  readonly elapsedMs: number;
  readonly progress: Progress;
  readonly connections: number;
}

export interface RunParts {
  readonly clients: ClientProcess;
  readonly bank: Bank;
  readonly assignment: Assignment;
  readonly signal: AbortSignal;
  /** Called again and again. */
  readonly onMoment: (moment: Moment) => void;
}

export async function run(parts: RunParts): Promise<RunResult> {
  const { clients, bank, assignment, signal, onMoment } = parts;
  await bank.untilQuiet();
  const sessionsBefore = await bank.countSessions();
  const startedAt = performance.now();
  const elapsed = () => performance.now() - startedAt;
  let progress: Progress = { arrived: 0, connected: 0, turnedAway: 0, transactions: 0 };
  await using watch = new Watch(bank, (connections) =>
    onMoment({ elapsedMs: elapsed(), progress, connections }),
  );
  const outcome = await clients.run(assignment, signal, (report) => {
    progress = report;
  });
  const durationMs = elapsed();
  await watch.stop();
  const connectionsMade = (await bank.countSessions()) - sessionsBefore;
  return { outcome, durationMs, connectionsMost: watch.most, connectionsMade };
}

/** Looks at the database's connections at short intervals. */
class Watch implements AsyncDisposable {
  most = 0;
  private isOver = false;
  private readonly looking: Promise<void>;

  constructor(bank: Bank, onLook: (connections: number) => void) {
    this.looking = this.look(bank, onLook);
    // Whoever stops the watch hears of it; until then nobody waits for this promise.
    this.looking.catch(() => undefined);
  }

  stop(): Promise<void> {
    this.isOver = true;
    return this.looking;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop().catch(() => undefined);
  }

  private async look(bank: Bank, onLook: (connections: number) => void): Promise<void> {
    while (!this.isOver) {
      const connections = await bank.countConnections();
      this.most = Math.max(this.most, connections);
      if (!this.isOver) onLook(connections);
      await Bun.sleep(LOOK_INTERVAL_MS);
    }
  }
}
