/**
 * Makes a used connection as good as new, or proves that it cannot be: the only way back into the pool
 * for a connection that a session left in the middle of something. One deadline covers it all.
 *
 * Each step looks at where the connection stands and does the one next thing: end what still runs, wait
 * for what is owed; then what the engine knows, until nothing is left to do.
 */

import { Timer, type TimerWheel } from '../base/timer-wheel.ts';
import type { DatabaseCloseReason } from '../observe/reasons.ts';

/** A connection that is made clean. */
interface Unclean {
  readonly target: { readonly wheel: TimerWheel };
  readonly ledger: { readonly isQuiet: boolean };
  readonly cancelsInFlight: number;
  readonly unfitBy: DatabaseCloseReason | undefined;
  resetEnded(failure: DatabaseCloseReason | undefined): void;
}

export interface ResetOptions {
  readonly deadlineMs: number;
  /** Only to prove that the database still answers. */
  readonly isProbe: boolean;
}

export abstract class ConnectionReset<C extends Unclean = Unclean> {
  protected readonly connection: C;
  private readonly timer: Timer;
  protected readonly isProbe: boolean;
  protected isWaitingForStep = false;
  protected isOver = false;

  constructor(connection: C, { deadlineMs, isProbe }: ResetOptions) {
    this.connection = connection;
    this.isProbe = isProbe;
    this.timer = new Timer(() => this.finish(false));
    connection.target.wheel.arm(this.timer, deadlineMs);
  }

  /** Has the database answer something. */
  protected abstract probe(): void;
  /** Something runs, or is half done. */
  protected abstract endWhatRuns(): void;
  /** Nothing runs: does the next thing, or calls `finish`. */
  protected abstract next(): void;

  /** The first step. */
  begin(): void {
    if (this.isProbe) this.probe();
    this.progress();
  }

  /** Does the next thing, if its time has come. Called after everything that the database sends. */
  progress(): void {
    const { connection } = this;
    if (this.isOver || this.isWaitingForStep) return;
    if (!connection.ledger.isQuiet) {
      this.endWhatRuns();
      return;
    }
    if (connection.cancelsInFlight > 0) this.awaitCancels();
    else if (connection.unfitBy !== undefined) this.finish(false);
    else this.next();
  }

  /** Nothing runs, and a cancel is on its way; when it has gone, `progress` is called again. */
  protected awaitCancels(): void {}

  /** The connection is gone, or closed by somebody else. */
  stop(): void {
    this.isOver = true;
    this.connection.target.wheel.disarm(this.timer);
  }

  protected finish(isClean: boolean): void {
    if (this.isOver) return;
    const { isProbe } = this;
    this.stop();
    const failure = isProbe ? 'probe_failed' : 'reset_failed';
    this.connection.resetEnded(isClean ? undefined : failure);
  }
}
