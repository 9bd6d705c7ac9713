/**
 * From the client to the database: cuts what the client sends into messages, has each understood
 * (`requests.ts`), and forwards them, by reference and as one write per chunk (`outbox.ts`). It knows when
 * a connection is needed; where one comes from is the session's business.
 *
 * A message that is not whole yet is kept back, so that a client that vanishes leaves no half request
 * in a database; only what is too large to keep streams through.
 */

import type { Stream } from '../../net/stream.ts';
import { ClientTexts } from './client-texts.ts';
import type { DatabaseConnection } from './database-connection.ts';
import { Outbox } from './outbox.ts';
import { type RelayHost, WAIT, WAIT_FOR_CHECK } from './relay-host.ts';
import { Requests } from './requests.ts';
import { NamedStatements } from './statement/named-statements.ts';
import type { StatementRegistry } from './statement/registry.ts';
import { StatementNames } from './statement/statement-names.ts';
import { type UnnamedParse, UnnamedStatement } from './statement/unnamed-statement.ts';
import { isOpenBehind, type TransactionVerb, verbOf } from './transaction-verbs.ts';
import { lengthMaxOf } from './wire/frontend.ts';
import {
  BIND,
  COPY_DATA,
  COPY_DONE,
  COPY_FAIL,
  FLUSH,
  HEADER_BYTES,
  lengthAt,
  SYNC,
  TERMINATE,
} from './wire/messages.ts';

/** A message up to this size is kept until it is whole; a larger one streams through. */
const HELD_MESSAGE_MAX = 256 * 1024;
const PIECES_MAX = 64;
const EMPTY = Buffer.alloc(0);

export class Relay {
  connection: DatabaseConnection | undefined = undefined;
  readonly names: StatementNames;
  readonly named: NamedStatements;
  private readonly host: RelayHost;
  private readonly unnamed = new UnnamedStatement();
  private readonly out: Outbox;
  private readonly texts: ClientTexts;
  private readonly requests: Requests;
  /** Pieces of a message that is not whole yet. */
  private pieces: Buffer[] | undefined = undefined;
  private piecesBytes = 0;
  private piecesWanted = 0;
  /** What is still to come of a message that streams through. */
  bodyLeft = 0;
  /**
   * The chunk of the client's that was sent last, its part `[sentFrom, sentTo)`, and how many there were
   * on this connection: what to send again, and to look at, when the connection is lost.
   */
  private sent: Buffer | undefined = undefined;
  private sentFrom = 0;
  private sentTo = 0;
  private chunks = 0;
  /** What the database's socket had taken before that, and what was the unnamed statement. */
  private takenBefore = 0;
  private unnamedBefore: UnnamedParse | undefined = undefined;
  /** A request was refused by the proxy: everything up to the next Sync is dropped. */
  private isSkipping = false;
  /** The session has ended; nothing more of it goes anywhere. */
  private isOver = false;

  constructor(host: RelayHost, stream: Stream, registry: StatementRegistry, variant: string) {
    this.host = host;
    this.out = new Outbox(stream, this.unnamed);
    this.texts = new ClientTexts(host, this.out);
    this.names = new StatementNames(host, this.out, this.texts, registry, variant);
    this.named = new NamedStatements(host, this.out, this.texts, this.names);
    this.requests = new Requests(host, this.out, this.texts, this.named, this.unnamed);
  }

  /** A message of which a part has been sent is still to be finished by the client. */
  get isMidRequest(): boolean {
    return this.bodyLeft > 0;
  }

  /** The session is over. */
  end(): void {
    this.isOver = true;
  }

  /** The session has a connection. */
  attach(connection: DatabaseConnection): void {
    this.connection = connection;
    this.chunks = 0;
  }

  /** The session is done with its connection. */
  detach(): void {
    this.sent = undefined;
    this.unnamedBefore = undefined;
    this.connection?.statements.ended(this.texts.isTainted);
    this.texts.isTainted = false;
    this.named.portalsGone();
    this.connection = undefined;
    this.out.clear();
    this.unnamed.retain();
  }

  /** Something of the proxy's own that goes out before the client's next message. */
  prepend(message: Buffer): void {
    this.out.push(message);
  }

  // --- When the connection is lost

  /** Nothing of what the client has sent has reached the database. */
  get isUnsent(): boolean {
    const { bodyLeft, chunks, connection, sent } = this;
    if (connection === undefined || chunks !== 1 || bodyLeft > 0) return false;
    // A buffer that was given away is empty when it has been sent.
    return (sent?.length ?? 0) > 0 && connection.stream.takenBytes === this.takenBefore;
  }

  /** What is to be sent again; the relay is as if it had never been. */
  takeUnsent(): Buffer {
    const { pieces, sent, sentFrom, sentTo } = this;
    this.pieces = undefined;
    this.unnamed.parse = this.unnamedBefore;
    const whole = sent?.subarray(sentFrom, sentTo) ?? EMPTY;
    return pieces === undefined ? Buffer.from(whole) : Buffer.concat([whole, ...pieces]);
  }

  /** Whether a transaction would be open behind what was sent last; `isOpen`: one was before that. */
  isOpenBehindSent(isOpen: boolean): boolean {
    const { chunks, sent, sentFrom, sentTo } = this;
    if (chunks === 0 || sent === undefined) return isOpen;
    return isOpenBehind(isOpen, sent.subarray(sentFrom, sentTo), (name) => this.textOf(name));
  }

  /** What the message at the head of `rest` does to a transaction. */
  verbAtHead(rest: Buffer): TransactionVerb | undefined {
    return verbOf(rest, 0, (name) => this.textOf(name));
  }

