/**
 * Cuts a byte stream from a PostgreSQL server into messages. Linear in the bytes received, however
 * they are cut: a body is allocated once, when its header is known. Bodies are copies and may be
 * kept.
 */

const HEADER_LENGTH = 5;
const BODY_LENGTH_MAX = 1 << 30;

export interface Frame {
  /** The type byte as a character. */
  readonly type: string;
  readonly body: Buffer;
}

export class FrameAssembler {
  readonly #header = Buffer.alloc(HEADER_LENGTH);
  #headerFilled = 0;
  #body: Buffer | undefined;
  #bodyFilled = 0;

  /** Calls `deliver` for every message that `chunk` completes. */
  push(chunk: Buffer, deliver: (frame: Frame) => void): void {
    let at = 0;
    while (at < chunk.length) {
      at += this.#body ? this.#takeBody(this.#body, chunk, at) : this.#takeHeader(chunk, at);
      if (this.#body && this.#bodyFilled === this.#body.length) {
        const frame = { type: String.fromCharCode(this.#header[0] ?? 0), body: this.#body };
        this.#body = undefined;
        this.#headerFilled = 0;
        deliver(frame);
      }
    }
  }

  #takeHeader(chunk: Buffer, at: number): number {
    const taken = chunk.copy(
      this.#header,
      this.#headerFilled,
      at,
      at + HEADER_LENGTH - this.#headerFilled,
    );
    this.#headerFilled += taken;
    if (this.#headerFilled === HEADER_LENGTH) {
      const bodyLength = this.#header.readInt32BE(1) - 4;
      if (bodyLength < 0 || bodyLength > BODY_LENGTH_MAX) {
        throw new Error(`message with an impossible length of ${bodyLength}`);
      }
      this.#body = Buffer.allocUnsafe(bodyLength);
      this.#bodyFilled = 0;
    }
    return taken;
  }

  #takeBody(body: Buffer, chunk: Buffer, at: number): number {
    const taken = chunk.copy(body, this.#bodyFilled, at, at + body.length - this.#bodyFilled);
    this.#bodyFilled += taken;
    return taken;
  }
}

/** The columns of a DataRow as text; null stays null. */
export function columnsOf(body: Buffer): readonly (string | null)[] {
  const columns: (string | null)[] = [];
  let at = 2;
  for (let left = body.readInt16BE(0); left > 0; left--) {
    const length = body.readInt32BE(at);
    at += 4;
    if (length < 0) {
      columns.push(null);
      continue;
    }
    columns.push(body.toString('utf8', at, at + length));
    at += length;
  }
  return columns;
}

/** The fields of an ErrorResponse or NoticeResponse by their letter: `C` SQLSTATE, `M` message. */
export function fieldsOf(body: Buffer): ReadonlyMap<string, string> {
  const fields = new Map<string, string>();
  let at = 0;
  while (at < body.length && body[at] !== 0) {
    const end = body.indexOf(0, at + 1);
    if (end < 0) break;
    fields.set(String.fromCharCode(body[at] ?? 0), body.toString('utf8', at + 1, end));
    at = end + 1;
  }
  return fields;
}
