/** What is said to a connection, in the proxy's name, so that it has the statements that a client needs. */

import type { DatabaseConnection } from '../database-connection.ts';
import {
  CHANGES_CONNECTION,
  DESCRIBES_STATEMENT,
  OURS,
  OWES_BIND,
  OWES_CLOSE,
  OWES_DESCRIBE,
  OWES_PARSE,
} from '../ledger.ts';
import type { Outbox } from '../outbox.ts';
import {
  bindMessage,
  closePortalMessage,
  closeStatementMessage,
  describePortalMessage,
  parseMessage,
  queryMessage,
} from '../wire/frontend.ts';
import type { Check } from './connection-statements.ts';
import { PASSING_NAME, PASSING_REMOVAL_NAME } from './names.ts';
import type { Statement } from './statement.ts';

const PREPARE_PASSING = Buffer.concat([
  closeStatementMessage(PASSING_NAME),
  parseMessage(PASSING_NAME, ''),
]);
/** Takes the statement of `preparePassing`, by a simple query. */
export const DEALLOCATE_PASSING = queryMessage(`DEALLOCATE ${PASSING_NAME}`);
const PREPARE_PASSING_REMOVAL = Buffer.concat([
  closeStatementMessage(PASSING_REMOVAL_NAME),
  parseMessage(PASSING_REMOVAL_NAME, `DEALLOCATE ${PASSING_NAME}`),
]);

/**
 * Prepares a statement that the client has and the connection has not. What it was described as is
 * described again, unless it gives no rows; its parameters have the types that they had.
 */
export function prepareAgain(
  connection: DatabaseConnection,
  out: Outbox,
  statement: Statement,
): Check {
  const isKnown = statement.description !== undefined;
  const check = !isKnown ? 'noted' : statement.hasNoRows ? 'none' : 'awaited';
  prepare(connection, out, statement, OURS, check);
  return check;
}

/** `flag`: what the ledger is to know of the Parse. */
export function prepare(
  connection: DatabaseConnection,
  out: Outbox,
  statement: Statement,
  flag: number,
  check: Check,
): void {
  const { ledger, statements } = connection;
  if (statements.mayBeThere(statement)) closeOnServer(connection, out, statement);
  // Everything is done in the order in which it is sent, so what needs the one that goes has had it,
  // or will prepare it again. Not at the Sync: a COPY may be reading by then.
  const { surplus } = statements;
  if (surplus !== undefined) closeOnServer(connection, out, surplus);
  statements.parseSent(statement, check);
  ledger.owe(OWES_PARSE | CHANGES_CONNECTION | flag);
  out.push(flag === OURS ? statement.parseAgain : statement.parse);
  if (check === 'none') return;
  ledger.owe(OWES_DESCRIBE | OURS | DESCRIBES_STATEMENT);
  out.push(statement.describe);
}

function closeOnServer(connection: DatabaseConnection, out: Outbox, statement: Statement): void {
  connection.statements.closeSent(statement);
  connection.ledger.owe(OWES_CLOSE | OURS | CHANGES_CONNECTION);
  out.push(statement.close);
}

/** Prepares the statement that DEALLOCATE takes. It is empty, so it cannot fail. */
export function preparePassing(connection: DatabaseConnection, out: Outbox): void {
  connection.ledger.owe(OWES_CLOSE | OURS);
  connection.ledger.owe(OWES_PARSE | OURS);
  out.push(PREPARE_PASSING);
}

/** The portal, if it is there, is to take a statement that is there for that. */
export function bindToPassing(connection: DatabaseConnection, out: Outbox, portal: string): void {
  const { ledger } = connection;
  ledger.owe(OWES_DESCRIBE | OURS);
  out.push(describePortalMessage(portal));
  ledger.owe(OWES_CLOSE | OURS);
  out.push(closePortalMessage(portal));
  preparePassing(connection, out);
  ledger.owe(OWES_CLOSE | OURS);
  ledger.owe(OWES_PARSE | OURS);
  ledger.owe(OWES_BIND | OURS);
  out.push(PREPARE_PASSING_REMOVAL);
  out.push(bindMessage(portal, PASSING_REMOVAL_NAME));
}
