/**
 * A MySQL or MariaDB server closes a connection before it stops to count it: who connects at once is one
 * more than there may be (`unlink_thd` in MariaDB's sql_connect.cc, `dec_connection_count` in MySQL's
 * connection_handler_per_thread.cc come after the close). PostgreSQL does it the other way round.
 */

/**
 * Measured: less than 5 ms mostly, up to 30 ms with all processors busy, and seldom more than 100 ms when six
 * times as much wants to run as can. Nothing tells when, and clients may wait for the place meanwhile.
 */
const FORGETS_WITHIN_MS = 30;
/** For what happens so seldom that it costs them nothing. */
const HAS_FORGOTTEN_MS = 100;

/** Calls `forgotten` when a connection that the server has just closed does not count any more. */
export function afterServerForgets(forgotten: () => void): void {
  // The wheel's tick is longer than this.
  setTimeout(forgotten, FORGETS_WITHIN_MS);
}

/** The same, with patience. */
export function whenServerHasForgotten(forgotten: () => void): void {
  setTimeout(forgotten, HAS_FORGOTTEN_MS);
}
