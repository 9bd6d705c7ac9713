/**
 * Makes a used connection as good as new, or proves that it cannot be: the only way back into the
 * pool for a connection that a session left in the middle of something. One deadline covers it all.
 *
 * Each step looks at where the connection stands (the ledger, the transaction status) and does the
 * one next thing: end what still runs, wait for what is owed, roll back, discard what the session
 * left. It is finished when nothing is owed, no transaction is open and no cancel is on its way.
 */

import { Timer } from '../../base/timer-wheel.ts';
import type { DatabaseConnection } from './database-connection.ts';
import { OURS, OWES_EXECUTE, OWES_SYNC } from './ledger.ts';
import { OwnStatement } from './own-statement.ts';
import { SessionSettings } from './settings.ts';
import { copyFailMessage, EXECUTE_NOTHING_MESSAGE, SYNC_MESSAGE } from './wire/frontend.ts';
import { STATUS_IDLE } from './wire/messages.ts';

const COPY_FAIL_MESSAGE = copyFailMessage('the client connection was closed');

type Step = 'rollback' | 'discard' | 'await_timeout' | 'init';

/** An empty query: all that a statement_timeout that comes late can hit. */
const NOTHING = '';

export class Reset {
  private readonly connection: DatabaseConnection;
  private readonly timer: Timer;
  private readonly isProbe: boolean;
  private hasCancelled = false;
  private isWaitingForStep = false;
  private isOver = false;

  constructor(
    connection: DatabaseConnection,
    deadlineMs: number,
    { isProbe = false }: { readonly isProbe?: boolean } = {},
  ) {
    this.connection = connection;
    this.isProbe = isProbe;
    this.timer = new Timer(() => this.finish(false));
    connection.target.wheel.arm(this.timer, deadlineMs);
    if (isProbe) this.sync();
  }

  /** Does the next thing, if its time has come. Called after everything that the database sends. */
  progress(): void {
    const { ledger } = this.connection;
    if (this.isOver || this.isWaitingForStep) return;
    if (!ledger.isQuiet) {
      this.endWhatRuns();
      return;
    }
    if (this.connection.cancelsInFlight > 0) return;
    if (ledger.isDoubtful || this.connection.unfitBy !== undefined) this.finish(false);
    else if (ledger.status !== STATUS_IDLE) this.run('rollback', 'ROLLBACK');
    else if (this.connection.isDirty) this.run('discard', 'DISCARD ALL');
    else this.finish(true);
  }

  /** The connection is gone, or closed by somebody else. */
  stop(): void {
    this.isOver = true;
    this.connection.target.wheel.disarm(this.timer);
  }

  private endWhatRuns(): void {
    const { ledger, target } = this.connection;
    if (ledger.isCopyIn) {
      this.connection.stream.write(COPY_FAIL_MESSAGE);
      ledger.copyEnded();
    }
    if (ledger.isBatchOpen) this.failBatch();
    if (this.isProbe || this.hasCancelled || ledger.isEmpty) return;
    this.hasCancelled = true;
    target.canceller.cancel(this.connection);
  }

  /** A Sync alone would commit what its client never asked to commit; so an error goes before it. */
  private failBatch(): void {
    this.connection.ledger.owe(OWES_EXECUTE | OURS);
    this.connection.stream.write(EXECUTE_NOTHING_MESSAGE);
    this.sync();
  }

  private sync(): void {
    this.connection.ledger.owe(OWES_SYNC | OURS);
    this.connection.stream.write(SYNC_MESSAGE);
  }

  private run(step: Step, sql: string): void {
    this.isWaitingForStep = true;
    const statement = new OwnStatement((outcome) => {
      this.isWaitingForStep = false;
      if (this.isOver) return;
      if (!outcome.isOk && step !== 'await_timeout') this.finish(false);
      else this.stepDone(step);
    });
    this.connection.run(sql, statement);
  }

  private stepDone(step: Step): void {
    const { connection } = this;
    const { initQuery } = connection;
    if (step === 'discard') {
      connection.settings = SessionSettings.NONE;
      connection.unnamedStatement = 0;
      // A timeout that the session had set may strike when the statement that discards it is over.
      this.run('await_timeout', NOTHING);
      return;
    }
    // DISCARD ALL also resets what the InitQuery had set.
    if (step === 'await_timeout' && initQuery !== undefined) {
      this.run('init', initQuery);
      return;
    }
    if (step !== 'rollback') {
      connection.isDirty = false;
      connection.tellReset();
    }
    this.progress();
  }

  private finish(isClean: boolean): void {
    if (this.isOver) return;
    const { isProbe } = this;
    this.stop();
    const failure = isProbe ? 'probe_failed' : 'reset_failed';
    this.connection.resetEnded(isClean ? undefined : failure);
  }
}
