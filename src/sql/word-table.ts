/**
 * A closed list of words as small numbers. A word is looked up by the hash that a lexer computes
 * while it reads, and then compared byte by byte, so a lookup makes no string and a collision cannot
 * be mistaken for a match.
 */

/** The number of a word; 0 is every word that is not listed. */
export type WordId = number;

/** Any word that is not listed. */
export const OTHER: WordId = 0;

const SLOTS = 1024;

/** Continue the hash of a word with its next byte. Starts at 0. */
export function hashStep(hash: number, byte: number): number {
  return (Math.imul(hash, 31) + byte) | 0;
}

function slotOf(hash: number): number {
  return (hash ^ (hash >>> 15)) & (SLOTS - 1);
}

export class WordTable<Word extends string> {
  private readonly words: readonly Word[];
  private readonly texts: readonly Uint8Array[];
  private readonly firstInSlot = new Uint16Array(SLOTS);
  private readonly nextInSlot: Uint16Array;

  /** The words in lower case; ids are their places, from 1. */
  constructor(words: readonly Word[]) {
    this.words = words;
    this.texts = ['', ...words].map((word) => new TextEncoder().encode(word));
    this.nextInSlot = new Uint16Array(this.count);
    for (let id = 1; id < this.count; id += 1) {
      const slot = slotOf(this.texts[id]?.reduce(hashStep, 0) ?? 0);
      this.nextInSlot[id] = this.firstInSlot[slot] ?? 0;
      this.firstInSlot[slot] = id;
    }
  }

  /** One more than the largest id. */
  get count(): number {
    return this.words.length + 1;
  }

  id(word: Word): WordId {
    return this.words.indexOf(word) + 1;
  }

  /** The text of a word; empty for `OTHER`. */
  text(id: WordId): string {
    return this.words[id - 1] ?? '';
  }

  /** The id of the word in the first `length` bytes of `text`, whose hash is `hash`. */
  find(text: Uint8Array, length: number, hash: number): WordId {
    const { nextInSlot } = this;
    for (let id = this.firstInSlot[slotOf(hash)] ?? 0; id !== 0; id = nextInSlot[id] ?? 0) {
      if (this.isWord(text, length, id)) return id;
    }
    return OTHER;
  }

  private isWord(text: Uint8Array, length: number, id: WordId): boolean {
    const word = this.texts[id];
    return word !== undefined && word.length === length && startsWith(text, word);
  }
}

/** Whether the bytes begin with those of `prefix`. */
export function startsWith(text: Uint8Array, prefix: Uint8Array): boolean {
  for (let at = 0; at < prefix.length; at += 1) if (text[at] !== prefix[at]) return false;
  return true;
}
