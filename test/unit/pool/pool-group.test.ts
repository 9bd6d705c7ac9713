/** Several pools of one target: limits, opening, backoff, fairness between users, sweeping. */

import { expect, test } from 'bun:test';
import { type Client, DOWN, Fixture, WRONG_PASSWORD } from './fake-database.ts';

test('PG-76: 500 clients on a cold pool of 40 never open more than 4 at a time', () => {
  const fixture = new Fixture({ limit: 40, settings: { maxConnecting: 4 } });
  const clients = Array.from({ length: 500 }, () => fixture.client().ask());
  expect(fixture.database.openings.length).toBe(4);
  while (fixture.database.openings.length > 0) {
    fixture.database.open();
    fixture.audit();
  }
  expect(fixture.database.attempts).toBe(40);
  expect(fixture.database.openingsMax).toBe(4);
  let served = 0;
  for (const client of clients) {
    client.give();
    served++;
  }
  expect(served).toBe(500);
  expect(fixture.database.socketsMax).toBe(40);
  fixture.audit();
});

test('PG-76: never more opening than waiting', () => {
  const fixture = new Fixture({ limit: 40, settings: { maxConnecting: 10 } });
  const clients = [0, 1, 2].map(() => fixture.client().ask());
  expect(fixture.database.openings.length).toBe(3);
  fixture.database.open();
  fixture.database.open();
  clients[0]?.give();
  expect(clients[2]?.loan).toBeDefined();
  expect(fixture.database.openings.length).toBe(1);
  fixture.pass(5_000);
  expect(fixture.database.attempts).toBe(3);
});

test('PG-76: while the database is down there is one attempt per growing delay, and none for nobody', () => {
  const fixture = new Fixture({ limit: 40, settings: { maxConnecting: 4 } });
  const clients = Array.from({ length: 500 }, () => fixture.client().ask());
  // Four were under way; they fail together and count as one failure.
  for (let index = 0; index < 4; index++) fixture.database.fail(DOWN);
  const times: number[] = [];
  while (fixture.wheel.now < 20_000) {
    fixture.pass(100);
    expect(fixture.database.openings.length).toBeLessThanOrEqual(1);
    if (fixture.database.openings.length === 0) continue;
    times.push(fixture.wheel.now);
    fixture.database.fail(DOWN);
    fixture.audit();
  }
  // 200 ms doubled up to 5 s, times 0.75 (a jitter of one half), rounded up to ticks.
  expect(times).toEqual([200, 500, 1_100, 2_300, 4_700, 8_500, 12_300, 16_100, 19_900]);
  for (const client of clients) client.waiter?.abandon();
  const { attempts } = fixture.database;
  fixture.pass(60_000);
  expect(fixture.database.attempts).toBe(attempts);
});

test('PG-76: while the database is down, many users make no more attempts than one', () => {
  const fixture = new Fixture({ limit: 40 });
  for (let user = 0; user < 50; user++) fixture.client(fixture.poolOf(`user${user}`)).ask();
  while (fixture.wheel.now < 20_000) {
    for (const opening of fixture.database.openings) opening.fail(DOWN);
    fixture.pass(100);
  }
  expect(fixture.database.attempts).toBeLessThanOrEqual(4 + 9);
});

test('PG-76: on recovery the number of connections opening grows from one', () => {
  const fixture = new Fixture({ limit: 40, settings: { maxConnecting: 8 } });
  for (let index = 0; index < 500; index++) fixture.client().ask();
  for (let index = 0; index < 8; index++) fixture.database.fail(DOWN);
  fixture.pass(200);
  const opening: number[] = [];
  for (let index = 0; index < 6; index++) {
    opening.push(fixture.database.openings.length);
    fixture.database.open();
  }
  expect(opening).toEqual([1, 2, 4, 8, 8, 8]);
  fixture.audit();
});

test('the backoff is forgotten at the first success', () => {
  const fixture = new Fixture();
  const client = fixture.client().ask();
  fixture.database.fail(DOWN);
  fixture.pass(200);
  fixture.database.fail(DOWN);
  fixture.pass(300);
  fixture.database.open();
  client.give('destroy').finishClosing();
  fixture.client().ask();
  expect(fixture.database.openings.length).toBe(1);
});

