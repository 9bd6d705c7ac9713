/**
 * What becomes of the session system variables that a server reports as changed: they are set again
 * on the session's next connection, or they keep it on this one. Data for MySQL and MariaDB together;
 * a name that one of them does not have does no harm. `docs/mysql-sessions.md` says what was checked.
 * https://dev.mysql.com/doc/refman/9.4/en/session-state-tracking.html
 *
 * What is not listed is set again. Both servers report every variable with the whole of its value,
 * and what has a global value too is a setting; the listed ones are those that are something else.
 */

/**
 * `replayed`: set again on the next connection. `pins`: the session keeps its connection.
 * `tracker`: what the client hears of changes is the proxy's to give, and what the server tells the
 * proxy must not change.
 * `news`: what a statement was, for the client that wants to know; nobody can set it.
 */
export type Treatment = 'replayed' | 'pins' | 'tracker' | 'news';

interface Family {
  readonly treatment: Treatment;
  readonly why: string;
  readonly names: readonly string[];
}

/** Families of variables that are not, or not simply, set again; and why. */
export const FAMILIES: readonly Family[] = [
  {
    treatment: 'pins',
    why: 'A clock that stands still; the value that is reported after DEFAULT is that of the statement before.',
    names: ['timestamp'],
  },
  {
    treatment: 'pins',
    why: 'Good for the next statement only, and then gone without a report.',
    names: [
      'insert_id',
      'rand_seed1',
      'rand_seed2',
      'gtid_seq_no',
      'wsrep_gtid_seq_no',
      'gtid_next',
    ],
  },
  {
    treatment: 'pins',
    why: 'Changes with every INSERT, without a report.',
    names: ['last_insert_id', 'identity'],
  },
  {
    treatment: 'pins',
    why: 'Pretends to be another connection, or one that applies a binary log.',
    names: [
      'pseudo_thread_id',
      'pseudo_slave_mode',
      'pseudo_replica_mode',
      'skip_replication',
      'skip_parallel_replication',
      'original_commit_timestamp',
      'original_server_version',
      'immediate_server_version',
      'require_row_format',
    ],
  },
  {
    treatment: 'pins',
    why: 'What it collects stays on the connection, to be asked for later.',
    names: [
      'profiling',
      'profiling_history_size',
      'optimizer_trace',
      'optimizer_trace_features',
      'optimizer_trace_limit',
      'optimizer_trace_max_mem_size',
      'optimizer_trace_offset',
    ],
  },
  {
    treatment: 'pins',
    why: 'For debugging the server: waits and faults of this very connection.',
    names: ['debug', 'debug_dbug', 'debug_sync'],
  },
  {
    treatment: 'pins',
    why: 'RELEASE: the server ends the connection behind each COMMIT and ROLLBACK.',
    names: ['completion_type'],
  },
  {
    treatment: 'news',
    why: 'MariaDB with a binary log: the GTID of what was committed. It can only be read.',
    names: ['last_gtid'],
  },
  {
    treatment: 'tracker',
    why: 'Decides what the server reports.',
    names: [
      'session_track_gtids',
      'session_track_schema',
      'session_track_state_change',
      'session_track_system_variables',
      'session_track_transaction_info',
    ],
  },
];

const treatments: ReadonlyMap<string, Treatment> = new Map(
  FAMILIES.flatMap(({ treatment, names }) => names.map((name) => [name, treatment] as const)),
);

/** What becomes of a variable, by the name that the server reports. */
export function treatmentOf(name: string): Treatment {
  return treatments.get(name.toLowerCase()) ?? 'replayed';
}

/** Names of one variable: what was reported under one of them replaces what was under the other. */
const SYNONYMS: Readonly<Record<string, string>> = {
  storage_engine: 'default_storage_engine',
  tx_isolation: 'transaction_isolation',
  tx_read_only: 'transaction_read_only',
};

/** The name under which a variable is remembered. It is set under the one that was reported. */
export function canonicalName(name: string): string {
  const lower = name.toLowerCase();
  return SYNONYMS[lower] ?? lower;
}

/**
 * Setting one of a pair sets the other, which is not reported. So a report of only one of them makes
 * what is remembered of the other untrue: it is to be forgotten.
 */
const PAIRS: Readonly<Record<string, string>> = {
  character_set_connection: 'collation_connection',
  character_set_database: 'collation_database',
  character_set_server: 'collation_server',
  collation_connection: 'character_set_connection',
  collation_database: 'character_set_database',
  collation_server: 'character_set_server',
};

/** The variable that changes unreported when this one does. */
export function pairOf(name: string): string | undefined {
  return PAIRS[name];
}

/** Collations behind their character sets, which bring one along; `autocommit` behind all else. */
const LAST: Readonly<Record<string, number>> = {
  collation_connection: 1,
  collation_database: 1,
  collation_server: 1,
  autocommit: 2,
};

/** For sorting what is set again: lower ones first. */
export function replayRank(canonical: string): number {
  return LAST[canonical] ?? 0;
}

/** Variables that are reported as an empty string when they are NULL, and cannot be empty. */
const EMPTY_IS_NULL: ReadonlySet<string> = new Set([
  'character_set_results',
  'default_tmp_storage_engine',
  'enforce_storage_engine',
  'innodb_ft_user_stopword_table',
  'innodb_tmpdir',
]);

const NAME = /^[a-z_][a-z0-9_]{0,63}$/i;
const NUMBER = /^-?\d{1,20}(?:\.\d{1,20})?$/;
/** In these a quote is doubled or a backslash is an escape, depending on the mode that is being set. */
const QUOTABLE = /^[ !#-&(-[\]-~]*$/;

/**
 * The assignment, for `SET SESSION a, b, ...`, that gives a variable the value the server reported.
 * Undefined: it cannot be written so that every mode and character set reads it alike; that pins.
 */
export function assignmentOf(name: string, value: string): string | undefined {
  if (!NAME.test(name)) return undefined;
  return withValue(name, value);
}

function withValue(name: string, value: string): string | undefined {
  if (value === '' && EMPTY_IS_NULL.has(name.toLowerCase())) return `${name} = NULL`;
  if (NUMBER.test(value)) return `${name} = ${value}`;
  if (name.toLowerCase() === 'system_versioning_asof' && value === 'DEFAULT')
    return `${name} = DEFAULT`;
  return QUOTABLE.test(value) ? `${name} = '${value}'` : undefined;
}
