/** One pool: borrowing, waiting, returning, and connections that end. */

import { expect, test } from 'bun:test';
import { BerthError } from '../../../src/base/errors.ts';
import { type Client, DOWN, Fixture, WRONG_PASSWORD } from './fake-database.ts';

test('a first client waits, a connection is opened, and it is granted', () => {
  const fixture = new Fixture();
  const client = fixture.client();
  expect(fixture.pool.borrow()).toBeUndefined();
  client.ask();
  expect(fixture.database.openings.length).toBe(1);
  const connection = fixture.database.open();
  expect(client.loan).toBe(connection);
  expect(connection.placement).toBe('borrowed');
  expect(fixture.pool.stats).toEqual({
    connecting: 0,
    idle: 0,
    borrowed: 1,
    pinned: 0,
    resetting: 0,
    closing: 0,
    waiting: 0,
  });
  expect(fixture.counters.connectionsBorrowed).toBe(1);
  expect(fixture.counters.databaseConnectionRequests).toBe(1);
  expect(fixture.counters.databaseConnectionsSetupSucceeded).toBe(1);
  expect(fixture.counters.connectionPoolFullCount).toBe(0);
  fixture.audit();
});

test('the most recently used idle connection is lent first', () => {
  const fixture = new Fixture();
  const [first, second] = fixture.idle(2);
  expect(fixture.client().ask().loan).toBe(second as never);
  expect(fixture.client().ask().loan).toBe(first as never);
});

test('a returned connection goes to the longest waiter, and nobody overtakes', () => {
  const fixture = new Fixture({ limit: 1 });
  const [holder] = fixture.borrowed(1) as [Client];
  const order: string[] = [];
  const waiters = ['a', 'b', 'c'].map((name) => {
    const client = fixture.client();
    client.onGranted = () => order.push(name);
    return client.ask();
  });
  expect(fixture.counters.connectionPoolFullCount).toBe(3);
  holder.give();
  expect(order).toEqual(['a']);
  expect(fixture.pool.borrow()).toBeUndefined();
  for (const waiter of waiters) waiter.give();
  expect(order).toEqual(['a', 'b', 'c']);
  fixture.audit();
});

test('nobody overtakes a waiter to whom an idle connection is about to be handed', async () => {
  const fixture = new Fixture({ limit: 1 });
  fixture.idle(1);
  const first = fixture.client();
  first.waiter = fixture.pool.wait(first, 0);
  expect(fixture.pool.borrow()).toBeUndefined();
  // Nor does another pool take it away.
  fixture.client(fixture.poolOf('reporting')).ask();
  await fixture.settle();
  first.loan;
});

test('a higher priority is served first, first-in-first-out within it', () => {
  const fixture = new Fixture({ limit: 1 });
  const [holder] = fixture.borrowed(1) as [Client];
  const order: string[] = [];
  for (const [name, priority] of [
    ['low', -1],
    ['a', 0],
    ['vip', 7],
    ['b', 0],
    ['vip2', 7],
  ] as const) {
    const client = fixture.client();
    client.onGranted = () => {
      order.push(name);
      client.give();
    };
    client.ask(priority);
  }
  holder.give();
  expect(order).toEqual(['vip', 'vip2', 'a', 'b', 'low']);
  fixture.audit();
});

test('ten thousand borrowers that return at once do not exhaust the stack', () => {
  const fixture = new Fixture({ limit: 1 });
  const [holder] = fixture.borrowed(1) as [Client];
  let served = 0;
  for (let index = 0; index < 10_000; index++) {
    const client = fixture.client();
    client.onGranted = () => {
      served++;
      client.give();
    };
    client.ask();
  }
  holder.give();
  expect(served).toBe(10_000);
  fixture.audit();
});

test('PG-74: a waiter that leaves is neither granted nor refused, and the next one is served', () => {
  const fixture = new Fixture({ limit: 1 });
  const [holder] = fixture.borrowed(1) as [Client];
  const gone = fixture.client().ask();
  const next = fixture.client().ask();
  gone.waiter?.abandon();
  gone.waiter?.abandon();
  holder.give();
  fixture.pass(200_000);
  expect(gone.connection).toBeUndefined();
  expect(gone.error).toBeUndefined();
  next.loan;
  fixture.audit();
});

