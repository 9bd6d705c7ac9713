/**
 * Remembers texts that were found to be plain. A text that is not plain is read every time, and so is
 * one that is too long.
 */

import { TextMemory } from '../text-memory.ts';
import { classify } from './classify.ts';
import { type EffectSet, PLAIN } from './effects.ts';
import type { Syntax } from './syntax.ts';

export class PlainTexts {
  private readonly memory = new TextMemory();

  /** What `classify` says, sooner. */
  classify(bytes: Buffer, from: number, to: number, syntax: Syntax): EffectSet {
    if (this.memory.has(bytes, from, to, syntax.key)) return PLAIN;
    const effects = classify(bytes, from, to, syntax);
    if (effects === PLAIN) this.memory.keep(bytes, from, to, syntax.key);
    return effects;
  }
}
