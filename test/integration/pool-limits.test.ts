/** How many connections the database sees, whatever clients do: the herd, the percentages, the books. */

import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test';
import type { EmbeddedPostgres } from '../../src/embedded/postgres.ts';
import { openTransactions, pooledConnections, untilRunning } from '../faults/activity.ts';
import { sqlStates, textRows } from '../harness/backend-messages.ts';
import { Berth, useBerth } from '../harness/berth.ts';
import * as frontend from '../harness/frontend-messages.ts';
import { eventually, untilMetric } from '../harness/polling.ts';
import {
  adminQuery,
  START_DEADLINE_MS,
  startPostgres,
  TEST_USERS,
  usePostgres,
} from '../harness/postgres.ts';
import { LoginError, RawClient } from '../harness/raw-client.ts';

setDefaultTimeout(20_000);

/** Connections of TCP clients, as the database's log tells of them: logging in, and logged in, at most. */
function mostAtOnce(
  log: string,
  user: string,
): { readonly connecting: number; readonly open: number } {
  const monitors = new Set<string>();
  for (const [, pid = ''] of log.matchAll(/\[(\d+)\].*application_name=berth-monitor/g)) {
    monitors.add(pid);
  }
  const connecting = new Set<string>();
  const open = new Set<string>();
  const most = { connecting: 0, open: 0 };
  for (const line of log.split('\n')) {
    const pid = /\[(\d+)\]/.exec(line)?.[1] ?? '';
    if (line.includes('connection received: host=127.0.0.1') && !monitors.has(pid)) {
      connecting.add(pid);
    } else if (line.includes('connection authorized:')) {
      connecting.delete(pid);
      if (line.includes(`user=${user} `) && !monitors.has(pid)) open.add(pid);
    } else if (line.includes('disconnection:')) {
      connecting.delete(pid);
      open.delete(pid);
    }
    most.connecting = Math.max(most.connecting, connecting.size);
    most.open = Math.max(most.open, open.size);
  }
  return most;
}

/** Every client runs the statement once, all at the same time. */
async function allRun(clients: readonly RawClient[], sql: string): Promise<void> {
  for (const client of clients) client.send(frontend.query(sql));
  for (const client of clients) expect(sqlStates(await client.untilReady())).toEqual([]);
}

async function logins(count: number, login: () => Promise<RawClient>): Promise<RawClient[]> {
  return await Promise.all(Array.from({ length: count }, login));
}

/** The books balance: nobody waits, nobody borrows, and permits are the database's connections. */
async function untilQuiet(berth: Berth, database: EmbeddedPostgres): Promise<void> {
  await untilMetric(berth, 'berth_borrow_queue_depth', 0);
  await untilMetric(berth, 'database_connections_currently_borrowed', 0);
  await untilMetric(berth, 'database_connections_currently_in_transaction', 0);
  await eventually(async () => {
    const known = await berth.metric('database_connections');
    const seen = await pooledConnections(database);
    return known === seen ? true : undefined;
  }, 'permits that equal the connections of the database');
  expect(await openTransactions(database)).toBe(0);
}

describe('a herd', () => {
  let database: EmbeddedPostgres | undefined;
  beforeAll(async () => {
    const settings = {
      log_connections: 'receipt,authentication,authorization',
      log_disconnections: true,
    };
    database = await startPostgres({ settings });
  }, START_DEADLINE_MS);
  afterAll(() => database?.stop());

  test('PG-76: 500 clients on a cold pool of 16 open at most 16 connections, 4 at a time', async () => {
    if (database === undefined) throw new Error('no database');
    const db = database;
    await using berth = await Berth.start({ database: db, pool: { MaxConnections: 16 } });
    let isOver = false;
    let seenMost = 0;
    const samples = (async () => {
      while (!isOver) seenMost = Math.max(seenMost, await pooledConnections(db));
    })();
    const clients = await logins(500, () => berth.login());
    await allRun(clients, 'select pg_sleep(0.005)');
    await allRun(clients, 'begin; select 1; commit');
    isOver = true;
    await samples;
    expect(seenMost).toBe(16);
    const most = mostAtOnce(db.log, 'app');
    expect(most.open).toBe(16);
    expect(most.connecting).toBeGreaterThan(0);
    expect(most.connecting).toBeLessThanOrEqual(4);
    expect(await berth.metric('new_connections')).toBe(16);
    await untilQuiet(berth, db);
    for (const client of clients) client.destroy();
    await untilMetric(berth, 'client_connections', 0);
  });
});