  /** The text that the client has prepared as `name`, in latin1. */
  private textOf(name: string): string | undefined {
    const { parse } = this.unnamed;
    if (name !== '') return this.names.get(name)?.body.toString('latin1');
    return parse?.bytes.toString('latin1', parse.at + HEADER_BYTES + 1, parse.end);
  }

  unnamedLost(): void {
    this.unnamed.lost();
  }

  take(bytes: Buffer): void {
    if (this.pieces === undefined) this.process(bytes);
    else this.assemble(bytes);
  }

  /** Collects pieces until the message is whole; the header may itself have been cut. */
  private assemble(bytes: Buffer): void {
    const pieces = this.pieces ?? [];
    pieces.push(bytes);
    this.piecesBytes += bytes.length;
    if (this.piecesBytes < this.piecesWanted) {
      // A message that trickles in must not cost an object for each byte.
      if (pieces.length >= PIECES_MAX) this.pieces = [Buffer.concat(pieces)];
      return;
    }
    this.pieces = undefined;
    this.process(Buffer.concat(pieces));
  }

  private keepPiece(bytes: Buffer, at: number, wanted: number): void {
    const piece = Buffer.from(bytes.subarray(at));
    this.pieces = [piece];
    this.piecesBytes = piece.length;
    this.piecesWanted = wanted;
  }

  private process(bytes: Buffer): void {
    const end = bytes.length;
    let at = this.bodyLeft > 0 ? this.passBody(bytes) : 0;
    /** Where the run of bytes begins that is forwarded as it is. */
    let from = this.connection === undefined ? at : 0;
    let waitedAt = -1;
    let isNew = this.connection !== undefined;
    if (isNew) this.sending(bytes, 0);
    while (at < end) {
      if (end - at < HEADER_BYTES) {
        this.keepPiece(bytes, at, HEADER_BYTES);
        break;
      }
      const type = bytes[at];
      const length = lengthAt(bytes, at);
      if (length < 4 || length > lengthMaxOf(type)) {
        this.flush(bytes, from, at);
        this.host.violated(
          lengthMaxOf(type) === 0 ? `unknown type ${type}` : `length ${length} of type ${type}`,
        );
        return;
      }
      const next = at + 1 + length;
      const isWhole = next <= end;
      if (!isWhole && type !== COPY_DATA) {
        // Of a large message too the beginning must be there: it says what the message is about.
        const kept = Math.min(1 + length, HELD_MESSAGE_MAX);
        if (end - at < kept) {
          this.keepPiece(bytes, at, kept);
          break;
        }
      }
      if (type === TERMINATE) {
        this.flush(bytes, from, at);
        this.host.terminated();
        return;
      }
      if (this.connection === undefined) {
        if (this.isSkipping || isOnlyForCopy(type)) {
          if (type === SYNC && this.isSkipping) this.endSkipping();
          if (!isWhole) this.bodyLeft = next - end;
          at = isWhole ? next : end;
          from = at;
          continue;
        }
        if (!this.host.acquire(at === 0 ? bytes : bytes.subarray(at))) return;
      }
      const { connection } = this;
      if (connection === undefined) return;
      if (!isNew) this.sending(bytes, at);
      isNew = true;
      // What a large Bind means is in its first bytes.
      const isNoted = isWhole || type === BIND;
      const begin = isNoted
        ? this.requests.note(connection, type, bytes, from, at, next)
        : this.requests.noteLarge(connection, type, bytes, from, at, next);
      if (begin === WAIT || begin === WAIT_FOR_CHECK) {
        this.flush(bytes, begin === WAIT ? from : at, at);
        from = at;
        if (waitedAt !== at && this.connection?.ledger.isEmpty) {
          // It waited for answers of our own, which have just been given.
          waitedAt = at;
          continue;
        }
        this.sentTo = at;
        this.host.wait(at === 0 ? bytes : bytes.subarray(at));
        return;
      }
      // The client has been told that this is the end.
      if (this.isOver) return;
      from = begin;
      if (!isWhole) this.bodyLeft = next - end;
      at = isWhole ? next : end;
    }
    this.sentTo = at;
    this.flush(bytes, from, at);
  }

  /** What there is of `bytes` from `from` goes to the connection, as far as it can. */
  private sending(bytes: Buffer, from: number): void {
    this.sent = bytes;
    this.sentFrom = from;
    // What waits is kept by the session, not here.
    this.sentTo = from;
    if (this.chunks++ > 0) return;
    this.takenBefore = this.connection?.stream.takenBytes ?? 0;
    this.unnamedBefore = this.unnamed.parse;
  }

  /** Passes on the rest of a message that streams through. Returns where it ends in `bytes`. */
  private passBody(bytes: Buffer): number {
    const length = Math.min(this.bodyLeft, bytes.length);
    this.bodyLeft -= length;
    if (this.texts.isScanning) this.texts.scanMore(bytes, length, this.bodyLeft === 0);
    return length;
  }

  /** Drops the message at the head of `first`, also the part of it that is still to come. */
  dropMessage(first: Buffer): Buffer {
    const next = 1 + lengthAt(first, 0);
    if (next > first.length) this.bodyLeft = next - first.length;
    return first.subarray(Math.min(next, first.length));
  }

  /** Drops everything up to the next Sync, as a server does after an error. */
  skip(): void {
    this.isSkipping = true;
  }

  private endSkipping(): void {
    this.isSkipping = false;
    this.host.skipped();
  }

  private flush(bytes: Buffer, from: number, to: number): void {
    if (this.connection !== undefined) this.out.flush(this.connection, bytes, from, to);
  }
}

/** Discarded by a server that is not in COPY IN; Flush has nothing to flush without a connection. */
function isOnlyForCopy(type: number): boolean {
  return type === COPY_DATA || type === COPY_DONE || type === COPY_FAIL || type === FLUSH;
}
