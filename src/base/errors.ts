/**
 * The one table of errors. A client only ever sees text from here, or the database's own bytes;
 * there is no path from an exception's message to a socket. Texts that RDS Proxy uses are its own,
 * word for word, so that existing runbooks and log searches keep working.
 *
 * `kind` is who has to act, and a metric label. `retryable` is true when the same request may
 * succeed later without anyone changing anything.
 */

export type ErrorKind =
  | 'client'
  | 'auth'
  | 'capacity'
  | 'target'
  | 'protocol'
  | 'config'
  | 'internal';

export interface ErrorEntry {
  readonly kind: ErrorKind;
  readonly retryable: boolean;
  /** Appendix A of the PostgreSQL manual; MySQL's, of an error that only its clients meet. */
  readonly sqlState: string;
  /** What the client reads. `{name}` is replaced by a parameter of the error. */
  readonly text: string;
  /** What MySQL and MariaDB clients read; absent when they cannot meet it. */
  readonly mysql?: MySqlEntry;
}

interface MySqlEntry {
  /** https://dev.mysql.com/doc/mysql-errors/9.4/en/server-error-reference.html */
  readonly errno: number;
  readonly sqlState: string;
  /** Default: the text that PostgreSQL clients read. */
  readonly text?: string;
}

/** An error as MySQL's protocol has it. */
export interface MySqlError {
  readonly errno: number;
  readonly sqlState: string;
  readonly text: string;
}

