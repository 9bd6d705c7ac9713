/** Debug logging switches itself off when its time is over, by the clock on the wall. */

import { expect, test } from 'bun:test';
import { TimerWheel } from '../../../src/base/timer-wheel.ts';
import type { Event } from '../../../src/observe/events.ts';
import { DebugLogging } from '../../../src/proxy/debug-logging.ts';

const DAY = 24 * 3_600_000;
const BEGIN = Date.parse('2030-01-01T00:00:00Z');

function setUp() {
  const wheel = new TimerWheel(0);
  const told: string[] = [];
  let ends = 0;
  let skewMs = 0;
  const logging = new DebugLogging({
    proxy: 'orders',
    wheel,
    now: () => BEGIN + wheel.now + skewMs,
    observer: {
      emit: (event: Event, isDetailed = false) => {
        if (event.event === 'proxy.debug_logging') told.push(event.until);
        else told.push(`${event.event} ${isDetailed}`);
      },
    },
    ended: () => {
      ends++;
    },
  });
  return {
    wheel,
    told,
    logging,
    ends: () => ends,
    skew: (ms: number) => {
      skewMs = ms;
    },
  };
}

test('it is off until somebody switches it on', () => {
  const { logging, told } = setUp();
  logging.use(undefined);
  logging.emit({ event: 'configuration.applied', proxies: 1 });
  expect(told).toEqual(['configuration.applied false']);
});

test('it is on for its time, also when it is said again, and then tells that it is off', () => {
  const { wheel, told, logging, ends } = setUp();
  logging.use(BEGIN + DAY);
  wheel.advance(DAY / 2);
  logging.use(BEGIN + DAY);
  logging.emit({ event: 'configuration.applied', proxies: 1 });
  wheel.advance(DAY - 1000);
  expect(ends()).toBe(0);
  wheel.advance(DAY + 1000);
  logging.emit({ event: 'configuration.applied', proxies: 1 });
  expect(ends()).toBe(1);
  expect(logging.isOn).toBe(false);
  const until = '2030-01-02T00:00:00.000Z';
  expect(told).toEqual([until, 'configuration.applied true', '', 'configuration.applied false']);
});

test('when the machine has slept, its time is over all the same', () => {
  const { wheel, logging, skew } = setUp();
  logging.use(BEGIN + DAY);
  skew(-DAY / 2);
  wheel.advance(DAY + 1000);
  expect(logging.isOn).toBe(true);
  wheel.advance(1.5 * DAY + 1000);
  expect(logging.isOn).toBe(false);
});

test('a time that is over switches nothing on', () => {
  const { told, logging } = setUp();
  logging.use(BEGIN - 1);
  expect(logging.isOn).toBe(false);
  expect(told).toEqual([]);
});

test('it can be switched off before its time', () => {
  const { wheel, told, logging, ends } = setUp();
  logging.use(BEGIN + DAY);
  logging.use(undefined);
  wheel.advance(2 * DAY);
  expect(told.at(-1)).toBe('');
  expect(ends()).toBe(0);
});
