/**
 * The words that the lexer tells apart, as small numbers: keywords that the rules look at, and
 * functions that outlive their transaction. Every other word is `OTHER`.
 */

import { OTHER, startsWith, type WordId, WordTable } from '../word-table.ts';

export { hashStep, OTHER, type WordId } from '../word-table.ts';

/** Keywords: https://www.postgresql.org/docs/18/sql-keywords-appendix.html */
const KEYWORDS = [
  // Words that begin a statement (`stmt` in PostgreSQL 18's gram.y); `rules.ts` says what each does.
  'abort',
  'alter',
  'analyse',
  'analyze',
  'begin',
  'call',
  'checkpoint',
  'close',
  'cluster',
  'comment',
  'commit',
  'copy',
  'create',
  'deallocate',
  'declare',
  'delete',
  'discard',
  'do',
  'drop',
  'end',
  'execute',
  'explain',
  'fetch',
  'grant',
  'import',
  'insert',
  'listen',
  'load',
  'lock',
  'merge',
  'move',
  'notify',
  'prepare',
  'reassign',
  'refresh',
  'reindex',
  'release',
  'reset',
  'revoke',
  'rollback',
  'savepoint',
  'security',
  'select',
  'set',
  'show',
  'start',
  'table',
  'truncate',
  'unlisten',
  'update',
  'vacuum',
  'values',
  'with',
  // Words that change what a statement does.
  'as',
  'atomic',
  'case',
  'constraints',
  'default',
  'else',
  'for',
  'function',
  'global',
  'hold',
  'into',
  'language',
  'local',
  'loop',
  'on',
  'or',
  'procedure',
  'replace',
  'temp',
  'temporary',
  'then',
  'to',
  'transaction',
  'true',
  'uescape',
  'unlogged',
  'verbose',
  // Settings that may be local to a transaction and change the meaning of no text.
  'application_name',
  'idle_in_transaction_session_timeout',
  'lock_timeout',
  'statement_timeout',
  'synchronous_commit',
  'transaction_timeout',
  'work_mem',
] as const;

/** Names that mean the same quoted and unquoted. */
const NAMES = ['plpgsql', 'pg_temp'] as const;

/** Functions whose effect outlives the transaction; `rules.ts` gives each its reason. */
const FUNCTIONS = [
  'set_config',
  'setseed',
  'set_limit',
  'nextval',
  'setval',
  'currval',
  'lastval',
  'pg_advisory_lock',
  'pg_advisory_lock_shared',
  'pg_try_advisory_lock',
  'pg_try_advisory_lock_shared',
  'pg_advisory_unlock',
  'pg_advisory_unlock_shared',
  'pg_advisory_unlock_all',
  'pg_export_snapshot',
  'pg_create_physical_replication_slot',
  'pg_create_logical_replication_slot',
  'pg_copy_physical_replication_slot',
  'pg_copy_logical_replication_slot',
  'dblink_connect',
  'dblink_connect_u',
  'pg_backup_start',
  'pg_start_backup',
  'pg_replication_origin_session_setup',
] as const;

export type Keyword = (typeof KEYWORDS)[number];
export type FunctionName = (typeof FUNCTIONS)[number];
export type Word = Keyword | (typeof NAMES)[number] | FunctionName;

const table = new WordTable<Word>([...KEYWORDS, ...NAMES, ...FUNCTIONS]);

/** One more than the largest word id. */
export const WORD_COUNT = table.count;

/** Ids from here up to `WORD_COUNT` are functions. */
export const FIRST_FUNCTION: WordId = KEYWORDS.length + NAMES.length + 1;

/** Longer identifiers are cut by PostgreSQL (NAMEDATALEN is 64) and are no word of ours. */
export const WORD_LENGTH_MAX = 63;

/** The id of a word. */
export function wordId(word: Word): WordId {
  return table.id(word);
}

/** The text of a word; empty for `OTHER`. */
export function wordText(id: WordId): string {
  return table.text(id);
}

/** The id of the word in the first `length` bytes of `text`, whose hash is `hash`. */
export function findWord(text: Uint8Array, length: number, hash: number): WordId {
  const id = table.find(text, length, hash);
  if (id !== OTHER) return id;
  return isNumberedTemporarySchema(text, length) ? TEMPORARY_SCHEMA : OTHER;
}

const TEMPORARY_SCHEMA = wordId('pg_temp');
const NUMBERED_TEMPORARY_SCHEMA = new TextEncoder().encode('pg_temp_');

/** The real name behind `pg_temp` is `pg_temp_` and a number, and it works as a qualifier too. */
function isNumberedTemporarySchema(text: Uint8Array, length: number): boolean {
  return (
    text[0] === 0x70 &&
    length > NUMBERED_TEMPORARY_SCHEMA.length &&
    startsWith(text, NUMBERED_TEMPORARY_SCHEMA)
  );
}