export const ERRORS = {
  user_missing: {
    kind: 'auth',
    retryable: false,
    sqlState: '28000',
    text: 'A user name is missing from the connection startup packet. Provide a user name for this connection.',
  },
  password_wrong: {
    kind: 'auth',
    retryable: false,
    sqlState: '28P01',
    text: 'The password that was provided for the role {user} is wrong.',
    mysql: {
      errno: 1045,
      sqlState: '28000',
      text: "Access denied for user '{user}'@'%' (using password: {using})",
    },
  },
  iam_token_wrong: {
    kind: 'auth',
    retryable: false,
    sqlState: '28P01',
    text: 'The IAM authentication failed for the role {user}. Check the IAM token for this role and try again.',
    mysql: {
      errno: 1045,
      sqlState: '28000',
      text: "Access denied for user '{user}'@'%' (using password: {using})",
    },
  },
  iam_token_required: {
    kind: 'auth',
    retryable: false,
    sqlState: '28000',
    text: 'Enable IAM authentication for the client connection to the proxy and try again.',
    mysql: {
      errno: 1045,
      sqlState: '28000',
      text: "Access denied for user '{user}'@'%' (using password: {using})",
    },
  },
  iam_tls_required: {
    kind: 'auth',
    retryable: false,
    sqlState: '28000',
    text: 'IAM authentication is allowed only with SSL connections.',
    mysql: { errno: 3159, sqlState: 'HY000', text: 'This RDS Proxy requires TLS connections.' },
  },
  iam_rate_exceeded: {
    kind: 'capacity',
    retryable: true,
    sqlState: '53300',
    text: 'The IAM authentication failed because of too many competing requests.',
    mysql: { errno: 1040, sqlState: 'HY000', text: 'IAM authentication rate limit exceeded' },
  },
  credentials_missing: {
    kind: 'auth',
    retryable: false,
    sqlState: '28000',
    text: 'This RDS proxy has no credentials for the role {user}. Check the credentials for this role and try again.',
    mysql: {
      errno: 1045,
      sqlState: '28000',
      text: "Access denied for user '{user}'@'%' (using password: {using})",
    },
  },
  tls_required: {
    kind: 'auth',
    retryable: false,
    sqlState: '28000',
    text: 'This RDS Proxy requires TLS connections.',
    mysql: { errno: 3159, sqlState: 'HY000' },
  },
  endpoint_unknown: {
    kind: 'client',
    retryable: false,
    sqlState: '08004',
    text: 'Several endpoints of RDS Proxy listen on this address. Connect with TLS, by the host name of one of them.',
    mysql: { errno: 1043, sqlState: '08S01' },
  },
  endpoint_different: {
    kind: 'config',
    retryable: false,
    sqlState: '08004',
    text: 'The database of this endpoint lacks what the first endpoint on this address has offered. Give the endpoint an address of its own.',
    mysql: { errno: 1043, sqlState: '08S01' },
  },
  client_certificate_required: {
    kind: 'auth',
    retryable: false,
    sqlState: '28000',
    text: 'connection requires a valid client certificate',
    mysql: { errno: 1045, sqlState: '28000' },
  },
  protocol_version_unsupported: {
    kind: 'protocol',
    retryable: false,
    sqlState: '0A000',
    text: 'Feature not supported: RDS Proxy supports only version 3.0 of the PostgreSQL messaging protocol.',
  },
  replication_unsupported: {
    kind: 'client',
    retryable: false,
    sqlState: '0A000',
    text: "Feature not supported: RDS Proxy currently doesn't support streaming replication mode.",
    mysql: {
      errno: 1235,
      sqlState: '42000',
      text: "Feature not supported: RDS Proxy currently doesn't support replication.",
    },
  },
  replication_value_invalid: {
    kind: 'client',
    retryable: false,
    sqlState: '22023',
    text: 'invalid value for parameter "replication": "{value}"',
  },
  too_many_client_connections: {
    kind: 'capacity',
    retryable: true,
    sqlState: '53300',
    text: 'The maximum number of client connections to the proxy exceeded {limit}.',
    mysql: {
      errno: 1040,
      sqlState: 'HY000',
      text: 'Number simultaneous connections exceeded ({limit})',
    },
  },
  borrow_timeout: {
    kind: 'capacity',
    retryable: true,
    sqlState: '08000',
    text: 'Timed-out waiting to acquire database connection.',
    mysql: {
      errno: 9501,
      sqlState: 'HY000',
      text: 'Timed-out waiting to acquire database connection',
    },
  },
  protocol_violation: {
    kind: 'protocol',
    retryable: false,
    sqlState: '08P01',
    text: 'invalid frontend message: {what}',
    mysql: { errno: 1835, sqlState: 'HY000', text: 'Malformed communication packet: {what}' },
  },
  startup_packet_invalid: {
    kind: 'protocol',
    retryable: false,
    sqlState: '08P01',
    text: 'invalid startup packet: {what}',
    mysql: { errno: 1043, sqlState: '08S01', text: 'Bad handshake: {what}' },
  },
  option_unknown: {
    kind: 'client',
    retryable: false,
    sqlState: '42601',
    text: 'invalid command-line argument for server process: {what}',
  },
  option_without_value: {
    kind: 'client',
    retryable: false,
    sqlState: '42601',
    text: '{what} requires a value',
  },
  login_timeout: {
    kind: 'auth',
    retryable: true,
    sqlState: '57014',
    text: 'The login did not complete within {seconds} s.',
    mysql: { errno: 1159, sqlState: '08S01' },
  },
  query_canceled: {
    kind: 'client',
    retryable: true,
    sqlState: '57014',
    text: 'canceling statement due to user request',
    mysql: { errno: 1317, sqlState: '70100', text: 'Query execution was interrupted' },
  },
  result_type_changed: {
    kind: 'client',
    retryable: true,
    sqlState: '0A000',
    text: 'cached plan must not change result type',
    mysql: { errno: 1615, sqlState: 'HY000', text: 'Prepared statement needs to be re-prepared' },
  },
  idle_client_timeout: {
    kind: 'client',
    retryable: true,
    sqlState: '57P05',
    text: 'The client connection was idle for longer than IdleClientTimeout ({seconds} s).',
    mysql: { errno: 1159, sqlState: '08S01' },
  },
  borrowed_idle_timeout: {
    kind: 'client',
    retryable: true,
    sqlState: '25P03',
    text: 'The open transaction was idle for longer than BorrowedIdleTimeout ({seconds} s).',
    mysql: { errno: 1159, sqlState: '08S01' },
  },
  client_lifetime: {
    kind: 'client',
    retryable: true,
    sqlState: '57P01',
    text: 'The client connection reached its maximum age of {hours} h.',
    mysql: { errno: 1053, sqlState: '08S01' },
  },
  connection_lost: {
    kind: 'target',
    retryable: true,
    sqlState: '08006',
    text: 'The database closed the connection before it answered.',
    mysql: { errno: 1158, sqlState: '08S01' },
  },
  request_lost: {
    kind: 'target',
    retryable: false,
    sqlState: '08006',
    text: 'The connection to the database was lost before it answered. Whether the request has taken effect is not known.',
    mysql: { errno: 1105, sqlState: 'HY000' },
  },
  transaction_lost: {
    kind: 'target',
    retryable: true,
    sqlState: '08006',
    text: 'The connection to the database was lost. The transaction was rolled back.',
    mysql: {
      errno: 1213,
      sqlState: '40001',
      text: 'The connection to the database was lost. The transaction was rolled back; try restarting transaction',
    },
  },
  no_reader: {
    kind: 'config',
    retryable: false,
    sqlState: '08001',
    text: 'The target of this read-only endpoint has no reader.',
    mysql: { errno: 1105, sqlState: '08S01' },
  },
  insert_id_lost: {
    kind: 'target',
    retryable: true,
    sqlState: '08006',
    text: 'The connection to the database was lost that knew what LAST_INSERT_ID() is.',
    mysql: { errno: 1105, sqlState: 'HY000' },
  },
  connection_refused: {
    kind: 'target',
    retryable: true,
    sqlState: '08001',
    text: 'The target database is not reachable.',
    mysql: { errno: 1105, sqlState: '08S01' },
  },
  database_login_failed: {
    kind: 'config',
    retryable: false,
    sqlState: '28000',
    text: 'The database did not accept the credentials that the proxy has for the role {user}.',
    mysql: {
      errno: 1045,
      sqlState: '28000',
      text: 'The database did not accept the credentials that the proxy has for the user {user}.',
    },
  },
  init_query_failed: {
    kind: 'config',
    retryable: false,
    sqlState: '08001',
    text: 'The InitQuery of the target group failed.',
    mysql: { errno: 1184, sqlState: '08S01' },
  },
  shutting_down: {
    kind: 'target',
    retryable: true,
    sqlState: '57P01',
    text: 'terminating connection due to administrator command',
    mysql: { errno: 1053, sqlState: '08S01', text: 'Server shutdown in progress' },
  },
  client_protocol_too_old: {
    kind: 'protocol',
    retryable: false,
    sqlState: '08004',
    text: 'Client does not support authentication protocol requested by server; consider upgrading MySQL client',
    mysql: { errno: 1251, sqlState: '08004' },
  },
  character_set_unusable: {
    kind: 'client',
    retryable: false,
    sqlState: '42000',
    text: "Variable 'character_set_client' can't be set to the value of '{value}'",
    mysql: { errno: 1231, sqlState: '42000' },
  },
  packets_out_of_order: {
    kind: 'protocol',
    retryable: false,
    sqlState: '08S01',
    text: 'Got packets out of order',
    mysql: { errno: 1156, sqlState: '08S01' },
  },
  packet_too_large: {
    kind: 'protocol',
    retryable: false,
    sqlState: '08S01',
    text: "Got a packet bigger than 'max_allowed_packet' bytes",
    mysql: { errno: 1153, sqlState: '08S01' },
  },
  command_unknown: {
    kind: 'client',
    retryable: false,
    sqlState: '08S01',
    text: 'Unknown command',
    mysql: { errno: 1047, sqlState: '08S01' },
  },
  thread_unknown: {
    kind: 'client',
    retryable: false,
    sqlState: 'HY000',
    text: 'Unknown thread id: {id}',
    mysql: { errno: 1094, sqlState: 'HY000' },
  },
  thread_not_owned: {
    kind: 'client',
    retryable: false,
    sqlState: 'HY000',
    text: 'You are not owner of thread {id}',
    mysql: { errno: 1095, sqlState: 'HY000' },
  },
  prepared_statement_unknown: {
    kind: 'client',
    retryable: false,
    sqlState: 'HY000',
    text: 'Unknown prepared statement handler ({id}) given to {command}',
    mysql: { errno: 1243, sqlState: 'HY000' },
  },
  cursor_not_open: {
    kind: 'client',
    retryable: false,
    sqlState: 'HY000',
    text: 'The statement ({id}) has no open cursor{end}',
    mysql: { errno: 1421, sqlState: 'HY000' },
  },
  wrong_arguments: {
    kind: 'client',
    retryable: false,
    sqlState: 'HY000',
    text: 'Incorrect arguments to {command}',
    mysql: { errno: 1210, sqlState: 'HY000' },
  },
  packet_malformed: {
    kind: 'protocol',
    retryable: false,
    sqlState: 'HY000',
    text: 'Malformed communication packet{end}',
    mysql: { errno: 1835, sqlState: 'HY000' },
  },
  too_many_statements: {
    kind: 'capacity',
    retryable: false,
    sqlState: '42000',
    text: "Can't create more than max_prepared_stmt_count statements (current value: {max})",
    mysql: { errno: 1461, sqlState: '42000' },
  },
  internal: {
    kind: 'internal',
    retryable: true,
    sqlState: 'XX000',
    text: 'Unknown error.',
    mysql: { errno: 1105, sqlState: 'HY000', text: 'Unknown error' },
  },
} as const satisfies Record<string, ErrorEntry>;

