/** What an adversary does, by the words of BERTH_ADVERSARY. */

export const ADVERSARY_MODES = [
  /** Sessions change connections whenever they may, and connections are dirtied in between. */
  'connections',
  /** What arrives comes in pieces, small ones a byte at a time. */
  'bytes',
  /** The system takes a part of what is written, and the rest only later. */
  'stalls',
  /** Dirty connections are not cleaned: proves that tests notice. */
  'careless',
] as const;

export type AdversaryMode = (typeof ADVERSARY_MODES)[number];

export const ADVERSARY_VARIABLE = 'BERTH_ADVERSARY';
export const ADVERSARY_SEED_VARIABLE = 'BERTH_ADVERSARY_SEED';

/** Throws on a word that means nothing. */
export function parseModes(text: string): AdversaryMode[] {
  return text
    .split(',')
    .filter((word) => word !== '')
    .map((word) => {
      const mode = ADVERSARY_MODES.find((each) => each === word);
      if (mode === undefined) throw new Error(`${ADVERSARY_VARIABLE}: ${word} is not known`);
      return mode;
    });
}
