/**
 * Who is closed because of time, and who is not, with the deadlines as they are by default: an engine
 * on real sockets, a real database, and a clock turned by hand.
 */

import { describe, expect, setDefaultTimeout, test } from 'bun:test';
import { sqlStates, textRows } from '../harness/backend-messages.ts';
import * as frontend from '../harness/frontend-messages.ts';
import { eventually } from '../harness/polling.ts';
import { adminQuery, usePostgres } from '../harness/postgres.ts';
import type { RawClient } from '../harness/raw-client.ts';
import { openTransactions, untilRunning } from './activity.ts';
import { EngineOnWheel } from './engine-on-wheel.ts';
import { HostileNetwork } from './hostile-network.ts';

setDefaultTimeout(30_000);

const SECOND = 1_000;
const MIB = 1024 ** 2;
const BORROWED_IDLE_MS = 300 * SECOND;
const IDLE_CLIENT_MS = 1_800 * SECOND;

const database = usePostgres();

/** More than every buffer on the way. */
const LARGE = frontend.query("select repeat('x', 1000) from generate_series(1, 64000)");

async function untilDatabaseWaits(): Promise<void> {
  const pid = await untilRunning(database(), 'generate_series(1, 64000)');
  await eventually(async () => {
    const sql = `select wait_event from pg_stat_activity where pid = ${pid}`;
    const [row] = await adminQuery(database(), sql);
    return row?.wait_event === 'ClientWrite' ? true : undefined;
  }, 'the database to wait for its client');
}

async function untilNothingRuns(): Promise<void> {
  await eventually(async () => {
    return (await openTransactions(database())) === 0 ? true : undefined;
  }, 'the end of every statement and transaction');
}

/** Nothing goes on any more: the same number, many looks in a row. */
async function untilStill(look: () => number): Promise<void> {
  let last = -1;
  let looks = 0;
  await eventually(() => {
    const now = look();
    looks = now === last ? looks + 1 : 0;
    last = now;
    return looks > 50 ? true : undefined;
  }, 'an end of all movement');
}

/** Everything that the session was closed for so far. */
function closes(proxy: EngineOnWheel): string[] {
  return proxy.events.all.flatMap((event) =>
    event.event === 'client.closed' ? [event.reason] : [],
  );
}

describe('PG-30: a client that stops reading', () => {
  test('is closed after BorrowedIdleTimeout, its statement ends, and its connection serves on', async () => {
    using proxy = new EngineOnWheel(database().port, 1, { borrowTimeoutMs: 3_600 * SECOND });
    using stalled = await proxy.login();
    stalled.pause();
    stalled.send(LARGE);
    await untilDatabaseWaits();
    using next = await proxy.login();
    next.send(frontend.query("select 'served'"));
    await eventually(() => proxy.gauges.queueDepth === 1 || undefined, 'the next one in the queue');
    // What is in the buffers on the way may still be taken, and counts as a sign of life.
    const endedAt = await eventually(() => {
      proxy.pass(10 * SECOND);
      return closes(proxy).length > 0 ? proxy.wheel.now : undefined;
    }, 'the end of the one that stalls');
    expect(closes(proxy)).toEqual(['borrowed_idle_timeout']);
    expect(endedAt).toBeGreaterThanOrEqual(BORROWED_IDLE_MS);
    expect(endedAt).toBeLessThan(2 * BORROWED_IDLE_MS);
    expect(textRows((await next.untilReady()).filter(({ type }) => type !== 'N'))).toEqual([
      ['served'],
    ]);
    await untilNothingRuns();
    expect(proxy.gauges.databaseConnectionsCurrentlyBorrowed).toBe(0);
    expect(proxy.counters.clientConnections).toBe(1);
  });

  test('for less than that, again and again, gets everything', async () => {
    using proxy = new EngineOnWheel(database().port, 1);
    using slow = await proxy.login();
    slow.send(LARGE);
    for (let round = 0; round < 4; round++) {
      await slow.until('D', 2_000);
      slow.pause();
      await untilDatabaseWaits();
      proxy.pass(BORROWED_IDLE_MS - 20 * SECOND);
      slow.resume();
    }
    const rows = (await slow.untilReady()).filter(({ type }) => type === 'D');
    expect(rows).toHaveLength(64_000 - 4 * 2_000);
    expect(closes(proxy)).toEqual([]);
  });
});

