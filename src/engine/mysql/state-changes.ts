/**
 * What the server's trackers say of a connection: variables, the schema, the state of the transaction.
 * Decoded only when the status of an answer tells that there is something to read.
 * https://dev.mysql.com/doc/refman/en/session-state-tracking.html
 */

import { assignmentOf, pairOf, treatmentOf } from '../../sql/mysql/session-variables.ts';
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

/** What SET NAMES and its kin change together, while the server reports only a part. */
const OF_CHARSET: readonly string[] = [
  'character_set_client',
  'character_set_connection',
  'character_set_results',
  'collation_connection',
];

/** In the state of a transaction, behind its length: the eighth letter, `L` while tables are locked. */
const LOCKED_AT = 8;
const LOCKED = 0x4c;

export class StateChanges {
  /** The variables that the connection has. */
  settings = SessionSettings.NONE;
  /** The connection's schema; empty for none. */
  schema = '';
  /** A statement has chosen it, or dropped it. */
  isSchemaTold = false;
  /** LOCK TABLES. */
  isLocked = false;
  /** Tables were locked since the session was investigated last. */
  wasLocked = false;
  /** SET TRANSACTION, for a transaction that has not begun. */
  hasCharacteristics = false;
  /** The last variable that somebody has changed and nobody keeps track of. */
  strayVariable: string | undefined = undefined;
  /** Variables that may have changed without a report, because another one did. */
  unsure: Set<string> | undefined = undefined;
  /** The trackers themselves were changed. */
  areTrackersChanged = false;
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
          this.wasLocked ||= this.isLocked;
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
          if (isOurs) break;
          this.schema = readStateText(bytes.subarray(data, next))?.toString() ?? '';
          this.isSchemaTold = true;
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

  /** Something has happened that may tie a session to the connection. */
  get isSuspect(): boolean {
    return this.strayVariable !== undefined || this.areTrackersChanged || this.isOtherwiseChanged;
  }

  /** The session knows of all that. */
  investigated(): void {
    this.wasLocked = this.isLocked;
    this.strayVariable = undefined;
    this.areTrackersChanged = false;
    this.isOtherwiseChanged = false;
  }

  /** A statement names a variable that it may set without a report. */
  mayHaveChanged(name: string): void {
    switch (treatmentOf(name)) {
      case 'replayed':
        this.unsure ??= new Set();
        this.unsure.add(name.toLowerCase());
        return;
      case 'pins':
        this.strayVariable = name;
        return;
      case 'tracker':
        this.areTrackersChanged = true;
        return;
      case 'news':
        return;
    }
  }

  /** What `unsure` variables turned out to be. */
  learn(values: readonly (readonly [name: string, value: string])[]): void {
    for (const [name, value] of values) {
      if (assignmentOf(name, value) === undefined) this.strayVariable = name;
      else this.settings = this.settings.with(name, value);
    }
  }

  /** COM_RESET_CONNECTION has taken all of it away but the schema. */
  reset(): void {
    this.settings = SessionSettings.NONE;
    this.isLocked = false;
    this.hasCharacteristics = false;
    this.unsure = undefined;
    this.investigated();
  }

  private readVariables(data: Uint8Array): boolean {
    const variables = readSystemVariables(data);
    if (variables === undefined) return false;
    for (const [nameBytes, valueBytes] of variables) {
      this.variableChanged(nameBytes.toString('latin1'), valueBytes.toString());
    }
    return true;
  }

  private variableChanged(name: string, value: string): void {
    switch (treatmentOf(name)) {
      case 'tracker':
        this.areTrackersChanged = true;
        return;
      case 'pins':
        this.strayVariable = name;
        return;
      case 'replayed':
        this.variableSet(name, value);
        return;
      case 'news':
        return;
    }
  }

  private variableSet(name: string, value: string): void {
    if (assignmentOf(name, value) === undefined) {
      this.strayVariable = name;
      return;
    }
    this.settings = this.settings.with(name, value);
    const pair = pairOf(name);
    if (pair === undefined && !OF_CHARSET.includes(name)) return;
    this.unsure ??= new Set();
    if (OF_CHARSET.includes(name)) for (const each of OF_CHARSET) this.unsure.add(each);
    else this.unsure.add(name).add(pair ?? name);
  }
}
