/**
 * A statement that the proxy runs for itself (InitQuery, ROLLBACK, DISCARD ALL, what a probe asks) on
 * a connection that nobody has borrowed, and what came of it.
 */

import { HEADER_BYTES, int32At } from './wire/messages.ts';

/** The text of each column; `undefined` for NULL. */
export type Row = readonly (string | undefined)[];

export type Outcome =
  | { readonly isOk: true; readonly rows: readonly Row[] }
  /** `message` is the whole ErrorResponse; absent when the connection was lost. */
  | {
      readonly isOk: false;
      readonly message: Uint8Array | undefined;
      readonly fields: ReadonlyMap<string, string>;
    };

const LOST: Outcome = { isOk: false, message: undefined, fields: new Map() };

export class OwnStatement {
  private readonly rows: Row[] = [];
  private failure: Outcome | undefined = undefined;
  private done: ((outcome: Outcome) => void) | undefined;

  constructor(done: (outcome: Outcome) => void) {
    this.done = done;
  }

  row(whole: Buffer): void {
    this.rows.push(readRow(whole));
  }

  failed(message: Uint8Array, fields: ReadonlyMap<string, string>): void {
    this.failure ??= { isOk: false, message, fields };
  }

  ended(): void {
    this.finish(this.failure ?? { isOk: true, rows: this.rows });
  }

  lost(): void {
    this.finish(this.failure ?? LOST);
  }

  private finish(outcome: Outcome): void {
    const { done } = this;
    this.done = undefined;
    done?.(outcome);
  }
}

/** DataRow: Int16 columns, then per column an Int32 length (-1 for NULL) and the bytes. */
function readRow(whole: Buffer): Row {
  const row: (string | undefined)[] = [];
  const columns = whole.readInt16BE(HEADER_BYTES);
  let at = HEADER_BYTES + 2;
  for (let column = 0; column < columns; column++) {
    const length = int32At(whole, at);
    at += 4;
    row.push(length < 0 ? undefined : whole.toString('utf8', at, at + length));
    at += Math.max(length, 0);
  }
  return row;
}