test('PG-32: a database that is gone is noticed at once, also when both ways are full', async () => {
  await using network = await HostileNetwork.start(database().port);
  using proxy = new EngineOnWheel(network.port, 1);
  using stalled = await proxy.login();
  stalled.pause();
  stalled.send(LARGE);
  await untilDatabaseWaits();
  for (const link of network.open) link.stall();
  stalled.send(frontend.query(`select '${'y'.repeat(64 * MIB)}'`));
  await untilStill(() => stalled.socket.writableLength);
  expect(stalled.socket.writableLength).toBeGreaterThan(0);
  const startedAt = proxy.wheel.now;
  network.resetAll();
  const endedAt = await eventually(() => {
    proxy.pass(SECOND);
    const isGone = proxy.events.all.some(({ event }) => event === 'connection.closed');
    return isGone ? proxy.wheel.now : undefined;
  }, 'the end of the database connection');
  expect(endedAt - startedAt).toBeLessThan(BORROWED_IDLE_MS / 2);
  expect(closes(proxy)).toEqual(['database_lost']);
});

describe('PG-40: no clock runs against', () => {
  const cases: readonly [string, (client: RawClient) => Promise<unknown>][] = [
    ['a client that is idle', (client) => client.query('select 1')],
    ['one that never asked for anything', async () => undefined],
    ['one that is pinned and idle', (client) => client.query('create temp table mine (id int)')],
  ];
  test.each([...cases])('%s, before IdleClientTimeout', async (_what, enter) => {
    using proxy = new EngineOnWheel(database().port, 1);
    using client = await proxy.login();
    await enter(client);
    // BorrowedIdleTimeout is for those who hold what others wait for.
    proxy.pass(BORROWED_IDLE_MS + 10 * SECOND);
    expect(closes(proxy)).toEqual([]);
    expect(sqlStates(await client.query('select 1'))).toEqual([]);
    proxy.pass(IDLE_CLIENT_MS - 10 * SECOND);
    expect(closes(proxy)).toEqual([]);
    proxy.pass(12 * SECOND);
    expect(sqlStates(await client.untilClosed())).toEqual(['57P05']);
    expect(closes(proxy)).toEqual(['idle_timeout']);
  });

  test('a statement that runs, however long', async () => {
    using proxy = new EngineOnWheel(database().port, 2);
    using simple = await proxy.login();
    using inside = await proxy.login();
    await inside.query('begin');
    simple.send(frontend.query("select pg_sleep(60), 'simple'"));
    inside.send(frontend.parse('', "select pg_sleep(60), 'inside'"), frontend.bind());
    inside.send(frontend.execute(), frontend.sync());
    for (const name of ["'simple'", "'inside'"]) {
      await untilRunning(database(), `pg_sleep(60), '${name}'`);
    }
    proxy.pass(2 * IDLE_CLIENT_MS);
    expect(closes(proxy)).toEqual([]);
    for (const client of [simple, inside]) {
      await client.cancel();
      expect(sqlStates(await client.untilReady())).toEqual(['57014']);
    }
    expect(sqlStates(await inside.query('rollback'))).toEqual([]);
  });

  test('but against an open transaction in which nothing runs: error, end, rollback', async () => {
    using proxy = new EngineOnWheel(database().port, 1);
    using client = await proxy.login();
    await client.query('begin; create table never_there ()');
    proxy.pass(BORROWED_IDLE_MS - 10 * SECOND);
    expect(sqlStates(await client.query('select 1'))).toEqual([]);
    proxy.pass(BORROWED_IDLE_MS - 10 * SECOND);
    expect(closes(proxy)).toEqual([]);
    proxy.pass(12 * SECOND);
    expect(sqlStates(await client.untilClosed())).toEqual(['25P03']);
    using next = await proxy.login();
    expect(textRows(await next.query("select to_regclass('never_there')"))).toEqual([[null]]);
    expect(proxy.gauges.databaseConnections).toBe(1);
  });
});
