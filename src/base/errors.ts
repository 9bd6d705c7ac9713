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

interface ErrorEntry {
  readonly kind: ErrorKind;
  readonly retryable: boolean;
  /** Appendix A of the PostgreSQL manual. */
  readonly sqlState: string;
  /** What the client reads. `{name}` is replaced by a parameter of the error. */
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
  },
  tls_required: {
    kind: 'auth',
    retryable: false,
    sqlState: '28000',
    text: 'This RDS Proxy requires TLS connections.',
  },
  client_certificate_required: {
    kind: 'auth',
    retryable: false,
    sqlState: '28000',
    text: 'connection requires a valid client certificate',
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
  },
  borrow_timeout: {
    kind: 'capacity',
    retryable: true,
    sqlState: '08000',
    text: 'Timed-out waiting to acquire database connection.',
  },
  protocol_violation: {
    kind: 'protocol',
    retryable: false,
    sqlState: '08P01',
    text: 'invalid frontend message: {what}',
  },
  startup_packet_invalid: {
    kind: 'protocol',
    retryable: false,
    sqlState: '08P01',
    text: 'invalid startup packet: {what}',
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
  },
  query_canceled: {
    kind: 'client',
    retryable: true,
    sqlState: '57014',
    text: 'canceling statement due to user request',
  },
  result_type_changed: {
    kind: 'client',
    retryable: true,
    sqlState: '0A000',
    text: 'cached plan must not change result type',
  },
  idle_client_timeout: {
    kind: 'client',
    retryable: true,
    sqlState: '57P05',
    text: 'The client connection was idle for longer than IdleClientTimeout ({seconds} s).',
  },
  borrowed_idle_timeout: {
    kind: 'client',
    retryable: true,
    sqlState: '25P03',
    text: 'The open transaction was idle for longer than BorrowedIdleTimeout ({seconds} s).',
  },
  client_lifetime: {
    kind: 'client',
    retryable: true,
    sqlState: '57P01',
    text: 'The client connection reached its maximum age of {hours} h.',
  },
  connection_lost: {
    kind: 'target',
    retryable: true,
    sqlState: '08006',
    text: 'The database closed the connection before it answered.',
  },
  connection_refused: {
    kind: 'target',
    retryable: true,
    sqlState: '08001',
    text: 'The target database is not reachable.',
  },
  database_login_failed: {
    kind: 'config',
    retryable: false,
    sqlState: '28000',
    text: 'The database did not accept the credentials that the proxy has for the role {user}.',
  },
  init_query_failed: {
    kind: 'config',
    retryable: false,
    sqlState: '08001',
    text: 'The InitQuery of the target group failed.',
  },
  shutting_down: {
    kind: 'target',
    retryable: true,
    sqlState: '57P01',
    text: 'terminating connection due to administrator command',
  },
  internal: { kind: 'internal', retryable: true, sqlState: 'XX000', text: 'Unknown error.' },
} as const satisfies Record<string, ErrorEntry>;

export type ErrorCode = keyof typeof ERRORS;

export interface ErrorOptions {
  /** Replacements for `{name}` in the text. */
  readonly params?: Readonly<Record<string, string | number>>;
  /** A second line for the client: which limit, how long. Written by us, never an exception's message. */
  readonly detail?: string;
  /** The database's own ErrorResponse, whole, to be shown to the client instead of our text. */
  readonly databaseMessage?: Uint8Array;
  readonly cause?: unknown;
}

/** An error of the table. Its `message` is the text that a client may read. */
export class BerthError extends Error {
  readonly code: ErrorCode;
  readonly detail: string | undefined;
  readonly databaseMessage: Uint8Array | undefined;

  constructor(code: ErrorCode, options: ErrorOptions = {}) {
    super(textOf(code, options.params), { cause: options.cause });
    this.name = 'BerthError';
    this.code = code;
    this.detail = options.detail;
    this.databaseMessage = options.databaseMessage;
  }

  get sqlState(): string {
    return ERRORS[this.code].sqlState;
  }

  get kind(): ErrorKind {
    return ERRORS[this.code].kind;
  }
}

function textOf(code: ErrorCode, params: ErrorOptions['params'] = {}): string {
  return ERRORS[code].text.replace(/\{(\w+)\}/g, (whole, name: string) =>
    String(params[name] ?? whole),
  );
}