test('PG-74: a waiter that leaves while it is being handed a connection keeps the loan to return', () => {
  const fixture = new Fixture({ limit: 1 });
  const [holder] = fixture.borrowed(1) as [Client];
  const leaving = fixture.client();
  const next = fixture.client();
  leaving.onGranted = () => {
    leaving.waiter?.abandon();
    leaving.give();
  };
  leaving.ask();
  next.ask();
  holder.give();
  expect(leaving.connection).toBeUndefined();
  next.loan;
  fixture.audit();
});

test('PG-74: a waiter that another one abandons while being served is skipped', () => {
  const fixture = new Fixture({ limit: 1 });
  const [holder] = fixture.borrowed(1) as [Client];
  const first = fixture.client();
  const second = fixture.client();
  const third = fixture.client();
  first.onGranted = () => {
    second.waiter?.abandon();
    first.give();
  };
  for (const client of [first, second, third]) client.ask();
  holder.give();
  expect(second.connection).toBeUndefined();
  third.loan;
  fixture.audit();
});

test('PG-74: a client that leaves while its connection opens leaves it to the next', () => {
  const fixture = new Fixture();
  const gone = fixture.client().ask();
  gone.waiter?.abandon();
  const connection = fixture.database.open();
  expect(connection.placement).toBe('idle');
  expect(fixture.client().ask().loan).toBe(connection);
  fixture.audit();
});

test('PG-75: a connection that dies between hand-over and use frees its permit for the next waiter', () => {
  const fixture = new Fixture({ limit: 1 });
  const [holder] = fixture.borrowed(1) as [Client];
  const unlucky = fixture.client();
  const next = fixture.client();
  unlucky.onGranted = (connection) => connection.die();
  unlucky.ask();
  next.ask();
  holder.give();
  // The session finds out and returns what is gone already.
  unlucky.give('destroy');
  expect(fixture.database.openings.length).toBe(1);
  fixture.database.open();
  next.loan;
  expect(fixture.counters.closes.database_closed).toBe(1);
  fixture.audit();
});

test('PG-75: permits come back whatever becomes of a loan', () => {
  const fixture = new Fixture({ limit: 1 });
  for (const verdict of ['destroy', 'cleanable', 'clean'] as const) {
    const client = fixture.client().ask();
    if (fixture.database.openings.length > 0) fixture.database.open();
    const connection = client.give(verdict);
    if (verdict === 'cleanable') connection.die('reset_failed');
    expect(fixture.budget.inUse).toBe(1 - Number(verdict === 'cleanable'));
    fixture.database.finishClosing();
    fixture.audit();
  }
  expect(fixture.counters.closes.internal_error).toBe(1);
  expect(fixture.counters.closes.reset_failed).toBe(1);
});

test('a permit is in use until the socket is gone, and only then the next connection opens', () => {
  const fixture = new Fixture({ limit: 1 });
  const [holder] = fixture.borrowed(1) as [Client];
  const waiter = fixture.client().ask();
  const connection = holder.give('destroy');
  expect(fixture.database.openings.length).toBe(0);
  expect(fixture.pool.stats.closing).toBe(1);
  connection.finishClosing();
  connection.finishClosing();
  expect(fixture.database.openings.length).toBe(1);
  fixture.database.open();
  waiter.loan;
  expect(fixture.database.socketsMax).toBe(1);
  fixture.audit();
});

test('a cleanable connection is cleaned before the next borrower gets it', () => {
  const fixture = new Fixture({ limit: 1 });
  const [holder] = fixture.borrowed(1) as [Client];
  const waiter = fixture.client().ask();
  fixture.pool.pin(holder.loan);
  expect(fixture.pool.stats.pinned).toBe(1);
  const connection = holder.give('cleanable');
  expect(connection.asked).toBe('clean');
  expect(waiter.connection).toBeUndefined();
  connection.succeed();
  expect(waiter.loan).toBe(connection);
  fixture.audit();
});

