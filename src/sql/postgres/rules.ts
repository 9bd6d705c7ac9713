/**
 * What PostgreSQL's statements and functions leave behind in a session: the tables that the
 * classifier follows. A statement keyword that is not here is unknown, and unknown pins.
 *
 * The list is `stmt` of PostgreSQL 18's grammar, by first keyword:
 * https://github.com/postgres/postgres/blob/REL_18_STABLE/src/backend/parser/gram.y
 * https://www.postgresql.org/docs/18/sql-commands.html
 *
 * What a reason says is a suspicion for most of them: when the transaction is over, the database is
 * asked what is there (`engine/postgres/audit.ts`).
 */

import {
  FORGETS_STATEMENTS,
  MAY_CLEAR,
  NO_REASONS,
  type ReasonSet,
  reasonSet,
  type SqlPinReason,
} from './effects.ts';
import { type FunctionName, type Keyword, WORD_COUNT, wordId } from './words.ts';

/**
 * What the classifier expects next within a statement. Up to `rest` no rule looks at the tokens;
 * numbers, because this is compared for every token.
 */
export const Phase = {
  /** Before the first token of a statement. */
  start: 0,
  /** Nothing in the rest of the statement matters, except the functions it calls. */
  rest: 1,
  /** SELECT, WITH and the like: is there an INTO TEMP? */
  query: 2,
  queryInto: 3,
  set: 4,
  /** After SET LOCAL, SET TRANSACTION or SET CONSTRAINTS. */
  setScope: 5,
  prepare: 6,
  prepareTransaction: 7,
  /** DECLARE, up to the FOR of its query. */
  declare: 8,
  create: 9,
  /** CREATE, after its modifiers. */
  createObject: 10,
  /** CREATE ... ON COMMIT */
  createOnCommit: 11,
  explain: 12,
  do: 13,
  doLanguage: 14,
  /** SET LOCAL, after a name that may have a second part. */
  setLocal: 15,
} as const;
export type Phase = (typeof Phase)[keyof typeof Phase];

interface StatementRule {
  readonly phase: Phase;
  readonly does?: ReasonSet;
}

const plain: StatementRule = { phase: Phase.rest };
const query: StatementRule = { phase: Phase.query };
const clears: StatementRule = { phase: Phase.rest, does: MAY_CLEAR };

function pins(reason: SqlPinReason, does = NO_REASONS): StatementRule {
  return { phase: Phase.rest, does: reasonSet(reason) | does };
}

const statements: Partial<Record<Keyword, StatementRule>> = {
  abort: plain,
  // ALTER SYSTEM, ALTER ROLE ... SET and ALTER DATABASE ... SET are for later sessions.
  alter: plain,
  analyse: plain,
  analyze: plain,
  begin: plain,
  call: plain,
  checkpoint: plain,
  close: clears,
  cluster: plain,
  comment: plain,
  commit: plain,
  copy: plain,
  create: { phase: Phase.create },
  deallocate: { phase: Phase.rest, does: MAY_CLEAR | FORGETS_STATEMENTS },
  declare: { phase: Phase.declare },
  delete: plain,
  discard: { phase: Phase.rest, does: MAY_CLEAR | FORGETS_STATEMENTS },
  do: { phase: Phase.do },
  drop: clears,
  end: plain,
  execute: pins('sql_prepare'),
  explain: { phase: Phase.explain },
  fetch: plain,
  grant: plain,
  import: plain,
  insert: plain,
  listen: pins('listen'),
  load: pins('load'),
  lock: plain,
  merge: plain,
  move: plain,
  notify: plain,
  prepare: { phase: Phase.prepare },
  reassign: plain,
  refresh: plain,
  reindex: plain,
  release: plain,
  reset: pins('set', MAY_CLEAR),
  revoke: plain,
  rollback: plain,
  savepoint: plain,
  security: plain,
  select: query,
  set: { phase: Phase.set },
  show: plain,
  start: plain,
  table: query,
  truncate: plain,
  unlisten: clears,
  update: plain,
  vacuum: plain,
  values: query,
  with: query,
};

/**
 * Functions with an effect beyond the transaction. The `_xact_` locks have none.
 * `set_config` is judged by its arguments. What a function does inside cannot be seen from here:
 * neither in a called procedure, nor when an INSERT takes its key from a sequence.
 * https://www.postgresql.org/docs/18/functions-admin.html
 */
const functions: Record<FunctionName, SqlPinReason | 'clears'> = {
  set_config: 'set',
  // pg_trgm's threshold is a setting; the seed of random() is not, so nobody can be asked for it.
  set_limit: 'set',
  setseed: 'unknown',
  nextval: 'sequence',
  setval: 'sequence',
  // These two only read, but what they read is this session's last nextval.
  currval: 'sequence',
  lastval: 'sequence',
  pg_advisory_lock: 'advisory_lock',
  pg_advisory_lock_shared: 'advisory_lock',
  pg_try_advisory_lock: 'advisory_lock',
  pg_try_advisory_lock_shared: 'advisory_lock',
  pg_advisory_unlock: 'clears',
  pg_advisory_unlock_shared: 'clears',
  pg_advisory_unlock_all: 'clears',
  // A snapshot ends with the transaction that exported it, so this pins more than it must. Whoever
  // exports one (pg_dump, replication tools) lends it to other sessions and wants to stay in place.
  pg_export_snapshot: 'snapshot',
  // A slot may be temporary, and then ends with the session.
  pg_create_physical_replication_slot: 'temporary_object',
  pg_create_logical_replication_slot: 'temporary_object',
  pg_copy_physical_replication_slot: 'temporary_object',
  pg_copy_logical_replication_slot: 'temporary_object',
  // State that nothing but the end of the session undoes for certain.
  dblink_connect: 'unknown',
  dblink_connect_u: 'unknown',
  pg_backup_start: 'unknown',
  pg_start_backup: 'unknown',
  pg_replication_origin_session_setup: 'unknown',
};

/** By word id: the phase a statement begins in; `Phase.start` if the word begins no statement. */
export const statementPhases = new Uint8Array(WORD_COUNT);

/** By word id: what a statement that begins with this word does whatever else it says. */
export const statementReasons = new Uint16Array(WORD_COUNT);

/** By word id: what calling this function does. */
export const functionReasons = new Uint16Array(WORD_COUNT);

/**
 * By word id: 1 if a statement may begin after this word inside a PL/pgSQL block.
 * https://www.postgresql.org/docs/18/plpgsql-control-structures.html
 */
export const opensBlock = new Uint8Array(WORD_COUNT);

for (const keyword of Object.keys(statements) as Keyword[]) {
  const rule = statements[keyword] ?? plain;
  statementPhases[wordId(keyword)] = rule.phase;
  statementReasons[wordId(keyword)] = rule.does ?? NO_REASONS;
}
for (const name of Object.keys(functions) as FunctionName[]) {
  const does = functions[name];
  functionReasons[wordId(name)] = does === 'clears' ? MAY_CLEAR : reasonSet(does);
}
for (const opener of ['begin', 'then', 'else', 'loop'] as const) opensBlock[wordId(opener)] = 1;
