/**
 * What every database connection has before anything of a client's is run on it. The trackers make the
 * server tell in its OK packets what statements have done to the session; MySQL and MariaDB know them by
 * the same names. The character set goes back from that of the log-in to the server's own, which is what
 * COM_RESET_CONNECTION leaves: so both ways to a clean connection end in the same state.
 * https://dev.mysql.com/doc/refman/en/session-state-tracking.html
 * https://mariadb.com/docs/server/server-management/variables-and-modes/session-tracking/session-state-tracking
 */
export const BASE_SETTINGS =
  "SET SESSION session_track_system_variables='*', session_track_schema=ON, " +
  "session_track_state_change=ON, session_track_transaction_info='CHARACTERISTICS', " +
  'character_set_client=DEFAULT, character_set_results=DEFAULT, ' +
  'character_set_connection=DEFAULT, collation_connection=DEFAULT';
