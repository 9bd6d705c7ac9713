/**
 * What the log says about an event: a level and a sentence. Both are exhaustive over the events and
 * their reasons, so a new one does not compile until it has its words. Where RDS Proxy has a text it
 * is RDS Proxy's, word for word, so that log searches made for it keep working.
 *
 * Levels: error, a person must look; warn, unexpected, but we went on; info, a state changed; debug,
 * what happens all the time; trace, what happens all the time and means nothing.
 */

import type { IamFailure } from '../credential/token-judge.ts';
import type { Event, PasswordFailure } from './events.ts';
import type { ClientCloseReason, DatabaseCloseReason, Interruption, PinReason } from './reasons.ts';

export const LOG_LEVELS = ['error', 'warn', 'info', 'debug', 'trace'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

/** The reason in a pin's line. `digest` is the statement without its literals. */
export function pinText(reason: PinReason, digest: string): string {
  const shown = digest === '' ? '' : ` Digest: "${digest}".`;
  return `${PIN_TEXTS[reason]}${shown}`;
}

const PIN_TEXTS: Readonly<Record<PinReason, string>> = {
  session_mode: 'The pool mode of the target group is SESSION.',
  set: "SQL changed session settings that the proxy doesn't track. Consider moving session configuration to the proxy's initialization query.",
  temporary_object: 'SQL created a temporary table, view or sequence.',
  listen: 'SQL subscribed the session to notifications with LISTEN.',
  sql_prepare: 'SQL prepared, ran or deallocated a prepared statement.',
  hold_cursor: 'SQL declared a cursor that outlives its transaction (WITH HOLD).',
  advisory_lock: 'SQL took an advisory lock for the session.',
  load: 'SQL loaded a library.',
  sequence: 'SQL used nextval or setval, and the session may ask for the value later.',
  snapshot: 'SQL exported a snapshot or changed what the session sees.',
  user_variable: 'SQL set a user variable.',
  table_lock: 'SQL locked tables.',
  user_level_lock: 'SQL took a user-level lock.',
  handler: 'SQL opened a handler.',
  xa: 'SQL began an XA transaction.',
  next_transaction: 'SQL set the characteristics of the next transaction.',
  ending: 'SQL told the database to end the connection.',
  large_statement: 'The connection ran a SQL query which exceeded the byte limit.',
  unknown: "SQL ran a statement whose effect on the session the proxy doesn't know.",
};

const CLIENT_CLOSE_TEXTS: Readonly<Record<ClientCloseReason, string>> = {
  client_request: 'The client requested that the connection close.',
  client_gone: 'The TCP channel was closed by either the client or the proxy.',
  login_failed: 'The login failed.',
  login_timeout: 'The login did not complete in time.',
  too_many_connections: 'The proxy has as many client connections as MaxClientConnections allows.',
  protocol_violation: 'The client sent something that is not the protocol.',
  tls_failed: 'The TLS handshake failed.',
  borrow_failed: 'No database connection could be borrowed.',
  database_lost: 'The database closed the connection that the session was using.',
  idle_timeout: 'The client connection was idle for longer than IdleClientTimeout.',
  borrowed_idle_timeout: 'The open transaction was idle for longer than BorrowedIdleTimeout.',
  lifetime: 'The client connection reached its maximum age.',
  shutdown: 'The proxy is stopping.',
  killed: 'Another client killed it.',
  cancel_request: 'The client connection carried a cancel request.',
  probe: 'The client sent nothing.',
  internal_error: 'An internal error.',
};

const DATABASE_CLOSE_TEXTS: Readonly<Record<DatabaseCloseReason, string>> = {
  connect_failed: 'The connection could not be completed.',
  database_closed: 'The database closed the connection.',
  client_gone_in_request:
    'The client connection that borrowed this database connection from the connection pool was closed in the middle of a request.',
  state_left: 'The session left something behind that a reset may not take away.',
  replication_ended: 'The client that it was opened for, to replicate, is done with it.',
  reset_failed: 'The session could not be reset.',
  probe_failed: 'The database did not answer when the connection was tried before it was lent.',
  protocol_violation: 'The database sent something that is not the protocol.',
  idle_timeout: 'The connection was idle for longer than DatabaseConnectionIdleTimeout.',
  idle_ceiling: 'More connections were idle than MaxIdleConnectionsPercent allows.',
  lifetime: 'The connection reached its maximum age.',
  limit_lowered: 'The limit of connections to the target was lowered.',
  evicted: 'Another pool of the same target, or its listening connection, needed the place.',
  configuration_changed: 'The configuration changed.',
  writer_changed: 'The DB instance is not the writer any more.',
  paused: 'The proxy was paused.',
  shutdown: 'The proxy is stopping.',
  internal_error: 'An internal error.',
};

const INTERRUPTION_TEXTS: Readonly<Record<Interruption, string>> = {
  sent_again: 'Nothing of its request had been sent, so another connection gets it.',
  request_lost: 'Its client is told that its request may have run, and goes on.',
  transaction_lost: 'Its client is told at its next request that the transaction was rolled back.',
  unnoticed: 'Its client needed nothing of it any more.',
};

const ROLE_TEXTS: Readonly<Record<'READ_WRITE' | 'READ_ONLY' | 'UNKNOWN', string>> = {
  READ_WRITE: 'the writer',
  READ_ONLY: 'a reader',
  UNKNOWN: 'neither the writer nor a reader',
};

function writerlessText(durationMs: number): string {
  return durationMs === 0 ? 'They did not wait.' : `There was no writer for ${durationMs} ms.`;
}

export function levelOf(event: Event): LogLevel {
  switch (event.event) {
    case 'internal.failed':
    case 'configuration.refused':
    case 'configuration.incomplete':
      return 'error';
    case 'connection.open_failed':
      return event.isTemporary ? 'warn' : 'error';
    case 'session.pinned':
    case 'client.authentication_failed':
    case 'client.tls_failed':
    case 'client.denied':
    case 'borrow.failed':
    case 'configuration.doubted':
    case 'credentials.missing':
    case 'secret.unreadable':
    case 'listener.lost':
    case 'failover.began':
    case 'failover.ended':
    case 'notifications.dropped':
    case 'proxy.pause_overdue':
      return 'warn';
    case 'target.health_changed':
      return event.state === 'AVAILABLE' ? 'info' : 'error';
    case 'target.role_changed':
      return event.role === 'UNKNOWN' ? 'warn' : 'info';
    case 'endpoint.listening':
      return event.isPublic ? 'warn' : 'info';
    case 'proxy.stopped':
      return event.clientsCut > 0 ? 'warn' : 'info';
    case 'client.closed':
      return clientCloseLevel(event.reason);
    case 'connection.closed':
      return databaseCloseLevel(event.reason);
    case 'session.interrupted':
      return event.reason === 'request_lost' || event.reason === 'transaction_lost'
        ? 'warn'
        : 'info';
    case 'api.listening':
    case 'endpoint.closed':
    case 'configuration.applied':
    case 'proxy.debug_logging':
    case 'listener.opened':
    case 'listener.closed':
    case 'proxy.pausing':
    case 'proxy.paused':
    case 'proxy.resumed':
    case 'process.started':
    case 'process.sends_singly':
    case 'process.draining':
    case 'process.stopped':
      return 'info';
    case 'client.connected':
    case 'client.unplaced':
    case 'client.authenticated':
    case 'session.unpinned':
    case 'cancel.forwarded':
    case 'replication.started':
    case 'connection.borrowed':
    case 'connection.returned':
    case 'statement.sent':
    case 'request.answered':
    case 'connection.opened':
    case 'connection.reset':
      return 'debug';
  }
}

function clientCloseLevel(reason: ClientCloseReason): LogLevel {
  switch (reason) {
    case 'too_many_connections':
    case 'protocol_violation':
    case 'database_lost':
    case 'borrowed_idle_timeout':
    case 'login_timeout':
      return 'warn';
    case 'idle_timeout':
    case 'lifetime':
      return 'info';
    // Each of these has told its story in a line of its own: the failed login, borrow or assertion.
    case 'login_failed':
    case 'tls_failed':
    case 'borrow_failed':
    case 'internal_error':
    case 'client_request':
    case 'client_gone':
    case 'shutdown':
    case 'killed':
    case 'cancel_request':
      return 'debug';
    // Load balancers knock like this every few seconds.
    case 'probe':
      return 'trace';
  }
}

function databaseCloseLevel(reason: DatabaseCloseReason): LogLevel {
  switch (reason) {
    case 'database_closed':
    case 'client_gone_in_request':
    case 'reset_failed':
    case 'probe_failed':
    case 'protocol_violation':
      return 'warn';
    case 'connect_failed':
    case 'replication_ended':
    case 'internal_error':
    case 'state_left':
    case 'idle_timeout':
    case 'idle_ceiling':
    case 'lifetime':
    case 'limit_lowered':
    case 'evicted':
    case 'configuration_changed':
    case 'writer_changed':
    case 'paused':
    case 'shutdown':
      return 'debug';
  }
}

export function textOf(event: Event): string {
  switch (event.event) {
    case 'client.connected':
      return `A new client connected from ${event.address}.`;
    case 'client.authenticated':
      return `The client logged in as user "${event.user}" to database "${event.database}"${event.principal === undefined ? '' : `, with an IAM token of ${event.principal}`}.`;
    case 'client.authentication_failed':
      return authenticationText(event);
    case 'client.unplaced':
      return event.serverName === ''
        ? `A client of ${event.address} has named none of the endpoints that share the address.`
        : `A client of ${event.address} has asked for "${event.serverName}", and none of the endpoints that share the address is called so.`;
    case 'client.denied':
      return `No security group of the endpoint allows ${event.address}: ${count(event.times, 'connection was', 'connections were')} cut off.`;
    case 'client.tls_failed':
      return `The TLS handshake with the client failed. Reason: ${event.detail}.`;
    case 'client.closed':
      return `The client connection closed. Reason: ${CLIENT_CLOSE_TEXTS[event.reason]}`;
    case 'borrow.failed':
      return `${BORROW_TEXTS[event.why]} The client waited ${event.waitedMs} ms. ${event.detail}`.trimEnd();
    case 'session.pinned':
      return `The client session was pinned to the database connection [dbConnection=${event.databaseConnection}] for the remainder of the session. The proxy can't reuse this connection until the session ends. Reason: ${pinText(event.reason, event.digest)}`;
    case 'session.unpinned':
      return `The client session is no longer pinned to the database connection [dbConnection=${event.databaseConnection}].`;
    case 'connection.borrowed':
      return `The client session borrowed the database connection [dbConnection=${event.databaseConnection}] after ${event.waitedMs} ms.`;
    case 'connection.returned':
      return `The client session returned the database connection [dbConnection=${event.databaseConnection}], ${RETURN_TEXTS[event.verdict]}.`;
    case 'statement.sent':
      return `A statement of the client goes to the database connection [dbConnection=${event.databaseConnection}]. Digest: "${event.digest}".`;
    case 'request.answered':
      return `The database connection [dbConnection=${event.databaseConnection}] answered the client after ${event.durationMs} ms.`;
    case 'proxy.debug_logging':
      return event.isOn
        ? `Debug logging is on until ${event.until}: every statement of a client is logged, without its values.`
        : 'Debug logging is off.';
    case 'session.interrupted':
      return `The database connection that the session used was lost [dbConnection=${event.databaseConnection}]. ${INTERRUPTION_TEXTS[event.reason]}`;
    case 'replication.started':
      return `The client replicates (${event.kind}) on a database connection of its own [dbConnection=${event.databaseConnection}].`;
    case 'cancel.forwarded':
      return `A cancel request was forwarded to the database connection [dbConnection=${event.databaseConnection}].`;
    case 'connection.opened':
      return `A TCP connection was established from the proxy at ${event.from} to the database at ${event.to}.`;
    case 'connection.open_failed':
      return `A connection to the database "${event.database}" as user "${event.user}" could not be opened${event.isTemporary ? ', the proxy tries again' : ''}. ${event.detail}`;
    case 'connection.closed':
      return `The database connection closed. Reason: ${DATABASE_CLOSE_TEXTS[event.reason]}`;
    case 'connection.reset':
      return 'The database connection was released to the connection pool upon session reset.';
    case 'listener.opened':
      return `A connection to the database "${event.database}" listens for the clients, on ${count(event.channels, 'channel', 'channels')}.`;
    case 'listener.closed':
      return `The connection that listened on the database "${event.database}" was closed.`;
    case 'listener.lost':
      return `The connection that listened on the database "${event.database}" was lost, and with it what is notified until it is there again; there were ${count(event.channels, 'channel', 'channels')}. ${event.detail}`;
    case 'notifications.dropped':
      return `The client does not take its notifications: beyond ${event.bytesMax} bytes they are dropped, until it has taken what waits.`;
    case 'target.role_changed':
      return `The DB instance is ${ROLE_TEXTS[event.role]}: ${event.why}.`;
    case 'failover.began':
      return `The DB cluster has no writer, and clients wait: ${event.why}. It was ${event.from}.`;
    case 'failover.ended':
      return event.from === event.to
        ? `Clients go on at ${event.to}, which is the writer again after ${event.durationMs} ms: ${event.why}.`
        : `Clients go on at ${event.to}, which is the writer after ${event.from}: ${event.why}. ${writerlessText(event.durationMs)}`;
    case 'target.health_changed':
      return `The target is ${event.state}${event.reason === undefined ? '' : ` (${event.reason})`}. ${event.detail}`.trimEnd();
    case 'endpoint.listening':
      return `The endpoint listens on ${event.address}${event.isPublic ? ', which is neither a loopback nor a private address: anyone who can reach it can try to log in' : ''}.`;
    case 'proxy.pausing':
      return `The proxy is being paused: no transaction begins, and those that run have ${event.timeoutMs / 1000} s to end.`;
    case 'proxy.paused':
      return `The proxy is paused: after ${event.tookMs} ms it has no connection to its target any more.`;
    case 'proxy.pause_overdue':
      return `The proxy ${event.isKept ? 'is not' : 'could not be'} paused within ${event.timeoutMs / 1000} s${event.isKept ? ', and goes on waiting' : ', so its clients are served again'}. ${event.detail}`;
    case 'proxy.resumed':
      return `The proxy serves its clients again, after ${event.heldMs} ms; ${count(event.waiting, 'client was', 'clients were')} waiting.`;
    case 'proxy.stopped':
      return `The proxy was removed. ${clientsCut(event.clientsCut)}`;
    case 'api.listening':
      return `Metrics and health are served on ${event.address}.`;
    case 'endpoint.closed':
      return 'The endpoint no longer listens.';
    case 'configuration.applied':
      return `The configuration was applied: ${count(event.proxies, 'proxy', 'proxies')}.`;
    case 'configuration.incomplete':
      return `The configuration was applied, but for this: ${event.detail}`;
    case 'configuration.refused':
      return `The configuration was refused, and the one before stays in force. ${event.detail}`;
    case 'configuration.doubted':
    case 'credentials.missing':
      return event.detail;
    case 'secret.unreadable':
      return `The secret "${event.secret}" cannot be read. ${event.detail}`;
    case 'process.started':
      return `Berth ${event.version} started with process id ${event.pid}.`;
    case 'process.sends_singly':
      return `Every send is a system call of its own, which costs CPU: ${event.detail}.`;
    case 'process.draining':
      return `${event.signal}: no new clients, and ${count(event.clients, 'client', 'clients')} may finish their transactions within ${event.deadlineMs / 1000} s.`;
    case 'process.stopped':
      return `Berth stopped. ${clientsCut(event.clientsCut)}`;
    case 'internal.failed':
      return `An internal error while ${event.doing}.`;
  }
}

function authenticationText({
  engine,
  user,
  why,
  principal,
}: Extract<Event, { event: 'client.authentication_failed' }>): string {
  if (isPasswordFailure(why)) {
    return `Proxy authentication with ${engine} native password authentication failed for user "${user}". Reason: ${PASSWORD_TEXTS[why]}`;
  }
  const tls = why === 'no_tls' ? 'off' : 'on';
  const whose = principal === undefined ? '' : ` The token is one of ${principal}.`;
  return `Proxy authentication with IAM authentication failed for user "${user}" with TLS ${tls}. Reason: ${IAM_TEXTS[why]}${whose}`;
}

function isPasswordFailure(why: PasswordFailure | IamFailure): why is PasswordFailure {
  return why in PASSWORD_TEXTS;
}

const PASSWORD_TEXTS: Readonly<Record<PasswordFailure, string>> = {
  unknown_user: 'The proxy has no credentials for the role.',
  wrong_password: 'Invalid credentials.',
  malformed_response: "The client's answer is not what the authentication method asks for.",
};

const IAM_TEXTS: Readonly<Record<IamFailure, string>> = {
  no_tls: 'IAM is allowed only with SSL connections.',
  no_token:
    'Invalid credentials. If you provide an IAM token, make sure to either use the correct password or enable IAM authentication.',
  unknown_key: 'No principal has the access key of the token.',
  wrong_session_token: 'The session token is not the one of the access key, or is missing.',
  wrong_signature: 'The signature of the token is wrong.',
  wrong_region: 'The token was made for another region.',
  expired: 'The token has expired.',
  not_yet_valid: 'The token is of the future; the clocks differ.',
  session_expired: 'The session that the token was made in has expired.',
  wrong_host: 'The token was made for another host than the endpoint.',
  wrong_port: 'The token was made for another port than the endpoint.',
  wrong_user: 'The token was made for another user.',
  not_allowed: 'No policy allows rds-db:connect, or one denies it.',
  too_many: 'There are too many competing requests.',
  password_given:
    'Invalid credentials. The proxy has IAM_AUTH as its DefaultAuthScheme, and the client gave no IAM token.',
  no_credentials: 'The proxy has no credentials for the role.',
};

const RETURN_TEXTS = {
  clean: 'which others can have as it is',
  cleanable: 'which is reset before others have it',
  destroy: 'which is closed',
} as const;

const BORROW_TEXTS = {
  timeout: 'Timed-out waiting to acquire database connection.',
  refused: 'A database connection could not be borrowed.',
} as const;

function clientsCut(amount: number): string {
  return `${count(amount, 'client', 'clients')} had to be cut in the middle of a transaction.`;
}

function count(amount: number, one: string, many: string): string {
  return `${amount} ${amount === 1 ? one : many}`;
}
