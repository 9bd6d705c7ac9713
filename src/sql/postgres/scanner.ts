/**
 * Judges a statement text that arrives in pieces, for texts too long to hold. Memory is constant
 * whatever the length, and the pieces may be cut at any byte. Total: any bytes have an answer.
 *
 * For a text that is there as a whole, `classify` is the same with less ceremony.
 */

import { Classifier, type ScanObserver } from './classifier.ts';
import { type Effects, effectsOf } from './effects.ts';
import { Lexer, type StringSyntax } from './lexer.ts';

export type { ScanObserver } from './classifier.ts';
export type { StringSyntax } from './lexer.ts';

/** Reads one text at a time: `reset`, `push` any number of times, `end`. */
export class StatementScanner {
  private readonly classifier: Classifier;
  private readonly lexer: Lexer;

  constructor(observer?: ScanObserver) {
    this.classifier = new Classifier('sql', observer);
    this.lexer = new Lexer(this.classifier);
    this.reset();
  }

  /**
   * Forget everything and begin a new text. Pass `standard` only if the database reported
   * `standard_conforming_strings` on; otherwise a text that depends on it is unknown.
   */
  reset(syntax: StringSyntax = 'unsure'): void {
    this.lexer.reset(syntax);
    this.classifier.reset(syntax);
  }

  /** Read the bytes from `from` up to, not including, `to`. They are not kept. */
  push(bytes: Uint8Array, from: number, to: number): void {
    this.lexer.push(bytes, from, to);
  }

  /** The text is complete: what it may do to its session. Call `reset` before the next text. */
  end(): Effects {
    this.lexer.end();
    return effectsOf(this.classifier.end());
  }
}
