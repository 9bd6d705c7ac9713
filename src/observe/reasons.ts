/**
 * The closed lists of reasons. The same word is in the log, in the metric's label and in the
 * manual; every list is exhaustive, so a new reason does not compile until all three know it.
 */

/** Why a session keeps its database connection after the transaction. */
export const PIN_REASONS = [
  'session_mode',
  'set',
  'temporary_object',
  'listen',
  'sql_prepare',
  'large_statement',
  'hold_cursor',
  'advisory_lock',
  'load',
  'sequence',
  'snapshot',
  'user_variable',
  'table_lock',
  'user_level_lock',
  'handler',
  'xa',
  'next_transaction',
  'ending',
  'unknown',
] as const;
export type PinReason = (typeof PIN_REASONS)[number];

/** Why a client connection ended. */
export const CLIENT_CLOSE_REASONS = [
  'client_request',
  'client_gone',
  'login_failed',
  'login_timeout',
  'too_many_connections',
  'protocol_violation',
  'tls_failed',
  'borrow_failed',
  'database_lost',
  'idle_timeout',
  'borrowed_idle_timeout',
  'lifetime',
  'shutdown',
  'killed',
  'cancel_request',
  'probe',
  'internal_error',
] as const;
export type ClientCloseReason = (typeof CLIENT_CLOSE_REASONS)[number];

/** What came of a session that went on when its database connection was lost. */
export const INTERRUPTIONS = [
  /** Nothing of a request had been sent: it went to another connection. */
  'sent_again',
  /** A request was not answered: its client was told that it may have run. */
  'request_lost',
  /** A transaction was open, and nothing was under way: the client was told at its next request. */
  'transaction_lost',
  /** The client needed nothing of it any more. */
  'unnoticed',
] as const;
export type Interruption = (typeof INTERRUPTIONS)[number];

/** Why a database connection ended. */
export const DATABASE_CLOSE_REASONS = [
  'connect_failed',
  'database_closed',
  'client_gone_in_request',
  'state_left',
  'replication_ended',
  'reset_failed',
  'probe_failed',
  'protocol_violation',
  'idle_timeout',
  'idle_ceiling',
  'lifetime',
  'limit_lowered',
  'evicted',
  'configuration_changed',
  'writer_changed',
  'paused',
  'shutdown',
  'internal_error',
] as const;
export type DatabaseCloseReason = (typeof DATABASE_CLOSE_REASONS)[number];
