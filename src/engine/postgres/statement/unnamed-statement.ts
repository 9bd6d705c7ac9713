/** The unnamed statement of one client: what a connection that another client has used is told again. */

import type { Effects } from '../../../sql/postgres/effects.ts';
import type { StatementRemoval } from '../../../sql/postgres/statement-names.ts';
import type { DatabaseConnection } from '../database-connection.ts';

/** One that sits in a larger chunk is copied out of it before the session idles. */
const RETAINED_CHUNK_MAX = 4 * 1024;

/** The last Parse of the unnamed statement: where it lies, and its number. */
export interface UnnamedParse {
  readonly id: number;
  readonly effects: Effects;
  readonly removal: StatementRemoval | undefined;
  bytes: Buffer;
  at: number;
  end: number;
}

let lastNumber = 0;

/** The number of the next Parse. */
export function nextUnnamed(): number {
  return ++lastNumber;
}

export class UnnamedStatement {
  parse: UnnamedParse | undefined = undefined;
  private isInLargeChunk = false;

  /** What the database makes of it, unless it discards the message. */
  set(connection: DatabaseConnection, parse: UnnamedParse | undefined): void {
    if (connection.ledger.isSkipping) return;
    this.parse = parse;
    this.isInLargeChunk = parse !== undefined && parse.bytes.length > RETAINED_CHUNK_MAX;
    connection.unnamedStatement = parse?.id ?? 0;
  }

  /** The Parse failed, or was skipped. */
  lost(): void {
    this.parse = undefined;
    this.isInLargeChunk = false;
  }

  /** To ask for the `buffer` of a chunk makes an object of it, so do it for large ones only. */
  isIn(chunk: Buffer): boolean {
    return this.parse?.bytes.buffer === chunk.buffer;
  }

  /** Does not keep a large chunk alive for the small statement in it. */
  retain(): void {
    const { parse } = this;
    if (!this.isInLargeChunk || parse === undefined) return;
    this.isInLargeChunk = false;
    parse.bytes = Buffer.from(parse.bytes.subarray(parse.at, parse.end));
    parse.at = 0;
    parse.end = parse.bytes.length;
  }
}
