/**
 * Makes a used connection as good as new, or proves that it cannot be: the only way back into the pool
 * for a connection that a session left in the middle of something. One deadline covers it all.
 *
 * Each step looks at where the connection stands and does the one next thing: end what still runs, wait
 * for what is owed, roll back, reset what the session left. COM_RESET_CONNECTION takes everything away
 * but the schema, the proxy's own settings with it; so these and the InitQuery are run again.
 */

import { Timer } from '../../base/timer-wheel.ts';
import type { DatabaseConnection } from './database-connection.ts';
import { KIND, OURS, OWES_STATEMENT } from './ledger.ts';
import { OwnStatement } from './own-statement.ts';
import { COM_PING, COM_RESET_CONNECTION } from './wire/capabilities.ts';
import { packet } from './wire/packets.ts';

const PING_MESSAGE = packet(0, Buffer.of(COM_PING));
const RESET_MESSAGE = packet(0, Buffer.of(COM_RESET_CONNECTION));

type Step = 'ping' | 'rollback' | 'reset' | 'base' | 'init';

export class Reset {
  private readonly connection: DatabaseConnection;
  private readonly timer: Timer;
  private readonly isProbe: boolean;
  /** How much was owed when what runs was last killed. */
  private depthAtKill = Number.POSITIVE_INFINITY;
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
    if (isProbe) this.run('ping');
  }

  /** Does the next thing, if its time has come. Called after everything that the database sends. */
  progress(): void {
    const { connection } = this;
    const { ledger } = connection;
    if (this.isOver || this.isWaitingForStep) return;
    if (!ledger.isQuiet) {
      this.endWhatRuns();
      return;
    }
    if (connection.cancelsInFlight > 0) {
      // What it was for is over. It tells when it has gone, and this is called again.
      connection.target.canceller.withdraw(connection);
      return;
    }
    if (connection.unfitBy !== undefined) this.finish(false);
    else if (connection.isDirty || !connection.state.isPlain) this.run('reset');
    else if (ledger.isStatusUnsure) this.run('ping');
    else if (ledger.isInTransaction) this.run('rollback');
    else this.finish(true);
  }

  /** The connection is gone, or closed by somebody else. */
  stop(): void {
    this.isOver = true;
    this.connection.target.wheel.disarm(this.timer);
  }

  /** Of a pipeline each statement is killed when its turn has come. */
  private endWhatRuns(): void {
    const { connection } = this;
    const { depth, head } = connection.ledger;
    if (this.isProbe || connection.cancelsInFlight > 0 || depth >= this.depthAtKill) return;
    // What the proxy itself has asked is over in a moment; only to prepare may wait for a lock.
    if ((head & OURS) !== 0 && (head & KIND) !== OWES_STATEMENT) return;
    this.depthAtKill = depth;
    connection.kill();
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
        connection.command(PING_MESSAGE, statement);
        return;
      case 'rollback':
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

  private finish(isClean: boolean): void {
    if (this.isOver) return;
    const { isProbe } = this;
    this.stop();
    const failure = isProbe ? 'probe_failed' : 'reset_failed';
    this.connection.resetEnded(isClean ? undefined : failure);
  }
}
