/** The timer wheel, driven by hand: no test waits. */

import { expect, test } from 'bun:test';
import fc from 'fast-check';
import { TICK_MS, Timer, TimerWheel } from '../../../src/base/timer-wheel.ts';

function recorder(wheel: TimerWheel, fired: string[]): (name: string) => Timer {
  return (name) => new Timer(() => fired.push(`${name}@${wheel.now}`));
}

test('a timer fires once, at the first tick that is not before its deadline', () => {
  const wheel = new TimerWheel(0);
  const fired: string[] = [];
  const timer = recorder(wheel, fired)('a');
  wheel.arm(timer, 250);
  expect(timer.isArmed).toBe(true);
  wheel.advance(200);
  expect(fired).toEqual([]);
  wheel.advance(300);
  wheel.advance(10_000);
  expect(fired).toEqual(['a@300']);
  expect(timer.isArmed).toBe(false);
});

test('a delay of 0 fires at the next tick, also when the clock stands at 0', () => {
  const wheel = new TimerWheel(0);
  const fired: string[] = [];
  wheel.arm(recorder(wheel, fired)('a'), 0);
  wheel.arm(recorder(wheel, fired)('b'), -5);
  wheel.advance(TICK_MS);
  expect(fired.sort()).toEqual(['a@100', 'b@100']);
});

test('arming again moves a timer, earlier or later', () => {
  const wheel = new TimerWheel(0);
  const fired: string[] = [];
  const make = recorder(wheel, fired);
  const later = make('later');
  const earlier = make('earlier');
  wheel.arm(later, 100);
  wheel.arm(earlier, 5_000);
  wheel.arm(later, 1_000);
  wheel.arm(earlier, 200);
  for (let now = 100; now <= 6_000; now += 100) wheel.advance(now);
  expect(fired).toEqual(['earlier@200', 'later@1000']);
});

test('disarming takes a timer out of the middle, the head and the tail of its slot', () => {
  for (const gone of [0, 1, 2]) {
    const wheel = new TimerWheel(0);
    const fired: string[] = [];
    const make = recorder(wheel, fired);
    const timers = ['a', 'b', 'c'].map(make);
    for (const timer of timers) wheel.arm(timer, 300);
    const removed = timers[gone];
    if (removed === undefined) throw new Error('no such timer');
    wheel.disarm(removed);
    wheel.disarm(removed);
    wheel.advance(300);
    expect(fired.length).toBe(2);
    expect(removed.isArmed).toBe(false);
  }
});

test('a timer disarmed by an earlier one of the same batch does not fire', () => {
  const wheel = new TimerWheel(0);
  let fired = 0;
  const timers: Timer[] = [];
  for (let index = 0; index < 2; index++) {
    timers.push(
      new Timer(() => {
        fired++;
        for (const timer of timers) wheel.disarm(timer);
      }),
    );
  }
  for (const timer of timers) wheel.arm(timer, 100);
  wheel.advance(200);
  expect(fired).toBe(1);
  expect(timers.some((timer) => timer.isArmed)).toBe(false);
});

test('a timer armed again by an earlier one of the same batch fires later, once', () => {
  const wheel = new TimerWheel(0);
  const fired: number[] = [];
  const timers: Timer[] = [];
  for (let index = 0; index < 2; index++) {
    timers.push(
      new Timer(() => {
        fired.push(wheel.now);
        for (const timer of timers) if (timer.isArmed) wheel.arm(timer, 500);
      }),
    );
  }
  for (const timer of timers) wheel.arm(timer, 100);
  for (let now = 100; now <= 2_000; now += 100) wheel.advance(now);
  expect(fired).toEqual([100, 600]);
});

test('a timer that arms itself while it fires keeps its period', () => {
  const wheel = new TimerWheel(0);
  const fired: number[] = [];
  const timer = new Timer(() => {
    fired.push(wheel.now);
    wheel.arm(timer, TICK_MS);
  });
  wheel.arm(timer, TICK_MS);
  for (let now = 100; now <= 500; now += 100) wheel.advance(now);
  expect(fired).toEqual([100, 200, 300, 400, 500]);
});

