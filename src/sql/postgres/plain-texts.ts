/**
 * Remembers texts that were found to be plain. A text that is not plain is read every time, and so is
 * one that is too long.
 */

import { TextMemory } from '../text-memory.ts';
import { classify } from './classify.ts';
import { type Effects, PLAIN } from './effects.ts';
import type { StringSyntax } from './lexer.ts';

export class PlainTexts {
  private readonly memory = new TextMemory();

  /** What `classify` says, sooner. */
  classify(bytes: Buffer, from: number, to: number, syntax: StringSyntax): Effects {
    const key = syntax === 'standard' ? 1 : 0;
    if (this.memory.has(bytes, from, to, key)) return PLAIN;
    const effects = classify(bytes, from, to, syntax);
    if (effects === PLAIN) this.memory.keep(bytes, from, to, key);
    return effects;
  }
}
