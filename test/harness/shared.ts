/**
 * What all tests of a file or `describe` share, such as a database: started before them, stopped
 * after them, the last one first. Bun runs `afterAll` hooks in the order in which they were
 * registered, and a proxy must not see its database stopped before itself.
 */

import { afterAll, beforeAll } from 'bun:test';

const stops: (() => Promise<void>)[] = [];

export interface SharedOptions<T> {
  /** For the error of a test that asks too early. */
  readonly name: string;
  readonly start: () => Promise<T>;
  readonly stop: (shared: T) => Promise<void>;
  readonly deadlineMs: number;
}

/** Call the result inside tests. */
export function useShared<T>({ name, start, stop, deadlineMs }: SharedOptions<T>): () => T {
  let shared: { readonly value: T } | undefined;
  beforeAll(async () => {
    stops.push(async () => {
      if (shared === undefined) return;
      const { value } = shared;
      shared = undefined;
      await stop(value);
    });
    shared = { value: await start() };
  }, deadlineMs);
  afterAll(async () => {
    await stops.pop()?.();
  }, deadlineMs);
  return () => {
    if (shared === undefined) throw new Error(`${name} is there only while tests run`);
    return shared.value;
  };
}
