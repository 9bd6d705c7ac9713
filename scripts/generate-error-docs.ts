/**
 * Writes docs/errors.md from the table in src/base/errors.ts. Run it by hand after changing the table:
 *
 *   node_modules/.bin/bun scripts/generate-error-docs.ts
 *
 * A test compares the file with what this would write. What an error means to a person is below: a
 * new code does not compile until it is explained.
 */

import { writeFileSync } from 'node:fs';
import { ERRORS, type ErrorCode, type ErrorEntry, type ErrorKind } from '../src/base/errors.ts';

const KINDS: Readonly<Record<ErrorKind, string>> = {
  client: "The client's doing, or its silence.",
  auth: 'Who logs in, or how.',
  capacity: 'A limit was reached.',
  target: 'The database, or the way to it.',
  protocol: 'What was sent is not what the protocol allows.',
  config: 'The configuration of the proxy or of the database.',
  internal: 'A mistake in Berth.',
};

const FATES = {
  ends: 'The client connection ends.',
  continues: 'The client connection goes on.',
  depends: 'The client connection goes on; a log-in ends.',
} as const;

interface Explanation {
  /** When it is sent. */
  readonly when: string;
  /** What becomes of the client connection. */
  readonly fate: keyof typeof FATES;
}

const EXPLANATIONS: Readonly<Record<ErrorCode, Explanation>> = {
  user_missing: { when: 'The start-up packet has no `user`.', fate: 'ends' },
  password_wrong: {
    when: 'The password is wrong, or the proxy has no secret for the user; the log says which.',
    fate: 'ends',
  },
  iam_token_wrong: {
    when: 'The user has to log in with an IAM token, and what the client gave is none, or is not good for this user here; the log says [why](iam.md#refusals).',
    fate: 'ends',
  },
  iam_token_required: {
    when: 'The proxy has `DefaultAuthScheme: IAM_AUTH`, and the client gave a password in place of an IAM token.',
    fate: 'ends',
  },
  iam_tls_required: {
    when: 'The user has to log in with an IAM token, and the client did not ask for TLS.',
    fate: 'ends',
  },
  iam_rate_exceeded: {
    when: 'More tokens came within a second than are looked at: 1,000 from the address of the client, or 4,000 from all.',
    fate: 'ends',
  },
  credentials_missing: {
    when: 'The IAM token is good, but the proxy has no secret for the user.',
    fate: 'ends',
  },
  tls_required: {
    when: 'The proxy has `RequireTLS: true`, and the client did not ask for TLS.',
    fate: 'ends',
  },
  endpoint_unknown: {
    when: 'Several endpoints listen on the address ([networks.md](networks.md#sharing-an-address)), and the client came without TLS, or asked in its handshake for a name that none of them has, or for none.',
    fate: 'ends',
  },
  endpoint_different: {
    when: 'Several endpoints for MySQL or MariaDB listen on the address ([networks.md](networks.md#sharing-an-address)), and the one that the client asks for is of a database that lacks a capability which the first one has offered in its greeting.',
    fate: 'ends',
  },
  client_certificate_required: {
    when: 'The client showed no certificate and `Tls.ClientCertificate` is `REQUIRED`, or it showed one that `Tls.ClientCAFile` does not vouch for.',
    fate: 'ends',
  },
  protocol_version_unsupported: {
    when: 'The start-up packet asks for another major version than 3. Minor versions are negotiated.',
    fate: 'ends',
  },
  replication_unsupported: {
    when: 'The client asks for replication, and the proxy has `Replication: refuse`.',
    fate: 'ends',
  },
  replication_value_invalid: {
    when: 'The start-up parameter `replication` is neither `database` nor a truth value.',
    fate: 'ends',
  },
  too_many_client_connections: {
    when: 'The proxy has `MaxClientConnections` clients.',
    fate: 'ends',
  },
  borrow_timeout: {
    when: 'No database connection was free for `ConnectionBorrowTimeout`. The detail says which limit was reached, or why none could be opened.',
    fate: 'depends',
  },
  protocol_violation: {
    when: 'A message has a type or a length that no server takes, or comes at the wrong time.',
    fate: 'ends',
  },
  startup_packet_invalid: { when: 'The start-up packet cannot be read.', fate: 'ends' },
  option_unknown: {
    when: '`options` has something else than `-c name=value` and `--name=value`.',
    fate: 'ends',
  },
  option_without_value: {
    when: '`options` names a setting without `=`.',
    fate: 'ends',
  },
  login_timeout: { when: 'The client did not finish its log-in in time.', fate: 'ends' },
  query_canceled: {
    when: 'A cancel request came while the session waited for a connection. A running statement is cancelled by the database, with its own error.',
    fate: 'continues',
  },
  result_type_changed: {
    when: 'The client runs a statement that it has prepared, and the connection that it gets now has prepared it anew: with other columns, since the schema has changed. A server says the same; the statement has to be prepared again.',
    fate: 'continues',
  },
  idle_client_timeout: { when: 'The client was silent for `IdleClientTimeout`.', fate: 'ends' },
  borrowed_idle_timeout: {
    when: 'The session held a database connection, or took nothing of a reply, for `BorrowedIdleTimeout`, and nothing moved. Its transaction is rolled back.',
    fate: 'ends',
  },
  client_lifetime: {
    when: 'The client connection is too old, and nothing is in flight.',
    fate: 'ends',
  },
  connection_lost: {
    when: 'The database connection was lost while the session used it, and the database said nothing. Otherwise the client reads what it said.',
    fate: 'ends',
  },
  request_lost: {
    when: 'The database connection was lost while a request ran on it. PostgreSQL clients read the last word of the database instead, if there was one, and this as its detail. [failover.md](failover.md#when-a-database-connection-is-lost) says when a client is told so, and when its connection ends instead.',
    fate: 'continues',
  },
  transaction_lost: {
    when: 'The database connection was lost in a transaction, while nothing ran. The client is told at its next request, which is not run. [failover.md](failover.md#when-a-database-connection-is-lost) has the details.',
    fate: 'continues',
  },
  no_reader: {
    when: 'A client of a `READ_ONLY` endpoint has logged in or asked, and the target has no DB instance but the writer.',
    fate: 'ends',
  },
  insert_id_lost: {
    when: 'The database connection was lost behind an insert, and the next statement asks for its id. The one after it gets 0, as in a new session.',
    fate: 'continues',
  },
  connection_refused: {
    when: 'Opening a database connection failed in a way that waiting does not mend. The client reads the message of the database instead, if there was one.',
    fate: 'ends',
  },
  database_login_failed: {
    when: 'The database refused the user or the password of the proxy. `berth check` shows why.',
    fate: 'ends',
  },
  init_query_failed: {
    when: 'The `InitQuery` failed on a new database connection. The detail has the message of the database.',
    fate: 'ends',
  },
  shutting_down: { when: 'Berth drains or stops, or the proxy was replaced.', fate: 'ends' },
  client_protocol_too_old: {
    when: 'The client speaks the protocol of before MySQL 4.1, or the one way of authentication that it knows is another than `ClientPasswordAuthType`.',
    fate: 'ends',
  },
  character_set_unusable: {
    when: 'The client asks for a character set that no server takes from a client, such as `ucs2`.',
    fate: 'ends',
  },
  packets_out_of_order: {
    when: 'The sequence number of a packet is not the one that comes next.',
    fate: 'ends',
  },
  packet_too_large: {
    when: 'A packet is longer than any client has to send at that time.',
    fate: 'ends',
  },
  command_unknown: { when: 'There is no such command.', fate: 'continues' },
  thread_unknown: {
    when: '`KILL` or COM_PROCESS_KILL names no client connection of the proxy.',
    fate: 'continues',
  },
  thread_not_owned: {
    when: '`KILL` or COM_PROCESS_KILL names the connection of another user.',
    fate: 'continues',
  },
  prepared_statement_unknown: {
    when: 'The client uses a prepared statement that it has not, or has closed.',
    fate: 'continues',
  },
  cursor_not_open: {
    when: 'COM_STMT_FETCH for a statement that was executed without a cursor, or has given all rows.',
    fate: 'continues',
  },
  wrong_arguments: {
    when: 'COM_STMT_SEND_LONG_DATA named a parameter that the statement does not have; told when it is executed.',
    fate: 'continues',
  },
  packet_malformed: {
    when: 'A command about a prepared statement is too short to name one.',
    fate: 'continues',
  },
  too_many_statements: {
    when: 'A client has 10,000 prepared statements, or 64 MiB of them.',
    fate: 'continues',
  },
  internal: { when: 'A mistake in Berth. Please report it, with the log.', fate: 'ends' },
};

