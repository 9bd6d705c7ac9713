/**
 * The values of a Bind, for the few statements of which it matters what they are given. They are read
 * where they lie, so it is good only until the bytes are.
 *
 * https://www.postgresql.org/docs/current/protocol-message-formats.html#PROTOCOL-MESSAGE-FORMATS-BIND
 */

import { int32At } from './messages.ts';

const NULL_LENGTH = -1;

export class BoundParameters {
  private readonly bytes: Buffer;
  private readonly from: number;
  private readonly end: number;

  /** `from`: after the name of the statement. `end`: of the message, which may not all be there. */
  constructor(bytes: Buffer, from: number, end: number) {
    this.bytes = bytes;
    this.from = from;
    this.end = Math.min(end, bytes.length);
  }

  /**
   * The value of `$number` as latin1: that of a text is the same in both formats. It is empty for
   * NULL, and `undefined` if the message has no such value.
   */
  text(number: number): string | undefined {
    const { bytes, end } = this;
    if (this.from + 2 > end) return undefined;
    let at = this.from + 2 + 2 * bytes.readUInt16BE(this.from);
    if (at + 2 > end || number < 1 || number > bytes.readUInt16BE(at)) return undefined;
    at += 2;
    for (let left = number; at + 4 <= end; left--) {
      const length = int32At(bytes, at);
      at += 4;
      const valueEnd = at + Math.max(length, 0);
      if (length < NULL_LENGTH || valueEnd > end) return undefined;
      if (left === 1) return bytes.toString('latin1', at, valueEnd);
      at = valueEnd;
    }
    return undefined;
  }
}
