/** The words that the lexer tells apart, as small numbers. Every other word is `OTHER`. */

import { type WordId, WordTable } from '../word-table.ts';

export { hashStep, OTHER, type WordId } from '../word-table.ts';

const KEYWORDS = [
  // Words that begin a statement; `rules.ts` says what each does.
  'alter',
  'analyze',
  'backup',
  'begin',
  'binlog',
  'cache',
  'call',
  'change',
  'check',
  'checksum',
  'clone',
  'commit',
  'create',
  'deallocate',
  'delete',
  'desc',
  'describe',
  'do',
  'drop',
  'execute',
  'explain',
  'flush',
  'get',
  'grant',
  'handler',
  'help',
  'import',
  'insert',
  'install',
  'kill',
  'load',
  'lock',
  'optimize',
  'prepare',
  'purge',
  'release',
  'rename',
  'repair',
  'replace',
  'reset',
  'resignal',
  'restart',
  'revoke',
  'rollback',
  'savepoint',
  'select',
  'set',
  'show',
  'shutdown',
  'signal',
  'start',
  'stop',
  'table',
  'truncate',
  'uninstall',
  'unlock',
  'update',
  'use',
  'values',
  'with',
  'xa',
  // Words that change what a statement does.
  'authorization',
  'case',
  'char',
  'character',
  'charset',
  'close',
  'collate',
  'connection',
  'database',
  'default',
  'else',
  'end',
  'errors',
  'event',
  'exists',
  'export',
  'for',
  'function',
  'global',
  'hard',
  'if',
  'immediate',
  'index',
  'infile',
  'into',
  'local',
  'loop',
  'names',
  'next',
  'no',
  'open',
  'package',
  'password',
  'persist',
  'persist_only',
  'previous',
  'procedure',
  'processlist',
  'profile',
  'profiles',
  'query',
  'recover',
  'repeat',
  'resource',
  'returning',
  'role',
  'schema',
  'sequence',
  'server',
  'session',
  'soft',
  'sql_calc_found_rows',
  'statement',
  'tables',
  'temporary',
  'then',
  'transaction',
  'trigger',
  'user',
  'value',
  'view',
  'warnings',
  'while',
  'work',
] as const;

/** System variables that say something about the statement before, the connection, or the trackers. */
const VARIABLES = [
  'error_count',
  'identity',
  'last_insert_id',
  'pseudo_thread_id',
  'session_track_gtids',
  'session_track_schema',
  'session_track_state_change',
  'session_track_system_variables',
  'session_track_transaction_info',
  'transaction_isolation',
  'transaction_read_only',
  'tx_isolation',
  'tx_read_only',
  'warning_count',
] as const;

/** Functions that leave something in the session or read what is there; `last_insert_id` is one too. */
const FUNCTIONS = [
  'connection_id',
  'found_rows',
  'get_lock',
  'is_used_lock',
  'lastval',
  'nextval',
  'ps_current_thread_id',
  'release_all_locks',
  'release_lock',
  'row_count',
  'service_get_read_locks',
  'service_get_write_locks',
  'service_release_locks',
  'setval',
  'version_tokens_lock_exclusive',
  'version_tokens_lock_shared',
  'version_tokens_unlock',
] as const;

export type Keyword = (typeof KEYWORDS)[number];
export type FunctionName = (typeof FUNCTIONS)[number];
export type VariableName = (typeof VARIABLES)[number];
export type Word = Keyword | VariableName | FunctionName;

const table = new WordTable<Word>([...KEYWORDS, ...VARIABLES, ...FUNCTIONS]);

/** One more than the largest word id. */
export const WORD_COUNT = table.count;
/** Ids below this are keywords, which mean something only where they are not quoted. */
export const FIRST_NAME: WordId = KEYWORDS.length + 1;
/** An identifier has at most 64 characters; a longer one is no word of ours. */
export const WORD_LENGTH_MAX = 63;

export function wordId(word: Word): WordId {
  return table.id(word);
}

/** The text of a word; empty for `OTHER`. */
export function wordText(id: WordId): string {
  return table.text(id);
}

/** The id of the word in the first `length` bytes of `text`, whose hash is `hash`. */
export function findWord(text: Uint8Array, length: number, hash: number): WordId {
  return table.find(text, length, hash);
}
