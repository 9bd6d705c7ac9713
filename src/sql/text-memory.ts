/**
 * Remembers texts, so that one that comes again and again is compared instead of read. Only whole
 * texts count, byte for byte and under the same syntax; one that is too long is not remembered.
 *
 * The memory is fixed. A text is kept when it comes for the second time in a row for its place, so
 * texts that never come again cost a look at a few of their bytes.
 */

/** Two texts of one place drive each other out. */
const PLACES = 512;
/** Longer texts are not remembered. */
export const REMEMBERED_TEXT_MAX = 2048;
/** Shorter texts are compared sooner than the call that compares is made. */
const CALL_WORTHY_MIN = 64;
/** About so many bytes of a text choose its place, as a power of two. */
const SAMPLES_LOG2 = 4;

export class TextMemory {
  /** One after the other, each with room for the longest. */
  private readonly texts = Buffer.alloc(PLACES * REMEMBERED_TEXT_MAX);
  /** Of the text that is, or was last, in its place. */
  private readonly hashes = new Int32Array(PLACES);
  private readonly syntaxes = new Int32Array(PLACES);
  /** Length of the text that is in its place; 0 when it has only been seen. */
  private readonly lengths = new Int32Array(PLACES);
  /** Of the text that was asked for last. */
  private hash = 0;

  /** Whether the text is kept. `syntax` says how it is read: texts read differently are different. */
  has(bytes: Buffer, from: number, to: number, syntax: number): boolean {
    const length = to - from;
    if (length <= 0 || length > REMEMBERED_TEXT_MAX) return false;
    const hash = hashOf(bytes, from, to, syntax);
    this.hash = hash;
    const place = (hash >>> 1) & (PLACES - 1);
    return (
      this.hashes[place] === hash &&
      this.lengths[place] === length &&
      this.syntaxes[place] === syntax &&
      this.isText(place, bytes, from, to)
    );
  }

  /** Keep the text that `has` was just asked about, and did not have. */
  keep(bytes: Buffer, from: number, to: number, syntax: number): void {
    const length = to - from;
    if (length <= 0 || length > REMEMBERED_TEXT_MAX) return;
    const { hash } = this;
    const place = (hash >>> 1) & (PLACES - 1);
    const isSeen = this.hashes[place] === hash;
    if (isSeen) bytes.copy(this.texts, place * REMEMBERED_TEXT_MAX, from, to);
    this.hashes[place] = hash;
    this.syntaxes[place] = syntax;
    this.lengths[place] = isSeen ? length : 0;
  }

  private isText(place: number, bytes: Buffer, from: number, to: number): boolean {
    const { texts } = this;
    const begin = place * REMEMBERED_TEXT_MAX;
    const length = to - from;
    if (length > CALL_WORTHY_MIN) {
      return bytes.compare(texts, begin, begin + length, from, to) === 0;
    }
    for (let i = 0; i < length; i++) if (bytes[from + i] !== texts[begin + i]) return false;
    return true;
  }
}

function hashOf(bytes: Uint8Array, from: number, to: number, syntax: number): number {
  const step = ((to - from) >>> SAMPLES_LOG2) + 1;
  let hash = (to - from) ^ Math.imul(syntax, 0x85ebca6b);
  // From the end: texts that differ do so in their constants more often than in their first words.
  for (let at = to - 1; at >= from; at -= step)
    hash = Math.imul(hash, 0x01000193) ^ (bytes[at] ?? 0);
  hash = Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d);
  return hash ^ (hash >>> 13);
}
