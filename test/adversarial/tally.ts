/** What the adversary has done, to prove that it did anything. */

export interface Tally {
  /** Borrows of a session that had another connection before, and of one that got the same again. */
  moved: number;
  same: number;
  /** Connections made dirty and left to the pool to clean. */
  dirtied: number;
  /** Connections with the settings and the unnamed statement of a session that never was. */
  resettled: number;
  /** What the database did not let the adversary do, and the first reason. */
  refused: number;
  refusal: string;
  /** Pieces of what arrived; writes that the system would not take whole. */
  pieces: number;
  stalls: number;
}

export function newTally(): Tally {
  return {
    moved: 0,
    same: 0,
    dirtied: 0,
    resettled: 0,
    refused: 0,
    refusal: '',
    pieces: 0,
    stalls: 0,
  };
}
