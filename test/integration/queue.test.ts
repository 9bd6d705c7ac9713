/** The borrow queue as clients see it: order, deadlines, priorities, and those who leave it. */

import { describe, expect, setDefaultTimeout, test } from 'bun:test';
import { pooledConnections, untilRunning } from '../faults/activity.ts';
import { errorFields, formatMessage, sqlStates, textRows } from '../harness/backend-messages.ts';
import { type Berth, type BerthOptions, useBerth } from '../harness/berth.ts';
import * as frontend from '../harness/frontend-messages.ts';
import { eventually, untilMetric } from '../harness/polling.ts';
import { adminQuery, usePostgres } from '../harness/postgres.ts';
import { LoginError, type RawClient } from '../harness/raw-client.ts';

setDefaultTimeout(20_000);

const TIMED_OUT = 'Timed-out waiting to acquire database connection.';

const database = usePostgres();

/** Queues the client at the end, and waits until it stands there. */
async function queueUp(berth: Berth, client: RawClient, sql: string): Promise<void> {
  const depth = await berth.metric('berth_borrow_queue_depth');
  client.send(frontend.query(sql));
  await untilMetric(berth, 'berth_borrow_queue_depth', depth + 1);
}

async function untilQuiet(berth: Berth): Promise<void> {
  await untilMetric(berth, 'berth_borrow_queue_depth', 0);
  await untilMetric(berth, 'database_connections_currently_borrowed', 0);
  await eventually(async () => {
    const known = await berth.metric('database_connections');
    return known === (await pooledConnections(database())) ? true : undefined;
  }, 'permits that equal the connections of the database');
}

