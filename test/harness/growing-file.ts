/** A file that another process writes to, read line by line as it grows. */

import { closeSync, openSync, readSync } from 'node:fs';

const CHUNK_BYTES = 64 * 1024;
const LINE_FEED = 0x0a;

export class GrowingFile {
  #descriptor: number | undefined;
  #position = 0;
  /** The beginning of a line that is not complete yet. */
  #rest = Buffer.alloc(0);

  constructor(file: string) {
    this.#descriptor = openSync(file, 'r');
  }

  /** The lines that were completed since the last call. */
  takeLines(): string[] {
    const bytes = Buffer.concat([this.#rest, ...this.#takeChunks()]);
    const end = bytes.lastIndexOf(LINE_FEED) + 1;
    this.#rest = bytes.subarray(end);
    return end === 0 ? [] : bytes.toString('utf8', 0, end - 1).split('\n');
  }

  /** For when nobody writes any more: what is left, with an end or without. Idempotent. */
  close(): string[] {
    const lines = this.takeLines();
    if (this.#rest.length > 0) lines.push(this.#rest.toString());
    this.#rest = Buffer.alloc(0);
    if (this.#descriptor !== undefined) closeSync(this.#descriptor);
    this.#descriptor = undefined;
    return lines;
  }

  *#takeChunks(): Generator<Buffer> {
    for (;;) {
      const chunk = Buffer.alloc(CHUNK_BYTES);
      const length = this.#read(chunk);
      if (length === 0) return;
      this.#position += length;
      yield chunk.subarray(0, length);
    }
  }

  #read(chunk: Buffer): number {
    if (this.#descriptor === undefined) return 0;
    return readSync(this.#descriptor, chunk, 0, chunk.length, this.#position);
  }
}
