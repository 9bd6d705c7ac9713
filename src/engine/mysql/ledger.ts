/**
 * The reply ledger of one database connection: what the database still owes, in order. Whether a
 * connection may be given back is decided here, by the status flags of the last answer, never by the
 * text of a statement.
 *
 * Every command that will be answered pushes an entry when it is sent; the last packet of its answer
 * takes it off the front. What the proxy itself sends is marked `OURS`, so that its answer cannot
 * reach a client. Pure: no sockets, no bytes but the header and what a packet begins with.
 *
 * The database reads pipelined commands one by one and answers them in order; an error ends one command
 * and nothing else. The shapes of the answers are those of the manual's "Command Phase":
 * https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_command_phase.html
 * https://mariadb.com/docs/server/reference/clientserver-protocol/4-server-response-packets
 */

import { ProtocolViolation } from '../protocol-violation.ts';
import {
  EOF_HEADER,
  ERR_HEADER,
  LOCAL_INFILE_HEADER,
  OK_HEADER,
  SERVER_MORE_RESULTS_EXISTS,
  SERVER_STATUS_AUTOCOMMIT,
  SERVER_STATUS_CURSOR_EXISTS,
  SERVER_STATUS_IN_TRANS,
} from './wire/capabilities.ts';
import { int16At, lenencAt, PAYLOAD_MAX } from './wire/packets.ts';
import { EOF_BYTES, okLastInsertIdAt, okStatusAt } from './wire/replies.ts';

/** Answered by OK, ERR, a request for a file, or result sets: COM_QUERY, COM_STMT_EXECUTE, ... */
export const OWES_RESULT = 1;
/** Answered by one packet, OK, EOF or ERR: COM_PING, COM_INIT_DB, COM_SET_OPTION, ... */
export const OWES_OK = 2;
/** Answered by one packet of text: COM_STATISTICS. */
export const OWES_TEXT = 3;
/** Answered by column definitions up to EOF: COM_FIELD_LIST. */
export const OWES_FIELDS = 4;
/** Answered by rows up to EOF: COM_STMT_FETCH. */
export const OWES_ROWS = 5;
/** Answered by the description of a statement: COM_STMT_PREPARE. */
export const OWES_STATEMENT = 6;
/** The bits of an entry that say what is owed. */
export const KIND = 0x0f;
/** The proxy sent it; the client must not see the answer. */
export const OURS = 0x10;
/** The client's statement may ask for a file: LOAD DATA LOCAL. */
export const MAY_READ_FILE = 0x20;
/** The client's COM_RESET_CONNECTION. */
export const RESETS = 0x40;
/** Ours: what is run before a client's request, to make the connection the session's. */
export const REPLAYS = 0x80;

/** Something is to be done when the answer is complete; see `ConnectionStatements`. */
export const NOTED = 0x100;
/** Ours: goes before a COM_STMT_PREPARE of ours, and without it there is no sense in that. */
export const SWITCHES = 0x200;

/** The client's: executes what the proxy has just prepared for it, and may have to do so again. */
export const FRESH = 0x400;

/** What a packet is, as `ReplyLedger.replied` tells. */
export const CONTENT = 0;
/** The last of the column definitions of a result set; with CLIENT_DEPRECATE_EOF no EOF packet follows. */
export const COLUMNS_END = 1;
/** The EOF packet behind column definitions or parameters, which nobody has with CLIENT_DEPRECATE_EOF. */
export const COLUMNS_EOF = 2;
/** OK, of a statement without rows. */
export const OK = 3;
/** What ends the rows of a result set: EOF, or with CLIENT_DEPRECATE_EOF an OK packet that looks like it. */
export const ROWS_END = 4;
export const ERROR = 5;
/** The last of the parameters or columns of a prepared statement; see `COLUMNS_END`. */
export const DESCRIPTION_END = 6;
/** The first packet about a statement that has been prepared. */
export const PREPARED = 7;

/** Where in the answer to the head the database is. */
const FIRST = 0;
const COLUMNS = 1;
const AFTER_COLUMNS = 2;
const ROWS = 3;
const FILE = 4;
const PARAMETERS = 5;
const AFTER_PARAMETERS = 6;
const STATEMENT_COLUMNS = 7;
const AFTER_STATEMENT_COLUMNS = 8;