describe('ConnectionBorrowTimeout of 1 s', () => {
  const berth = useBerth(() => ({
    database: database(),
    pool: { MaxConnections: 1, ConnectionBorrowTimeout: 1 },
    expect: ['borrow.failed'],
  }));

  test('a query that waits too long is refused with RDS Proxy’s error, and the session lives', async () => {
    using holder = await berth().login();
    using client = await berth().login();
    const timeouts = await berth().metric('berth_borrow_timeouts_total');
    await holder.query('begin');
    const began = performance.now();
    const messages = await client.query('select 1');
    const waitedMs = performance.now() - began;
    expect(messages.map(({ type }) => type).join('')).toBe('EZ');
    const [error] = messages;
    const fields = error === undefined ? new Map() : errorFields(error);
    expect([fields.get('S'), fields.get('C'), fields.get('M')]).toEqual([
      'ERROR',
      '08000',
      TIMED_OUT,
    ]);
    expect(fields.get('D')).toMatch(
      /^Waited 1\.\d s for one of 1 connection to target orders-db \(MaxConnections\); 1 is borrowed, 0 pinned, 1 client is waiting\.$/,
    );
    expect(waitedMs).toBeGreaterThan(900);
    expect(waitedMs).toBeLessThan(5_000);
    expect(await berth().metric('berth_borrow_timeouts_total')).toBe(timeouts + 1);
    await holder.query('commit');
    expect(textRows(await client.query("select 'works'"))).toEqual([['works']]);
    await untilQuiet(berth());
  });

  test('a batch that waits too long is refused up to its Sync, what is behind it waits anew', async () => {
    using holder = await berth().login();
    using client = await berth().login();
    await holder.query('begin');
    client.send(
      frontend.parse('', "select 'refused'"),
      frontend.bind(),
      frontend.describe('portal'),
      frontend.execute(),
      frontend.query("select 'part of it'"),
      frontend.sync(),
      frontend.parse('', "select 'second'"),
      frontend.bind(),
      frontend.execute(),
      frontend.sync(),
    );
    const refused = await client.untilReady();
    expect(refused.map(({ type }) => type).join('')).toBe('EZ');
    expect(sqlStates(refused)).toEqual(['08000']);
    await untilMetric(berth(), 'berth_borrow_queue_depth', 1);
    await holder.query('commit');
    const messages = await client.untilReady();
    expect(messages.map(({ type }) => type).join('')).toBe('12DCZ');
    expect(textRows(messages)).toEqual([['second']]);
  });

  test('a batch without its Sync is refused; the Sync that comes later ends it', async () => {
    using holder = await berth().login();
    using client = await berth().login();
    await holder.query('begin');
    client.send(frontend.parse('', 'select 1'), frontend.flush());
    expect(sqlStates([await client.next()])).toEqual(['08000']);
    client.send(frontend.bind(), frontend.execute(), frontend.flush(), frontend.sync());
    expect((await client.untilReady()).map(formatMessage)).toEqual(['ReadyForQuery I']);
    await holder.query('commit');
    expect(textRows(await client.query('select 2'))).toEqual([['2']]);
  });

  test('a client whose login needs a connection is refused with FATAL', async () => {
    using holder = await berth().login();
    await holder.query('begin');
    const failure = await berth()
      .login({ parameters: { work_mem: '1234kB' } })
      .then(
        () => undefined,
        (error: unknown) => error,
      );
    if (!(failure instanceof LoginError)) throw new Error(`not refused: ${failure}`);
    expect(failure.sqlState).toBe('08000');
    expect(failure.fields.get('S')).toBe('FATAL');
    expect(failure.fields.get('M')).toBe(TIMED_OUT);
    await holder.query('commit');
    using client = await berth().login({ parameters: { work_mem: '1234kB' } });
    expect(textRows(await client.query('show work_mem'))).toEqual([['1234kB']]);
    await untilQuiet(berth());
  });

  test('PG-74: those who time out leave the queue, one by one, and those behind are served', async () => {
    using holder = await berth().login();
    const clients = await Promise.all(Array.from({ length: 20 }, () => berth().login()));
    await holder.query('begin');
    for (const client of clients) client.send(frontend.query('select 1'));
    for (const client of clients) {
      expect(sqlStates(await client.untilReady())).toEqual(['08000']);
    }
    expect(await berth().metric('berth_borrow_queue_depth')).toBe(0);
    for (const client of clients) client.send(frontend.query('select 2'));
    await untilMetric(berth(), 'berth_borrow_queue_depth', 20);
    await holder.query('commit');
    for (const client of clients) expect(textRows(await client.untilReady())).toEqual([['2']]);
    for (const client of clients) client.destroy();
    await untilQuiet(berth());
  });
});

describe('ConnectionBorrowTimeout of 0', () => {
  const berth = useBerth(() => ({
    database: database(),
    pool: { MaxConnections: 1, ConnectionBorrowTimeout: 0 },
    expect: ['borrow.failed'],
  }));

  test('nobody waits: what is not free at once is refused', async () => {
    const login = () => berth().login();
    // Whoever comes first is refused too, and has a connection opened for those after him.
    const holder = await eventually(() => login().catch(() => undefined), 'a first login');
    using client = await login();
    expect(textRows(await client.query('select 1'))).toEqual([['1']]);
    await holder.query('begin');
    const began = performance.now();
    const messages = await client.query('select 1');
    expect(performance.now() - began).toBeLessThan(1_000);
    expect(sqlStates(messages)).toEqual(['08000']);
    const [error] = messages;
    expect(error === undefined ? '' : errorFields(error).get('D')).toContain('Waited 0.0 s');
    await holder.query('commit');
    expect(textRows(await client.query('select 2'))).toEqual([['2']]);
    holder.destroy();
    await untilQuiet(berth());
  });
});

