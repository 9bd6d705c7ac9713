/**
 * How a connection is made clean. COM_RESET_CONNECTION takes everything away but the schema, the proxy's
 * own settings with it; so these and the InitQuery are run again.
 */

import { ConnectionReset } from '../connection-reset.ts';
import type { DatabaseConnection } from './database-connection.ts';
import { KIND, OURS, OWES_STATEMENT } from './ledger.ts';
import { OwnStatement } from './own-statement.ts';
import { COM_PING, COM_RESET_CONNECTION } from './wire/capabilities.ts';
import { packet } from './wire/packets.ts';

const PING_MESSAGE = packet(0, Buffer.of(COM_PING));
const RESET_MESSAGE = packet(0, Buffer.of(COM_RESET_CONNECTION));

type Step = 'ping' | 'rollback' | 'reset' | 'base' | 'init';

export class Reset extends ConnectionReset<DatabaseConnection> {
  /** How much was owed when what runs was last killed. */
  private depthAtKill = Number.POSITIVE_INFINITY;

  protected probe(): void {
    this.run('ping');
  }

  protected next(): void {
    const { connection } = this;
    const { ledger } = connection;
    // Of what failed, or was killed when it was done, only the next answer tells what it has changed.
    if (ledger.isStatusUnsure) this.run('ping');
    else if (connection.hasStraySchema) this.finish(false);
    else if (connection.isDirty || !connection.state.isPlain) this.run('reset');
    else if (ledger.isInTransaction) this.run('rollback');
    else this.finish(true);
  }

  /** Of a pipeline each statement is killed when its turn has come. */
  protected endWhatRuns(): void {
    const { connection } = this;
    const { depth, head } = connection.ledger;
    if (this.isProbe || connection.cancelsInFlight > 0 || depth >= this.depthAtKill) return;
    // What the proxy itself has asked is over in a moment; only to prepare may wait for a lock.
    if ((head & OURS) !== 0 && (head & KIND) !== OWES_STATEMENT) return;
    this.depthAtKill = depth;
    connection.cancelRunning();
  }

  /** What it was for is over. */
  protected override awaitCancels(): void {
    const { connection } = this;
    connection.target.canceller.withdraw(connection);
  }

  private run(step: Step): void {
    const { connection } = this;
    this.isWaitingForStep = true;
    const statement = new OwnStatement((outcome) => {
      this.isWaitingForStep = false;
      if (this.isOver) return;
      if (outcome.isOk) this.stepDone(step);
      else this.finish(false);
    });
    switch (step) {
      case 'ping':
        connection.learn();
        connection.command(PING_MESSAGE, statement);
        return;
      case 'rollback':
        connection.learn();
        connection.run('ROLLBACK', statement);
        return;
      case 'reset':
        connection.command(RESET_MESSAGE, statement);
        return;
      case 'base':
        connection.run(connection.baseSettings, statement);
        return;
      case 'init':
        connection.run(connection.initQuery ?? '', statement);
        return;
    }
  }

  private stepDone(step: Step): void {
    const { connection } = this;
    if (step === 'reset') {
      connection.wasReset();
      this.run('base');
    } else if (step === 'base' && connection.initQuery !== undefined) {
      this.run('init');
    } else {
      if (step === 'base' || step === 'init') {
        connection.state.settings = connection.base;
        connection.isDirty = false;
        connection.tellReset();
      }
      this.progress();
    }
  }
}