describe('a share of what the database allows', () => {
  const database = usePostgres({
    settings: { max_connections: 20, superuser_reserved_connections: 3, reserved_connections: 2 },
  });

  async function mostOf(
    berth: Berth,
    count: number,
    look = () => pooledConnections(database()),
  ): Promise<number> {
    const clients = await logins(count, () => berth.login());
    for (const client of clients) client.send(frontend.query('select pg_sleep(0.2)'));
    let most = 0;
    let isOver = false;
    const samples = (async () => {
      while (!isOver) most = Math.max(most, await look());
    })();
    for (const client of clients) expect(sqlStates(await client.untilReady())).toEqual([]);
    isOver = true;
    await samples;
    for (const client of clients) client.destroy();
    return most;
  }

  test('MaxConnectionsPercent of 50 is 10 of 20', async () => {
    const pool = { MaxConnections: 100, MaxConnectionsPercent: 50 };
    await using berth = await Berth.start({ database: database(), pool });
    await untilMetric(berth, 'max_database_connections_allowed', 10);
    expect(await mostOf(berth, 25)).toBe(10);
    await untilQuiet(berth, database());
  });

  test('at 100 % the reserved connections are left alone', async () => {
    const pool = { MaxConnections: 100, MaxConnectionsPercent: 100 };
    await using berth = await Berth.start({ database: database(), pool });
    // 20, less 3 for superusers, less 2 reserved. The monitor takes its own out of these.
    await untilMetric(berth, 'max_database_connections_allowed', 15);
    // An administrator who looked would take one of the 15: PostgreSQL counts what is free.
    expect(await mostOf(berth, 25, () => berth.metric('database_connections'))).toBe(15);
    expect(berth.logged('connection.open_failed')).toEqual([]);
  });

  test('MaxConnections holds where it is the smaller of the two', async () => {
    const pool = { MaxConnections: 3, MaxConnectionsPercent: 100 };
    await using berth = await Berth.start({ database: database(), pool });
    await berth.untilLogged('target.health_changed');
    expect(await berth.metric('max_database_connections_allowed')).toBe(3);
    expect(await mostOf(berth, 8)).toBe(3);
  });

  test('connections that others take: clients wait instead of being refused', async () => {
    const pool = { MaxConnections: 100, MaxConnectionsPercent: 100 };
    const expected = ['connection.open_failed', 'target.health_changed'];
    await using berth = await Berth.start({ database: database(), pool, expect: expected });
    await untilMetric(berth, 'max_database_connections_allowed', 15);
    // The database's own slots, past the proxy: 10 of 15 that ordinary users get.
    const outside = await logins(10, () =>
      RawClient.login(
        { port: database().port },
        { user: 'other', password: 'other-password', database: 'app' },
      ),
    );
    const clients = await logins(20, () => berth.login());
    await allRun(clients, 'select pg_sleep(0.01)');
    expect(await pooledConnections(database(), 'app')).toBeLessThanOrEqual(5);
    for (const client of [...outside, ...clients]) client.destroy();
    await untilMetric(berth, 'berth_borrow_queue_depth', 0);
  });
});