const FIRST_CAPACITY = 16;
/** COM_STMT_PREPARE's OK: header, statement id, columns, parameters, filler, warnings. */
const PREPARED_BYTES_MIN = 12;

export class LedgerViolation extends ProtocolViolation {
  constructor(what: string, entry: number, phase: number) {
    super(`${what} while the head of the ledger is ${entry} in phase ${phase}`);
    this.name = 'LedgerViolation';
  }
}

export class ReplyLedger {
  /** Entries in a ring whose size is a power of two. */
  private ring = new Uint16Array(FIRST_CAPACITY);
  private first = 0;
  private count = 0;
  private phase = FIRST;
  /** Column definitions, or parameters, still to come. */
  private left = 0;
  /** Of a COM_STMT_PREPARE, while its parameters come. */
  private columnsAfter = 0;
  private readonly isEofDeprecated: boolean;
  /** The status flags of the last answer that had some. */
  status = SERVER_STATUS_AUTOCOMMIT;
  /** The warnings of the last answer; an error counts as one. */
  warnings = 0;
  /** An OK had an insert id, so LAST_INSERT_ID() may have changed. */
  hasInsertId = false;
  /** An error does not tell what became of the transaction. */
  isStatusUnsure = false;
  /** The database reads a file from the client; what the client sends is that, up to an empty packet. */
  isReadingFile = false;
  /** The head has asked for a file that the client never offered. */
  isFileUnasked = false;

  constructor(isEofDeprecated: boolean) {
    this.isEofDeprecated = isEofDeprecated;
  }

  /** How many answers are owed. */
  get depth(): number {
    return this.count;
  }

  get isEmpty(): boolean {
    return this.count === 0;
  }

  /** Nothing is owed and nothing half done; a transaction may be open. */
  get isQuiet(): boolean {
    return this.count === 0 && !this.isReadingFile;
  }

  get isInTransaction(): boolean {
    return (this.status & SERVER_STATUS_IN_TRANS) !== 0;
  }

  /** Nothing is owed, nothing half done, and it is certain that no transaction is open. */
  get isSettled(): boolean {
    return this.isQuiet && !this.isInTransaction && !this.isStatusUnsure;
  }

  /** The entry that comes next; 0 when nothing is owed. */
  get head(): number {
    return this.count === 0 ? 0 : this.ring[this.first];
  }

  /** What comes next answers something of the proxy's own. */
  get isOwnFirst(): boolean {
    return (this.head & OURS) !== 0;
  }

  /** How many answers the client waits for. */
  get clientsOwed(): number {
    let owed = 0;
    for (let i = 0; i < this.count; i++) {
      if ((this.ring[(this.first + i) & (this.ring.length - 1)] & OURS) === 0) owed++;
    }
    return owed;
  }

  /**
   * What comes next may be an error in the place of it: where an answer, a row, or one of several results
   * would begin. In the middle of a description no client reads it as one.
   */
  get mayFailHere(): boolean {
    return this.count === 0 || this.phase === FIRST || this.phase === ROWS;
  }

  /** Nothing is owed but to replays, so everything that the client has sent has been answered. */
  get isOnlyReplays(): boolean {
    for (let i = 0; i < this.count; i++) {
      if ((this.ring[(this.first + i) & (this.ring.length - 1)] & REPLAYS) === 0) return false;
    }
    return true;
  }

  /** Rows are coming: whatever does not begin like an end or an error is one. */
  get isInRows(): boolean {
    return this.phase === ROWS;
  }

  /** Nothing of the answer to the head has come yet. */
  get isHeadUntouched(): boolean {
    return this.phase === FIRST;
  }

  /** Records that a command was sent that owes `entry`. */
  owe(entry: number): void {
    if (this.count === this.ring.length) this.grow();
    this.ring[(this.first + this.count) & (this.ring.length - 1)] = entry;
    if (this.count++ === 0) this.begin(entry);
  }

  /** Records that the client has sent the end of its file. */
  fileEnded(): void {
    this.isReadingFile = false;
  }

