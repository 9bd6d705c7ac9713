/**
 * What a chunk is for the client, when it is not passed on as it is: all of it in one buffer, because
 * most chunks are short, and many clients need a packet put into every answer.
 */

import { EOF_HEADER } from './wire/capabilities.ts';
import { HEADER_BYTES } from './wire/packets.ts';
import { EOF_BYTES } from './wire/replies.ts';

/** For packets that are put in; more are rare, and then the buffer grows. */
const ROOM_BYTES = 128;

export class RewrittenChunk {
  private bytes: Buffer | undefined = undefined;
  private length = 0;

  /** `source[from, to)` goes to the client. */
  keep(source: Buffer, from: number, to: number): void {
    if (to <= from) return;
    const bytes = this.withRoom(to - from, source.length);
    source.copy(bytes, this.length, from, to);
    this.length += to - from;
  }

  add(packet: Uint8Array): void {
    this.withRoom(packet.length, 0).set(packet, this.length);
    this.length += packet.length;
  }

  /** An EOF packet. */
  addEof(sequence: number, status: number, warnings: number): void {
    const bytes = this.withRoom(HEADER_BYTES + EOF_BYTES, 0);
    const at = this.length;
    bytes[at] = EOF_BYTES;
    bytes[at + 1] = 0;
    bytes[at + 2] = 0;
    bytes[at + 3] = sequence;
    bytes[at + 4] = EOF_HEADER;
    bytes[at + 5] = warnings;
    bytes[at + 6] = warnings >>> 8;
    bytes[at + 7] = status;
    bytes[at + 8] = status >>> 8;
    this.length = at + HEADER_BYTES + EOF_BYTES;
  }

  /** All of it, with `source[from, to)` at the end; `undefined` when it is nothing but that. */
  take(source: Buffer, from: number, to: number): Buffer | undefined {
    if (this.bytes === undefined) return undefined;
    this.keep(source, from, to);
    const whole = this.bytes.subarray(0, this.length);
    this.bytes = undefined;
    this.length = 0;
    return whole;
  }

  /** `expected`: how long the rest may be. */
  private withRoom(needed: number, expected: number): Buffer {
    const { bytes, length } = this;
    if (bytes !== undefined && length + needed <= bytes.length) return bytes;
    const more = Buffer.allocUnsafe(length + Math.max(needed, expected) + ROOM_BYTES);
    bytes?.copy(more, 0, 0, length);
    this.bytes = more;
    return more;
  }
}
