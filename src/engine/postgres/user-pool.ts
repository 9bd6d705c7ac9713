/**
 * The pool of one user and database, and what a client of it is told at its login: the parameters
 * that the database reports. They are learnt once per combination of start-up settings; so only the
 * first client with a combination needs a database connection to log in.
 */

import { BerthError } from '../../base/errors.ts';
import type { Borrower } from '../../pool/contract.ts';
import type { Pool } from '../../pool/pool.ts';
import type { ConnectionHolder, DatabaseConnection } from './database-connection.ts';
import { OURS, OWES_QUERY } from './ledger.ts';
import type { ReportedParameters } from './parameters.ts';
import type { SessionSettings } from './settings.ts';

/** Combinations of start-up settings remembered per user and database. */
const WELCOMES_MAX = 1_000;

/** Changes of settings remembered per user and database. A text is at most 1 KiB. */
const SETTINGS_MAX = 1_000;

/** A login gives up when this many connections were lost while they were asked. */
const CONNECTIONS_LOST_MAX = 3;

export type Welcome =
  | {
      readonly isOk: true;
      readonly settings: SessionSettings;
      readonly parameters: ReportedParameters;
    }
  /** The pool had no connection to give. */
  | { readonly isOk: false; readonly error: BerthError }
  /** The database did not take the settings. */
  | { readonly isOk: false; readonly fields: ReadonlyMap<string, string> };

/** Somebody who logs in. */
export interface Guest {
  welcomed(welcome: Welcome): void;
  stillWaiting(waitedMs: number, position: number): void;
}

export class UserPool {
  pool: Pool<DatabaseConnection>;
  private readonly welcomes = new Map<string, Welcome>();
  private readonly visits = new Map<string, Visit>();
  private generation = 0;
  /** What a connection has after a SET or RESET, by what it had before and the text. */
  private readonly settingsAfter = new Map<string, SessionSettings>();

  constructor(pool: Pool<DatabaseConnection>) {
    this.pool = pool;
  }

  /** Tells `guest`, now or later, what a session with `settings` is to be told. */
  welcome(settings: SessionSettings, priority: number, guest: Guest): void {
    const known = this.welcomes.get(settings.key);
    if (known !== undefined) {
      guest.welcomed(known);
      return;
    }
    let visit = this.visits.get(settings.key);
    if (visit === undefined) {
      visit = new Visit(this, settings, (welcome) => this.visited(settings.key, welcome));
      this.visits.set(settings.key, visit);
      visit.guests.push(guest);
      visit.begin(priority);
    } else {
      visit.guests.push(guest);
    }
  }

  /** Forgets what was learnt when the configuration is of another `generation` than it was then. */
  useGeneration(generation: number): void {
    if (this.generation === generation) return;
    this.generation = generation;
    this.forget();
  }

  forget(): void {
    this.welcomes.clear();
    this.settingsAfter.clear();
  }

  /** What a connection with `before` has after the SET or RESET `text`; `undefined`: not known yet. */
  settingsKnownAfter(text: string, before: SessionSettings): SessionSettings | undefined {
    return this.settingsAfter.get(`${before.key}\0${text}`);
  }

  learnSettings(text: string, before: SessionSettings, after: SessionSettings): void {
    if (this.settingsAfter.size >= SETTINGS_MAX) this.settingsAfter.clear();
    this.settingsAfter.set(`${before.key}\0${text}`, after);
  }

  private visited(key: string, welcome: Welcome): void {
    this.visits.delete(key);
    if (!welcome.isOk) return;
    if (this.welcomes.size >= WELCOMES_MAX) this.welcomes.clear();
    this.welcomes.set(key, welcome);
  }
}

/** Borrows a connection, gives it the settings, and reads what the database reports then. */
class Visit implements Borrower<DatabaseConnection>, ConnectionHolder {
  readonly guests: Guest[] = [];
  private readonly userPool: UserPool;
  private readonly settings: SessionSettings;
  private readonly ended: (welcome: Welcome) => void;
  private connection: DatabaseConnection | undefined = undefined;
  private lost = 0;

  constructor(userPool: UserPool, settings: SessionSettings, ended: (welcome: Welcome) => void) {
    this.userPool = userPool;
    this.settings = settings;
    this.ended = ended;
  }

  begin(priority: number): void {
    const { pool } = this.userPool;
    const connection = pool.borrow();
    if (connection === undefined) pool.wait(this, priority);
    else this.granted(connection);
  }

  granted(connection: DatabaseConnection): void {
    if (connection.settings.equals(this.settings)) {
      const { parameters } = connection;
      connection.pool.release(connection, 'clean');
      this.end({ isOk: true, settings: this.settings, parameters });
      return;
    }
    this.connection = connection;
    connection.lentTo(this);
    connection.ledger.owe(OWES_QUERY | OURS);
    connection.unnamedStatement = 0;
    connection.stream.write(this.settings.replayFrom(connection.settings, connection.base));
  }

  replayed(error: ReadonlyMap<string, string> | undefined): void {
    const { connection } = this;
    if (connection === undefined) return;
    // A refused replay is undone as a whole, so the connection still has its former settings.
    if (error === undefined) connection.settings = this.settings;
    const { parameters } = connection;
    this.connection = undefined;
    connection.takenBack();
    if (connection.settings.isHarsh) connection.isDirty = true;
    connection.pool.release(connection, connection.isDirty ? 'cleanable' : 'clean');
    if (error !== undefined) this.end({ isOk: false, fields: error });
    else this.end({ isOk: true, settings: this.settings, parameters });
  }

  refused(error: BerthError): void {
    this.end({ isOk: false, error });
  }

  stillWaiting(waitedMs: number, position: number): void {
    for (const guest of this.guests) guest.stillWaiting(waitedMs, position);
  }

  connectionLost(): void {
    if (this.connection === undefined) return;
    this.connection = undefined;
    // Nothing of a client's was sent, so another connection will do.
    if (++this.lost < CONNECTIONS_LOST_MAX) this.begin(0);
    else this.end({ isOk: false, error: new BerthError('connection_lost') });
  }

  private end(welcome: Welcome): void {
    this.ended(welcome);
    for (const guest of this.guests) guest.welcomed(welcome);
  }

  // A visit sends nothing of a client's, so nothing of this can come.
  deliver(): void {}
  deliverChunk(): void {}
  requestFailed(): void {}
  statementConfirmed(): void {}
  statementsLost(): void {}
  statementChanged(): void {}
  statementsCleared(): void {}
  discarded(): void {}
  nameOf(): undefined {}
  transactionFailed(): void {}
  parametersReported(): void {}
  answered(): void {}
  rested(): void {}
  replied(): void {}
  parseLost(): void {}
  connectionCongested(): void {}

  connectionDrained(): void {}
  cancelEnded(): void {}
}
