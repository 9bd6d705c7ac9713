/**
 * The difference between what the database sends the proxy and what it would send the client. The proxy
 * logs in with CLIENT_DEPRECATE_EOF and CLIENT_SESSION_TRACK; for a client that did not, an EOF packet
 * goes in behind column definitions, the packets behind it have other sequence numbers, the OK packet
 * that ends rows is an EOF packet, and OK packets have no session state.
 *
 * Works on the chunk that the database's packets lie in: what is forwarded as it is stays where it is,
 * and only for the rest the chunk is cut to pieces.
 */

import { COLUMNS_END, DESCRIPTION_END, OK, type ReplyLedger, ROWS_END } from './ledger.ts';
import {
  CLIENT_DEPRECATE_EOF,
  CLIENT_SESSION_TRACK,
  has,
  SERVER_MORE_RESULTS_EXISTS,
  SERVER_SESSION_STATE_CHANGED,
  SERVER_STATUS_CURSOR_EXISTS,
} from './wire/capabilities.ts';
import { HEADER_BYTES, int16At, sequenceAt } from './wire/packets.ts';
import { eofPacket, okPacket, okStatusAt, readOk } from './wire/replies.ts';

export class ClientView {
  /** There is anything to be done at all. */
  isNeeded = false;
  /** Packets that were put into the answer that is under way. */
  shift = 0;
  private needsEof = false;
  private needsPlainOk = false;
  private clientCapabilities = 0;
  private serverCapabilities = 0;
  /** The column definitions are complete, and what follows tells whether an EOF packet goes here. */
  private isEofDue = false;
  private pieces: Uint8Array[] | undefined = undefined;

  begin(client: number, server: number): void {
    this.clientCapabilities = client;
    this.serverCapabilities = server;
    this.needsEof = !has(client, CLIENT_DEPRECATE_EOF) && has(server, CLIENT_DEPRECATE_EOF);
    this.needsPlainOk = !has(client, CLIENT_SESSION_TRACK) && has(server, CLIENT_SESSION_TRACK);
    this.isNeeded = this.needsEof || this.needsPlainOk;
    this.shift = 0;
    this.isEofDue = false;
  }

  answerEnded(): void {
    this.shift = 0;
    this.isEofDue = false;
  }

  /** Keeps the run before `at` and leaves out what is up to `next`; returns where the next run begins. */
  skip(bytes: Buffer, from: number, at: number, next: number): number {
    if (at > from) this.keep(bytes, from, at);
    return next;
  }

  /** What is to go out before the last run of the chunk. */
  takePieces(): Uint8Array[] | undefined {
    const { pieces } = this;
    this.pieces = undefined;
    return pieces;
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
        return this.insertEof(ledger, bytes, from, next, sequenceAt(bytes, at) + 1 - this.shift);
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
    if (at > from) this.keep(bytes, from, at);
    const status = ledger.status & ~(SERVER_SESSION_STATE_CHANGED | SERVER_MORE_RESULTS_EXISTS);
    this.add(eofPacket((sequence + this.shift) & 0xff, status));
    this.shift++;
    return at;
  }

  private rowsEnd(bytes: Buffer, from: number, at: number, next: number): number {
    if (!this.needsEof) return this.ok(bytes, from, at, next);
    const status = okStatusAt(bytes, at + HEADER_BYTES, next);
    // An EOF packet already: of a server that sends one where it need not.
    if (status < 0) return from;
    if (at > from) this.keep(bytes, from, at);
    const flags = int16At(bytes, status) & ~SERVER_SESSION_STATE_CHANGED;
    this.add(eofPacket(sequenceAt(bytes, at), flags, int16At(bytes, status + 2)));
    return next;
  }

  private ok(bytes: Buffer, from: number, at: number, next: number): number {
    if (!this.needsPlainOk) return from;
    const payload = at + HEADER_BYTES;
    const status = okStatusAt(bytes, payload, next);
    if (status < 0 || (int16At(bytes, status) & SERVER_SESSION_STATE_CHANGED) === 0) return from;
    const fields = readOk(bytes.subarray(payload, next), this.serverCapabilities);
    if (fields === undefined) return from;
    const header = bytes[payload] === 0 ? 0x00 : 0xfe;
    if (at > from) this.keep(bytes, from, at);
    this.add(okPacket(sequenceAt(bytes, at), this.clientCapabilities, { ...fields, header }));
    return next;
  }

  private keep(bytes: Buffer, from: number, to: number): void {
    this.add(bytes.subarray(from, to));
  }

  private add(piece: Uint8Array): void {
    this.pieces ??= [];
    this.pieces.push(piece);
  }
}
