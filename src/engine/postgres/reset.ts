/**
 * How a connection is made clean: what a session left in the middle of something is ended and rolled back,
 * DISCARD ALL takes the rest away, and the InitQuery is run again. It is finished when nothing is owed, no
 * transaction is open and no cancel is on its way.
 */

import { ConnectionReset } from '../connection-reset.ts';
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

export class Reset extends ConnectionReset<DatabaseConnection> {
  private hasCancelled = false;

  protected probe(): void {
    this.sync();
  }

  protected next(): void {
    const { connection } = this;
    const { ledger } = connection;
    if (ledger.isDoubtful) this.finish(false);
    else if (ledger.status !== STATUS_IDLE) this.run('rollback', 'ROLLBACK');
    else if (connection.isDirty) this.run('discard', 'DISCARD ALL');
    else this.finish(true);
  }

  protected endWhatRuns(): void {
    const { ledger } = this.connection;
    if (ledger.isCopyIn) {
      this.connection.stream.write(COPY_FAIL_MESSAGE);
      ledger.copyEnded();
    }
    if (ledger.isBatchOpen) this.failBatch();
    if (this.isProbe || this.hasCancelled || ledger.isEmpty) return;
    this.hasCancelled = true;
    this.connection.cancelRunning();
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
}
