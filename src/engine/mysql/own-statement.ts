/**
 * A statement that the proxy runs for itself (InitQuery, ROLLBACK, what a session's end or a probe asks),
 * and what came of it.
 */

import { readError, readTextRow, type ServerError, type TextRow } from './wire/replies.ts';

export type Outcome =
  | { readonly isOk: true; readonly rows: readonly TextRow[] }
  /** `payload` is the whole error; both are absent when the connection was lost. */
  | {
      readonly isOk: false;
      readonly payload: Uint8Array | undefined;
      readonly error: ServerError | undefined;
    };

const LOST: Outcome = { isOk: false, payload: undefined, error: undefined };

export class OwnStatement {
  private readonly rows: TextRow[] = [];
  private failure: Outcome | undefined = undefined;
  private done: ((outcome: Outcome) => void) | undefined;

  constructor(done: (outcome: Outcome) => void) {
    this.done = done;
  }

  row(payload: Uint8Array): void {
    const row = readTextRow(payload);
    if (row !== undefined) this.rows.push(row);
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
