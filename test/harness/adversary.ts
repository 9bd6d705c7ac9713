/**
 * Whether the proxies of a test have an adversary inside (`test/adversarial/`). BERTH_ADVERSARY in the
 * environment of the test run chooses for all tests, `useAdversary` for those of a file.
 */

import { afterAll, beforeAll, describe, test } from 'bun:test';
import { join } from 'node:path';
import { ADVERSARY_VARIABLE, type AdversaryMode, parseModes } from '../adversarial/modes.ts';

export const ADVERSARIAL_LAUNCHER = join(import.meta.dir, '..', 'adversarial', 'berth');

const everywhere = parseModes(process.env[ADVERSARY_VARIABLE] ?? '');
let here: readonly AdversaryMode[] = [];

/** What the adversary of a proxy that is started now does; nothing: there is none. */
export function adversaryModes(): readonly AdversaryMode[] {
  return here.length > 0 ? here : everywhere;
}

export function isAdversarial(): boolean {
  return adversaryModes().length > 0;
}

/** For what is about which connection is used, or what is on it: an adversary sees to it that it is another. */
export function testUndisturbed(name: string, body: () => Promise<void>, timeoutMs?: number): void {
  if (!isAdversarial()) test(name, body, timeoutMs);
}

/** Runs the tests of another file again, in this one, with an adversary in each of their proxies. */
export async function useAdversary(modes: readonly AdversaryMode[], file: string): Promise<void> {
  // While the tests are collected, and again while they run: other files come before and after.
  beforeAll(() => {
    here = modes;
  });
  here = modes;
  // The query makes it another module than the file itself, if that has been loaded.
  await import(`${file}?adversary=${modes.join()}`);
  describe('', () => {
    here = [];
  });
  afterAll(() => {
    here = [];
  });
}
