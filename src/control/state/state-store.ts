/**
 * Keeps desired state that no file declares. Changes that are made together are kept together or not at
 * all. What `commit` has returned from survives a crash of the process; what `flushed` has resolved after,
 * one of the machine as well, and nothing may be acknowledged before that.
 */

import type { StateRecord } from './records.ts';

export type Change =
  | { readonly put: StateRecord }
  | { readonly remove: Pick<StateRecord, 'kind' | 'id'> };

export interface StateStore {
  /** Everything, in the order in which it was made: the same array until something changes. */
  readonly records: readonly StateRecord[];
  /** Throws `StateError`, and then nothing has changed. */
  commit(changes: readonly Change[]): void;
  /**
   * Resolves when every change so far is on the disk. Rejects with `StateError` when that is not certain;
   * from then on nothing can be changed.
   */
  flushed(): Promise<void>;
  /** Afterwards another process may open it, and `commit` throws. */
  close(): void;
}

/** State cannot be read, or not be written. The message is for people and complete. */
export class StateError extends Error {
  constructor(message: string, cause?: unknown) {
    super(message, { cause });
    this.name = 'StateError';
  }
}

/** What was changed may or may not survive a crash of the machine. */
export class StateUncertainError extends StateError {
  constructor(message: string, cause: unknown) {
    super(message, cause);
    this.name = 'StateUncertainError';
  }
}

/** It was closed on purpose: the process is about to end. */
export class StateClosedError extends StateError {
  constructor() {
    super('StateDirectory: the state is closed');
    this.name = 'StateClosedError';
  }
}
