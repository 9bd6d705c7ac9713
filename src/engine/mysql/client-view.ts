/**
 * The difference between what the database sends the proxy and what it would send the client. The proxy
 * logs in with CLIENT_DEPRECATE_EOF and CLIENT_SESSION_TRACK; for a client that did not, an EOF packet
 * goes in behind column definitions, the packets behind it have other sequence numbers, the OK packet
 * that ends rows is an EOF packet, and OK packets have no session state.
 *
 * Works on the chunk that the database's packets lie in: one that is forwarded as it is stays where it is,
 * and only another is written anew.
 */

import { COLUMNS_END, DESCRIPTION_END, OK, type ReplyLedger, ROWS_END } from './ledger.ts';
import { RewrittenChunk } from './rewritten-chunk.ts';
import type { ToldTransaction, Tracking } from './tracking.ts';
import {
  CLIENT_DEPRECATE_EOF,
  CLIENT_SESSION_TRACK,
  EOF_HEADER,
  ERR_HEADER,
  has,
  OK_HEADER,
  SERVER_SESSION_STATE_CHANGED,
  SERVER_STATUS_ANSI_QUOTES,
  SERVER_STATUS_AUTOCOMMIT,
  SERVER_STATUS_CURSOR_EXISTS,
  SERVER_STATUS_IN_TRANS,
  SERVER_STATUS_IN_TRANS_READONLY,
  SERVER_STATUS_LAST_ROW_SENT,
  SERVER_STATUS_NO_BACKSLASH_ESCAPES,
} from './wire/capabilities.ts';
import { HEADER_BYTES, int16At, PAYLOAD_MAX, payloadLengthAt, sequenceAt } from './wire/packets.ts';
import { okPacket, okStatusAt, readOk } from './wire/replies.ts';

const EMPTY = Buffer.alloc(0);
/** Flags that hold for the session, not for one result. */
const LASTING =
  SERVER_STATUS_IN_TRANS |
  SERVER_STATUS_AUTOCOMMIT |
  SERVER_STATUS_NO_BACKSLASH_ESCAPES |
  SERVER_STATUS_IN_TRANS_READONLY |
  SERVER_STATUS_ANSI_QUOTES;
/** Flags of the end of a result that are not yet there behind its column definitions. */
const OF_THE_END = SERVER_SESSION_STATE_CHANGED | SERVER_STATUS_LAST_ROW_SENT;

/** What the client has told at its login, and since. */
export interface ClientTraits {
  readonly capabilities: number;
  /** What it wants to hear of its session. */
  readonly tracking: Tracking | undefined;
}

export class ClientView implements ToldTransaction {
  /** There is anything to be done at all. */
  isNeeded = false;
  hasBegun = false;
  /** Packets that were put into the answer that is under way. */
  shift = 0;
  private needsEof = false;
  private isTracking = false;
  private tracking: Tracking | undefined = undefined;
  private clientCapabilities = 0;
  private serverCapabilities = 0;
  /** The column definitions are complete, and what follows tells whether an EOF packet goes here. */
  isEofDue = false;
  private readonly rewritten = new RewrittenChunk();

  begin({ capabilities: client, tracking }: ClientTraits, server: number): void {
    this.clientCapabilities = client;
    this.serverCapabilities = server;
    this.tracking = tracking;
    this.needsEof = !has(client, CLIENT_DEPRECATE_EOF) && has(server, CLIENT_DEPRECATE_EOF);
    this.isTracking = has(client, CLIENT_SESSION_TRACK);
    this.isNeeded = this.needsEof || has(server, CLIENT_SESSION_TRACK);
    this.shift = 0;
    this.isEofDue = false;
    this.hasBegun = false;
  }

  answerEnded(): void {
    this.shift = 0;
    this.isEofDue = false;
  }

  /** Keeps the run before `at` and leaves out what is up to `next`; returns where the next run begins. */
  skip(bytes: Buffer, from: number, at: number, next: number): number {
    this.rewritten.keep(bytes, from, at);
    return next;
  }

  /** The packet between `at` and `next` is `packet` for the client. */
  replace(bytes: Buffer, from: number, at: number, next: number, packet: Uint8Array): number {
    this.rewritten.keep(bytes, from, at);
    this.rewritten.add(packet);
    return next;
  }

