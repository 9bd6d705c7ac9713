/**
 * A statement that the proxy runs for itself (InitQuery, ROLLBACK, what a session's end or a probe asks),
 * and what came of it.
 */

import { NULL_COLUMN, PayloadReader } from './wire/packets.ts';
import { readError, type ServerError } from './wire/replies.ts';

/** The text of each column; `undefined` for NULL. */
export type Row = readonly (string | undefined)[];

export type Outcome =
  | { readonly isOk: true; readonly rows: readonly Row[] }
  /** `payload` is the whole error; both are absent when the connection was lost. */
  | {
      readonly isOk: false;
      readonly payload: Uint8Array | undefined;
      readonly error: ServerError | undefined;
    };

const LOST: Outcome = { isOk: false, payload: undefined, error: undefined };

export class OwnStatement {
  private readonly rows: Row[] = [];
  private failure: Outcome | undefined = undefined;
  private done: ((outcome: Outcome) => void) | undefined;

  constructor(done: (outcome: Outcome) => void) {
    this.done = done;
  }

  row(payload: Uint8Array): void {
    this.rows.push(readRow(payload));
  }

  failed(payload: Uint8Array): void {
    const error = readError(payload);
    this.failure ??= { isOk: false, payload: Buffer.from(payload), error };
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

/** A row of the text protocol: a lenenc string for each column, or NULL. */
export function readRow(payload: Uint8Array): Row {
  const row: (string | undefined)[] = [];
  let reader = new PayloadReader(payload);
  while (reader.left > 0) {
    if (payload[payload.length - reader.left] === NULL_COLUMN) {
      row.push(undefined);
      reader = new PayloadReader(payload, payload.length - reader.left + 1);
    } else {
      row.push(reader.lenencBytes().toString());
    }
  }
  return row;
}