export type ErrorCode = keyof typeof ERRORS;

export interface ErrorOptions {
  /** Replacements for `{name}` in the text. */
  readonly params?: Readonly<Record<string, string | number>>;
  /** A second line for the client: which limit, how long. Written by us, never an exception's message. */
  readonly detail?: string;
  /**
   * The database's own words, whole, to be shown to the client instead of our text: an ErrorResponse
   * of PostgreSQL, the payload of an ERR packet of MySQL.
   */
  readonly databaseMessage?: Uint8Array;
  readonly cause?: unknown;
}

/** An error of the table. Its `message` is the text that a client may read. */
export class BerthError extends Error {
  readonly code: ErrorCode;
  readonly detail: string | undefined;
  readonly databaseMessage: Uint8Array | undefined;
  private readonly params: ErrorOptions['params'];

  constructor(code: ErrorCode, options: ErrorOptions = {}) {
    super(textOf(ERRORS[code].text, options.params), { cause: options.cause });
    this.name = 'BerthError';
    this.code = code;
    this.detail = options.detail;
    this.databaseMessage = options.databaseMessage;
    this.params = options.params;
  }

  get sqlState(): string {
    return ERRORS[this.code].sqlState;
  }

  /** What MySQL clients read. Their protocol knows no detail, so it follows the text. */
  get forMySql(): MySqlError {
    const entry: ErrorEntry = ERRORS[this.code];
    const { errno, sqlState, text = entry.text } = entry.mysql ?? ERRORS.internal.mysql;
    const detail = this.detail === undefined ? '' : ` (${this.detail})`;
    return { errno, sqlState, text: `${textOf(text, this.params)}${detail}` };
  }

  get kind(): ErrorKind {
    return ERRORS[this.code].kind;
  }
}

function textOf(text: string, params: ErrorOptions['params'] = {}): string {
  return text.replace(/\{(\w+)\}/g, (whole, name: string) => String(params[name] ?? whole));
}