  /** What the chunk has become, of which `bytes[from, to)` is the last run; `undefined`: that alone. */
  take(bytes: Buffer, from: number, to: number): Buffer | undefined {
    return this.rewritten.take(bytes, from, to);
  }

  /**
   * The packet between `at` and `next` is `what`, of an answer to the client. Returns where the next run
   * of bytes begins.
   */
  translate(
    what: number,
    ledger: ReplyLedger,
    bytes: Buffer,
    from: number,
    at: number,
    next: number,
  ): number {
    if (this.isEofDue) {
      this.isEofDue = false;
      const isCursor = what === ROWS_END && (ledger.status & SERVER_STATUS_CURSOR_EXISTS) !== 0;
      if (!isCursor) from = this.insertEof(ledger, bytes, from, at, sequenceAt(bytes, at));
    }
    if (this.shift !== 0) bytes[at + 3] += this.shift;
    switch (what) {
      case COLUMNS_END:
        this.isEofDue = this.needsEof;
        return from;
      case DESCRIPTION_END:
        if (!this.needsEof) return from;
        // What is behind it is the answer to something else.
        this.rewritten.keep(bytes, from, next);
        return this.addEof(next, sequenceAt(bytes, at) + 1 - this.shift, ledger.status & LASTING);
      case ROWS_END:
        return this.rowsEnd(bytes, from, at, next);
      case OK:
        return this.ok(bytes, from, at, next);
      default:
        return from;
    }
  }

  /** Puts an EOF packet before `at`; `sequence` is the number that the database gives what is there. */
  private insertEof(
    ledger: ReplyLedger,
    bytes: Buffer,
    from: number,
    at: number,
    sequence: number,
  ): number {
    this.rewritten.keep(bytes, from, at);
    const status = endStatusIn(bytes, at) ?? ledger.status & LASTING;
    return this.addEof(at, sequence, status & ~OF_THE_END);
  }

  private addEof(at: number, sequence: number, status: number): number {
    this.rewritten.addEof(sequence + this.shift, status, 0);
    this.shift++;
    return at;
  }

  private rowsEnd(bytes: Buffer, from: number, at: number, next: number): number {
    if (!this.needsEof) return this.ok(bytes, from, at, next);
    const status = okStatusAt(bytes, at + HEADER_BYTES, next);
    // An EOF packet already: of a server that sends one where it need not.
    if (status < 0) return from;
    this.rewritten.keep(bytes, from, at);
    const flags = int16At(bytes, status) & ~SERVER_SESSION_STATE_CHANGED;
    this.rewritten.addEof(sequenceAt(bytes, at), flags, int16At(bytes, status + 2));
    return next;
  }

  private ok(bytes: Buffer, from: number, at: number, next: number): number {
    const payload = at + HEADER_BYTES;
    const status = okStatusAt(bytes, payload, next);
    if (status < 0 || (int16At(bytes, status) & SERVER_SESSION_STATE_CHANGED) === 0) return from;
    const fields = readOk(bytes.subarray(payload, next), this.serverCapabilities);
    if (fields === undefined) return from;
    const state = this.isTracking ? (this.tracking?.filter(fields.state, this) ?? EMPTY) : EMPTY;
    if (state.length === fields.state.length) return from;
    const header = bytes[payload] === OK_HEADER ? OK_HEADER : EOF_HEADER;
    this.rewritten.keep(bytes, from, at);
    this.rewritten.add(
      okPacket(sequenceAt(bytes, at), this.clientCapabilities, { ...fields, header, state }),
    );
    return next;
  }
}

/**
 * The status flags of the end of the rows that begin at `at`, if all of them have come: a server that sends
 * an EOF packet behind the column definitions knows more of them than the last answer told.
 */
function endStatusIn(bytes: Buffer, at: number): number | undefined {
  while (at + HEADER_BYTES < bytes.length) {
    const length = payloadLengthAt(bytes, at);
    const payload = at + HEADER_BYTES;
    const next = payload + length;
    if (length === PAYLOAD_MAX || next > bytes.length || bytes[payload] === ERR_HEADER)
      return undefined;
    if (bytes[payload] === EOF_HEADER) {
      const status = okStatusAt(bytes, payload, next);
      return status < 0 ? undefined : int16At(bytes, status);
    }
    at = next;
  }
  return undefined;
}
