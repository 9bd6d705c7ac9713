/**
 * Keeps desired state that no file declares. Changes that are made together are kept together or not at
 * all, and what `commit` has returned from survives a crash of the process and of the machine.
 */

import type { StateRecord } from './records.ts';

export type Change =
  | { readonly put: StateRecord }
  | { readonly remove: Pick<StateRecord, 'kind' | 'id'> };

export interface StateStore {
  /** Everything, in the order in which it was made. */
  readonly records: readonly StateRecord[];
  /** Throws `StateError`, and then nothing has changed. */
  commit(changes: readonly Change[]): void;
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

/** It was closed on purpose: the process is about to end. */
export class StateClosedError extends StateError {
  constructor() {
    super('StateDirectory: the state is closed');
    this.name = 'StateClosedError';
  }
}
