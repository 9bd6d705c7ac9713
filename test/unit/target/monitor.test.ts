/** When a monitor looks at its target, and what it makes of what it sees. */

import { expect, test } from 'bun:test';
import { TimerWheel } from '../../../src/base/timer-wheel.ts';
import type { Event } from '../../../src/observe/events.ts';
import { Monitor, type Observation } from '../../../src/target/monitor.ts';

const GOOD: Observation = {
  isOk: true,
  facts: {
    version: 'PostgreSQL 18',
    maxConnections: 100,
    reservedConnections: 3,
    standing: {
      isReadOnly: false,
      source: undefined,
      serverId: undefined,
      timeline: 1,
      position: undefined,
      lagMs: undefined,
    },
  },
};
const CUT_OFF: Observation = { isOk: false, reason: 'CONNECTION_FAILED', detail: 'closed' };
const AWAY: Observation = { isOk: false, reason: 'UNREACHABLE', detail: 'refused' };

class Watched {
  readonly wheel = new TimerWheel(0);
  readonly events: Event[] = [];
  readonly monitor: Monitor;
  /** What the next looks see; undefined leaves them without an answer until `answer`. */
  sees: Observation | undefined = GOOD;
  /** Wheel times at which looks began. */
  readonly looks: number[] = [];
  #answer: ((observation: Observation | undefined) => void) | undefined;

  constructor() {
    this.monitor = new Monitor({
      proxy: 'orders',
      target: 'orders-db',
      prober: { probe: () => this.#probe() },
      wheel: this.wheel,
      observer: { emit: (event) => this.events.push(event) },
      noted: () => undefined,
      isPaced: false,
    });
  }

  #probe(): Promise<Observation | undefined> {
    this.looks.push(this.wheel.now);
    if (this.sees !== undefined) return Promise.resolve(this.sees);
    return new Promise((resolve) => {
      this.#answer = resolve;
    });
  }

  answer(observation: Observation | undefined): void {
    this.#answer?.(observation);
  }

  async start(): Promise<void> {
    this.monitor.start();
    await this.pass(0);
  }

  async pass(ms: number): Promise<void> {
    const end = this.wheel.now + ms;
    do {
      this.wheel.advance(Math.min(end, this.wheel.now + 100));
      for (let turn = 0; turn < 5; turn++) await Promise.resolve();
    } while (this.wheel.now < end);
  }

  get states(): readonly string[] {
    return this.events.map((event) =>
      event.event === 'target.health_changed' ? event.state : event.event,
    );
  }
}

test('says how the target is, in the words of RDS Proxy', async () => {
  const watched = new Watched();
  expect(watched.monitor.health).toEqual({ state: 'REGISTERING' });
  watched.sees = AWAY;
  await watched.start();
  expect(watched.monitor.health).toEqual({
    state: 'UNAVAILABLE',
    reason: 'UNREACHABLE',
    detail: 'refused',
  });
  watched.sees = GOOD;
  await watched.pass(1_000);
  expect(watched.monitor.health).toEqual({ state: 'AVAILABLE' });
});

test('says so when there was no room for a first look', async () => {
  const watched = new Watched();
  watched.sees = undefined;
  await watched.start();
  expect(watched.monitor.health).toEqual({ state: 'REGISTERING' });
  watched.answer(undefined);
  await watched.pass(0);
  expect(watched.monitor.health).toEqual({
    state: 'UNAVAILABLE',
    reason: 'PENDING_PROXY_CAPACITY',
    detail: 'DBProxy Target is waiting for proxy to scale to desired capacity',
  });
});

test('looks every 10 s at a target that answers, and every second at one that does not', async () => {
  const watched = new Watched();
  await watched.start();
  await watched.pass(20_000);
  expect(watched.looks).toEqual([0, 10_000, 20_000]);
  watched.sees = AWAY;
  await watched.pass(13_000);
  expect(watched.looks.slice(3)).toEqual([30_000, 31_000, 32_000, 33_000]);
  expect(watched.states).toEqual(['AVAILABLE', 'UNAVAILABLE']);
});

test('PG-31: a connection that failed makes it look at once, and the look finds the outage', async () => {
  const watched = new Watched();
  await watched.start();
  await watched.pass(5_000);
  watched.sees = AWAY;
  watched.monitor.doubt();
  await watched.pass(100);
  expect(watched.looks).toEqual([0, 5_100]);
  expect(watched.monitor.isAvailable).toBe(false);
  expect(watched.states).toEqual(['AVAILABLE', 'UNAVAILABLE']);
});

