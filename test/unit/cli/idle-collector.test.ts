/** When the heap is collected: once after a crowd, and never while anything is going on. */

import { expect, test } from 'bun:test';
import { IdleCollector } from '../../../src/cli/idle-collector.ts';

test('a crowd is cleaned up after once, when nothing is going on', () => {
  let now = { logins: 0, requests: 0 };
  let collections = 0;
  const collector = new IdleCollector(
    () => now,
    () => collections++,
  );
  const after = (logins: number, requests: number): number => {
    now = { logins, requests };
    collector.look();
    return collections;
  };
  expect(after(0, 0)).toBe(0);
  expect(after(999, 0)).toBe(0);
  expect(after(999, 0)).toBe(0);
  // Still coming, then still at work.
  expect(after(1_000, 0)).toBe(0);
  expect(after(5_000, 0)).toBe(0);
  expect(after(5_000, 1)).toBe(0);
  expect(after(5_000, 2)).toBe(0);
  expect(after(5_000, 2)).toBe(1);
  expect(after(5_000, 2)).toBe(1);
  expect(after(5_999, 2)).toBe(1);
  expect(after(5_999, 2)).toBe(1);
  expect(after(6_000, 2)).toBe(1);
  expect(after(6_000, 2)).toBe(2);
});