test('a user whose logins fail for a while does not hold up the others', () => {
  const fixture = new Fixture({ limit: 10, settings: { maxConnecting: 1 } });
  const refused = fixture.client().ask();
  const others = Array.from({ length: 3 }, () => fixture.client(fixture.poolOf('reporting')).ask());
  let opened = 0;
  for (let index = 0; index < 30 && opened < 3; index++) {
    fixture.pass(100);
    const [opening] = fixture.database.openings;
    if (opening === undefined) continue;
    if (opening.user === 'app') {
      opening.fail(DOWN);
    } else {
      opening.succeed();
      opened++;
    }
  }
  expect(others.every((each) => each.connection !== undefined)).toBe(true);
  expect(refused.connection).toBeUndefined();
  expect(fixture.wheel.now).toBeLessThan(2_000);
});

test('the success of others does not hurry the attempts of a user whose logins fail', () => {
  const fixture = new Fixture({ limit: 10 });
  fixture.client().ask();
  const reports = fixture.poolOf('reporting');
  let successes = 0;
  let failures = 0;
  while (fixture.wheel.now < 20_000) {
    const other = fixture.client(reports).ask();
    for (let round = 0; round < 3; round++) {
      for (const opening of fixture.database.openings) {
        if (opening.user === 'app') {
          opening.fail(DOWN);
          failures++;
        } else {
          opening.succeed();
          successes++;
        }
      }
    }
    if (other.connection === undefined) other.waiter?.abandon();
    else other.give('destroy').finishClosing();
    fixture.pass(100);
  }
  expect(failures).toBeLessThanOrEqual(10);
  expect(successes).toBeGreaterThan(150);
});

test('the database never sees more connections than the limit, over all pools', () => {
  const fixture = new Fixture({ limit: 5, settings: { maxConnecting: 1 } });
  for (const user of ['a', 'b', 'c']) {
    for (let index = 0; index < 4; index++) fixture.client(fixture.poolOf(user)).ask();
  }
  while (fixture.database.openings.length > 0) fixture.database.open();
  expect(fixture.database.sockets).toBe(5);
  // Everybody has one before somebody has all.
  const users = fixture.database.connections.map((each) => each.pool.key.user);
  expect(new Set(users)).toEqual(new Set(['a', 'b', 'c']));
  fixture.audit();
});

test('a permit that is lent to the monitor is one less for the pools', () => {
  const fixture = new Fixture({ limit: 2 });
  expect(fixture.budget.tryAcquire()).toBe(true);
  const first = fixture.client().ask();
  const second = fixture.client().ask();
  expect(fixture.database.openings.length).toBe(1);
  expect(fixture.budget.tryAcquire()).toBe(false);
  expect(fixture.counters.connectionPoolFullCount).toBe(1);
  fixture.audit();
  fixture.budget.release();
  expect(fixture.database.openings.length).toBe(2);
  fixture.database.open();
  fixture.database.open();
  first.loan;
  second.loan;
  expect(() => fixture.budget.release()).toThrow();
  fixture.audit();
});

test('a lowered limit closes idle connections at once and borrowed ones as they return', () => {
  const fixture = new Fixture({ limit: 6 });
  const clients = fixture.borrowed(6);
  for (const client of clients.slice(0, 2)) client.give();
  fixture.limit(2);
  expect(fixture.counters.closes.limit_lowered).toBe(2);
  const waiter = fixture.client().ask();
  expect(clients[2]?.give().closeReason).toBe('limit_lowered');
  expect(clients[3]?.give('cleanable').closeReason).toBe('limit_lowered');
  fixture.audit();
  // Two are left, as many as permitted: from here on a return serves the waiter.
  clients[4]?.give();
  waiter.loan;
  fixture.database.finishClosing();
  expect(fixture.database.sockets).toBe(2);
  fixture.audit();
});

test('a raised limit lets waiters open at once', () => {
  const fixture = new Fixture({ limit: 1 });
  fixture.borrowed(1);
  const waiters = [0, 1, 2].map(() => fixture.client().ask());
  expect(fixture.database.openings.length).toBe(0);
  fixture.limit(3);
  expect(fixture.database.openings.length).toBe(2);
  fixture.database.open();
  fixture.database.open();
  expect(waiters.filter((each) => each.connection !== undefined).length).toBe(2);
  fixture.audit();
});

