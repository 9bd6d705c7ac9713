/**
 * A text that clients have prepared, with all that decides its meaning. Clients that prepare the same text
 * under the same circumstances share what a connection has prepared.
 */

import { Effect, type EffectSet } from '../../../sql/mysql/effects.ts';
import { isSameBlock, prepareMessage } from '../wire/statement-commands.ts';
import type { Reading } from './reading.ts';

/** Of one text, that are known by the types of their parameters. */
const VARIANTS_MAX = 64;

export class Statement {
  /** `undefined` for one that was too long to be kept: it is where it was prepared, and nowhere else. */
  readonly text: Buffer | undefined;
  readonly reading: Reading;
  /** What the text may do to the session that executes it. */
  readonly effects: EffectSet;
  /** The types that somebody has executed it with last. */
  private types: Buffer | undefined = undefined;
  private variants: Map<string, Statement> | undefined = undefined;

  constructor(text: Buffer | undefined, reading: Reading, effects: EffectSet) {
    this.text = text;
    this.reading = reading;
    this.effects = effects;
  }

  /**
   * MySQL derives the types of parameters, and of columns, from what a statement is executed with, and does
   * not go back on all of it: what was executed with an integer takes a later text for a number. So those who
   * execute it with other types have another statement. MariaDB looks at the types anew each time.
   */
  get isTypeKept(): boolean {
    return !this.reading.syntax.isMariaDb;
  }

  /** What MySQL has executed with a cursor gives no rows when it is executed without, and an end that is none. */
  get isCursorKept(): boolean {
    return !this.reading.syntax.isMariaDb;
  }

  /** This statement, as those have it who execute it with `types`, as `TypesView.merged` gives them. */
  executedWith(types: Buffer): Statement {
    if (types.length === 0) return this;
    this.variants ??= new Map();
    const key = types.toString('latin1');
    let variant = this.variants.get(key);
    if (variant === undefined) {
      variant = new Statement(this.text, this.reading, this.effects);
      if (this.variants.size >= VARIANTS_MAX) this.variants.clear();
      this.variants.set(key, variant);
    }
    return variant;
  }

  get bytes(): number {
    return this.text?.length ?? 0;
  }

  /** COM_STMT_PREPARE. */
  get prepare(): Buffer | undefined {
    return this.text === undefined ? undefined : prepareMessage(this.text);
  }

  /** The types between `from` and `to`, as the one buffer that most clients have them in. */
  typesIn(bytes: Buffer, from: number, to: number): Buffer {
    const { types } = this;
    if (types !== undefined && isSameBlock(types, bytes, from, to)) return types;
    const own = Buffer.from(bytes.subarray(from, to));
    this.types = own;
    return own;
  }
}

/** A statement of which only the beginning has been seen. */
export function largeStatement(reading: Reading): Statement {
  return new Statement(undefined, reading, Effect.unknown);
}
