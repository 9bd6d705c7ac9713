/**
 * A MySQL or MariaDB server closes a connection before it stops to count it: who connects at once is one
 * more than there may be (`unlink_thd` in MariaDB's sql_connect.cc, `dec_connection_count` in MySQL's
 * connection_handler_per_thread.cc come after the close). PostgreSQL does it the other way round.
 */

/** Measured: up to 30 ms with all processors busy, less than 1 ms mostly. */
const FORGETS_WITHIN_MS = 30;

/** Calls `forgotten` when a connection that the server has just closed does not count any more. */
export function afterServerForgets(forgotten: () => void): void {
  // The wheel's tick is longer than this.
  setTimeout(forgotten, FORGETS_WITHIN_MS);
}