test('a slot is shared by timers of different rounds of the wheel', () => {
  const wheel = new TimerWheel(0);
  const fired: string[] = [];
  const make = recorder(wheel, fired);
  const round = 512 * TICK_MS;
  wheel.arm(make('second'), round + 300);
  wheel.arm(make('first'), 300);
  for (let now = 100; now <= 2 * round; now += 100) wheel.advance(now);
  expect(fired).toEqual(['first@300', `second@${round + 300}`]);
});

test('PG-80: a delay above 2^31 ms neither fires at once nor is lost', () => {
  const wheel = new TimerWheel(0);
  const fired: string[] = [];
  const delayMs = 2 ** 31 + 12_345;
  wheel.arm(recorder(wheel, fired)('a'), delayMs);
  wheel.advance(60_000);
  wheel.advance(2 ** 31);
  wheel.advance(delayMs - 1);
  expect(fired).toEqual([]);
  wheel.advance(delayMs + TICK_MS);
  expect(fired.length).toBe(1);
});

test('after a long pause of the process every due timer fires, and no other', () => {
  const wheel = new TimerWheel(0);
  const fired: string[] = [];
  const make = recorder(wheel, fired);
  wheel.arm(make('a'), 100);
  wheel.arm(make('b'), 60_000);
  wheel.arm(make('c'), 3_600_000);
  wheel.advance(600_000);
  expect(fired.sort()).toEqual(['a@600000', 'b@600000']);
});

test('a clock that goes back is ignored', () => {
  const wheel = new TimerWheel(1_000);
  wheel.advance(900);
  expect(wheel.now).toBe(1_000);
});

test('a timer that throws does not take the others of its batch with it', () => {
  const wheel = new TimerWheel(0);
  let fired = 0;
  const bad = new Timer(() => {
    throw new Error('broken owner');
  });
  const good = [0, 1].map(
    () =>
      new Timer(() => {
        fired++;
      }),
  );
  for (const timer of [...good, bad]) wheel.arm(timer, 100);
  expect(() => wheel.advance(100)).toThrow('broken owner');
  wheel.advance(300);
  expect(fired).toBe(2);
});

test('against a plain list of deadlines', () => {
  const step = fc.record({
    timer: fc.nat(9),
    action: fc.constantFrom('arm', 'arm', 'disarm', 'advance', 'advance'),
    ms: fc.oneof(fc.nat(1_000), fc.nat(200_000)),
  });
  fc.assert(
    fc.property(fc.nat(100_000), fc.array(step, { maxLength: 200 }), (start, steps) => {
      const wheel = new TimerWheel(start);
      const deadlines = new Map<number, number>();
      const fired: number[] = [];
      const timers = Array.from({ length: 10 }, (_, index) => new Timer(() => fired.push(index)));
      for (const { timer: index, action, ms } of steps) {
        const timer = timers[index];
        if (timer === undefined) continue;
        if (action === 'arm') {
          wheel.arm(timer, ms);
          deadlines.set(index, wheel.now + ms);
        } else if (action === 'disarm') {
          wheel.disarm(timer);
          deadlines.delete(index);
        } else {
          fired.length = 0;
          wheel.advance(wheel.now + ms);
          // Due: a whole tick at or after the deadline has begun.
          for (const each of fired) {
            const deadline = deadlines.get(each);
            if (deadline === undefined || deadline > wheel.now) throw new Error('fired early');
            deadlines.delete(each);
          }
          for (const deadline of deadlines.values()) {
            if (deadline <= wheel.now - TICK_MS) throw new Error('fired late');
          }
        }
        for (const [at, each] of timers.entries()) {
          if (each.isArmed !== deadlines.has(at)) throw new Error('isArmed is wrong');
        }
      }
    }),
  );
});
