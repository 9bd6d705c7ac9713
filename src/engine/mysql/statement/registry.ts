/** The texts that the clients of a proxy have prepared, each once for all who read it in the same way. */

import { classify } from '../../../sql/mysql/classify.ts';
import type { Reading } from './reading.ts';
import { Statement } from './statement.ts';

/** Texts that nobody uses any more are forgotten beyond this many bytes of memory, oldest first. */
const REGISTRY_BYTES_MAX = 8 * 1024 * 1024;
/** Measured: what a text takes beside its own bytes, with one combination of types on MySQL. */
const STATEMENT_BYTES = 900;
/** Circumstances that are remembered, so that texts have them together; beyond that, all are forgotten. */
const READINGS_MAX = 1_000;

/**
 * All statements by text, in two generations: what is used moves to the young one, and when that is
 * full the old one is dropped. A client that still has a dropped statement keeps it.
 */
export class StatementRegistry {
  private young = new Map<string, Statement>();
  private old = new Map<string, Statement>();
  private youngBytes = 0;
  private readonly readings = new Map<string, Reading>();
  private readonly bytesMax: number;

  constructor(bytesMax = REGISTRY_BYTES_MAX) {
    this.bytesMax = bytesMax;
  }

  /** The statement whose text is `bytes[from, to)`. */
  intern(bytes: Buffer, from: number, to: number, reading: Reading): Statement {
    const key = reading.key + bytes.toString('latin1', from, to);
    const known = this.young.get(key);
    if (known !== undefined) return known;
    const statement = this.old.get(key) ?? create(bytes, from, to, this.shared(reading));
    this.remember(key, statement);
    return statement;
  }

  private remember(key: string, statement: Statement): void {
    this.young.set(key, statement);
    this.youngBytes += key.length + statement.bytes + STATEMENT_BYTES;
    if (this.youngBytes < this.bytesMax / 2) return;
    this.old = this.young;
    this.young = new Map();
    this.youngBytes = 0;
  }

  /** Each session makes its own, which would be kept for as long as a text that was prepared in it. */
  private shared(reading: Reading): Reading {
    const known = this.readings.get(reading.key);
    if (known !== undefined) return known;
    if (this.readings.size >= READINGS_MAX) this.readings.clear();
    this.readings.set(reading.key, reading);
    return reading;
  }
}

function create(bytes: Buffer, from: number, to: number, reading: Reading): Statement {
  const effects = classify(bytes, from, to, reading.syntax);
  return new Statement(Buffer.from(bytes.subarray(from, to)), reading, effects);
}