test('a pin comes and goes; returning a connection twice, or pinning an idle one, throws', () => {
  const fixture = new Fixture();
  const [client] = fixture.borrowed(1) as [Client];
  const { loan } = client;
  fixture.pool.pin(loan);
  expect(() => fixture.pool.pin(loan)).toThrow();
  fixture.pool.unpin(loan);
  expect(() => fixture.pool.unpin(loan)).toThrow();
  client.give();
  expect(() => fixture.pool.release(loan, 'clean')).toThrow();
  expect(() => fixture.pool.pin(loan)).toThrow();
  expect(() => fixture.pool.cleaned(loan)).toThrow();
  fixture.audit();
});

test('a connection may die on any list, more than once, and the books balance', () => {
  const fixture = new Fixture({ limit: 10 });
  const clients = fixture.borrowed(5);
  const [idle, borrowed, pinned, resetting, closing] = clients as [
    Client,
    Client,
    Client,
    Client,
    Client,
  ];
  fixture.pool.pin(pinned.loan);
  const connections = clients.map((client) => client.loan);
  idle.give();
  resetting.give('cleanable');
  closing.give('destroy');
  expect(borrowed.loan.placement).toBe('borrowed');
  for (const connection of connections) {
    connection.die();
    connection.die();
    connection.finishClosing();
    fixture.audit();
  }
  expect(fixture.budget.inUse).toBe(0);
  expect(fixture.counters.closes.database_closed).toBe(4);
  expect(fixture.counters.closes.internal_error).toBe(1);
});

test('PG-32: a connection not proven alive for a while is probed before it is lent', async () => {
  const fixture = new Fixture({ settings: { probeAfterMs: 30_000 } });
  const [older, newer] = fixture.idle(2);
  fixture.pass(31_000);
  const client = fixture.client().ask();
  expect(client.connection).toBeUndefined();
  expect([older?.asked, newer?.asked]).toEqual(['nothing', 'probe']);
  await fixture.settle();
  expect(older?.asked).toBe('nothing');
  expect(fixture.database.openings.length).toBe(0);
  // The next client needs one too, and there is another one to prove.
  const another = fixture.client().ask();
  await fixture.settle();
  expect(older?.asked).toBe('probe');
  newer?.succeed();
  expect(client.loan).toBe(newer as never);
  older?.succeed();
  expect(another.loan).toBe(older as never);
  fixture.audit();
});

test('PG-32: a waiter who has a probe does not also have a connection opened', () => {
  const fixture = new Fixture({ limit: 2, settings: { probeAfterMs: 30_000 } });
  fixture.idle(1);
  fixture.pass(31_000);
  fixture.client().ask();
  fixture.pass(500);
  expect(fixture.database.openings.length).toBe(0);
  fixture.client().ask();
  expect(fixture.database.openings.length).toBe(1);
});

test('PG-32: when a probed connection ends otherwise, the next one is probed for the waiter', () => {
  for (const end of ['die', 'expire'] as const) {
    const fixture = new Fixture({ limit: 2, settings: { probeAfterMs: 30_000 } });
    const [older, newer] = fixture.idle(2);
    fixture.pass(31_000);
    const client = fixture.client().ask();
    if (end === 'die') {
      newer?.die();
    } else if (newer !== undefined) {
      newer.expiresAt = fixture.wheel.now;
      newer.succeed();
    }
    expect(older?.asked).toBe('probe');
    older?.succeed();
    client.loan;
    fixture.audit();
  }
});

test('PG-32: after one failed probe all that rested as long are probed, and a new one is opened', async () => {
  const fixture = new Fixture({ limit: 10, settings: { probeAfterMs: 30_000 } });
  const connections = fixture.idle(3);
  fixture.pass(31_000);
  const client = fixture.client().ask();
  connections[2]?.die('probe_failed');
  expect(connections.map((each) => each.asked)).toEqual(['probe', 'probe', 'probe']);
  expect(fixture.database.openings.length).toBe(1);
  const fresh = fixture.database.open();
  expect(client.loan).toBe(fresh);
  expect(fixture.counters.closes.probe_failed).toBe(1);
  await fixture.settle();
});

