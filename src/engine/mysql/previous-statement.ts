/**
 * What a statement leaves for the next one: its warnings or error, the number of rows it found, and
 * LAST_INSERT_ID(). The first two are nowhere but on the connection that ran it, so the session keeps that
 * for a short while, or gets it again if nobody has had it since; the insert id goes along with the session.
 */

import type { TimerWheel } from '../../base/timer-wheel.ts';
import type { EndpointCounters } from '../../observe/counters.ts';
import type { Keeper } from '../../pool/contract.ts';
import { Effect, type EffectSet, READS_PREVIOUS } from '../../sql/mysql/effects.ts';
import type { SessionClock } from '../session-clock.ts';
import type { DatabaseConnection } from './database-connection.ts';
import { OWES_RESULT } from './ledger.ts';
import { OwnStatement } from './own-statement.ts';
import type { Replay } from './session-state.ts';
import type { UserPool } from './user-pool.ts';
import { queryMessage } from './wire/commands.ts';

/** What a statement leaves, or has left as it was, that cannot be asked for in the session's name. */
const ONLY_THERE = Effect.leavesFoundRows | Effect.readsDiagnostics;
/** What may change LAST_INSERT_ID() without a word in its OK packet. */
const LEAVES_INSERT_ID = Effect.leavesInsertId | Effect.call | Effect.unknown | Effect.sqlPrepare;
/** What may ask for LAST_INSERT_ID(), or leave it as it is and not say so. */
const NEEDS_INSERT_ID = Effect.readsInsertId | LEAVES_INSERT_ID;
/** What a statement asks about the one before, and another of ours in between would change. */
const READS_NUMBERS = READS_PREVIOUS & ~Effect.readsInsertId;
/** The LAST_INSERT_ID() of a connection that nobody has. */
const NO_ID = '0';
/** Takes the id away, so that one that is there later has been made since: no database makes this one. */
const QUESTION = `SELECT LAST_INSERT_ID(), LAST_INSERT_ID(${NO_ID})`;
/** How long a connection is kept for a statement that may ask for what the last one has left. */
const DIAGNOSTICS_KEPT_MS = 200;

/** The session, as far as it matters here. */
export interface PreviousStatementHost {
  readonly userPool: UserPool;
  readonly clock: SessionClock;
  /** The connection was kept for long enough, or somebody else waits for it. */
  giveBackIfSettled(): void;
  /** `connection` has what the session is not to take for its own. */
  pinUnknown(connection: DatabaseConnection): void;
}

/** The endpoint that the session came in through. */
interface Place {
  readonly wheel: TimerWheel;
  readonly counters: EndpointCounters;
}

export class PreviousStatement implements Keeper {
  /** The database is asked for the insert id. */
  isAsking = false;
  /** What LAST_INSERT_ID() is, nobody knows any more: the connection was lost that did. */
  isInsertIdLost = false;
  private readonly host: PreviousStatementHost;
  private readonly place: Place;
  /** The pool that knows that the connection is kept. */
  private keptIn: UserPool['pool'] | undefined = undefined;
  /** What LAST_INSERT_ID() is. */
  private insertId = NO_ID;
  /** Wheel time until which the connection is kept, although nothing needs it any more; 0 while it is not. */
  private keptUntil = 0;
  private isGivingUp = false;
  /** The connection that ran the last statement, and at which of its loans. */
  private former: DatabaseConnection | undefined = undefined;
  private formerLoan = 0;

  constructor(host: PreviousStatementHost, place: Place) {
    this.host = host;
    this.place = place;
  }

  /** The connection is lost, and with it what its last insert has made. */
  connectionLost({ ledger }: DatabaseConnection): void {
    this.isInsertIdLost ||= ledger.hasInsertId;
  }

  /** The session begins anew: nothing has been run in it. */
  forget(): void {
    this.isInsertIdLost = false;
    this.former = undefined;
    this.insertId = NO_ID;
  }

  /** For a statement about the one before: the connection that ran it, if nobody has had it since. */
  formerConnection(effects: EffectSet): DatabaseConnection | undefined {
    if ((effects & READS_PREVIOUS) === 0) return undefined;
    const { former } = this;
    if (former === undefined) return undefined;
    const { pool } = this.host.userPool;
    const isUntouched = former.loans === this.formerLoan && former.pool === pool;
    if (isUntouched && pool.borrowAgain(former)) return former;
    if ((effects & READS_PREVIOUS & ~Effect.readsInsertId) !== 0) {
      this.place.counters.diagnosticsLost++;
    }
    return undefined;
  }

  /** Another request: whatever the connection is kept for, it is used now. */
  requested(): void {
    // It may have come while the proxy asked for what it needs to know to give the connection back.
    this.isGivingUp = false;
    if (this.keptUntil > 0) this.unkeep();
  }

