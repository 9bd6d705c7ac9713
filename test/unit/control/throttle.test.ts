/** How many requests a caller may send. */

import { expect, test } from 'bun:test';
import { BURST_MAX, REQUESTS_PER_S, Throttle } from '../../../src/control/aws/throttle.ts';

function admitted(throttle: Throttle, caller: string, wanted: number): number {
  for (let count = 0; count < wanted; count++) {
    try {
      throttle.admit(caller);
    } catch (error) {
      expect(error).toMatchObject({ code: 'Throttling', message: 'Rate exceeded', status: 400 });
      return count;
    }
  }
  return wanted;
}

test('a burst at once, then so many per second, and nobody for somebody else', () => {
  let now = 5_000;
  const throttle = new Throttle(() => now);
  expect(admitted(throttle, 'a', 10_000)).toBe(BURST_MAX);
  now += 1_000;
  expect(admitted(throttle, 'a', 10_000)).toBe(REQUESTS_PER_S);
  expect(admitted(throttle, 'b', 10_000)).toBe(BURST_MAX);
  now += 3_600_000;
  expect(admitted(throttle, 'a', 10_000)).toBe(BURST_MAX);
});

test('a hundred per second for as long as one likes', () => {
  let now = 0;
  const throttle = new Throttle(() => now);
  for (let request = 0; request < 6_000; request++) {
    expect(admitted(throttle, 'a', 1)).toBe(1);
    now += 10;
  }
});

test('callers without end take no memory without end', () => {
  const throttle = new Throttle(() => 0);
  expect(admitted(throttle, 'first', BURST_MAX + 1)).toBe(BURST_MAX);
  for (let caller = 0; caller < 10_000; caller++) throttle.admit(`caller ${caller}`);
  expect(admitted(throttle, 'first', 1)).toBe(1);
});
