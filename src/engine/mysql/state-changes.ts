/**
 * What the server's trackers say of a connection: variables, the schema, the state of the transaction.
 * Decoded only when the status of an answer tells that there is something to read.
 * https://dev.mysql.com/doc/refman/en/session-state-tracking.html
 */

import { SessionSettings } from './settings.ts';
import {
  SESSION_TRACK_SCHEMA,
  SESSION_TRACK_STATE_CHANGE,
  SESSION_TRACK_SYSTEM_VARIABLES,
  SESSION_TRACK_TRANSACTION_CHARACTERISTICS,
  SESSION_TRACK_TRANSACTION_STATE,
} from './wire/capabilities.ts';
import { lenencAt, lenencBytes } from './wire/packets.ts';
import { readStateText, readSystemVariables } from './wire/replies.ts';

/** What is carried to whichever connection the session gets; the rest pins. */
const TRACKED: ReadonlySet<string> = new Set([
  'autocommit',
  'character_set_client',
  'character_set_connection',
  'character_set_results',
  'collation_connection',
  'sql_mode',
  'time_zone',
  'transaction_isolation',
  'tx_isolation',
]);

/** What SET NAMES and its kin change together, while the server reports only a part. */
export const CHARSET_VARIABLES: ReadonlySet<string> = new Set([
  'character_set_client',
  'character_set_connection',
  'character_set_results',
  'collation_connection',
]);

/** In the state of a transaction, behind its length: the eighth letter, `L` while tables are locked. */
const LOCKED_AT = 8;
const LOCKED = 0x4c;

export class StateChanges {
  /** The variables that the connection has. */
  settings = SessionSettings.NONE;
  /** The connection's schema; empty for none. */
  schema = '';
  /** LOCK TABLES. */
  isLocked = false;
  /** SET TRANSACTION, for a transaction that has not begun. */
  hasCharacteristics = false;
  /** The last variable that somebody has changed and nobody keeps track of. */
  strayVariable: string | undefined = undefined;
  /** SET NAMES or its kin: what the server says of it is not all. */
  isCharsetUnsure = false;
  /** Something else has changed: a user variable, a temporary table, a prepared statement. */
  isOtherwiseChanged = false;

  /** Nothing ties a session to the connection, and nothing is said for the next transaction. */
  get isPlain(): boolean {
    return !this.isLocked && !this.hasCharacteristics;
  }

  /**
   * Reads the entries between `at` and `end`. `isOurs`: of an answer to the proxy, which knows what it
   * has set. Returns false when they cannot be read.
   */
  read(bytes: Uint8Array, at: number, end: number, isOurs: boolean): boolean {
    let isChanged = false;
    let isExplained = false;
    while (at < end) {
      const type = bytes[at];
      const width = at + 1 < end ? lenencBytes(bytes[at + 1]) : 0;
      if (width === 0 || at + 1 + width > end) return false;
      const data = at + 1 + width;
      const next = data + lenencAt(bytes, at + 1);
      if (next > end) return false;
      switch (type) {
        case SESSION_TRACK_TRANSACTION_STATE:
          this.isLocked = data + LOCKED_AT < next && bytes[data + LOCKED_AT] === LOCKED;
          break;
        case SESSION_TRACK_TRANSACTION_CHARACTERISTICS:
          this.hasCharacteristics = bytes[data] !== 0;
          isExplained = true;
          break;
        case SESSION_TRACK_SYSTEM_VARIABLES:
          isExplained = true;
          if (!isOurs && !this.readVariables(bytes.subarray(data, next))) return false;
          break;
        case SESSION_TRACK_SCHEMA:
          isExplained = true;
          if (!isOurs) this.schema = readStateText(bytes.subarray(data, next))?.toString() ?? '';
          break;
        case SESSION_TRACK_STATE_CHANGE:
          isChanged = true;
          break;
        default:
          // GTIDs, and whatever a later server tells.
          break;
      }
      at = next;
    }
    if (!isOurs && isChanged && !isExplained) this.isOtherwiseChanged = true;
    return true;
  }

  /** COM_RESET_CONNECTION has taken all of it away but the schema. */
  reset(): void {
    this.settings = SessionSettings.NONE;
    this.isLocked = false;
    this.hasCharacteristics = false;
    this.strayVariable = undefined;
    this.isCharsetUnsure = false;
    this.isOtherwiseChanged = false;
  }

  private readVariables(data: Uint8Array): boolean {
    const variables = readSystemVariables(data);
    if (variables === undefined) return false;
    for (const [nameBytes, valueBytes] of variables) {
      const name = nameBytes.toString('latin1').toLowerCase();
      if (CHARSET_VARIABLES.has(name)) this.isCharsetUnsure = true;
      if (TRACKED.has(name)) this.settings = this.settings.with(name, valueBytes.toString());
      else this.strayVariable = name;
    }
    return true;
  }
}