test('a limit of 0 closes everything and lets nobody in, until it is raised', () => {
  const fixture = new Fixture({ limit: 2 });
  const [client] = fixture.borrowed(1) as [Client];
  fixture.limit(0);
  client.give().finishClosing();
  const waiter = fixture.client().ask();
  fixture.pass(1_000);
  expect(fixture.database.sockets).toBe(0);
  fixture.limit(1);
  fixture.database.open();
  waiter.loan;
  fixture.audit();
});

test('a free permit goes to the highest priority, then to the longest wait', () => {
  const fixture = new Fixture({ limit: 0, settings: { maxConnecting: 1 } });
  const early = fixture.client(fixture.poolOf('a')).ask();
  fixture.pass(100);
  const middle = fixture.client(fixture.poolOf('b')).ask();
  fixture.pass(100);
  // The first user's pool is still the first that came, but its waiter is now the last.
  const late = fixture.client(fixture.poolOf('a')).ask();
  early.waiter?.abandon();
  fixture.pass(100);
  const vip = fixture.client(fixture.poolOf('vip')).ask(5);
  fixture.limit(3);
  const order: string[] = [];
  while (fixture.database.openings[0] !== undefined) {
    order.push(fixture.database.openings[0].user);
    fixture.database.open();
  }
  expect(order).toEqual(['vip', 'b', 'a']);
  for (const client of [middle, late, vip]) client.loan;
});

test('a connection that has been cleaned makes room for another pool at once', () => {
  const fixture = new Fixture({ limit: 1 });
  const [holder] = fixture.borrowed(1) as [Client];
  const connection = holder.give('cleanable');
  fixture.client(fixture.poolOf('reporting')).ask();
  connection.succeed();
  expect(connection.closeReason).toBe('evicted');
  fixture.audit();
});

test("another pool's least recently used idle connection makes room for a waiter", () => {
  const fixture = new Fixture({ limit: 3 });
  const reports = fixture.poolOf('reporting');
  const [older] = fixture.idle(1, reports);
  fixture.pass(1_000);
  const kept = fixture.idle(2);
  const waiter = fixture.client(fixture.poolOf('third')).ask();
  expect(older?.closeReason).toBe('evicted');
  expect(kept.map((each) => each.closeReason)).toEqual([undefined, undefined]);
  fixture.pass(500);
  // One waiter, one eviction, however long the socket takes to go.
  expect(fixture.counters.closes.evicted).toBe(1);
  expect(fixture.database.openings.length).toBe(0);
  older?.finishClosing();
  fixture.database.open();
  waiter.loan;
  expect(fixture.database.socketsMax).toBe(3);
  fixture.audit();
});

test('a connection that becomes idle while another pool lacks one goes at the next tick', () => {
  const fixture = new Fixture({ limit: 1 });
  const [holder] = fixture.borrowed(1) as [Client];
  const waiter = fixture.client(fixture.poolOf('reporting')).ask();
  const connection = holder.give();
  expect(connection.placement).toBe('idle');
  fixture.pass(100);
  expect(connection.closeReason).toBe('evicted');
  connection.finishClosing();
  fixture.database.open();
  waiter.loan;
  fixture.audit();
});

test('nothing is evicted while the target cannot be reached', () => {
  const fixture = new Fixture({
    limit: 2,
    settings: { backoffFirstMs: 60_000, backoffMaxMs: 60_000, starvationMs: 1_000 },
  });
  const [busy, other] = fixture.borrowed(2) as [Client, Client];
  const waiters = [0, 1].map(() => fixture.client(fixture.poolOf('reporting')).ask());
  busy.give('destroy').finishClosing();
  fixture.database.fail(DOWN);
  const returned = other.give();
  fixture.pass(30_000);
  expect(returned.placement).toBe('idle');
  // Neither an idle connection nor one that returns is given up for an attempt that nobody makes.
  expect(fixture.counters.closes.evicted).toBe(0);
  expect(fixture.counters.closes.connect_failed).toBe(1);
  expect(waiters.map((each) => each.connection)).toEqual([undefined, undefined]);
  fixture.client(fixture.poolOf('third')).ask();
  const [again] = fixture.borrowed(1) as [Client];
  fixture.limit(1);
  fixture.pass(2_000);
  expect(again.give().placement).toBe('idle');
  fixture.audit();
});