test('a borrow timeout says which limit, how long, and what the connections do', () => {
  const fixture = new Fixture({ limit: 16 });
  const clients = fixture.borrowed(16);
  for (const client of clients.slice(0, 2)) fixture.pool.pin(client.loan);
  const waiters = Array.from({ length: 37 }, () => fixture.client().ask());
  fixture.pass(119_900);
  expect(waiters[0]?.error).toBeUndefined();
  fixture.pass(200);
  expect(waiters[0]?.error?.code).toBe('borrow_timeout');
  expect(waiters[0]?.error?.detail).toBe(
    'Waited 120.0 s for one of 16 connections to target orders-db (MaxConnections); 14 are borrowed, 2 pinned, 37 clients are waiting.',
  );
  expect(waiters.every((each) => each.error !== undefined)).toBe(true);
  expect(fixture.counters.borrowTimeouts).toBe(37);
  fixture.audit();
});

test('a waiter is told that it waits, with its position, and again when the wait has doubled', () => {
  const fixture = new Fixture({ limit: 1 });
  fixture.borrowed(1);
  const first = fixture.client().ask();
  const second = fixture.client().ask();
  const vip = fixture.client().ask(5);
  fixture.pass(4_900);
  expect(first.notice).toBeUndefined();
  fixture.pass(5_000);
  expect(vip.notice).toEqual({ waitedMs: 5_000, position: 1 });
  expect(first.notice).toEqual({ waitedMs: 5_000, position: 2 });
  expect(second.notice).toEqual({ waitedMs: 5_000, position: 3 });
  vip.waiter?.abandon();
  fixture.pass(10_000);
  expect(first.notice).toEqual({ waitedMs: 10_000, position: 1 });
  expect(second.notice).toEqual({ waitedMs: 10_000, position: 2 });
  fixture.pass(100_000);
  expect(first.notice).toEqual({ waitedMs: 80_000, position: 1 });
});

test('a changed borrow timeout holds for those who wait already', () => {
  const fixture = new Fixture({ limit: 1 });
  fixture.borrowed(1);
  const waiter = fixture.client().ask();
  fixture.pass(2_000);
  fixture.configure({ borrowTimeoutMs: 1_000 });
  fixture.pass(100);
  expect(waiter.error?.code).toBe('borrow_timeout');
});

test('with a borrow timeout of 0 a client is refused at once, but never from inside wait', async () => {
  const fixture = new Fixture({ settings: { borrowTimeoutMs: 0 } });
  const client = fixture.client().ask();
  expect(client.error).toBeUndefined();
  await fixture.settle();
  expect(client.error?.code).toBe('borrow_timeout');
  // The attempt goes on, otherwise such a pool would never have a connection.
  const connection = fixture.database.open();
  expect(fixture.client().ask().loan).toBe(connection);
  const left = fixture.client().ask();
  left.waiter?.abandon();
  await fixture.settle();
  expect(left.error).toBeUndefined();
});

test('a borrower that waits without borrowing first gets the idle connection, after wait returned', async () => {
  const fixture = new Fixture();
  const [connection] = fixture.idle(1);
  const client = fixture.client();
  client.waiter = fixture.pool.wait(client, 0);
  expect(client.connection).toBeUndefined();
  await fixture.settle();
  expect(client.loan).toBe(connection as never);
  expect(fixture.database.openings.length).toBe(0);
});

test('PG-76: a connection past its lifetime is closed, idle or when it returns, each at its own time', () => {
  const values = [0, 0.5, 0.999];
  const fixture = new Fixture({
    settings: { lifetimeMs: 1_000_000, idleTimeoutMs: 1e9 },
    random: () => values.shift() ?? 0.5,
  });
  const [first, second, third] = fixture.borrowed(3) as [Client, Client, Client];
  const connections = [first.give(), second.give(), third.loan];
  expect(connections.map((each) => Math.round(each.expiresAt / 1000))).toEqual([800, 1_000, 1_200]);
  fixture.pass(900_000);
  expect(connections.map((each) => each.closeReason)).toEqual(['lifetime', undefined, undefined]);
  fixture.pass(400_000);
  expect(connections.map((each) => each.placement)).toEqual(['closing', 'closing', 'borrowed']);
  expect(third.give().closeReason).toBe('lifetime');
  fixture.audit();
});

test('an expired idle connection is closed instead of lent', () => {
  const fixture = new Fixture();
  const [connection] = fixture.idle(1);
  if (connection !== undefined) connection.expiresAt = fixture.wheel.now;
  expect(fixture.pool.borrow()).toBeUndefined();
  expect(connection?.closeReason).toBe('lifetime');
  fixture.audit();
});

