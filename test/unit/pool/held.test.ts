/** A group of pools that is held: nothing is lent or opened, what there is goes, and who waits keeps his place. */

import { expect, test } from 'bun:test';
import { DOWN, Fixture } from './fake-database.ts';

/** Who holds a group, and how many permits were in use when he was told last. */
class Held {
  inUse: number | undefined = undefined;

  constructor({ budget, group }: Fixture) {
    group.holdBack(() => {
      this.inUse = budget.inUse;
    });
  }
}

test('idle connections go at once, lent ones as they return, and then it is told', async () => {
  const fixture = new Fixture();
  const idle = fixture.idle(1);
  const [busy] = fixture.borrowed(2);
  expect(idle[0]?.placement).toBe('borrowed');
  const other = fixture.idle(1, fixture.poolOf('other'));
  const held = new Held(fixture);
  expect(held.inUse).toBeUndefined();
  await fixture.settle();
  expect(held.inUse).toBe(3);
  expect(other[0]?.closeReason).toBe('paused');
  const returned = fixture.database.connections.map(({ placement }) => placement);
  expect(returned.toSorted()).toEqual(['borrowed', 'borrowed', 'closing']);
  busy?.give();
  fixture.database.finishClosing();
  await fixture.settle();
  expect(held.inUse).toBe(1);
  const last = fixture.database.connections.find(({ placement }) => placement === 'borrowed');
  if (last === undefined) throw new Error('nothing is lent');
  fixture.pool.release(last, 'cleanable');
  expect(last.closeReason).toBe('paused');
  await fixture.settle();
  // Its socket is still there.
  expect(held.inUse).toBe(1);
  fixture.database.finishClosing();
  await fixture.settle();
  expect(held.inUse).toBe(0);
});

test('who waits, and who comes, is served in order once it is let go, and at once', async () => {
  const fixture = new Fixture({ limit: 8 });
  const [busy] = fixture.borrowed(1);
  new Held(fixture);
  const clients = [0, 1, 2, 3].map(() => fixture.client().ask());
  const urgent = fixture.client().ask(1);
  busy?.give();
  fixture.database.finishClosing();
  fixture.pass(30_000);
  await fixture.settle();
  expect(fixture.database.openings.length).toBe(0);
  fixture.group.letGo();
  // As many as may be opened at a time, and no more.
  expect(fixture.database.openings.length).toBe(4);
  fixture.database.open();
  expect(urgent.connection).toBeDefined();
  for (const client of clients) {
    expect(client.connection).toBeUndefined();
    fixture.database.open();
    expect(client.connection).toBeDefined();
  }
  fixture.audit();
});

test('attempts are given up, and what failed before is no reason to wait afterwards', async () => {
  const fixture = new Fixture({ settings: { maxConnecting: 1 } });
  const first = fixture.client().ask();
  fixture.database.fail(DOWN);
  fixture.pass(200);
  const doubts = fixture.doubts;
  expect(fixture.database.openings.length).toBe(1);
  const held = new Held(fixture);
  expect(fixture.database.openings.length).toBe(0);
  await fixture.settle();
  expect(held.inUse).toBe(0);
  expect(fixture.doubts).toBe(doubts);
  fixture.group.letGo();
  expect(fixture.database.openings.length).toBe(1);
  fixture.database.open();
  expect(first.connection).toBeDefined();
});

test('a wait is no longer than the borrow timeout, and says why', () => {
  const fixture = new Fixture({ settings: { borrowTimeoutMs: 10_000 } });
  new Held(fixture);
  const client = fixture.client().ask();
  fixture.pass(9_900);
  expect(client.error).toBeUndefined();
  fixture.pass(300);
  expect(client.error?.code).toBe('borrow_timeout');
  expect(client.error?.detail).toContain('while the proxy is paused');
});

test('permits of others count: it is told when the last of them has come back', async () => {
  const fixture = new Fixture();
  expect(fixture.budget.tryAcquire()).toBe(true);
  const held = new Held(fixture);
  await fixture.settle();
  expect(held.inUse).toBe(1);
  fixture.budget.release();
  await fixture.settle();
  expect(held.inUse).toBe(0);
});

test('let go before it is unused, it tells nobody; what was lent is replaced when it returns', async () => {
  const fixture = new Fixture();
  const [busy] = fixture.borrowed(1);
  const held = new Held(fixture);
  const waiting = fixture.client().ask();
  fixture.group.letGo();
  const lent = busy?.give();
  expect(lent?.closeReason).toBe('paused');
  fixture.database.finishClosing();
  await fixture.settle();
  expect(held.inUse).toBeUndefined();
  fixture.database.open();
  expect(waiting.connection).toBeDefined();
});

test('who is kept for nothing but a next question is asked to give back', () => {
  const fixture = new Fixture();
  const [client] = fixture.borrowed(1);
  let recalls = 0;
  fixture.pool.keep({ recalled: () => recalls++ });
  new Held(fixture);
  expect(recalls).toBe(1);
  expect(fixture.pool.isWanted).toBe(true);
  client?.give();
});

test('held while it is to be drained: who waits and who comes is refused', async () => {
  const fixture = new Fixture();
  new Held(fixture);
  const early = fixture.client().ask();
  fixture.group.refuseWaiting();
  expect(early.error?.code).toBe('shutting_down');
  const late = fixture.client().ask();
  await fixture.settle();
  expect(late.error?.code).toBe('shutting_down');
});
