/**
 * What the statements and functions of MySQL and MariaDB may do to a session that the server's
 * trackers do not tell: the tables that the classifier follows. `docs/mysql-sessions.md` says what
 * the trackers do tell. A word that is not here begins no statement that can be judged.
 * https://dev.mysql.com/doc/refman/9.4/en/sql-statements.html
 * https://mariadb.com/docs/server/reference/sql-statements
 */

import { Effect, type EffectSet, PLAIN } from './effects.ts';
import {
  type FunctionName,
  type Keyword,
  type VariableName,
  WORD_COUNT,
  type WordId,
  wordId,
} from './words.ts';

/** What the classifier expects next within a statement. */
export const Phase = {
  /** Before the first token of a statement. */
  start: 0,
  /** Only functions and variables matter. */
  rest: 1,
  /** SET: before the name of a variable. */
  set: 2,
  /** SET: in the name of a variable. */
  setTarget: 3,
  /** SET: in the value. */
  setValue: 4,
  setNames: 5,
  /** SET STATEMENT ... FOR. */
  setStatement: 6,
  create: 7,
  begin: 8,
  drop: 9,
  execute: 10,
  explain: 11,
  flush: 12,
  handler: 13,
  kill: 14,
  load: 15,
  show: 16,
  /** Every user variable may be given a value. */
  outputs: 17,
  xa: 18,
  backup: 19,
  /** COMMIT and ROLLBACK. */
  completion: 20,
} as const;
export type Phase = (typeof Phase)[keyof typeof Phase];

interface Rule {
  readonly phase: Phase;
  readonly does: EffectSet;
}

function rule(phase: Phase, does: EffectSet = PLAIN): Rule {
  return { phase, does };
}

const plain = rule(Phase.rest);

const statements: Partial<Record<Keyword, Rule>> = {
  alter: rule(Phase.create),
  analyze: rule(Phase.explain),
  backup: rule(Phase.backup, Effect.tableLock),
  begin: rule(Phase.begin),
  // Leaves a description of the format behind, and the variables of the events.
  binlog: rule(Phase.rest, Effect.unknown),
  cache: plain,
  call: rule(Phase.outputs, Effect.call),
  change: plain,
  check: plain,
  checksum: plain,
  clone: plain,
  commit: rule(Phase.completion),
  create: rule(Phase.create),
  deallocate: rule(Phase.rest, Effect.mayClear),
  delete: plain,
  desc: rule(Phase.explain),
  describe: rule(Phase.explain),
  do: plain,
  drop: rule(Phase.drop),
  execute: rule(Phase.execute, Effect.sqlPrepare),
  explain: rule(Phase.explain),
  flush: rule(Phase.flush),
  get: rule(Phase.outputs, Effect.readsDiagnostics),
  grant: plain,
  handler: rule(Phase.handler),
  help: plain,
  import: plain,
  insert: plain,
  install: plain,
  kill: rule(Phase.kill, Effect.kill),
  // Its OK packet has no insert id, whatever it has inserted.
  load: rule(Phase.load, Effect.leavesInsertId),
  lock: rule(Phase.rest, Effect.tableLock),
  optimize: plain,
  prepare: rule(Phase.rest, Effect.sqlPrepare),
  purge: plain,
  release: plain,
  rename: plain,
  repair: plain,
  replace: plain,
  reset: plain,
  resignal: plain,
  restart: rule(Phase.rest, Effect.ends),
  revoke: plain,
  rollback: rule(Phase.completion),
  savepoint: plain,
  select: plain,
  set: rule(Phase.set),
  show: rule(Phase.show),
  shutdown: rule(Phase.rest, Effect.ends),
  signal: plain,
  start: plain,
  stop: plain,
  table: plain,
  truncate: plain,
  uninstall: plain,
  unlock: rule(Phase.rest, Effect.mayClear),
  update: plain,
  use: rule(Phase.rest, Effect.schema),
  values: plain,
  with: plain,
  xa: rule(Phase.xa),
};

const functions: Readonly<Record<FunctionName, EffectSet>> = {
  connection_id: Effect.readsConnectionId,
  found_rows: Effect.readsFoundRows,
  get_lock: Effect.userLevelLock,
  is_used_lock: Effect.readsConnectionId,
  lastval: Effect.sequence,
  nextval: Effect.sequence,
  ps_current_thread_id: Effect.readsConnectionId,
  release_all_locks: Effect.mayClear,
  release_lock: Effect.mayClear,
  row_count: Effect.readsRowCount,
  service_get_read_locks: Effect.userLevelLock,
  service_get_write_locks: Effect.userLevelLock,
  service_release_locks: Effect.mayClear,
  setval: Effect.sequence,
  version_tokens_lock_exclusive: Effect.userLevelLock,
  version_tokens_lock_shared: Effect.userLevelLock,
  version_tokens_unlock: Effect.mayClear,
};

/** What it says when a system variable is read. */
const variables: Readonly<Record<VariableName, EffectSet>> = {
  error_count: Effect.readsDiagnostics,
  identity: Effect.readsInsertId,
  last_insert_id: Effect.readsInsertId,
  pseudo_thread_id: Effect.readsConnectionId,
  session_track_gtids: PLAIN,
  session_track_schema: PLAIN,
  session_track_state_change: PLAIN,
  session_track_system_variables: PLAIN,
  session_track_transaction_info: PLAIN,
  transaction_isolation: PLAIN,
  transaction_read_only: PLAIN,
  tx_isolation: PLAIN,
  tx_read_only: PLAIN,
  warning_count: Effect.readsDiagnostics,
};

const TRACKERS: readonly VariableName[] = [
  'session_track_gtids',
  'session_track_schema',
  'session_track_state_change',
  'session_track_system_variables',
  'session_track_transaction_info',
];

/** Set without a scope, as `SET @@transaction_isolation`, they hold for the next transaction. */
const NEXT_TRANSACTION: readonly VariableName[] = [
  'transaction_isolation',
  'transaction_read_only',
  'tx_isolation',
  'tx_read_only',
];

/** By word id: the phase a statement begins in; `Phase.start` if the word begins no statement. */
export const statementPhases = new Uint8Array(WORD_COUNT);
/** By word id: what a statement that begins with this word does whatever else it says. */
export const statementEffects = new Int32Array(WORD_COUNT);
/** By word id: what calling this function does. */
export const functionEffects = new Int32Array(WORD_COUNT);
/** By word id: what reading this system variable does. */
export const variableEffects = new Int32Array(WORD_COUNT);
/** By word id: what setting this system variable does beside setting it. */
export const settingEffects = new Int32Array(WORD_COUNT);

for (const keyword of Object.keys(statements) as Keyword[]) {
  const { phase, does } = statements[keyword] ?? plain;
  statementPhases[wordId(keyword)] = phase;
  statementEffects[wordId(keyword)] = does;
}
for (const name of Object.keys(functions) as FunctionName[]) {
  functionEffects[wordId(name)] = functions[name];
}
for (const name of Object.keys(variables) as VariableName[]) {
  variableEffects[wordId(name)] = variables[name];
}
for (const name of TRACKERS) settingEffects[wordId(name)] = Effect.trackers;

const nextTransaction: ReadonlySet<WordId> = new Set(NEXT_TRANSACTION.map(wordId));

export function isForNextTransaction(variable: WordId): boolean {
  return nextTransaction.has(variable);
}

/** By word id: 1 if BEGIN after this word opens a block in the body of a routine. */
export const opensBlock = new Uint8Array(WORD_COUNT);
for (const opener of ['then', 'else', 'do', 'loop', 'repeat'] as const) {
  opensBlock[wordId(opener)] = 1;
}
