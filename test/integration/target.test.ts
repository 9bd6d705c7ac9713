/** A target that is away, comes back, restarts under load, or loses connections on the way. */

import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test';
import type { EmbeddedPostgres } from '../../src/embedded/postgres.ts';
import { backendPid, pooledConnections, reachedAt } from '../faults/activity.ts';
import { HostileNetwork, useNetwork } from '../faults/hostile-network.ts';
import { sqlStates, textRows } from '../harness/backend-messages.ts';
import { Berth, useBerth } from '../harness/berth.ts';
import * as frontend from '../harness/frontend-messages.ts';
import { eventually, untilMetric } from '../harness/polling.ts';
import { adminQuery, START_DEADLINE_MS, startPostgres, usePostgres } from '../harness/postgres.ts';
import type { RawClient } from '../harness/raw-client.ts';

setDefaultTimeout(25_000);

const AWAY = [
  'target.health_changed',
  'connection.open_failed',
  'connection.closed',
  'session.interrupted',
];

interface Readiness {
  readonly ready: boolean;
  readonly proxies: readonly { readonly proxy: string; readonly reasons: readonly string[] }[];
}

async function readiness(berth: Berth): Promise<readonly [number, Readiness]> {
  const response = await berth.fetch('/readyz');
  const body: Readiness = JSON.parse(await response.text());
  return [response.status, body];
}

async function untilReadyz(berth: Berth, status: number): Promise<Readiness> {
  return await eventually(async () => {
    const [found, body] = await readiness(berth);
    return found === status ? body : undefined;
  }, `/readyz says ${status}`);
}

/** A database that is stopped, with its files and its port. */
async function stoppedPostgres(): Promise<EmbeddedPostgres> {
  const database = await startPostgres();
  await database.shutDown('immediate');
  return database;
}

describe('a database that is down when the proxy starts', () => {
  test('clients wait, /readyz says why not; when it comes up all are served', async () => {
    await using database = await stoppedPostgres();
    await using berth = await Berth.start({ database, expect: AWAY });
    const [away] = await berth.untilLogged('target.health_changed');
    expect([away?.level, away?.reason]).toEqual(['error', 'UNREACHABLE']);
    const [status, body] = await readiness(berth);
    expect(status).toBe(503);
    const reasons = ['target orders-db is not available'];
    expect(JSON.stringify(body)).toBe(
      JSON.stringify({ ready: false, proxies: [{ proxy: 'orders', ready: false, reasons }] }),
    );
    expect((await berth.fetch('/healthz')).status).toBe(200);
    expect(await berth.metric('availability_percentage')).toBe(0);

    const logins = [berth.login(), berth.login({ user: 'other' }), berth.login()];
    await untilMetric(berth, 'berth_borrow_queue_depth', 2);
    await database.startUp();
    for (const client of await Promise.all(logins)) {
      expect(textRows(await client.query('select 1'))).toEqual([['1']]);
      client.destroy();
    }
    const ready = await untilReadyz(berth, 200);
    expect(ready.proxies[0]?.reasons).toEqual([]);
    const changes = berth.logged('target.health_changed');
    expect(changes.map(({ level }) => level)).toEqual(['error', 'info']);
    expect(changes[1]?.msg).toContain('AVAILABLE');
    expect(await berth.metric('availability_percentage')).toBe(100);
  });

  test('a pool that has every permit before the monitor gets one is ready all the same', async () => {
    await using database = await startPostgres();
    await using network = await HostileNetwork.start(database.port);
    const pool = { MaxConnections: 1 };
    network.plan = () => ({ refuse: (bytes) => bytes.includes('berth-monitor') });
    const file = reachedAt(network.port);
    await using berth = await Berth.start({ database, file, pool, expect: AWAY });
    await berth.untilLogged('target.health_changed');
    using client = await berth.login();
    await client.query('begin');
    network.plan = () => ({});
    // The one connection that there may be is lent all the time, so nobody else can look.
    await eventually(async () => {
      await client.query('select 1');
      return (await readiness(berth))[0] === 200 ? true : undefined;
    }, '/readyz says 200');
  });
});