test('a busy user passes a permit on to one who has waited for longer than starvationMs', () => {
  const fixture = new Fixture({ limit: 2, settings: { starvationMs: 1_000 } });
  let holders = fixture.borrowed(2);
  const starving = fixture.client(fixture.poolOf('reporting')).ask();
  const yielded: number[] = [];
  // The busy user always has waiters, so its connections never become idle.
  while (fixture.wheel.now < 3_000 && starving.connection === undefined) {
    const next = [fixture.client().ask(), fixture.client().ask()];
    fixture.pass(100);
    for (const holder of holders) {
      if (holder.connection === undefined) continue;
      if (holder.give().closeReason === 'evicted') yielded.push(fixture.wheel.now);
    }
    fixture.audit();
    fixture.database.finishClosing();
    for (const opening of fixture.database.openings) opening.succeed();
    holders = next;
  }
  starving.loan;
  // The first return at which the busy user's own waiters are younger by starvationMs.
  expect(yielded).toEqual([1_100]);
  fixture.audit();
});

test('under lasting overload, where everybody waits for long, nobody is left without', () => {
  const fixture = new Fixture({ limit: 4, settings: { starvationMs: 500 } });
  const users = ['app', 'a', 'b'].map((user) => fixture.poolOf(user));
  const working: { client: Client; until: number }[] = [];
  const served = new Map<string, number>();
  const ask = (index: number) => {
    const pool = users[index];
    if (pool === undefined) throw new Error('no such pool');
    const client = fixture.client(pool);
    client.onGranted = () => {
      served.set(pool.key.user, (served.get(pool.key.user) ?? 0) + 1);
      working.push({ client, until: fixture.wheel.now + 200 });
    };
    client.ask();
    if (client.connection !== undefined) client.onGranted(client.connection);
  };
  // The first user has ten times as many clients as the others.
  for (let index = 0; index < 40; index++) ask(0);
  for (let index = 0; index < 8; index++) ask(1 + (index % 2));
  while (fixture.wheel.now < 60_000) {
    for (const opening of fixture.database.openings) opening.succeed();
    fixture.pass(100);
    for (const { client, until } of working.splice(0)) {
      if (until > fixture.wheel.now) {
        working.push({ client, until });
        continue;
      }
      client.give();
      ask(users.indexOf(client.pool));
    }
    fixture.database.finishClosing();
    fixture.audit();
  }
  for (const user of ['app', 'a', 'b']) expect(served.get(user) ?? 0).toBeGreaterThan(50);
  expect(fixture.counters.borrowTimeouts).toBe(0);
});

test('a lowered starvationMs holds for those who wait already', () => {
  const fixture = new Fixture({ limit: 1, settings: { starvationMs: 60_000 } });
  const [holder] = fixture.borrowed(1) as [Client];
  fixture.client(fixture.poolOf('reporting')).ask();
  fixture.pass(2_000);
  fixture.configure({ starvationMs: 1_000 });
  expect(holder.give().closeReason).toBe('evicted');
});

test('a higher priority of another pool has the better claim, a lower one has none', () => {
  for (const [priority, reason] of [
    [5, 'evicted'],
    [-5, undefined],
  ] as const) {
    const fixture = new Fixture({ limit: 1, settings: { starvationMs: 1_000 } });
    const [holder] = fixture.borrowed(1) as [Client];
    fixture.client().ask(0);
    fixture.client(fixture.poolOf('reporting')).ask(priority);
    fixture.pass(1_100);
    expect(holder.give().closeReason).toBe(reason);
  }
});

test('of connections unused for long only maxIdleConnections are kept, over all pools', () => {
  const fixture = new Fixture({ limit: 10, maxIdle: 2, settings: { idleAgeMs: 300_000 } });
  const [first] = fixture.idle(1);
  fixture.pass(1_000);
  const [second, third] = fixture.idle(2, fixture.poolOf('reporting'));
  fixture.pass(1_000);
  const [fourth] = fixture.idle(1, fixture.poolOf('third'));
  fixture.pass(280_000);
  expect(fixture.counters.closes.idle_ceiling).toBe(0);
  fixture.pass(30_000);
  expect([first, second, third, fourth].map((each) => each?.closeReason)).toEqual([
    'idle_ceiling',
    'idle_ceiling',
    undefined,
    undefined,
  ]);
  fixture.audit();
});