export function renderErrorDocs(): string {
  return `${[
    '# Errors',
    '<!-- Written by scripts/generate-error-docs.ts from src/base/errors.ts. Do not edit. -->',
    wrapped(
      'The errors that Berth itself sends. Everything else that a client reads comes from the database as it is. ' +
        'Texts that RDS Proxy has are its own, word for word; `{name}` stands for a value.',
    ),
    'Kinds say who has to act:',
    table(
      ['Kind', 'What it is about'],
      Object.entries(KINDS).map(([kind, about]) => [`\`${kind}\``, about]),
    ),
    wrapped(
      'An error that ends the client connection has the severity FATAL, the others ERROR. ' +
        'Whether trying again helps is meant without anyone changing anything.',
    ),
    wrapped(
      'MySQL and MariaDB clients read the number and the SQLSTATE that follow "MySQL", and the text there if it is another. ' +
        'An error without them, they cannot meet.',
    ),
    ...entries().flatMap(([code, { when, fate }]) => {
      const entry: ErrorEntry = ERRORS[code];
      const { kind, retryable, sqlState, text } = entry;
      const retry = retryable ? 'Trying again later may help.' : 'Trying again does not help.';
      return [
        `## \`${code}\``,
        `> ${text}`,
        `SQLSTATE \`${sqlState}\`, kind \`${kind}\`. ${FATES[fate]} ${retry}`,
        ...mySqlLines(entry),
        wrapped(when),
      ];
    }),
  ].join('\n\n')}\n`;
}

function mySqlLines({ mysql }: ErrorEntry): string[] {
  if (mysql === undefined) return [];
  const numbers = `MySQL: ${mysql.errno} (\`${mysql.sqlState}\`)`;
  return mysql.text === undefined ? [`${numbers}.`] : [`${numbers}:`, `> ${mysql.text}`];
}

function entries(): [ErrorCode, Explanation][] {
  return Object.entries(EXPLANATIONS) as [ErrorCode, Explanation][];
}

/** Lines of prose are at most this long. */
const LINE_LENGTH_MAX = 120;

function wrapped(text: string): string {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    const isFull = line !== '' && line.length + 1 + word.length > LINE_LENGTH_MAX;
    if (isFull) lines.push(line);
    line = isFull || line === '' ? word : `${line} ${word}`;
  }
  return [...lines, line].join('\n');
}

function table(columns: readonly string[], rows: readonly (readonly string[])[]): string {
  const rule = columns.map(() => '---');
  return [columns, rule, ...rows].map((cells) => `| ${cells.join(' | ')} |`).join('\n');
}

if (import.meta.main) {
  writeFileSync(new URL('../docs/errors.md', import.meta.url), renderErrorDocs());
}
