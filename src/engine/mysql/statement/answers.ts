/**
 * What the proxy says of prepared statements in the place of a server, in that server's words: texts that
 * contain an id must have the client's.
 */

import { BerthError } from '../../../base/errors.ts';
import {
  COM_STMT_BULK_EXECUTE,
  COM_STMT_EXECUTE,
  COM_STMT_FETCH,
  COM_STMT_RESET,
} from '../wire/capabilities.ts';
import { CLIENT_STATEMENTS_MAX } from './client-statements.ts';

/** MariaDB names the function that looked the statement up; in MySQL it is the same one for all commands. */
const MYSQL_FUNCTION = 'mysql_stmt_precheck';
const MARIADB_FUNCTIONS: ReadonlyMap<number, string> = new Map([
  [COM_STMT_EXECUTE, 'mysqld_stmt_execute'],
  [COM_STMT_BULK_EXECUTE, 'mysqld_stmt_bulk_execute'],
  [COM_STMT_FETCH, 'mysqld_stmt_fetch'],
  [COM_STMT_RESET, 'mysqld_stmt_reset'],
]);
const MARIADB_LONG_DATA_FUNCTION = 'mysqld_stmt_send_long_data';

export function unknownStatement(id: number, command: number, isMariaDb: boolean): BerthError {
  const name = isMariaDb ? (MARIADB_FUNCTIONS.get(command) ?? '') : MYSQL_FUNCTION;
  return new BerthError('prepared_statement_unknown', { params: { id, command: name } });
}

export function cursorNotOpen(id: number, isMariaDb: boolean): BerthError {
  return new BerthError('cursor_not_open', { params: { id, end: isMariaDb ? '' : '.' } });
}

/** COM_STMT_SEND_LONG_DATA named a parameter that the statement does not have. */
export function wrongLongData(isMariaDb: boolean): BerthError {
  const command = isMariaDb ? MARIADB_LONG_DATA_FUNCTION : MYSQL_FUNCTION;
  return new BerthError('wrong_arguments', { params: { command } });
}

export function malformedPacket(isMariaDb: boolean): BerthError {
  return new BerthError('packet_malformed', { params: { end: isMariaDb ? '' : '.' } });
}

export function tooManyStatements(): BerthError {
  return new BerthError('too_many_statements', { params: { max: CLIENT_STATEMENTS_MAX } });
}
