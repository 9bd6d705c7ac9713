/**
 * What a session has left on its connection, asked of the database itself when the transaction is
 * over: the text of a statement says what may have happened, and only the database knows whether it
 * has, was rolled back, or has been undone since. One query, which names everything by schema.
 *
 * https://www.postgresql.org/docs/current/view-pg-settings.html and its neighbours
 */

import type { Row } from './own-statement.ts';
import { SessionSettings } from './settings.ts';

/** The reasons to pin that the database can be asked about. */
export const AUDITED = [
  'set',
  'temporary_object',
  'listen',
  'sql_prepare',
  'hold_cursor',
  'advisory_lock',
] as const;
export type AuditedReason = (typeof AUDITED)[number];

export function isAudited(reason: string): reason is AuditedReason {
  return (AUDITED as readonly string[]).includes(reason);
}

/** What can be replayed on any connection: it means the same in every client encoding. */
const REPLAYABLE = /^[\x20-\x7e]*$/;
/** A session with more in its settings than this is pinned. */
const SETTINGS_BYTES_MAX = 64 * 1024;
/** Of one transaction, or not to be set. */
const TRANSIENT: ReadonlySet<string> = new Set([
  'transaction_deferrable',
  'transaction_isolation',
  'transaction_read_only',
]);
const NO_ROLE = 'none';

const EQUALS = 'OPERATOR(pg_catalog.=)';

/**
 * Each gives rows of three texts: what was found, its name, its value. The role and the user are
 * settings that no view lists. Whatever is in the schema of temporary objects depends on it.
 */
const QUESTIONS: Readonly<Record<AuditedReason, string>> = {
  set: `SELECT 'setting',name,setting FROM pg_catalog.pg_settings WHERE source ${EQUALS} 'session'
    UNION ALL SELECT 'setting','role',pg_catalog.current_setting('role')
    UNION ALL SELECT 'user','',pg_catalog.current_setting('session_authorization')`,
  temporary_object: `SELECT 'temporary_object','',NULL FROM pg_catalog.pg_depend
      WHERE refclassid ${EQUALS} 'pg_catalog.pg_namespace'::pg_catalog.regclass
        AND refobjid ${EQUALS} pg_catalog.pg_my_temp_schema()
    UNION ALL SELECT 'temporary_object','',NULL FROM pg_catalog.pg_replication_slots
      WHERE temporary AND active_pid ${EQUALS} pg_catalog.pg_backend_pid()`,
  listen: `SELECT 'listen',channel,NULL FROM pg_catalog.pg_listening_channels() AS l(channel)`,
  sql_prepare: `SELECT 'sql_prepare','',NULL FROM pg_catalog.pg_prepared_statements WHERE from_sql`,
  hold_cursor: `SELECT 'hold_cursor','',NULL FROM pg_catalog.pg_cursors WHERE is_holdable`,
  advisory_lock: `SELECT 'advisory_lock','',NULL FROM pg_catalog.pg_locks
      WHERE locktype ${EQUALS} 'advisory' AND pid ${EQUALS} pg_catalog.pg_backend_pid()`,
};

/** The query that asks about `reasons`, and about the settings of applications that have `customNames`. */
export function auditQuery(
  reasons: Iterable<AuditedReason>,
  customNames: Iterable<string>,
): string {
  const questions = [...reasons].map((reason) => QUESTIONS[reason]);
  for (const name of customNames) {
    questions.push(`SELECT 'setting','${name}',pg_catalog.current_setting('${name}',true)`);
  }
  return questions.join(' UNION ALL ');
}

export interface Findings {
  /** What ties the session to the connection. */
  readonly reasons: ReadonlySet<AuditedReason>;
  /** `undefined`: they were not asked for. */
  readonly settings: SessionSettings | undefined;
  /** The channels that the connection listens to. */
  readonly channels: readonly string[];
}

/** `base`: what the InitQuery has set. `user`: who logged in. */
export function readFindings(
  rows: readonly Row[],
  { base, user }: { readonly base: SessionSettings; readonly user: string },
): Findings {
  const reasons = new Set<AuditedReason>();
  const found = new Map<string, string>();
  const channels: string[] = [];
  let isAsked = false;
  let bytes = 0;
  for (const [kind = '', name = '', value] of rows) {
    if (kind === 'setting') {
      const key = name.toLowerCase();
      const isUnset = value === undefined || (key === 'role' && value === NO_ROLE);
      if (isUnset || TRANSIENT.has(key)) continue;
      if (!REPLAYABLE.test(value)) reasons.add('set');
      found.set(key, value);
      bytes += key.length + value.length;
    } else if (kind === 'user') {
      isAsked = true;
      if (value !== user) reasons.add('set');
    } else if (isAudited(kind)) {
      reasons.add(kind);
      if (kind === 'listen') channels.push(name);
    }
  }
  if (bytes > SETTINGS_BYTES_MAX) reasons.add('set');
  return { reasons, settings: isAsked ? SessionSettings.found(found, base) : undefined, channels };
}