describe('order', () => {
  const berth = useBerth(
    (): BerthOptions => ({
      database: database(),
      pool: {
        MaxConnections: 1,
        Priorities: [
          { Endpoint: 'urgent', Priority: 10 },
          { ApplicationName: 'batch', Priority: -5 },
          { UserName: 'other', Priority: 5 },
        ],
      },
      proxy: { Endpoints: [{ DBProxyEndpointName: 'urgent', Listen: '127.0.0.1:0' }] },
    }),
  );

  /** Runs a statement per client that notes its turn, and returns the names in the order served. */
  async function orderOf(
    clients: readonly (readonly [name: string, client: RawClient])[],
    free: () => Promise<unknown>,
  ): Promise<string[]> {
    await adminQuery(
      database(),
      `create table if not exists turns (turn int generated always as identity, name text);
       grant insert on turns to public; truncate turns`,
    );
    for (const [name, client] of clients) {
      await queueUp(berth(), client, `insert into turns (name) values ('${name}')`);
    }
    await free();
    for (const [, client] of clients) expect(sqlStates(await client.untilReady())).toEqual([]);
    const rows = await adminQuery(database(), 'select name from turns order by turn');
    return rows.map(({ name }) => name ?? '');
  }

  test('first come, first served', async () => {
    using holder = await berth().login();
    await holder.query('begin');
    const names = Array.from({ length: 12 }, (_, index) => `client ${index}`);
    const clients: [string, RawClient][] = [];
    for (const name of names) clients.push([name, await berth().login()]);
    expect(await orderOf(clients, () => holder.query('commit'))).toEqual(names);
    for (const [, client] of clients) client.destroy();
  });

  test('a higher priority is served first: by endpoint and by application_name', async () => {
    using holder = await berth().login();
    const parameters = { application_name: 'batch' };
    using batch = await berth().login({ parameters });
    using usual = await berth().login();
    using urgent = await berth().login({ port: berth().ports[1] ?? 0 });
    using usualToo = await berth().login();
    // The first rule that matches decides.
    using urgentBatch = await berth().login({ port: berth().ports[1] ?? 0, parameters });
    await holder.query('begin');
    const clients = [
      ['batch', batch],
      ['usual', usual],
      ['urgent', urgent],
      ['usual too', usualToo],
      ['urgent batch', urgentBatch],
    ] as const;
    expect(await orderOf(clients, () => holder.query('commit'))).toEqual([
      'urgent',
      'urgent batch',
      'usual',
      'usual too',
      'batch',
    ]);
  });

  test('a higher priority is served first: by user, across pools', async () => {
    using other = await berth().login({ user: 'other' });
    using holder = await berth().login();
    using usual = await berth().login();
    using batch = await berth().login({ parameters: { application_name: 'batch' } });
    await holder.query('begin');
    const clients = [
      ['batch', batch],
      ['usual', usual],
      ['other', other],
    ] as const;
    // A permit passes from one user to another when somebody has waited for half a second.
    holder.send(frontend.query('select pg_sleep(1)'));
    const free = async () => {
      await holder.untilReady();
      await holder.query('commit');
    };
    expect(await orderOf(clients, free)).toEqual(['other', 'usual', 'batch']);
  });
});