describe('several users and one limit', () => {
  const database = usePostgres();
  const berth = useBerth(() => ({ database: database(), pool: { MaxConnections: 4 } }));

  test('an idle connection of one user makes room for another', async () => {
    const clients = await logins(4, () => berth().login());
    await allRun(clients, 'select pg_sleep(0.05)');
    expect(await pooledConnections(database(), 'app')).toBe(4);
    using other = await berth().login({ user: 'other' });
    expect(textRows(await other.query('select user'))).toEqual([['other']]);
    expect(await pooledConnections(database(), 'app')).toBe(3);
    expect(
      await berth().metric('berth_database_connection_closes_total', { reason: 'evicted' }),
    ).toBe(1);
    for (const client of clients) client.destroy();
    await untilQuiet(berth(), database());
  });

  test('a user whom many clients of another keep from connecting is served all the same', async () => {
    const busy = await logins(24, () => berth().login());
    using other = await berth().login({ user: 'other' });
    await eventually(async () => {
      await other.query('select 1');
      const clients = await logins(4, () => berth().login());
      await allRun(clients, 'select pg_sleep(0.05)');
      for (const client of clients) client.destroy();
      return (await pooledConnections(database(), 'other')) === 0 ? true : undefined;
    }, 'all connections at the first user');
    let isOver = false;
    let turns = 0;
    const load = busy.map(async (client) => {
      for (; !isOver; turns++) {
        expect(sqlStates(await client.query('select pg_sleep(0.005)'))).toEqual([]);
      }
    });
    const waits: number[] = [];
    for (let i = 0; i < 5; i++) {
      const began = performance.now();
      expect(textRows(await other.query('select user'))).toEqual([['other']]);
      waits.push(performance.now() - began);
    }
    isOver = true;
    await Promise.all(load);
    expect(Math.max(...waits)).toBeLessThan(5_000);
    expect(turns).toBeGreaterThan(24);
    for (const client of busy) client.destroy();
    await untilQuiet(berth(), database());
  });

  test('both users together never have more than the limit', async () => {
    const clients = [
      ...(await logins(10, () => berth().login())),
      ...(await logins(10, () => berth().login({ user: 'other' }))),
    ];
    let most = 0;
    let isOver = false;
    const samples = (async () => {
      while (!isOver) most = Math.max(most, await pooledConnections(database()));
    })();
    for (let round = 0; round < 3; round++) await allRun(clients, 'select pg_sleep(0.003)');
    isOver = true;
    await samples;
    expect(most).toBe(4);
    for (const client of clients) client.destroy();
    await untilQuiet(berth(), database());
  });
});

describe('a limit that changes', () => {
  const database = usePostgres();

  test('lowered by SIGHUP while all are busy: nobody is cut, and the limit holds as they return', async () => {
    await using berth = await Berth.start({ database: database(), pool: { MaxConnections: 4 } });
    const clients = await logins(4, () => berth.login());
    for (const client of clients) await client.query('begin');
    expect(await pooledConnections(database())).toBe(4);
    using waiting = await berth.login();
    waiting.send(frontend.query("select 'served'"));
    await untilMetric(berth, 'berth_borrow_queue_depth', 1);

    const { configuration } = berth;
    const withLimit = (limit: number): typeof configuration =>
      JSON.parse(
        JSON.stringify(configuration).replace('"MaxConnections":4', `"MaxConnections":${limit}`),
      );
    await berth.reload(withLimit(1));
    expect(await berth.metric('max_database_connections_allowed')).toBe(1);
    for (const client of clients) expect(textRows(await client.query('select 1'))).toEqual([['1']]);
    expect(waiting.unread).toEqual([]);
    for (const client of clients) expect(sqlStates(await client.query('commit'))).toEqual([]);
    expect(textRows(await waiting.untilReady())).toEqual([['served']]);
    await eventually(
      async () => ((await pooledConnections(database())) === 1 ? true : undefined),
      'one connection',
    );
    const closes = await berth.metric('berth_database_connection_closes_total', {
      reason: 'limit_lowered',
    });
    expect(closes).toBe(3);
    await allRun(clients, 'select pg_sleep(0.01)');
    expect(await pooledConnections(database())).toBe(1);

    await berth.reload(withLimit(3));
    await allRun(clients, 'select pg_sleep(0.05)');
    expect(await pooledConnections(database())).toBe(3);
    await untilQuiet(berth, database());
    for (const client of clients) client.destroy();
  });
});

