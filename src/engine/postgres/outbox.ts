/**
 * What goes out to the database next: the client's bytes by reference, as one run where that is possible,
 * with what the proxy says in between; one write for all that one chunk of the client's made.
 */

import { GIVEN_MIN, HOLD_LEDGER_FULL, type Stream } from '../../net/stream.ts';
import { PIPELINE_MAX } from '../borrowing-session.ts';
import type { DatabaseConnection } from './database-connection.ts';
import { INSERTED } from './ledger.ts';
import type { UnnamedStatement } from './statement/unnamed-statement.ts';
import { FLUSH_MESSAGE } from './wire/frontend.ts';

export class Outbox {
  /** The client waits for something that a server would not send yet. */
  isFlushDue = false;
  private readonly client: Stream;
  private readonly unnamed: UnnamedStatement;
  private pieces: Buffer[] = [];

  constructor(client: Stream, unnamed: UnnamedStatement) {
    this.client = client;
    this.unnamed = unnamed;
  }

  push(message: Buffer): void {
    this.pieces.push(message);
  }

  /** `bytes[from, to)`, as the client wrote it. */
  emit(bytes: Buffer, from: number, to: number): void {
    if (to > from) this.pieces.push(bytes.subarray(from, to));
  }

  /** Nothing of it is to go to another connection. */
  clear(): void {
    if (this.pieces.length > 0) this.pieces = [];
    this.isFlushDue = false;
  }

  /** Writes what is to go out, `bytes[from, to)` last, in one write. */
  flush(connection: DatabaseConnection, bytes: Buffer, from: number, to: number): void {
    const { pieces } = this;
    const { stream } = connection;
    if (this.isFlushDue) {
      this.isFlushDue = false;
      if (to > from) pieces.push(bytes.subarray(from, to));
      pieces.push(FLUSH_MESSAGE);
      from = to;
    }
    if (pieces.length === 0) {
      const isWhole = from === 0 && to === bytes.length;
      // Nobody else has a chunk that goes out as it came in, but for the unnamed statement.
      if (!isWhole) {
        if (to > from) stream.write(bytes.subarray(from, to));
      } else if (bytes.length < GIVEN_MIN || this.unnamed.isIn(bytes)) stream.write(bytes);
      else stream.give(bytes);
    } else {
      this.pieces = [];
      stream.write(joined(pieces, bytes, from, to));
    }
    if ((connection.ledger.head & INSERTED) !== 0) connection.tellInserted();
    if (connection.ledger.depth > PIPELINE_MAX) this.client.hold(HOLD_LEDGER_FULL);
  }
}

/** `pieces`, then `bytes[from, to)`. To cut a piece out of a chunk costs more than to copy it. */
function joined(pieces: readonly Buffer[], bytes: Buffer, from: number, to: number): Buffer {
  let length = to - from;
  for (const piece of pieces) length += piece.length;
  const whole = Buffer.allocUnsafe(length);
  let at = 0;
  for (const piece of pieces) at += piece.copy(whole, at);
  bytes.copy(whole, at, from, to);
  return whole;
}
