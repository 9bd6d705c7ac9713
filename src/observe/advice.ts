/**
 * What a client can do so that it is not pinned, by the reason of its pin. `docs/pinning.md` has the
 * same sentences, and a test compares.
 */

import type { PinReason } from './reasons.ts';

export const PIN_ADVICE: Readonly<Record<PinReason, string>> = {
  session_mode: 'Set PoolMode: TRANSACTION, unless every session needs a connection of its own.',
  set: 'Name the setting with a constant in the text and give it an ASCII value, or give it in the start-up packet (options in the connection string); use SET ROLE instead of SET SESSION AUTHORIZATION.',
  temporary_object:
    'Create the table ON COMMIT DROP inside a transaction, or use a common table expression.',
  listen: 'Send LISTEN as a text of its own, so that Berth can listen for the client.',
  sql_prepare: 'Prepare with the protocol, as drivers do, instead of with SQL.',
  large_statement: 'Use parameters, smaller batches or COPY.',
  hold_cursor: 'Use a cursor WITHOUT HOLD, inside one transaction.',
  advisory_lock: 'Use pg_advisory_xact_lock, which ends with the transaction.',
  load: 'Put the library into shared_preload_libraries.',
  sequence: 'Use a column with GENERATED ... AS IDENTITY or a default, and RETURNING.',
  snapshot: 'Nothing: a tool that exports a snapshot means to stay on its connection.',
  user_variable: 'Pass values as parameters, or compute them in the statement that uses them.',
  table_lock: 'Use a transaction and SELECT ... FOR UPDATE instead of LOCK TABLES.',
  user_level_lock:
    'Lock a row with SELECT ... FOR UPDATE instead of GET_LOCK, or release the lock.',
  handler: 'Use SELECT instead of HANDLER.',
  xa: 'Nothing: a transaction manager means to stay on its connection.',
  next_transaction: 'Use SET SESSION TRANSACTION, or START TRANSACTION with its characteristics.',
  ending: 'Use COMMIT and ROLLBACK without RELEASE, and close the connection instead.',
  unknown: 'Write it in plain SQL that Berth can read, or connect directly for it.',
};
