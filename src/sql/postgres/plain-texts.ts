/**
 * Remembers texts that were found to be plain, so that a text that comes again and again is compared
 * instead of read. Only whole texts count, byte for byte and under the same syntax; a text that is
 * not plain is read every time, and so is one that is too long.
 *
 * The memory is fixed. A text is kept when it comes for the second time in a row for its place, so
 * texts that never come again cost a look at a few of their bytes.
 */

import { classify } from './classify.ts';
import { type Effects, PLAIN } from './effects.ts';
import type { StringSyntax } from './lexer.ts';

/** Two texts of one place drive each other out. */
const PLACES = 512;
/** Longer texts are not remembered. */
export const REMEMBERED_TEXT_MAX = 2048;
/** Shorter texts are compared sooner than the call that compares is made. */
const CALL_WORTHY_MIN = 64;
/** About so many bytes of a text choose its place, as a power of two. */
const SAMPLES_LOG2 = 4;

export class PlainTexts {
  /** One after the other, each with room for the longest. */
  private readonly texts = Buffer.alloc(PLACES * REMEMBERED_TEXT_MAX);
  /** Of the text that is, or was last, in its place. */
  private readonly keys = new Int32Array(PLACES);
  /** Length of the text that is in its place; 0 when it has only been seen. */
  private readonly lengths = new Int32Array(PLACES);

  /** What `classify` says, sooner. */
  classify(bytes: Buffer, from: number, to: number, syntax: StringSyntax): Effects {
    const length = to - from;
    if (length <= 0 || length > REMEMBERED_TEXT_MAX) return classify(bytes, from, to, syntax);
    const key = keyOf(bytes, from, to, syntax);
    const place = (key >>> 1) & (PLACES - 1);
    const isSeen = this.keys[place] === key;
    if (isSeen && this.lengths[place] === length && this.isText(place, bytes, from, to)) {
      return PLAIN;
    }
    const effects = classify(bytes, from, to, syntax);
    if (effects === PLAIN) {
      if (isSeen) bytes.copy(this.texts, place * REMEMBERED_TEXT_MAX, from, to);
      this.keys[place] = key;
      this.lengths[place] = isSeen ? length : 0;
    }
    return effects;
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

/** The lowest bit is the syntax; so texts of one key are read in the same way. */
function keyOf(bytes: Uint8Array, from: number, to: number, syntax: StringSyntax): number {
  const step = ((to - from) >>> SAMPLES_LOG2) + 1;
  let hash = to - from;
  // From the end: texts that differ do so in their constants more often than in their first words.
  for (let at = to - 1; at >= from; at -= step)
    hash = Math.imul(hash, 0x01000193) ^ (bytes[at] ?? 0);
  hash = Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d);
  hash ^= hash >>> 13;
  return syntax === 'standard' ? hash | 1 : hash & ~1;
}
