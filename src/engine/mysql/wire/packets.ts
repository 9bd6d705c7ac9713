/**
 * The frame of MySQL's and MariaDB's protocol: a length of three bytes, a sequence number, the payload.
 * A payload of 0xffffff bytes is followed by another packet that goes on with it, maybe an empty one.
 * https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_basic_packets.html
 * https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_basic_dt_integers.html
 *
 * Plain functions over numbers: the hot path reads headers with them.
 */

/** Length and sequence number. */
export const HEADER_BYTES = 4;

/** The longest payload of one packet; one this long is not the last of its kind. */
export const PAYLOAD_MAX = 0xff_ffff;

/** The first byte of a lenenc integer: NULL in a text row, and two that no integer begins with. */
export const NULL_COLUMN = 0xfb;
const LENENC_2 = 0xfc;
const LENENC_3 = 0xfd;
const LENENC_8 = 0xfe;

/** The payload length that the header at `at` gives; at least three bytes must be there. */
export function payloadLengthAt(bytes: Uint8Array, at: number): number {
  return bytes[at] | (bytes[at + 1] << 8) | (bytes[at + 2] << 16);
}

/** The sequence number of the header at `at`. */
export function sequenceAt(bytes: Uint8Array, at: number): number {
  return bytes[at + 3];
}

/** Sequence numbers are one byte and go on after 255 with 0. */
export function sequenceAfter(sequence: number): number {
  return (sequence + 1) & 0xff;
}

export function int16At(bytes: Uint8Array, at: number): number {
  return bytes[at] | (bytes[at + 1] << 8);
}

/** Unsigned. */
export function int32At(bytes: Uint8Array, at: number): number {
  return (int16At(bytes, at) | (int16At(bytes, at + 2) << 16)) >>> 0;
}

/** The length of the lenenc integer that begins with `first`; 0 when none does. */
export function lenencBytes(first: number): number {
  if (first < NULL_COLUMN) return 1;
  switch (first) {
    case LENENC_2:
      return 3;
    case LENENC_3:
      return 4;
    case LENENC_8:
      return 9;
    default:
      return 0;
  }
}

/**
 * The lenenc integer at `at`; all of its bytes must be there. Beyond 2^53 the nearest number, which is
 * still longer than anything and still not 0.
 */
export function lenencAt(bytes: Uint8Array, at: number): number {
  const first = bytes[at];
  if (first < NULL_COLUMN) return first;
  if (first === LENENC_2) return int16At(bytes, at + 1);
  if (first === LENENC_3) return payloadLengthAt(bytes, at + 1);
  return int32At(bytes, at + 1) + int32At(bytes, at + 5) * 2 ** 32;
}

/** One payload with its header, or several when it is too long for one. */
export function packet(sequence: number, ...parts: readonly Uint8Array[]): Buffer {
  let length = 0;
  for (const part of parts) length += part.length;
  if (length >= PAYLOAD_MAX) return splitPackets(sequence, Buffer.concat(parts));
  const bytes = Buffer.allocUnsafe(HEADER_BYTES + length);
  writeHeader(bytes, 0, length, sequence);
  let at = HEADER_BYTES;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

export function writeHeader(
  bytes: Uint8Array,
  at: number,
  payloadLength: number,
  sequence: number,
): void {
  bytes[at] = payloadLength;
  bytes[at + 1] = payloadLength >> 8;
  bytes[at + 2] = payloadLength >> 16;
  bytes[at + 3] = sequence;
}

function splitPackets(sequence: number, payload: Buffer): Buffer {
  const bytes = Buffer.allocUnsafe(
    payload.length + HEADER_BYTES * (Math.floor(payload.length / PAYLOAD_MAX) + 1),
  );
  let at = 0;
  let from = 0;
  let isLast = false;
  while (!isLast) {
    const part = payload.subarray(from, from + PAYLOAD_MAX);
    isLast = part.length < PAYLOAD_MAX;
    writeHeader(bytes, at, part.length, sequence);
    bytes.set(part, at + HEADER_BYTES);
    at += HEADER_BYTES + part.length;
    from += part.length;
    sequence = sequenceAfter(sequence);
  }
  return bytes;
}

export function int16(value: number): Buffer {
  return Buffer.of(value, value >> 8);
}

export function int32(value: number): Buffer {
  return Buffer.of(value, value >> 8, value >> 16, value >> 24);
}

export function lenenc(value: number): Buffer {
  if (value < NULL_COLUMN) return Buffer.of(value);
  if (value <= 0xffff) return Buffer.of(LENENC_2, value, value >> 8);
  if (value <= 0xff_ffff) return Buffer.of(LENENC_3, value, value >> 8, value >> 16);
  const bytes = Buffer.alloc(9);
  bytes[0] = LENENC_8;
  bytes.writeBigUInt64LE(BigInt(value), 1);
  return bytes;
}

/** The length, then the bytes; text is UTF-8. */
export function lenencString(value: string | Uint8Array): Buffer {
  const bytes = typeof value === 'string' ? Buffer.from(value) : value;
  return Buffer.concat([lenenc(bytes.length), bytes]);
}

/** `text` and its NUL, in UTF-8. */
export function cString(text: string): Buffer {
  return Buffer.from(`${text}\0`);
}

/**
 * Reads a payload from its beginning on, for what is not on the hot path. Whatever is read beyond the
 * end is empty or 0 and makes `isBroken` true, so that one look at the end is enough. Views of `bytes`.
 */
export class PayloadReader {
  private readonly bytes: Uint8Array;
  private at: number;
  isBroken = false;

  constructor(bytes: Uint8Array, at = 0) {
    this.bytes = bytes;
    this.at = at;
  }

  get left(): number {
    return this.bytes.length - this.at;
  }

  int8(): number {
    return this.skip(1) ? this.bytes[this.at - 1] : 0;
  }

  int16(): number {
    return this.skip(2) ? int16At(this.bytes, this.at - 2) : 0;
  }

  int32(): number {
    return this.skip(4) ? int32At(this.bytes, this.at - 4) : 0;
  }

  lenenc(): number {
    const width = this.left > 0 ? lenencBytes(this.bytes[this.at]) : 0;
    if (width === 0) this.isBroken = true;
    return width > 0 && this.skip(width) ? lenencAt(this.bytes, this.at - width) : 0;
  }

  take(length: number): Buffer {
    return view(this.bytes, this.skip(length) ? this.at - length : this.at, this.at);
  }

  lenencBytes(): Buffer {
    return this.take(this.lenenc());
  }

  /** A column of a text row. */
  textOrNull(): string | undefined {
    if (this.bytes[this.at] !== NULL_COLUMN) return this.lenencBytes().toString();
    this.at++;
    return undefined;
  }

  /** Up to the NUL, which is skipped. */
  cBytes(): Buffer {
    const end = this.bytes.indexOf(0, this.at);
    if (end >= 0) {
      const value = view(this.bytes, this.at, end);
      this.at = end + 1;
      return value;
    }
    this.isBroken = true;
    return this.rest();
  }

  /** Everything that is left. */
  rest(): Buffer {
    return this.take(this.left);
  }

  private skip(length: number): boolean {
    if (length > this.left) {
      this.isBroken = true;
      this.at = this.bytes.length;
      return false;
    }
    this.at += length;
    return true;
  }
}

function view(bytes: Uint8Array, from: number, to: number): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset + from, to - from);
}

