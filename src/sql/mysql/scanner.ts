/**
 * Judges a statement text that arrives in pieces, for texts too long to hold. Memory is constant
 * whatever the length, and the pieces may be cut at any byte. Total: any bytes have an answer.
 *
 * For a text that is there as a whole, `classify` is the same with less ceremony.
 */

import { Classifier, type KillTarget, type ScanObserver } from './classifier.ts';
import type { EffectSet } from './effects.ts';
import { type Syntax, UNKNOWN_SYNTAX } from './syntax.ts';

export type { KillTarget, ScanObserver } from './classifier.ts';

/** Reads one text at a time: `reset`, `push` any number of times, `end`. */
export class StatementScanner {
  private readonly classifier: Classifier;

  constructor(observer?: ScanObserver) {
    this.classifier = new Classifier(observer);
    this.reset(UNKNOWN_SYNTAX);
  }

  /** Forget everything and begin a new text. */
  reset(syntax: Syntax): void {
    this.classifier.reset(syntax);
  }

  /** Read the bytes from `from` up to, not including, `to`. They are not kept. */
  push(bytes: Uint8Array, from: number, to: number): void {
    this.classifier.lexer.push(bytes, from, to);
  }

  /** The text is complete: what it may do to its session. Call `reset` before the next text. */
  end(): EffectSet {
    return this.classifier.end();
  }

  /**
   * Of the text that has just ended, if its effects include `kill`: the numbers of connections in it,
   * so that they can be replaced. None: it does not name them, or not in a way that is understood.
   */
  get killTargets(): readonly KillTarget[] {
    return this.classifier.killTargets;
  }
}
