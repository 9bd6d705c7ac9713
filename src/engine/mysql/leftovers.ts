/**
 * What a session leaves on its connection. The texts say what may be there, the server's trackers what is.
 * When everything is answered and no transaction is open, that is put together: what can be carried to
 * another connection is the session's from then on, and anything else pins it.
 */

import type { PinReason } from '../../observe/reasons.ts';
import { areSets } from '../../sql/mysql/classify.ts';
import { digest } from '../../sql/mysql/digest.ts';
import { Effect, type EffectSet, PINNING, pinReasonOf } from '../../sql/mysql/effects.ts';
import type { Syntax } from '../../sql/mysql/syntax.ts';
import type { EngineSettings } from '../contract.ts';
import type { Pins } from '../pins.ts';
import { Belongings } from './belongings.ts';
import { clearedBy } from './clearing.ts';
import type { DatabaseConnection } from './database-connection.ts';
import { OwnStatement } from './own-statement.ts';
import type { SessionSettings } from './settings.ts';

/** Of a longer text the beginning is kept, for its digest. */
const TEXT_MAX = 4 * 1024;
/** What a text may do of which the server tells whether it did, and when it is over. */
const TOLD_BY_SERVER = Effect.nextTransaction | Effect.trackers;
/** What is worth a line in the log, if the server tells that it has left something. */
const TELLING =
  Effect.setting | Effect.role | Effect.call | Effect.setStatement | Effect.mayClear | Effect.xa;
/** What explains that the server tells of a change, and not of which. */
const TELLS_CHANGE =
  Effect.userVariable | Effect.temporaryTable | Effect.sqlPrepare | Effect.role | Effect.setting;
/** What a SET may do to its session that EXCLUDE_VARIABLE_SETS lets pass. */
const OF_VARIABLES = Effect.userVariable | Effect.untrackedSetting;
/** An assignment to a system variable without a scope. */
const UNSCOPED = /@@\s*`?(\w+)`?\s*:?=/g;

/** The session, as far as it matters here. */
export interface LeftoversHost {
  readonly syntax: Syntax;
}

/** The endpoint that the session came in through. */
interface Place {
  /** The settings in force; replaced as a whole when the configuration changes. */
  readonly limits: EngineSettings;
}

export class Leftovers {
  /** What the statements since everything was answered last may have left, by their texts. */
  effects: EffectSet = 0;
  /** Requests since everything was answered last, and how many of them did nothing but fail. */
  requests = 0;
  private failures = 0;
  /** Requests since nothing was owed last. */
  private unanswered = 0;
  /** The database is being asked about the session's own variables. */
  isAsking = false;
  /** It will not answer any more. */
  private isAnswerLost = false;
  private readonly host: LeftoversHost;
  private readonly place: Place;
  private readonly pins: Pins<DatabaseConnection>;
  /** The first of the texts that have effects. */
  private suspect: Buffer | undefined = undefined;
  /** What these two were before the last request. */
  private effectsBefore: EffectSet = 0;
  private suspectBefore: Buffer | undefined = undefined;
  private readonly belongings = new Belongings();
  /** Whether the database has said that the session holds a lock, and how many requests had been made then. */
  private hasLock: boolean | undefined = undefined;
  private hasLockAt = 0;
  /** One of the texts was a SET that EXCLUDE_VARIABLE_SETS has let pass. */
  private hasExcludedSet = false;

  constructor(host: LeftoversHost, place: Place, pins: Pins<DatabaseConnection>) {
    this.host = host;
    this.place = place;
    this.pins = pins;
  }

  /** The connection may have something that is not to be lent to others. */
  mayBeThere({ ledger, state }: DatabaseConnection): boolean {
    return (this.effects & PINNING) !== 0 || ledger.isStatusUnsure || state.isSuspect;
  }

  /** The client itself has told the database to end the connection. */
  get isEnding(): boolean {
    return (this.effects & Effect.ends) !== 0 || this.pins.reasons.has('ending');
  }

  requested(): void {
    this.requests++;
    this.unanswered++;
    this.effectsBefore = this.effects;
    this.suspectBefore = this.suspect;
  }