describe('a database that goes away', () => {
  let database: EmbeddedPostgres | undefined;
  beforeAll(async () => {
    database = await startPostgres();
  }, START_DEADLINE_MS);
  afterAll(() => database?.stop());

  test('PG-76: restarted under the load of 50 clients: all go on, who had a transaction gets one error', async () => {
    if (database === undefined) throw new Error('no database');
    const db = database;
    await using network = await HostileNetwork.start(db.port);
    await using berth = await Berth.start({
      database: db,
      file: reachedAt(network.port),
      expect: AWAY,
    });
    await adminQuery(db, 'create table if not exists seen (a int); grant all on seen to public');
    const idle = await Promise.all(Array.from({ length: 10 }, () => berth.login()));
    const inside = await Promise.all([1, 2].map(() => berth.login()));
    const working = await Promise.all(Array.from({ length: 38 }, () => berth.login()));
    for (const client of inside) await client.query('begin; insert into seen values (1)');

    let isOver = false;
    const outcomes = { served: 0, errors: [] as string[][], waited: 0 };
    const load = working.map(async (client) => {
      while (!isOver) {
        const states = sqlStates(await client.query('select pg_sleep(0.002)'));
        if (states.length === 0) outcomes.served++;
        else outcomes.errors.push(states);
      }
      client.destroy();
    });
    await eventually(() => (outcomes.served > 200 ? true : undefined), 'some load');

    await db.shutDown('fast');
    const atStop = network.attempts;
    // All who work wait now, and more come.
    await eventually(async () => {
      const depth = await berth.metric('berth_borrow_queue_depth');
      return depth >= 36 ? true : undefined;
    }, 'everybody in the queue');
    const whileAway = network.attempts - atStop;
    const servedBefore = outcomes.served;
    const atStart = network.attempts;
    await db.startUp();
    await eventually(() => (outcomes.served > servedBefore + 200 ? true : undefined), 'new load');
    const afterwards = network.attempts - atStart;
    isOver = true;
    await Promise.all(load);

    for (const client of inside) {
      expect(sqlStates(await client.query('select 1'))).toEqual(['57P01']);
      expect(sqlStates(await client.query('select 1'))).toEqual(['25P02']);
      await client.query('rollback');
      expect(textRows(await client.query('select count(*) from seen'))).toEqual([['0']]);
      client.destroy();
    }
    // One error for each connection that was in use: two transactions aside, at most two of four.
    expect(outcomes.errors.length).toBeLessThanOrEqual(2);
    for (const states of outcomes.errors) expect(states).toHaveLength(1);
    // One attempt at a time with growing delays, and the monitor's once a second.
    expect(whileAway).toBeLessThan(15);
    expect(afterwards).toBeLessThan(15);
    for (const client of idle) {
      expect(textRows(await client.query('select count(*) from seen'))).toEqual([['0']]);
      client.destroy();
    }
    await untilReadyz(berth, 200);
    await untilMetric(berth, 'database_connections_currently_borrowed', 0);
    expect(await pooledConnections(db)).toBe(await berth.metric('database_connections'));
  });

  test('PG-31: /readyz says so as soon as connections fail, and not at the next look', async () => {
    if (database === undefined) throw new Error('no database');
    await using berth = await Berth.start({ database, expect: AWAY });
    using client = await berth.login();
    await client.query('select 1');
    await berth.untilLogged('target.health_changed');
    await database.shutDown('fast');
    const stoppedAt = performance.now();
    await untilReadyz(berth, 503);
    // The next look would come up to 10 seconds later.
    expect(performance.now() - stoppedAt).toBeLessThan(5_000);
    await database.startUp();
    await untilReadyz(berth, 200);
  });

  test('idle clients do not notice a restart', async () => {
    if (database === undefined) throw new Error('no database');
    await using berth = await Berth.start({ database, expect: AWAY });
    const clients = await Promise.all(Array.from({ length: 20 }, () => berth.login()));
    for (const client of clients) await client.query('select 1');
    await database.restart('immediate');
    for (const client of clients) {
      expect(textRows(await client.query("select 'on'"))).toEqual([['on']]);
      client.destroy();
    }
    expect(berth.logged('client.closed').filter(({ level }) => level === 'warn')).toEqual([]);
  });
});

describe('PG-31: idle connections that end are never lent', () => {
  const database = usePostgres();
  const network = useNetwork(() => database().port);
  const berth = useBerth(() => ({
    database: database(),
    file: reachedAt(network().port),
    expect: ['connection.closed'],
  }));

  async function fourIdle(): Promise<RawClient[]> {
    const clients = await Promise.all([1, 2, 3, 4].map(() => berth().login()));
    for (const client of clients) await client.query('begin');
    for (const client of clients) await client.query('commit');
    expect(await berth().metric('database_connections')).toBe(4);
    return clients;
  }

  async function allServed(clients: readonly RawClient[]): Promise<void> {
    for (const client of clients) client.send(frontend.query("select 'on'"));
    for (const client of clients) expect(textRows(await client.untilReady())).toEqual([['on']]);
    for (const client of clients) client.destroy();
    await untilMetric(berth(), 'client_connections', 0);
  }

  test('reset by the network', async () => {
    const clients = await fourIdle();
    network().resetAll();
    await untilMetric(berth(), 'database_connections', 0);
    await allServed(clients);
  });

  test('closed by the network', async () => {
    const clients = await fourIdle();
    for (const link of network().open) link.close();
    await untilMetric(berth(), 'database_connections', 0);
    await allServed(clients);
  });

  test('terminated by an administrator', async () => {
    const clients = await fourIdle();
    await adminQuery(
      database(),
      "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'app'",
    );
    await untilMetric(berth(), 'database_connections', 0);
    await allServed(clients);
  });

  test('one of four is terminated: the others stay', async () => {
    const clients = await fourIdle();
    const [first] = clients;
    const pid = first === undefined ? '' : await backendPid(first);
    await adminQuery(database(), `select pg_terminate_backend(${pid})`);
    await untilMetric(berth(), 'database_connections', 3);
    await allServed(clients);
    const alive = await adminQuery(database(), `select 1 from pg_stat_activity where pid = ${pid}`);
    expect(alive).toEqual([]);
    // The monitor did not take it for an outage.
    expect(
      berth()
        .logged('target.health_changed')
        .map(({ level }) => level),
    ).toEqual(['info']);
  });
});
