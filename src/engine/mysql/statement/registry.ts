/** The texts that the clients of a proxy have prepared, each once for all who read it in the same way. */

import { classify } from '../../../sql/mysql/classify.ts';
import type { Reading } from './reading.ts';
import { Statement } from './statement.ts';

/** Texts that nobody uses any more are forgotten beyond this many bytes, oldest first. */
const REGISTRY_BYTES_MAX = 32 * 1024 * 1024;

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