  /** A text that may do `all` is about to run. Returns what of that counts. */
  running(
    connection: DatabaseConnection,
    all: EffectSet,
    bytes: Buffer,
    from: number,
    to: number,
  ): EffectSet {
    const isExcluded = (all & OF_VARIABLES) !== 0 && this.isExcluded(bytes, from, to);
    const effects = isExcluded ? all & ~OF_VARIABLES : all;
    this.effects |= effects;
    if (isExcluded) {
      this.hasExcludedSet = true;
      connection.isDirty = true;
    }
    this.belongings.running(effects, bytes, from, to, this.host.syntax);
    if ((effects & Effect.setting) !== 0) noteUnscoped(connection, bytes, from, to);
    if ((effects & (PINNING | TELLING)) !== 0) {
      this.suspect ??= Buffer.from(bytes.subarray(from, Math.min(to, from + TEXT_MAX)));
    }
    return effects;
  }

  private isExcluded(bytes: Buffer, from: number, to: number): boolean {
    if (!this.place.limits.areVariableSetsExcluded) return false;
    return areSets(bytes, from, to, this.host.syntax);
  }

  /** A request did nothing but fail. `isLast`: nothing has been sent behind it. */
  requestFailed(isLast: boolean): void {
    this.failures++;
    if (!isLast) return;
    this.effects = this.effectsBefore;
    this.suspect = this.suspectBefore;
    this.belongings.failed();
  }

  /** The client's COM_RESET_CONNECTION went well. `isForGood`: the session is pinned whatever it leaves. */
  wasReset(connection: DatabaseConnection, isForGood: boolean): void {
    this.effects = 0;
    this.suspect = undefined;
    this.hasExcludedSet = false;
    // The InitQuery's settings went with it, and come back when the proxy resets it in turn.
    connection.isDirty = true;
    this.belongings.clear();
    if (!isForGood) this.pins.clear(connection);
  }

  /**
   * The connection is lost: has the client been told of something that has ended with it? Of a request that
   * is not answered it relies on nothing.
   */
  areLostWith({ isInTransaction, ledger, state }: DatabaseConnection): boolean {
    if (this.pins.isPinned || this.isAnswerLost || state.isLocked) return true;
    // What was said for the next transaction is over with it.
    if (state.hasCharacteristics && !isInTransaction) return true;
    if (state.isSuspect || state.unsure !== undefined) return true;
    const effects = ledger.clientsOwed === 1 ? this.effectsBefore : this.effects;
    return (effects & PINNING) !== 0;
  }

  /** The connection is not the session's any more, and nothing of it is taken along. */
  forget(): void {
    this.isAnswerLost = false;
    this.effects = 0;
    this.suspect = undefined;
    this.requests = 0;
    this.failures = 0;
    this.unanswered = 0;
    this.belongings.clear();
    this.pins.forget();
  }

  /** `names` have been set that the server did not report: asks for what they are. */
  askVariables(connection: DatabaseConnection): boolean {
    const { unsure } = connection.state;
    if (unsure === undefined) return false;
    connection.state.unsure = undefined;
    const names = [...unsure];
    this.isAsking = true;
    const statement = new OwnStatement((outcome) => {
      this.isAsking = false;
      if (!outcome.isOk) {
        // Without a word of the database the connection is gone.
        if (outcome.payload === undefined) this.isAnswerLost = true;
        else this.pins.add(connection, 'set', '');
        return;
      }
      const [row = []] = outcome.rows;
      connection.state.learn(names.map((name, at) => [name, row[at] ?? '']));
    });
    connection.run(`SELECT ${names.map((name) => `@@SESSION.${name}`).join(',')}`, statement);
    return true;
  }

  /**
   * Nothing is owed. MariaDB reports what SET STATEMENT ... FOR has set, although it is gone with that
   * statement; of several requests nobody knows whose report it was. `settings` are those before them.
   */
  answered({ state }: DatabaseConnection, settings: SessionSettings): void {
    const isAlone = this.unanswered === 1;
    this.unanswered = 0;
    if ((this.effects & Effect.setStatement) === 0) return;
    this.effects &= ~Effect.setStatement;
    if (isAlone) state.settings = settings;
    else state.strayVariable = 'set statement';
  }

