/**
 * A text that clients have prepared, with all that decides its meaning; and all of them, by text. Clients
 * that prepare the same text under the same circumstances share what a connection has prepared.
 */

import { classify } from '../../../sql/mysql/classify.ts';
import { Effect, type EffectSet } from '../../../sql/mysql/effects.ts';
import type { Syntax } from '../../../sql/mysql/syntax.ts';
import { SessionSettings } from '../settings.ts';
import { isSameBlock, prepareMessage } from '../wire/statement-commands.ts';

/** Texts that nobody uses any more are forgotten beyond this many bytes, oldest first. */
const REGISTRY_BYTES_MAX = 32 * 1024 * 1024;

/**
 * The variables that a server looks at when it prepares a statement. What it does when the statement is
 * executed follows the session's variables of then, on whichever connection.
 */
const READ_AT_PREPARE = [
  'sql_mode',
  'character_set_client',
  'character_set_connection',
  'collation_connection',
  'div_precision_increment',
  'group_concat_max_len',
  'sql_auto_is_null',
  'old_mode',
] as const;

/** Of one text, that are known by the types of their parameters. */
const VARIANTS_MAX = 64;

/** The circumstances that a text is prepared in. */
export class Reading {
  /** Empty for none. */
  readonly schema: string;
  /** Of `READ_AT_PREPARE`, those that the session has. */
  readonly settings: SessionSettings;
  readonly syntax: Syntax;
  /** Equal for equal circumstances. */
  readonly key: string;

  constructor(schema: string, settings: SessionSettings, syntax: Syntax) {
    this.schema = schema;
    this.settings = settings;
    this.syntax = syntax;
    this.key = `${syntax.key}\0${schema}\0${settings.key}\0`;
  }
}

/** What a session is, as far as its texts depend on it. */
export interface Reader {
  readonly schema: string;
  readonly settings: SessionSettings;
  readonly syntax: Syntax;
}

/** The reading of one session, made anew when the session has changed. */
export class CurrentReading {
  private settings: SessionSettings | undefined = undefined;
  private current: Reading | undefined = undefined;

  of({ schema, settings, syntax }: Reader): Reading {
    const { current } = this;
    if (current !== undefined && this.settings === settings && current.schema === schema) {
      return current;
    }
    const read: [string, string][] = [];
    for (const name of READ_AT_PREPARE) {
      const value = settings.get(name);
      if (value !== undefined) read.push([name, value]);
    }
    const reading = new Reading(schema, SessionSettings.NONE.withAll(read), syntax);
    this.settings = settings;
    this.current = reading;
    return reading;
  }
}

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

/**
 * All statements by text, in two generations: what is used moves to the young one, and when that is
 * full the old one is dropped. A client that still has a dropped statement keeps it.
 */
export class StatementRegistry {
  private young = new Map<string, Statement>();
  private old = new Map<string, Statement>();
  private youngBytes = 0;
  private readonly bytesMax: number;

  constructor(bytesMax = REGISTRY_BYTES_MAX) {
    this.bytesMax = bytesMax;
  }

  /** The statement whose text is `bytes[from, to)`. */
  intern(bytes: Buffer, from: number, to: number, reading: Reading): Statement {
    const key = reading.key + bytes.toString('latin1', from, to);
    const known = this.young.get(key);
    if (known !== undefined) return known;
    const statement = this.old.get(key) ?? create(bytes, from, to, reading);
    this.remember(key, statement);
    return statement;
  }

  private remember(key: string, statement: Statement): void {
    this.young.set(key, statement);
    // The key and the text, and about as much again for what holds them.
    this.youngBytes += 2 * (key.length + statement.bytes);
    if (this.youngBytes < this.bytesMax / 2) return;
    this.old = this.young;
    this.young = new Map();
    this.youngBytes = 0;
  }
}

function create(bytes: Buffer, from: number, to: number, reading: Reading): Statement {
  const effects = classify(bytes, from, to, reading.syntax);
  return new Statement(Buffer.from(bytes.subarray(from, to)), reading, effects);
}