test('a changed configuration replaces connections of the pools concerned', () => {
  const fixture = new Fixture({ limit: 10 });
  const [unconcerned] = fixture.idle(1, fixture.poolOf('reporting'));
  const [idle, borrowed, resetting] = fixture.borrowed(3) as [Client, Client, Client];
  const cleaning = resetting.give('cleanable');
  const wasIdle = idle.give();
  fixture.client().ask();
  fixture.client().ask();
  const [opening] = fixture.database.openings;
  fixture.group.configurationChanged((key) => key.user === 'app');
  expect(unconcerned?.closeReason).toBeUndefined();
  expect(wasIdle.placement).toBe('borrowed');
  cleaning.succeed();
  expect(cleaning.closeReason).toBe('configuration_changed');
  expect(borrowed.give().closeReason).toBe('configuration_changed');
  // It was begun with the old credentials.
  expect(opening?.succeed().closeReason).toBe('configuration_changed');
  expect(fixture.database.openings.length).toBe(1);
  expect(fixture.database.open().placement).toBe('borrowed');
  fixture.audit();
});

test('a changed configuration closes idle connections at once', () => {
  const fixture = new Fixture();
  const [idle] = fixture.idle(1);
  fixture.group.configurationChanged(() => true);
  expect(idle?.closeReason).toBe('configuration_changed');
  fixture.audit();
});

test('a changed configuration is tried at once, by a new connector', () => {
  const fixture = new Fixture({ settings: { backoffFirstMs: 5_000 } });
  fixture.client().ask();
  expect(fixture.database.openings[0]?.connector).toBe(1);
  fixture.database.fail(DOWN);
  fixture.group.configurationChanged(() => true);
  expect(fixture.database.openings[0]?.connector).toBe(2);
});

test('a pool that nobody uses is forgotten, one with users or connections is not', () => {
  const fixture = new Fixture({ settings: { idleTimeoutMs: 10_000 } });
  const used = fixture.poolOf('reporting');
  const unused = fixture.poolOf('third');
  fixture.idle(1, unused);
  fixture.group.leave(unused);
  expect(() => fixture.group.leave(unused)).toThrow();
  fixture.pass(60_000);
  fixture.database.finishClosing();
  expect(fixture.poolOf('third')).toBe(unused);
  fixture.group.leave(unused);
  fixture.pass(62_000);
  expect(fixture.poolOf('reporting')).toBe(used);
  expect(fixture.poolOf('third')).not.toBe(unused);
});

test('the gauges count what the database sees', () => {
  const fixture = new Fixture({ limit: 5 });
  const [pinned, borrowed, idle] = fixture.borrowed(3) as [Client, Client, Client];
  fixture.pool.pin(pinned.loan);
  pinned.loan.isEncrypted = true;
  borrowed.loan.isInTransaction = true;
  idle.give();
  for (let index = 0; index < 5; index++) fixture.client(fixture.poolOf('reporting')).ask();
  expect(fixture.group.gauges(true)).toEqual({
    databaseConnections: 3,
    databaseConnectionsWithTls: 1,
    databaseConnectionsCurrentlyBorrowed: 2,
    databaseConnectionsCurrentlyInTransaction: 1,
    databaseConnectionsCurrentlySessionPinned: 1,
    maxDatabaseConnectionsAllowed: 5,
    queueDepth: 5,
    isAvailable: true,
    isHeld: false,
  });
});

test('the audit notices a permit that is not a connection', () => {
  const fixture = new Fixture();
  fixture.idle(1);
  fixture.budget.pooled++;
  expect(() => fixture.group.audit()).toThrow('permits of pools: 2 counted, 1 found');
  // In production the sweep asks once a second.
  expect(() => fixture.pass(1_000)).toThrow('permits of pools');
});

test('the audit notices a connection on the wrong list', () => {
  const fixture = new Fixture();
  const [connection] = fixture.idle(1);
  if (connection !== undefined) connection.placement = 'borrowed';
  expect(() => fixture.group.audit()).toThrow('idle');
});

test('PG-31: a lost connection and a failed attempt are told to whoever watches the target', () => {
  const fixture = new Fixture();
  const [connection] = fixture.idle(1);
  expect(fixture.doubts).toBe(0);
  if (connection !== undefined) fixture.pool.lost(connection, 'database_closed');
  expect(fixture.doubts).toBe(1);
  fixture.client().ask();
  fixture.database.fail(DOWN);
  expect(fixture.doubts).toBe(2);
});