test('PG-31: one lost connection does not make a target unavailable that answers', async () => {
  const watched = new Watched();
  await watched.start();
  await watched.pass(5_000);
  watched.monitor.doubt();
  expect(watched.monitor.isAvailable).toBe(true);
  await watched.pass(21_000);
  expect(watched.states).toEqual(['AVAILABLE']);
  // And it is calm again.
  expect(watched.looks).toEqual([0, 5_100, 15_100, 25_100]);
});

test('PG-31: a look that is cut off is repeated before anybody is told', async () => {
  const watched = new Watched();
  await watched.start();
  watched.sees = CUT_OFF;
  await watched.pass(10_000);
  expect(watched.looks).toEqual([0, 10_000]);
  watched.monitor.doubt();
  watched.sees = GOOD;
  await watched.pass(1_000);
  expect(watched.looks).toEqual([0, 10_000, 10_100]);
  expect(watched.states).toEqual(['AVAILABLE']);
  watched.sees = CUT_OFF;
  await watched.pass(10_000);
  expect(watched.looks.slice(3)).toEqual([20_100, 20_200]);
  expect(watched.states).toEqual(['AVAILABLE', 'UNAVAILABLE']);
  // From then on once a second, and what it says is believed.
  await watched.pass(1_500);
  expect(watched.looks.slice(5)).toEqual([21_200, 22_200]);
});

test('PG-76: however many connections fail, it looks once a second at most', async () => {
  const watched = new Watched();
  await watched.start();
  for (let step = 0; step < 50; step++) {
    for (let each = 0; each < 100; each++) watched.monitor.doubt();
    await watched.pass(100);
  }
  expect(watched.looks.length).toBe(6);
  const pauses = watched.looks.slice(1).map((at, index) => at - (watched.looks[index] ?? 0));
  expect(Math.min(...pauses)).toBe(1_000);
});

test('what fails while it looks makes it look again', async () => {
  const watched = new Watched();
  await watched.start();
  await watched.pass(9_900);
  watched.sees = undefined;
  await watched.pass(100);
  expect(watched.looks).toEqual([0, 10_000]);
  watched.monitor.doubt();
  await watched.pass(3_000);
  // Never two at a time.
  expect(watched.looks).toEqual([0, 10_000]);
  watched.sees = AWAY;
  watched.answer(GOOD);
  await watched.pass(0);
  await watched.pass(1_000);
  expect(watched.looks).toEqual([0, 10_000, 14_000]);
  expect(watched.states).toEqual(['AVAILABLE', 'UNAVAILABLE']);
});

test('a monitor that was stopped never looks again', async () => {
  const watched = new Watched();
  await watched.start();
  watched.monitor.stop();
  watched.monitor.doubt();
  await watched.pass(60_000);
  expect(watched.looks).toEqual([0]);
});

test('suspended it does not look, whoever doubts, and a look that was under way tells nothing', async () => {
  const watched = new Watched();
  await watched.start();
  watched.sees = undefined;
  await watched.pass(10_000);
  expect(watched.looks).toEqual([0, 10_000]);
  watched.monitor.suspend();
  watched.answer(AWAY);
  watched.monitor.doubt();
  await watched.pass(60_000);
  expect(watched.looks).toEqual([0, 10_000]);
  expect(watched.states).toEqual(['AVAILABLE']);
});

test('resumed it looks at once, and tells when it has; after that as before', async () => {
  const watched = new Watched();
  await watched.start();
  watched.monitor.suspend();
  await watched.pass(30_500);
  watched.sees = undefined;
  let looked = 0;
  watched.monitor.resume(() => looked++);
  await watched.pass(0);
  expect(watched.looks).toEqual([0, 30_500]);
  expect(looked).toBe(0);
  watched.answer(AWAY);
  await watched.pass(0);
  expect(looked).toBe(1);
  expect(watched.states).toEqual(['AVAILABLE', 'UNAVAILABLE']);
  watched.sees = GOOD;
  await watched.pass(1_000);
  expect(watched.looks).toEqual([0, 30_500, 31_500]);
  expect(watched.states).toEqual(['AVAILABLE', 'UNAVAILABLE', 'AVAILABLE']);
  expect(looked).toBe(1);
});

test('suspended before it has looked, it begins to when it is resumed', async () => {
  const watched = new Watched();
  watched.monitor.suspend();
  await watched.pass(20_000);
  expect(watched.looks).toEqual([]);
  watched.monitor.resume(() => undefined);
  await watched.pass(0);
  await watched.pass(10_000);
  expect(watched.looks).toEqual([20_000, 30_000]);
});