describe('those who leave', () => {
  const berth = useBerth(() => ({
    database: database(),
    pool: { MaxConnections: 1 },
    // Whoever ends all connections of a user, again and again, ends the monitor's, too.
    expect: ['connection.closed', 'session.interrupted', 'target.health_changed'],
  }));

  test('PG-74: a waiter that disconnects gives its place up', async () => {
    using holder = await berth().login();
    const waiters = [];
    for (let i = 0; i < 3; i++) waiters.push(await berth().login());
    await holder.query('begin');
    for (const waiter of waiters) await queueUp(berth(), waiter, 'select 1');
    const [first, second, third] = waiters;
    first?.reset();
    await untilMetric(berth(), 'berth_borrow_queue_depth', 2);
    await second?.end();
    await untilMetric(berth(), 'berth_borrow_queue_depth', 1);
    await holder.query('commit');
    expect(textRows((await third?.untilReady()) ?? [])).toEqual([['1']]);
    third?.destroy();
    await untilQuiet(berth());
  });

  test('PG-74: waiters that disconnect while they are being handed a connection', async () => {
    using last = await berth().login();
    for (let round = 0; round < 60; round++) {
      const holder = await berth().login();
      const waiter = await berth().login();
      await holder.query('begin');
      waiter.send(frontend.query('select pg_sleep(0.001)'));
      last.send(frontend.query(`select ${round}`));
      await untilMetric(berth(), 'berth_borrow_queue_depth', 2);
      holder.send(frontend.query('commit'));
      for (let i = 0; i < round % 6; i++) await new Promise((resolve) => setImmediate(resolve));
      if (round % 2 === 0) waiter.reset();
      else waiter.destroy();
      expect(textRows(await last.untilReady())).toEqual([[String(round)]]);
      holder.destroy();
    }
    await untilQuiet(berth());
  });

  test('PG-75: a connection that is lost while somebody waits for it is replaced', async () => {
    using holder = await berth().login();
    using waiter = await berth().login();
    await holder.query('begin');
    holder.send(frontend.query('select pg_sleep(60)'));
    const pid = await untilRunning(database(), 'pg_sleep(60)');
    await queueUp(berth(), waiter, 'select pg_backend_pid()');
    await adminQuery(database(), `select pg_terminate_backend(${pid})`);
    expect(sqlStates(await holder.untilReady())).toEqual(['57P01']);
    const [[next] = []] = textRows(await waiter.untilReady());
    expect(next).not.toBe(pid);
    await untilQuiet(berth());
  });

  test('PG-75: connections that die around the hand-over cost one client one error each', async () => {
    const outcomes = { served: 0, lost: 0 };
    const oneClient = async () => {
      const client = await berth().login();
      for (let round = 0; round < 60; round++) {
        const messages = await client.query(`select ${round}, pg_sleep(0.0005)`);
        const [state, ...others] = sqlStates(messages);
        expect(others).toEqual([]);
        if (state === undefined) {
          outcomes.served++;
          expect(textRows(messages)[0]?.[0]).toBe(String(round));
          continue;
        }
        outcomes.lost++;
        expect(['57P01', '08006']).toContain(state);
      }
      client.destroy();
    };
    const clients = Promise.all([oneClient(), oneClient(), oneClient()]);
    let isOver = false;
    const killer = (async () => {
      while (!isOver) {
        await adminQuery(
          database(),
          "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'app'",
        );
        await eventually(async () => {
          const count = await berth().metric('database_connections');
          return isOver || count === 1 ? true : undefined;
        }, 'a connection to kill');
      }
    })();
    await clients;
    isOver = true;
    await killer;
    expect(outcomes.served).toBeGreaterThan(60);
    expect(outcomes.lost).toBeGreaterThan(0);
    await untilQuiet(berth());
  });
});

describe('a session whose request waits for its settings first is served with its turn', () => {
  // The connection that listens is one of the two.
  const berth = useBerth(() => ({ database: database(), pool: { MaxConnections: 2 } }));

  test.each([
    ['a query', "select current_setting('work_mem')", ['SELECT 1']],
    ['LISTEN', 'listen starving', ['LISTEN']],
  ])('%s, and the pool is never idle', async (_what, sql, tags) => {
    using first = await berth().login();
    await first.query('listen anything');
    using client = await berth().login({ parameters: { work_mem: '1234kB' } });
    // From now on it waits for what came before to know what a name stands for.
    await client.query('select 1; deallocate all');
    const others = await Promise.all(Array.from({ length: 8 }, () => berth().login()));
    let isServed = false;
    const busy = others.map(async (other) => {
      while (!isServed) await other.query('select pg_sleep(0.01)');
    });
    const { bind, execute, parse, sync } = frontend;
    client.send(parse('named', sql), bind({ statement: 'named' }), execute(), sync());
    try {
      const answer = await client.untilReady();
      expect(sqlStates(answer)).toEqual([]);
      const done = answer.filter(({ type }) => type === 'C');
      expect(done.map(formatMessage)).toEqual(tags.map((tag) => `CommandComplete ${tag}`));
    } finally {
      isServed = true;
      await Promise.all(busy);
      for (const other of others) other.destroy();
    }
  });
});