/** A payload that came whole, put together of all its packets. */
export interface Received {
  /** The sequence number of its last packet; an answer has the next. */
  readonly sequence: number;
  readonly payload: Buffer;
}

export type AssemblerFailure = 'too_large' | 'out_of_order';

/**
 * Puts payloads together from a stream that may be cut anywhere, for log-ins and own connections; the
 * relay never holds a payload. Sequence numbers must follow each other from `expected` on.
 */
export class PacketAssembler {
  private readonly payloadBytesMax: number;
  private buffer: Buffer | undefined = undefined;
  private parts: Buffer[] = [];
  private partsBytes = 0;
  private expected: number;

  constructor(payloadBytesMax: number, expected = 0) {
    this.payloadBytesMax = payloadBytesMax;
    this.expected = expected;
  }

  push(bytes: Buffer): void {
    this.buffer = this.buffer === undefined ? bytes : Buffer.concat([this.buffer, bytes]);
  }

  /** A command begins anew with 0; what a server sends on its own too. */
  expect(sequence: number): void {
    this.expected = sequence;
  }

  /** Whether anything has come that `next` has not given. */
  get isEmpty(): boolean {
    return this.buffer === undefined && this.parts.length === 0;
  }

  /** What `next` has not given yet. */
  get heldBytes(): number {
    return (this.buffer?.length ?? 0) + this.partsBytes;
  }

  /** What has come beyond the payloads that were taken; forgets it. */
  takeRest(): Buffer | undefined {
    const rest = this.buffer;
    this.buffer = undefined;
    return rest;
  }

  /** The next whole payload, which may be a view of a chunk; undefined until more comes. */
  next(): Received | AssemblerFailure | undefined {
    for (;;) {
      const { buffer } = this;
      if (buffer === undefined || buffer.length < HEADER_BYTES) return undefined;
      const length = payloadLengthAt(buffer, 0);
      if (this.partsBytes + length > this.payloadBytesMax) return 'too_large';
      const sequence = sequenceAt(buffer, 0);
      if (sequence !== this.expected) return 'out_of_order';
      const end = HEADER_BYTES + length;
      if (buffer.length < end) return undefined;
      this.expected = sequenceAfter(sequence);
      this.buffer = end === buffer.length ? undefined : buffer.subarray(end);
      const part = buffer.subarray(HEADER_BYTES, end);
      if (length < PAYLOAD_MAX) return { sequence, payload: this.joined(part) };
      this.parts.push(part);
      this.partsBytes += length;
    }
  }

  private joined(last: Buffer): Buffer {
    if (this.parts.length === 0) return last;
    const payload = Buffer.concat([...this.parts, last]);
    this.parts = [];
    this.partsBytes = 0;
    return payload;
  }
}
