/**
 * The words that the lexer tells apart, as small numbers: keywords that the rules look at, and
 * functions that outlive their transaction. Every other word is `OTHER`.
 *
 * A word is looked up by the hash that the lexer computes while it reads, and then compared byte by
 * byte, so a lookup makes no string and a collision cannot be mistaken for a match.
 */

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

/** The number of a word; 0 is every word that is not listed. */
export type WordId = number;

const WORDS: readonly Word[] = [...KEYWORDS, ...NAMES, ...FUNCTIONS];

/** Any word that no rule looks at. */
export const OTHER: WordId = 0;

/** One more than the largest word id. */
export const WORD_COUNT = WORDS.length + 1;

/** Ids from here up to `WORD_COUNT` are functions. */
export const FIRST_FUNCTION: WordId = KEYWORDS.length + NAMES.length + 1;

/** Longer identifiers are cut by PostgreSQL (NAMEDATALEN is 64) and are no word of ours. */
export const WORD_LENGTH_MAX = 63;

/** The id of a word. */
export function wordId(word: Word): WordId {
  return WORDS.indexOf(word) + 1;
}

/** The text of a word; empty for `OTHER`. */
export function wordText(id: WordId): string {
  return WORDS[id - 1] ?? '';
}

/** Continue the hash of a word with its next byte. Starts at 0. */
export function hashStep(hash: number, byte: number): number {
  return (Math.imul(hash, 31) + byte) | 0;
}

const SLOTS = 1024;
const texts: readonly Uint8Array[] = ['', ...WORDS].map((word) => new TextEncoder().encode(word));
const firstInSlot = new Uint8Array(SLOTS);
const nextInSlot = new Uint8Array(WORD_COUNT);

for (let id = 1; id < WORD_COUNT; id += 1) {
  const slot = slotOf(texts[id]?.reduce(hashStep, 0) ?? 0);
  nextInSlot[id] = firstInSlot[slot] ?? 0;
  firstInSlot[slot] = id;
}

function slotOf(hash: number): number {
  return (hash ^ (hash >>> 15)) & (SLOTS - 1);
}

/** The id of the word in the first `length` bytes of `text`, whose hash is `hash`. */
export function findWord(text: Uint8Array, length: number, hash: number): WordId {
  for (let id = firstInSlot[slotOf(hash)] ?? 0; id !== 0; id = nextInSlot[id] ?? 0) {
    if (isWord(text, length, id)) return id;
  }
  return isNumberedTemporarySchema(text, length) ? TEMPORARY_SCHEMA : OTHER;
}

function isWord(text: Uint8Array, length: number, id: WordId): boolean {
  const word = texts[id];
  return word !== undefined && word.length === length && startsWith(text, word);
}

function startsWith(text: Uint8Array, prefix: Uint8Array): boolean {
  for (let at = 0; at < prefix.length; at += 1) if (text[at] !== prefix[at]) return false;
  return true;
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