  /**
   * Whether a payload that begins with `firstByte`, and is `length` long in its first packet, decides
   * anything, so that it must be there as a whole.
   */
  isDeciding(firstByte: number, length: number): boolean {
    switch (this.phase) {
      case COLUMNS:
        return false;
      case PARAMETERS:
      case STATEMENT_COLUMNS:
        // Behind the last of them something may be put in, and the answer may be over.
        return this.left === 1;
      case ROWS:
        return firstByte >= EOF_HEADER && (firstByte === ERR_HEADER || length < PAYLOAD_MAX);
      default:
        return true;
    }
  }

  /**
   * Takes note of a payload from the database: of its first packet, `length` long, which begins at `at`
   * (behind its header). If it is deciding, all of it must be there. Returns what it is.
   */
  replied(bytes: Uint8Array, at: number, length: number): number {
    const entry = this.head;
    const firstByte = length === 0 ? -1 : bytes[at];
    switch (this.phase) {
      case ROWS:
        if (firstByte === EOF_HEADER && length < PAYLOAD_MAX) {
          this.readEnd(bytes, at, length);
          return this.resultEnded(ROWS_END);
        }
        return firstByte === ERR_HEADER ? this.failed() : CONTENT;
      case COLUMNS:
        if (--this.left > 0) return CONTENT;
        this.phase = this.isEofDeprecated ? ROWS : AFTER_COLUMNS;
        return COLUMNS_END;
      case FIRST:
        return this.began(entry, bytes, at, length, firstByte);
      case AFTER_COLUMNS:
        return this.columnsEnded(bytes, at, length, firstByte);
      case FILE:
        return this.fileAnswered(bytes, at, length, firstByte);
      default:
        return this.described(bytes, at, length, firstByte);
    }
  }

  private begin(entry: number): void {
    this.phase = (entry & KIND) === OWES_ROWS || (entry & KIND) === OWES_FIELDS ? ROWS : FIRST;
  }

  private began(
    entry: number,
    bytes: Uint8Array,
    at: number,
    length: number,
    firstByte: number,
  ): number {
    switch (entry & KIND) {
      case OWES_RESULT:
        return this.resultBegan(entry, bytes, at, length, firstByte);
      case OWES_OK:
        if (firstByte === ERR_HEADER) return this.failed();
        if (firstByte !== OK_HEADER && firstByte !== EOF_HEADER) throw this.violation('an odd OK');
        this.readEnd(bytes, at, length);
        this.pop();
        return OK;
      case OWES_TEXT:
        if (firstByte === ERR_HEADER) return this.failed();
        this.pop();
        return CONTENT;
      case OWES_STATEMENT:
        return this.prepared(bytes, at, length, firstByte);
      default:
        throw this.violation('something that nobody asked for');
    }
  }

  private resultBegan(
    entry: number,
    bytes: Uint8Array,
    at: number,
    length: number,
    firstByte: number,
  ): number {
    switch (firstByte) {
      case OK_HEADER:
        this.readOk(bytes, at, length);
        return this.resultEnded(OK);
      case ERR_HEADER:
        return this.failed();
      case LOCAL_INFILE_HEADER:
        this.phase = FILE;
        this.isReadingFile = true;
        this.isFileUnasked = (entry & MAY_READ_FILE) === 0;
        return CONTENT;
      case EOF_HEADER:
      case -1:
        throw this.violation('an odd count of columns');
      default: {
        const columns = lenencAt(bytes, at);
        // Without the metadata, which a client can ask to be left out, the rows follow at once.
        this.left = columns;
        this.phase = COLUMNS;
        return CONTENT;
      }
    }
  }

  /** A column definition more than announced, or the EOF packet behind the last. */
  private columnsEnded(bytes: Uint8Array, at: number, length: number, firstByte: number): number {
    if (firstByte === ERR_HEADER) return this.failed();
    if (firstByte !== EOF_HEADER || length !== EOF_BYTES) throw this.violation('no EOF');
    this.readEnd(bytes, at, length);
    // The rows of a cursor are fetched; nothing more follows now.
    if ((this.status & SERVER_STATUS_CURSOR_EXISTS) !== 0) return this.resultEnded(ROWS_END);
    this.phase = ROWS;
    return COLUMNS_EOF;
  }

