/**
 * What every database connection has before anything of a client's is run on it. The trackers make the
 * server tell in its OK packets what statements have done to the session; MySQL and MariaDB know them by
 * the same names. The character set goes back from that of the log-in to the server's own, which is what
 * COM_RESET_CONNECTION leaves: so both ways to a clean connection end in the same state.
 * https://dev.mysql.com/doc/refman/en/session-state-tracking.html
 * https://mariadb.com/docs/server/server-management/variables-and-modes/session-tracking/session-state-tracking
 */

import type { Flavour } from './login/server-facts.ts';
import { CLIENT_IGNORE_SPACE, CLIENT_INTERACTIVE, has } from './wire/capabilities.ts';
import type { TextRow } from './wire/replies.ts';

const EVERYTHING = '*';
const DEFAULT = 'DEFAULT';
/** Another value for each statement, so that no answer would be without a session state. */
const UNWANTED: ReadonlySet<string> = new Set(['statement_id']);
const NAME = /^\w+$/;

/** Whether `*` is too much of a server, and the names have to be asked for. */
const ARE_NAMES_NEEDED: Readonly<Record<Flavour, boolean>> = { mysql: true, mariadb: false };

/** One for each target. */
export class BaseSettings {
  /** By the server's version: another one has other variables. */
  private readonly names = new Map<string, string>();

  /** What to ask before `textFor` can say anything; `undefined` when it can. */
  questionFor(flavour: Flavour, version: string): string | undefined {
    if (!ARE_NAMES_NEEDED[flavour] || this.names.has(version)) return undefined;
    return 'SELECT VARIABLE_NAME FROM performance_schema.session_variables';
  }

  /** Without rows, because there is no performance schema, everything is tracked. */
  learn(version: string, rows: readonly TextRow[]): void {
    const names: string[] = [];
    for (const [name = ''] of rows) {
      if (NAME.test(name) && !UNWANTED.has(name)) names.push(name);
    }
    this.names.set(version, names.length === 0 ? EVERYTHING : names.join(','));
  }

  /** For a connection that has logged in with `capabilities`. */
  textFor(version: string, capabilities: number): string {
    const names = this.names.get(version) ?? EVERYTHING;
    return (
      `SET SESSION session_track_system_variables='${names}', session_track_schema=ON, ` +
      "session_track_state_change=ON, session_track_transaction_info='CHARACTERISTICS', " +
      'character_set_client=DEFAULT, character_set_results=DEFAULT, ' +
      'character_set_connection=DEFAULT, collation_connection=DEFAULT' +
      ofLogin(capabilities)
    );
  }
}

/** Variables that some log-ins set; MariaDB's COM_RESET_CONNECTION takes that away. */
const SET_BY_LOGIN = ['sql_mode', 'wait_timeout'] as const;

function ofLogin(capabilities: number): string {
  return SET_BY_LOGIN.map((name) => [name, defaultOf(name, capabilities)] as const)
    .filter(([, value]) => value !== DEFAULT)
    .map(([name, value]) => `, ${name}=${value}`)
    .join('');
}

/** What the variable is after a log-in with `capabilities`, as an expression. */
export function defaultOf(name: string, capabilities: number): string {
  if (name === 'sql_mode' && has(capabilities, CLIENT_IGNORE_SPACE)) {
    return "CONCAT(@@GLOBAL.sql_mode, ',IGNORE_SPACE')";
  }
  if (name === 'wait_timeout' && has(capabilities, CLIENT_INTERACTIVE)) {
    return '@@GLOBAL.interactive_timeout';
  }
  return DEFAULT;
}