  /** What is to be run on `connection`, which has just been lent, before anything else. */
  replayAtFirst(connection: DatabaseConnection): Replay | undefined {
    const { insertId } = connection;
    if (insertId === NO_ID || insertId === this.insertId) return undefined;
    return this.insertIdReplay(connection, this.insertId);
  }

  /** What is to be run on `connection` before a statement with `effects`, which is about to run. */
  replayFor(connection: DatabaseConnection, effects: EffectSet): Replay | undefined {
    const { ledger } = connection;
    const isNeeded = (effects & NEEDS_INSERT_ID) !== 0 && connection.insertId !== this.insertId;
    const isLost = ledger.hasInsertId && (effects & READS_NUMBERS) !== 0;
    if ((effects & LEAVES_INSERT_ID) !== 0) ledger.hasInsertId = true;
    if (!isNeeded || isLost) return undefined;
    // Statements of this loan may have made one by then.
    const id = `CAST(IF(LAST_INSERT_ID()=${NO_ID},${this.insertId},LAST_INSERT_ID()) AS UNSIGNED)`;
    return this.insertIdReplay(connection, id);
  }

  /** Everything is answered. Returns whether the session goes on holding its connection for a while. */
  keep(connection: DatabaseConnection, effects: EffectSet): boolean {
    if (this.isGivingUp || !this.isWorthKeeping(connection, effects)) return false;
    if (this.keptUntil > 0) return true;
    const { wheel, counters } = this.place;
    const { pool } = connection;
    // What can be asked for needs no connection that somebody else waits for.
    const isRecoverable = connection.ledger.warnings === 0 && (effects & ONLY_THERE) === 0;
    if (isRecoverable) {
      if (pool.isWanted) {
        this.isGivingUp = true;
        return false;
      }
      pool.keep(this);
      this.keptIn = pool;
    }
    counters.diagnosticsKept++;
    this.keptUntil = wheel.now + DIAGNOSTICS_KEPT_MS;
    this.host.clock.lookIn(DIAGNOSTICS_KEPT_MS);
    return true;
  }

  /**
   * The next statement may ask for the warnings, the error or the number of rows of the last one, which are
   * nowhere but on this connection; or for its insert id, which can be asked for now.
   */
  private isWorthKeeping({ ledger }: DatabaseConnection, effects: EffectSet): boolean {
    if (ledger.isInTransaction && !ledger.isStatusUnsure) return false;
    if ((effects & (Effect.leavesFoundRows | Effect.leavesInsertId)) !== 0) {
      if ((effects & Effect.leavesInsertId) !== 0) ledger.hasInsertId = true;
      return true;
    }
    // Who has looked at the warnings may look again: to show them leaves them as they are.
    if ((effects & Effect.readsDiagnostics) !== 0) return true;
    return ledger.warnings > 0 || ledger.hasInsertId;
  }

  /** The session's timer: gives the connection back that was kept for long enough. */
  lookAtClock(): void {
    if (this.keptUntil > 0 && this.place.wheel.now >= this.keptUntil) this.giveUp();
  }

  recalled(): void {
    this.giveUp();
  }

  private giveUp(): void {
    this.unkeep();
    this.isGivingUp = true;
    this.host.giveBackIfSettled();
  }

  private unkeep(): void {
    this.keptUntil = 0;
    this.keptIn?.unkeep(this);
    this.keptIn = undefined;
  }

  /** The session's connection is not its own any more. */
  detached(connection: DatabaseConnection): void {
    this.former = connection;
    this.formerLoan = connection.loans;
    this.isGivingUp = false;
    if (this.keptUntil > 0) this.unkeep();
  }

  /**
   * The connection is to be given back: which LAST_INSERT_ID() does the session take along? The OK packet
   * does not tell, if the id was given. Returns whether the database is asked now.
   */
  askInsertId(connection: DatabaseConnection): boolean {
    if (!connection.ledger.hasInsertId) return false;
    this.isAsking = true;
    const wasOwn = connection.insertId === this.insertId;
    connection.ledger.hasInsertId = false;
    connection.insertId = undefined;
    const statement = new OwnStatement((outcome) => {
      this.isAsking = false;
      if (!outcome.isOk) {
        // Without a word of the database the connection is gone.
        if (outcome.payload === undefined) this.isInsertIdLost = true;
        else this.host.pinUnknown(connection);
        return;
      }
      this.isInsertIdLost = false;
      const [id = NO_ID] = outcome.rows[0] ?? [];
      if (wasOwn || id !== NO_ID) this.insertId = id;
      connection.insertId = NO_ID;
    });
    connection.run(QUESTION, statement);
    return true;
  }

  private insertIdReplay(connection: DatabaseConnection, value: string): Replay {
    connection.insertId = this.insertId;
    const message = queryMessage(`SET last_insert_id=${value}`, connection.capabilities);
    return { message, owes: OWES_RESULT, name: undefined };
  }
}