  /**
   * Asks whether the session holds a lock of GET_LOCK, when a statement may have taken or released one and
   * the names of all are known.
   */
  askLocks(connection: DatabaseConnection): boolean {
    const mayHave =
      (this.effects & Effect.userLevelLock) !== 0 || this.pins.reasons.has('user_level_lock');
    if (!mayHave || (this.effects & (Effect.userLevelLock | Effect.mayClear)) === 0) return false;
    if (this.hasLock !== undefined && this.hasLockAt === this.requests) return false;
    this.hasLock = undefined;
    const question = this.belongings.lockQuestion;
    if (question === undefined) return false;
    this.isAsking = true;
    this.hasLockAt = this.requests;
    const statement = new OwnStatement((outcome) => {
      this.isAsking = false;
      this.hasLock = !outcome.isOk || outcome.rows[0]?.[0] !== '0';
    });
    connection.run(question, statement);
    return true;
  }

  /** The statement that is to blame, without its literals. */
  get suspectDigest(): string {
    return this.suspect === undefined ? '' : digest(this.suspect, this.host.syntax);
  }

  /** Everything is answered and no transaction is open: does anything tie the session to its connection? */
  investigate(connection: DatabaseConnection): void {
    const { failures, pins, requests, suspect } = this;
    const { state } = connection;
    this.letSetsPass(connection);
    // The server tells when tables that were locked are not any more.
    const beyond = state.wasLocked ? this.effects & ~Effect.tableLock : this.effects;
    const hasNoLock = this.hasLock === false && this.hasLockAt === requests;
    const effects = hasNoLock ? beyond & ~Effect.userLevelLock : beyond;
    if (hasNoLock) pins.remove(connection, 'user_level_lock');
    this.hasLock = undefined;
    if (state.wasLocked) pins.remove(connection, 'table_lock');
    this.effects = 0;
    this.requests = 0;
    this.failures = 0;
    if (effects === 0 && !state.isSuspect) {
      this.suspect = undefined;
      state.wasLocked = false;
      return;
    }
    // What failed before it did anything has left nothing.
    const isGroundless = requests === failures;
    const reason = isGroundless ? undefined : pinReasonOf(effects & ~TOLD_BY_SERVER);
    const isClearing = requests === 1 && effects === Effect.mayClear;
    const text = this.suspectDigest;
    this.suspect = undefined;
    const cleared = requests === 1 && failures === 0 ? this.whatClears(suspect) : undefined;
    if (cleared !== undefined) pins.remove(connection, cleared);
    else if (reason !== undefined) pins.add(connection, reason, text);
    const isRoleSet = !isGroundless && (effects & Effect.role) !== 0;
    if (isRoleSet || state.strayVariable !== undefined || state.areTrackersChanged) {
      pins.add(connection, 'set', text);
    }
    if (state.isOtherwiseChanged && !isClearing) {
      // What is not known to be there is not known to go with what pinned before it either.
      if (!pins.isPinned) pins.add(connection, 'unknown', text);
      else if ((effects & TELLS_CHANGE) === 0) pins.suspect('unknown');
    }
    state.investigated();
    // What failed has left a name too many.
    if (!pins.reasons.has('user_level_lock')) this.belongings.locksAreGone();
    if (!pins.reasons.has('sql_prepare')) this.belongings.statementsAreGone();
  }

  /** What a text has taken away that was all that was run, and went well. */
  private whatClears(bytes: Buffer | undefined): PinReason | undefined {
    if (bytes === undefined || bytes.length >= TEXT_MAX) return undefined;
    const text = bytes.toString('latin1');
    if (this.belongings.deallocates(text)) return 'sql_prepare';
    return clearedBy(text);
  }

  /**
   * EXCLUDE_VARIABLE_SETS: what a SET has left, and cannot be carried to another connection, ties nobody
   * to this one; it goes with a reset. What a routine has done besides is not known to be a SET.
   */
  private letSetsPass(connection: DatabaseConnection): void {
    if (!this.place.limits.areVariableSetsExcluded) return;
    const { state } = connection;
    if (state.strayVariable !== undefined) connection.isDirty = true;
    state.strayVariable = undefined;
    if (this.hasExcludedSet && (this.effects & Effect.call) === 0) state.isOtherwiseChanged = false;
    this.hasExcludedSet = false;
  }
}

/** MariaDB does not report what is set as `@@name = ...`, without a scope. */
function noteUnscoped(
  { state }: DatabaseConnection,
  bytes: Buffer,
  from: number,
  to: number,
): void {
  for (const [, name = ''] of bytes.toString('latin1', from, to).matchAll(UNSCOPED)) {
    state.mayHaveChanged(name);
  }
}
