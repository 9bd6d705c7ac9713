/** The pieces that MySQL's packets are made of. Test code of its own: it shares nothing with the product's. */

/** Puts a payload together. */
export class PayloadWriter {
  readonly #parts: Buffer[] = [];

  integer(value: number | bigint, length: number): this {
    const bytes = Buffer.alloc(length);
    let rest = BigInt.asUintN(64, BigInt(value));
    for (let at = 0; at < length; at++) {
      bytes[at] = Number(rest & 0xffn);
      rest >>= 8n;
    }
    this.#parts.push(bytes);
    return this;
  }

  bytes(value: Uint8Array | string): this {
    this.#parts.push(Buffer.from(value));
    return this;
  }

  zeroEnded(value: Uint8Array | string): this {
    return this.bytes(value).integer(0, 1);
  }

  lengthEncodedInteger(value: number | bigint): this {
    if (value < 0xfb) return this.integer(value, 1);
    if (value <= 0xffff) return this.integer(0xfc, 1).integer(value, 2);
    if (value <= 0xff_ffff) return this.integer(0xfd, 1).integer(value, 3);
    return this.integer(0xfe, 1).integer(value, 8);
  }

  lengthEncoded(value: Uint8Array | string): this {
    const bytes = Buffer.from(value);
    return this.lengthEncodedInteger(bytes.length).bytes(bytes);
  }

  get payload(): Buffer {
    return Buffer.concat(this.#parts);
  }
}

/** Takes a payload apart. Reading over its end throws. */
export class PayloadReader {
  readonly payload: Buffer;
  at: number;

  constructor(payload: Buffer, at = 0) {
    this.payload = payload;
    this.at = at;
  }

  get left(): number {
    return this.payload.length - this.at;
  }

  bytes(length: number): Buffer {
    if (length > this.left) {
      throw new Error(`${length} bytes at ${this.at} of ${this.payload.toString('hex')}`);
    }
    this.at += length;
    return this.payload.subarray(this.at - length, this.at);
  }

  integer(length: number): number {
    return Number(this.big(length));
  }

  big(length: number): bigint {
    let value = 0n;
    for (const byte of this.bytes(length).toReversed()) value = (value << 8n) | BigInt(byte);
    return value;
  }

  lengthEncodedInteger(): bigint {
    const first = this.integer(1);
    if (first < 0xfb) return BigInt(first);
    if (first === 0xfc) return this.big(2);
    if (first === 0xfd) return this.big(3);
    if (first === 0xfe) return this.big(8);
    throw new Error(`no length begins with ${first}`);
  }

  lengthEncoded(): Buffer {
    return this.bytes(Number(this.lengthEncodedInteger()));
  }

  zeroEnded(): Buffer {
    const end = this.payload.indexOf(0, this.at);
    if (end < 0) return this.rest();
    const value = this.payload.subarray(this.at, end);
    this.at = end + 1;
    return value;
  }

  rest(): Buffer {
    return this.bytes(this.left);
  }
}
