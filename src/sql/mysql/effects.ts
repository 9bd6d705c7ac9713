/**
 * What the text of a statement says that it may do to its session, beyond what the server's OK
 * packets tell. Bits of one number, so that the hot path tests a number and nothing is allocated.
 */

export const Effect = {
  // What may be left on the connection until something takes it away.
  /** Gives a user variable a value: `SET @a`, `@a :=`, `INTO @a`, `CALL p(@a)`. The trackers miss most. */
  userVariable: 1 << 0,
  temporaryTable: 1 << 1,
  /** LOCK TABLES, FLUSH TABLES WITH READ LOCK, LOCK INSTANCE, BACKUP. */
  tableLock: 1 << 2,
  /** `GET_LOCK` and the locking services. No tracker sees them. */
  userLevelLock: 1 << 3,
  /** HANDLER ... OPEN. No tracker sees it. */
  handler: 1 << 4,
  xa: 1 << 5,
  /** PREPARE, EXECUTE in SQL. */
  sqlPrepare: 1 << 6,
  /** Something about the session that no tracker reports: SET RESOURCE GROUP. */
  untrackedSetting: 1 << 7,
  /** MariaDB's `NEXTVAL`, `LASTVAL`, `SETVAL`: the session remembers. */
  sequence: 1 << 8,
  /** A text that cannot be judged. */
  unknown: 1 << 9,

  // What changes the session, and the trackers say how.
  /** SET of session variables. The OK packet has the names and values. */
  setting: 1 << 10,
  /** SET NAMES and the like: the trackers do not report the collation, so it has to be asked. */
  collation: 1 << 11,
  /** SET ROLE: the trackers say that something changed, not what. */
  role: 1 << 12,
  /** USE: the schema tracker reports it. */
  schema: 1 << 13,
  /** SET TRANSACTION and the like for the next transaction only. */
  nextTransaction: 1 << 14,
  /** MariaDB's SET STATEMENT ... FOR: the values it reports hold for this statement only. */
  setStatement: 1 << 15,
  /** SET of `session_track_...`, on which all the other answers rest. */
  trackers: 1 << 16,
  /** SET GLOBAL or PERSIST: what other connections begin with. */
  global: 1 << 17,
  /** CALL: whatever the routine does. */
  call: 1 << 18,

  // What the next statement may ask for, and what asks for it.
  /** `SQL_CALC_FOUND_ROWS`. */
  leavesFoundRows: 1 << 19,
  /** `LAST_INSERT_ID(expression)`, `INSERT ... RETURNING`, LOAD: no OK packet tells that there is one. */
  leavesInsertId: 1 << 20,
  readsDiagnostics: 1 << 21,
  readsFoundRows: 1 << 22,
  readsRowCount: 1 << 23,
  readsInsertId: 1 << 24,
  /** SHOW PROFILE: of this connection. */
  readsProfile: 1 << 25,
  /** Shows the number of a connection of the server: `CONNECTION_ID()`, SHOW PROCESSLIST. */
  readsConnectionId: 1 << 26,

  // What the engine has to do something about.
  /** LOAD DATA LOCAL: only now may the server ask for a file. */
  loadLocal: 1 << 27,
  kill: 1 << 28,
  /** The server ends the connection, or itself: COMMIT RELEASE, SHUTDOWN. */
  ends: 1 << 29,
  /** May take away what an earlier statement has left: UNLOCK, DROP, DEALLOCATE, `RELEASE_LOCK`. */
  mayClear: 1 << 30,
} as const;

/** A set of `Effect` bits. */
export type EffectSet = number;

/** Nothing beyond what the server reports: the fast path. */
export const PLAIN: EffectSet = 0;

/** Depends on what the statement before it has left on the connection. */
export const READS_PREVIOUS: EffectSet =
  Effect.readsDiagnostics |
  Effect.readsFoundRows |
  Effect.readsRowCount |
  Effect.readsInsertId |
  Effect.readsProfile;

/** The reasons to pin that a text can give, most telling first, with the bit of each. */
const PIN_REASON_BITS = {
  ending: Effect.ends,
  unknown: Effect.unknown,
  temporary_object: Effect.temporaryTable,
  table_lock: Effect.tableLock,
  user_level_lock: Effect.userLevelLock,
  handler: Effect.handler,
  xa: Effect.xa,
  sql_prepare: Effect.sqlPrepare,
  user_variable: Effect.userVariable,
  sequence: Effect.sequence,
  next_transaction: Effect.nextTransaction,
  set: Effect.untrackedSetting | Effect.trackers,
} as const;

export type SqlPinReason = keyof typeof PIN_REASON_BITS;

export const SQL_PIN_REASONS = Object.keys(PIN_REASON_BITS) as readonly SqlPinReason[];

/** All bits that give a reason to pin. */
export const PINNING: EffectSet = Object.values(PIN_REASON_BITS).reduce(
  (all, bits) => all | bits,
  PLAIN,
);

/** The reason to name when these effects pin; nothing if none of them does. */
export function pinReasonOf(effects: EffectSet): SqlPinReason | undefined {
  return SQL_PIN_REASONS.find((reason) => (effects & PIN_REASON_BITS[reason]) !== 0);
}