test('PG-31: what the proxy itself ends, and a wrong password, say nothing of the target', () => {
  const fixture = new Fixture();
  const [client] = fixture.borrowed(1);
  client?.give('destroy');
  fixture.database.finishClosing();
  const refused = fixture.client().ask();
  fixture.database.fail(WRONG_PASSWORD);
  expect(refused.error?.code).toBe('database_login_failed');
  expect(fixture.doubts).toBe(0);
});

test('PG-79: a pool that is one client’s alone waits in line, and shares nothing with its like', () => {
  const fixture = new Fixture({ limit: 1 });
  const [first] = fixture.borrowed(1);
  const own = fixture.client(fixture.alone()).ask();
  const other = fixture.client(fixture.alone()).ask();
  expect(fixture.database.openings).toHaveLength(0);
  // The idle connection of the shared pool makes room; nothing of it is lent.
  first?.give();
  fixture.pass(200);
  fixture.database.finishClosing();
  fixture.pass(200);
  fixture.database.open();
  const connection = own.loan;
  const shared = fixture.client().ask();
  fixture.audit();
  own.give('destroy');
  fixture.database.finishClosing();
  fixture.pass(200);
  fixture.database.open();
  expect(other.loan).not.toBe(connection);
  other.give('destroy');
  fixture.database.finishClosing();
  fixture.pass(200);
  fixture.database.open();
  expect(shared.loan).not.toBe(connection);
  fixture.audit();
});

test('a pool that is one client’s alone waits for its connection to open, with a borrow timeout of 0', async () => {
  const fixture = new Fixture({ limit: 1, settings: { borrowTimeoutMs: 0 } });
  const own = fixture.client(fixture.alone()).ask();
  await fixture.settle();
  fixture.pass(1_500);
  fixture.database.open();
  expect(own.loan).toBeDefined();
  const other = fixture.client(fixture.alone()).ask();
  fixture.pass(1_900);
  expect(other.error).toBeUndefined();
  fixture.pass(300);
  expect(other.error?.code).toBe('borrow_timeout');
});

test('a pool that is one client’s alone is forgotten when it is left', () => {
  const fixture = new Fixture({ limit: 4 });
  const pools = () => {
    let count = 0;
    fixture.group.configurationChanged(() => {
      count++;
      return false;
    });
    return count;
  };
  const pool = fixture.alone();
  const client = fixture.client(pool).ask();
  fixture.database.open();
  fixture.pass(2_000);
  expect(pools()).toBe(2);
  expect(client.loan).toBeDefined();
  client.give('destroy');
  fixture.group.leave(pool);
  fixture.database.finishClosing();
  fixture.pass(2_000);
  expect(pools()).toBe(1);
});

test('a claimed permit comes from an idle connection, once its socket is gone', () => {
  const fixture = new Fixture({ limit: 2 });
  const clients = fixture.borrowed(2);
  const closed = clients[0]?.give();
  const idle = clients[1]?.give();
  let granted = 0;
  const claim = fixture.budget.claim(() => granted++);
  expect(closed?.closeReason).toBe('evicted');
  expect(idle?.closeReason).toBeUndefined();
  expect(granted).toBe(0);
  fixture.audit();
  fixture.database.finishClosing();
  expect(granted).toBe(1);
  expect(fixture.budget.isClaimed).toBe(false);
  expect(fixture.budget.available).toBe(0);
  claim.release();
  expect(fixture.budget.available).toBe(1);
  expect(granted).toBe(1);
  fixture.audit();
});

test('a claimed permit comes from the next connection that returns, before those who wait', () => {
  const fixture = new Fixture({ limit: 2 });
  const clients = fixture.borrowed(2);
  const waiter = fixture.client().ask();
  let granted = 0;
  const claim = fixture.budget.claim(() => granted++);
  expect(clients[0]?.give().closeReason).toBe('evicted');
  fixture.database.finishClosing();
  expect(granted).toBe(1);
  expect(() => waiter.loan).toThrow();
  clients[1]?.give();
  waiter.loan;
  fixture.audit();
  claim.release();
  fixture.audit();
});

test('claims are granted in their order, and one that is given up is not', () => {
  const fixture = new Fixture({ limit: 2 });
  expect(fixture.budget.tryAcquire()).toBe(true);
  const order: number[] = [];
  fixture.budget.claim(() => order.push(1));
  const second = fixture.budget.claim(() => order.push(2));
  fixture.budget.claim(() => order.push(3));
  expect(order).toEqual([1]);
  second.release();
  fixture.budget.release();
  expect(order).toEqual([1, 3]);
});