describe('PG-74: the books balance after', () => {
  const USERS = [...TEST_USERS, { name: 'limited', password: 'limited-password' }];
  const database = usePostgres({
    users: [
      ...TEST_USERS,
      { name: 'limited', password: 'another password', method: 'scram-sha-256' },
    ],
  });
  const berth = useBerth(() => ({
    database: database(),
    users: USERS,
    pool: { MaxConnections: 3, ConnectionBorrowTimeout: 5 },
    expect: [
      'borrow.failed',
      'connection.open_failed',
      'connection.closed',
      'client.closed',
      'session.interrupted',
      'session.pinned',
    ],
  }));

  async function sqlStateOf(login: Promise<RawClient>): Promise<string> {
    return await login.then(
      () => 'logged in',
      (error: unknown) => (error instanceof LoginError ? error.sqlState : String(error)),
    );
  }

  test('a database that does not exist', async () => {
    const tries = Array.from({ length: 10 }, () =>
      sqlStateOf(berth().login({ database: 'missing' })),
    );
    expect(new Set(await Promise.all(tries))).toEqual(new Set(['3D000']));
    await untilQuiet(berth(), database());
    await untilMetric(berth(), 'client_connections', 0);
  });

  test('credentials that the database refuses', async () => {
    const login = { user: 'limited', password: 'limited-password' };
    expect(await sqlStateOf(berth().login(login))).toBe('28000');
    await untilQuiet(berth(), database());
    await untilMetric(berth(), 'client_connections', 0);
  });

  test('clients that vanish: idle, running, in a transaction, in COPY, in half a message, in a queue', async () => {
    const half = frontend.query(`select '${'x'.repeat(600_000)}'`);
    const ways: readonly ((client: RawClient) => Promise<void>)[] = [
      async () => undefined,
      async (client) => {
        client.send(frontend.query('select pg_sleep(60)'));
        await untilRunning(database(), 'pg_sleep(60)');
      },
      async (client) => {
        await client.query('begin; create table vanished ()');
      },
      async (client) => {
        client.send(frontend.query('create temp table t (a text); copy t from stdin'));
        await client.until('G');
        client.send(frontend.copyData('half a row'));
      },
      async (client) => {
        client.send(half.subarray(0, 400_000));
        await untilMetric(berth(), 'database_connections_currently_borrowed', 1);
      },
      async (client) => {
        client.send(frontend.parse('', 'select 1'), frontend.flush());
        await client.until('1');
      },
    ];
    for (const way of ways) {
      for (const leave of ['destroy', 'reset'] as const) {
        const client = await berth().login();
        await way(client);
        client[leave]();
        await untilMetric(berth(), 'client_connections', 0);
        await untilQuiet(berth(), database());
      }
    }
    using client = await berth().login();
    expect(textRows(await client.query("select to_regclass('vanished')"))).toEqual([[null]]);
  });

  test('backends that are terminated: idle, running, in a transaction, pinned', async () => {
    const kill = `select count(pg_terminate_backend(pid, 5000)) from pg_stat_activity
      where usename = 'app' and application_name <> 'berth-monitor'`;
    for (const before of ['', 'begin', 'create temp table news (id int)']) {
      const client = await berth().login();
      await client.query(before === '' ? 'select 1' : before);
      await adminQuery(database(), kill);
      if (before === '') {
        await untilMetric(berth(), 'database_connections', 0);
        expect(textRows(await client.query("select 'unharmed'"))).toEqual([['unharmed']]);
        client.destroy();
      } else if (before === 'begin') {
        expect(sqlStates(await client.query('select 1'))).toEqual(['57P01']);
        client.destroy();
      } else {
        expect(sqlStates(await client.untilClosed())).toEqual(['57P01']);
      }
      await untilMetric(berth(), 'client_connections', 0);
      await untilQuiet(berth(), database());
    }
    expect(await berth().metric('berth_borrow_timeouts_total')).toBe(0);
  });
});