  /** The answer to a statement that has read a file. It may come before the file's end. */
  private fileAnswered(bytes: Uint8Array, at: number, length: number, firstByte: number): number {
    if (firstByte === ERR_HEADER) return this.failed();
    if (firstByte !== OK_HEADER) throw this.violation('no answer to a file');
    this.readOk(bytes, at, length);
    return this.resultEnded(OK);
  }

  private prepared(bytes: Uint8Array, at: number, length: number, firstByte: number): number {
    if (firstByte === ERR_HEADER) return this.failed();
    if (firstByte !== OK_HEADER || length < PREPARED_BYTES_MIN) throw this.violation('an odd OK');
    const columns = int16At(bytes, at + 5);
    const parameters = int16At(bytes, at + 7);
    this.warnings = int16At(bytes, at + 10);
    this.columnsAfter = columns;
    if (parameters > 0) {
      this.left = parameters;
      this.phase = PARAMETERS;
    } else {
      this.describeColumns();
    }
    return PREPARED;
  }

  private describeColumns(): void {
    if (this.columnsAfter === 0) {
      this.pop();
      return;
    }
    this.left = this.columnsAfter;
    this.phase = STATEMENT_COLUMNS;
  }

  /** Of a statement: parameters, columns, and without CLIENT_DEPRECATE_EOF an EOF packet behind each. */
  private described(bytes: Uint8Array, at: number, length: number, firstByte: number): number {
    switch (this.phase) {
      case PARAMETERS:
        if (--this.left > 0) return CONTENT;
        if (this.isEofDeprecated) this.describeColumns();
        else this.phase = AFTER_PARAMETERS;
        return DESCRIPTION_END;
      case STATEMENT_COLUMNS:
        if (--this.left > 0) return CONTENT;
        if (this.isEofDeprecated) this.pop();
        else this.phase = AFTER_STATEMENT_COLUMNS;
        return DESCRIPTION_END;
      default:
        if (firstByte !== EOF_HEADER || length !== EOF_BYTES) throw this.violation('no EOF');
        this.readEnd(bytes, at, length);
        if (this.phase === AFTER_PARAMETERS) this.describeColumns();
        else this.pop();
        return COLUMNS_EOF;
    }
  }

  private readOk(bytes: Uint8Array, at: number, length: number): void {
    const status = okStatusAt(bytes, at, at + length);
    if (status < 0) throw this.violation('an OK without a status');
    if (bytes[okLastInsertIdAt(bytes, at, at + length)] !== 0) this.hasInsertId = true;
    this.note(int16At(bytes, status), int16At(bytes, status + 2));
  }

  /** EOF, or an OK packet in its place. */
  private readEnd(bytes: Uint8Array, at: number, length: number): void {
    if (bytes[at] === EOF_HEADER && length === EOF_BYTES) {
      this.note(int16At(bytes, at + 3), int16At(bytes, at + 1));
    } else {
      this.readOk(bytes, at, length);
    }
  }

  private note(status: number, warnings: number): void {
    this.status = status;
    this.warnings = warnings;
    this.isStatusUnsure = false;
  }

  private resultEnded(what: number): number {
    if ((this.status & SERVER_MORE_RESULTS_EXISTS) === 0) this.pop();
    else this.phase = FIRST;
    return what;
  }

  private failed(): number {
    this.warnings = 1;
    this.isStatusUnsure = true;
    this.status &= ~SERVER_MORE_RESULTS_EXISTS;
    this.pop();
    return ERROR;
  }

  private pop(): void {
    this.first = (this.first + 1) & (this.ring.length - 1);
    this.count--;
    this.begin(this.head);
  }

  private violation(what: string): LedgerViolation {
    return new LedgerViolation(what, this.head, this.phase);
  }

  private grow(): void {
    const larger = new Uint16Array(this.ring.length * 2);
    for (let i = 0; i < this.count; i++) {
      larger[i] = this.ring[(this.first + i) & (this.ring.length - 1)];
    }
    this.ring = larger;
    this.first = 0;
  }
}