test('when what a waiter was promised turns out to be expired, another one is opened', async () => {
  const fixture = new Fixture({ limit: 2 });
  const [connection] = fixture.idle(1);
  if (connection !== undefined) connection.expiresAt = fixture.wheel.now;
  const client = fixture.client();
  client.waiter = fixture.pool.wait(client, 0);
  await fixture.settle();
  expect(connection?.closeReason).toBe('lifetime');
  expect(fixture.database.openings.length).toBe(1);
});

test('an unused connection is closed after the idle timeout', () => {
  const fixture = new Fixture({ settings: { idleTimeoutMs: 60_000 } });
  const [old] = fixture.idle(1);
  fixture.pass(30_000);
  const held = fixture.client().ask();
  const [young] = fixture.borrowed(1) as [Client];
  held.give();
  fixture.pass(40_000);
  young.give();
  fixture.pass(25_000);
  expect(old?.closeReason).toBe('idle_timeout');
  expect(fixture.pool.stats.idle).toBe(1);
  expect(fixture.counters.closes.idle_timeout).toBe(1);
});

test('a permanent failure refuses all waiters of the pool with its error, at once', () => {
  const fixture = new Fixture({ settings: { maxConnecting: 1 } });
  const clients = [fixture.client().ask(), fixture.client().ask()];
  const other = fixture.client(fixture.poolOf('reporting')).ask();
  fixture.database.fail(WRONG_PASSWORD);
  expect(clients.map((each) => each.error)).toEqual([WRONG_PASSWORD.error, WRONG_PASSWORD.error]);
  expect(other.error).toBeUndefined();
  expect(fixture.database.openings[0]?.user).toBe('reporting');
  expect(fixture.counters.databaseConnectionsSetupFailed).toBe(1);
  expect(fixture.counters.closes.connect_failed).toBe(1);
  fixture.audit();
});

test('PG-19: after a temporary failure clients go on waiting, and the timeout says why', () => {
  const fixture = new Fixture({ settings: { borrowTimeoutMs: 3_000, maxConnecting: 1 } });
  const client = fixture.client().ask();
  fixture.database.fail(DOWN);
  expect(client.error).toBeUndefined();
  fixture.pass(3_100);
  expect(client.error?.code).toBe('borrow_timeout');
  expect(client.error?.detail).toBe(
    'Waited 3.0 s for a connection to target orders-db, which cannot be opened: The target database is not reachable.',
  );
});

test('PG-19: and it says what the database said, when that is why', () => {
  const fixture = new Fixture({ settings: { borrowTimeoutMs: 3_000, maxConnecting: 1 } });
  const client = fixture.client().ask();
  const detail = 'The database says: too many clients already (SQLSTATE 53300).';
  fixture.database.fail({
    isTemporary: true,
    detail: 'too many clients already',
    error: new BerthError('connection_refused', { detail }),
  });
  fixture.pass(3_100);
  expect(client.error?.detail).toBe(
    `Waited 3.0 s for a connection to target orders-db, which cannot be opened: ${detail}`,
  );
});

test('close refuses who waits and who comes, and closes connections now or as they return', async () => {
  const fixture = new Fixture({ limit: 4, settings: { maxConnecting: 1 } });
  const [borrowed, resetting] = fixture.borrowed(2) as [Client, Client];
  const [idle] = fixture.idle(1, fixture.poolOf('reporting'));
  const cleaning = resetting.give('cleanable');
  const waiting = fixture.client().ask();
  expect(fixture.database.openings.length).toBe(1);
  let isDrained = false;
  fixture.group.close().then(() => {
    isDrained = true;
  });
  expect(fixture.database.openings.length).toBe(0);
  expect(waiting.error?.code).toBe('shutting_down');
  expect(idle?.closeReason).toBe('shutdown');
  expect(cleaning.closeReason).toBe('shutdown');
  const late = fixture.client().ask();
  expect(late.error).toBeUndefined();
  await fixture.settle();
  expect(late.error?.code).toBe('shutting_down');
  fixture.database.finishClosing();
  await fixture.settle();
  expect(isDrained).toBe(false);
  expect(borrowed.give().closeReason).toBe('shutdown');
  fixture.database.finishClosing();
  await fixture.settle();
  expect(isDrained).toBe(true);
  expect(fixture.budget.inUse).toBe(0);
});
