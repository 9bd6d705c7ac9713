/** Limits, clocks and modes of a proxy, at small values: who is refused, closed or served first, and when. */

import { afterEach, describe, expect, setDefaultTimeout, test } from 'bun:test';
import { errorFields, formatMessage, sqlStates, textRows } from '../harness/backend-messages.ts';
import { Berth, type BerthOptions, type LogPattern } from '../harness/berth.ts';
import * as frontend from '../harness/frontend-messages.ts';
import { eventually, untilMetric } from '../harness/polling.ts';
import { adminQuery, usePostgres } from '../harness/postgres.ts';
import { LoginError, RawClient } from '../harness/raw-client.ts';

setDefaultTimeout(20_000);

const database = usePostgres({ settings: { log_statement: 'all' } });

interface Options {
  readonly pool?: Readonly<Record<string, unknown>>;
  readonly proxy?: Readonly<Record<string, unknown>>;
  readonly expect?: readonly LogPattern[];
}

const berths: Berth[] = [];
async function start(options: Options = {}): Promise<Berth> {
  const settings: BerthOptions = { database: database(), ...options };
  const berth = await Berth.start(settings);
  berths.push(berth);
  return berth;
}

afterEach(async () => {
  for (const berth of berths.splice(0)) await berth.stop();
});

const closedFor = (reason: string): LogPattern => {
  return (line) => line.event === 'client.closed' && line.reason === reason;
};

async function stateOf(login: Promise<RawClient>): Promise<string> {
  const outcome = await login.catch((error: unknown) => error);
  if (outcome instanceof LoginError) return `${outcome.sqlState} ${outcome.fields.get('M')}`;
  if (outcome instanceof RawClient) outcome.destroy();
  return String(outcome);
}

describe('MaxClientConnections', () => {
  test('one more is refused with 53300 and the limit, and a place is free again at once', async () => {
    const expected = [closedFor('too_many_connections'), 'client.authentication_failed'];
    const berth = await start({ proxy: { MaxClientConnections: 3 }, expect: expected });
    const clients = await Promise.all([1, 2, 3].map(() => berth.login()));
    const text = '53300 The maximum number of client connections to the proxy exceeded 3.';
    expect(await stateOf(berth.login())).toBe(text);
    expect(await stateOf(berth.login())).toBe(text);
    // Those inside did not notice.
    for (const client of clients) expect(await client.query('SELECT 1')).toHaveLength(4);
    await clients[0]?.end();
    using next = await berth.login();
    expect(await next.query('SELECT 1')).toHaveLength(4);
    const labels = { reason: 'too_many_connections' };
    expect(await berth.metric('berth_client_connection_closes_total', labels)).toBe(2);
  });

  test('PG-74 logins that fail in any way give their place back', async () => {
    const berth = await start({
      proxy: { MaxClientConnections: 2 },
      expect: [closedFor('protocol_violation'), 'client.authentication_failed'],
    });
    for (let round = 0; round < 3; round++) {
      const wrong = [1, 2].map(() => stateOf(berth.login({ password: 'wrong' })));
      for (const state of await Promise.all(wrong)) expect(state).toStartWith('28P01');
      const unfinished = await RawClient.connect({ port: berth.port });
      unfinished.send(frontend.startup({ user: 'app' }));
      await unfinished.next();
      unfinished.reset();
      using malformed = await RawClient.connect({ port: berth.port });
      malformed.send(frontend.int32(7));
      await malformed.untilClosed();
    }
    await untilMetric(berth, 'client_connections', 0);
    const clients = await Promise.all([1, 2].map(() => berth.login()));
    for (const client of clients) await client.end();
  });
});

describe('clocks of a client', () => {
  test('PG-40 IdleClientTimeout closes a silent client with 57P05, and nobody else', async () => {
    const berth = await start({ proxy: { IdleClientTimeout: 1 } });
    using idle = await berth.login();
    await idle.query('SELECT 1');
    const silentSince = performance.now();
    using busy = await berth.login();
    busy.send(frontend.query('SELECT pg_sleep(1.6)'));
    using inTransaction = await berth.login();
    await inTransaction.query('BEGIN');
    const messages = await idle.untilClosed();
    const silentMs = performance.now() - silentSince;
    expect(sqlStates(messages)).toEqual(['57P05']);
    expect(silentMs).toBeGreaterThan(900);
    expect(silentMs).toBeLessThan(2_500);
    expect(sqlStates(await busy.untilReady())).toEqual([]);
    // Its transaction is open: that is BorrowedIdleTimeout's.
    expect(sqlStates(await inTransaction.query('COMMIT'))).toEqual([]);
    expect(await berth.untilLogged(closedFor('idle_timeout'))).toHaveLength(1);
  });

  test('IdleClientTimeout closes a pinned client too, and its connection is reset', async () => {
    const berth = await start({ proxy: { IdleClientTimeout: 1 }, expect: ['session.pinned'] });
    using pinned = await berth.login();
    await pinned.query('CREATE TEMP TABLE something (id int)');
    expect(sqlStates(await pinned.untilClosed())).toEqual(['57P05']);
    await berth.untilLogged('connection.reset');
  });

  test('PG-40 BorrowedIdleTimeout rolls back and tells 25P03; a running statement is left alone', async () => {
    await adminQuery(database(), 'CREATE TABLE kept (id int)');
    await adminQuery(database(), 'ALTER TABLE kept OWNER TO app');
    const berth = await start({
      pool: { MaxConnections: 2, BorrowedIdleTimeout: 1 },
      expect: [closedFor('borrowed_idle_timeout')],
    });
    using busy = await berth.login();
    await busy.query('BEGIN');
    busy.send(frontend.query('SELECT pg_sleep(1.6)'));
    using holder = await berth.login();
    await holder.query('BEGIN; INSERT INTO kept VALUES (1)');
    using waiting = await berth.login();
    waiting.send(frontend.query('SELECT count(*) FROM kept'));
    const messages = await holder.untilClosed();
    expect(messages.map(formatMessage)).toEqual([
      'ErrorResponse S="FATAL" V="FATAL" C="25P03" M="The open transaction was idle for longer than BorrowedIdleTimeout (1 s)."',
    ]);
    // The connection is rolled back and goes to who waits.
    expect(textRows(await waiting.untilReady())).toEqual([['0']]);
    expect(sqlStates(await busy.untilReady())).toEqual([]);
    expect(sqlStates(await busy.query('COMMIT'))).toEqual([]);
  });

  test('PG-40 BorrowedIdleTimeout takes a connection back from a half sent batch and from COPY', async () => {
    await adminQuery(database(), 'CREATE TABLE copied (id int)');
    await adminQuery(database(), 'ALTER TABLE copied OWNER TO app');
    const berth = await start({
      pool: { MaxConnections: 2, BorrowedIdleTimeout: 1 },
      expect: [closedFor('borrowed_idle_timeout')],
    });
    using batch = await berth.login();
    batch.send(frontend.parse('', 'INSERT INTO copied VALUES (2)'), frontend.bind());
    batch.send(frontend.execute(), frontend.flush());
    await batch.until('C');
    using copy = await berth.login();
    copy.send(frontend.query('COPY copied FROM STDIN'));
    await copy.until('G');
    copy.send(frontend.copyData('1\n'));
    for (const client of [batch, copy]) {
      expect(sqlStates(await client.untilClosed())).toEqual(['25P03']);
    }
    using next = await berth.login();
    expect(textRows(await next.query('SELECT count(*) FROM copied'))).toEqual([['0']]);
  });

  test('PG-24 PG-29 a client that leaves before its Sync has committed nothing', async () => {
    await adminQuery(database(), 'CREATE TABLE unsynced (id int)');
    await adminQuery(database(), 'ALTER TABLE unsynced OWNER TO app');
    const berth = await start({ pool: { MaxConnections: 1 } });
    for (const leave of ['destroy', 'reset', 'end'] as const) {
      const client = await berth.login();
      client.send(frontend.parse('', 'INSERT INTO unsynced VALUES (1)'), frontend.bind());
      client.send(frontend.execute(), frontend.flush());
      await client.until('C');
      await client[leave]();
      using next = await berth.login();
      expect(textRows(await next.query('SELECT count(*) FROM unsynced'))).toEqual([['0']]);
      expect(sqlStates(await next.query('SELECT 1'))).toEqual([]);
    }
  });

  test('DatabaseConnectionIdleTimeout closes an unused connection, and the next client gets a new one', async () => {
    const berth = await start({ pool: { DatabaseConnectionIdleTimeout: 1 } });
    using client = await berth.login();
    const sql = 'SELECT pg_backend_pid()';
    const [[first]] = textRows(await client.query(sql)) as [[string]];
    await berth.untilLogged(
      ({ event, reason }) => event === 'connection.closed' && reason === 'idle_timeout',
    );
    await eventually(async () => {
      const rows = await adminQuery(
        database(),
        `SELECT 1 AS there FROM pg_stat_activity WHERE pid = ${first}`,
      );
      return rows.length === 0 || undefined;
    }, 'the end of the database connection');
    const [[second]] = textRows(await client.query(sql)) as [[string]];
    expect(second).not.toBe(first);
  });
});

describe('Priorities', () => {
  test('who has a higher priority goes first; among equals, who came first', async () => {
    const Priorities = [
      { ApplicationName: 'batch', Priority: -10 },
      { ApplicationName: 'checkout', Priority: 10 },
      { UserName: 'other', Priority: 5 },
    ];
    const berth = await start({ pool: { MaxConnections: 1, Priorities } });
    const names = ['batch', 'first', 'second', 'checkout'];
    const clients = await Promise.all(
      names.map((application_name) => berth.login({ parameters: { application_name } })),
    );
    using holder = await berth.login();
    await holder.query('BEGIN');
    const order: string[] = [];
    const served: Promise<void>[] = [];
    for (const [index, client] of clients.entries()) {
      client.send(frontend.query('SELECT 1'));
      served.push(
        client.untilReady().then(() => {
          order.push(names[index] ?? '');
        }),
      );
      await untilMetric(berth, 'berth_borrow_queue_depth', index + 1);
    }
    const logged = database().log.length;
    await holder.query('COMMIT');
    await Promise.all(served);
    await adminQuery(database(), "SELECT 'the end of the priorities'");
    if (!database().log.includes('the end of the priorities')) {
      await database().nextLogLine('the end of the priorities');
    }
    // By what the database saw: answers may overtake each other on their way to this test.
    const seen = [
      ...database()
        .log.slice(logged)
        .matchAll(/'application_name',E'(\w+)'/g),
    ];
    expect(seen.map(([, name]) => name)).toEqual(['checkout', 'first', 'second', 'batch']);
    expect(order.toSorted()).toEqual(names.toSorted());
    for (const client of clients) await client.end();
  });

  test('by endpoint', async () => {
    const Priorities = [{ Endpoint: 'fast', Priority: 1 }];
    const berth = await start({
      pool: { MaxConnections: 1, Priorities },
      proxy: { Endpoints: [{ DBProxyEndpointName: 'fast', Listen: '127.0.0.1:0' }] },
    });
    const [usual, fast] = berth.ports;
    using holder = await berth.login();
    using slow = await berth.login({ port: usual ?? 0 });
    using quick = await berth.login({ port: fast ?? 0 });
    await holder.query('BEGIN');
    slow.send(frontend.query('SELECT clock_timestamp()::text'));
    await untilMetric(berth, 'berth_borrow_queue_depth', 1);
    quick.send(frontend.query('SELECT clock_timestamp()::text'));
    await untilMetric(berth, 'berth_borrow_queue_depth', 2);
    await holder.query('COMMIT');
    const [[quickAt]] = textRows(await quick.untilReady()) as [[string]];
    const [[slowAt]] = textRows(await slow.untilReady()) as [[string]];
    expect(quickAt < slowAt).toBe(true);
  });
});

describe('ConnectionBorrowTimeout', () => {
  const EXPECTED = ['borrow.failed'];

  test('tells which limit and how long, and the client goes on', async () => {
    const berth = await start({
      pool: { MaxConnections: 1, ConnectionBorrowTimeout: 1 },
      expect: EXPECTED,
    });
    using holder = await berth.login();
    using client = await berth.login();
    await holder.query('BEGIN');
    const [error, ready] = await client.query('SELECT 1');
    const fields = error === undefined ? new Map<string, string>() : errorFields(error);
    expect(fields.get('C')).toBe('08000');
    expect(fields.get('M')).toBe('Timed-out waiting to acquire database connection.');
    expect(fields.get('D')).toMatch(/^Waited 1\.\d s for one of 1 connection .*MaxConnections/);
    expect(ready?.type).toBe('Z');
    await holder.query('COMMIT');
    expect(textRows(await client.query('SELECT 2'))).toEqual([['2']]);
  });

  test('0 refuses at once when nothing is free', async () => {
    const berth = await start({
      pool: { MaxConnections: 1, ConnectionBorrowTimeout: 0 },
      expect: EXPECTED,
    });
    const login = () => berth.login().catch(() => undefined);
    const holder = await eventually(login, 'a login once the connection is open');
    using client = await berth.login();
    await holder.query('BEGIN');
    const startedAt = performance.now();
    expect(sqlStates(await client.query('SELECT 1'))).toEqual(['08000']);
    expect(performance.now() - startedAt).toBeLessThan(500);
    holder.destroy();
  });
});

describe('PoolMode SESSION', () => {
  test('a client keeps its connection until it leaves; the next gets it clean', async () => {
    const berth = await start({
      pool: { MaxConnections: 1, PoolMode: 'SESSION' },
      expect: ['session.pinned'],
    });
    using first = await berth.login();
    await first.query("SET work_mem = '3MB'");
    await first.query('CREATE TEMP TABLE mine (id int)');
    expect(textRows(await first.query('SHOW work_mem'))).toEqual([['3MB']]);
    expect(sqlStates(await first.query('SELECT * FROM mine'))).toEqual([]);
    using second = await berth.login();
    second.send(frontend.query('SHOW work_mem'));
    await untilMetric(berth, 'berth_borrow_queue_depth', 1);
    await first.end();
    expect(textRows(await second.untilReady())).toEqual([['4MB']]);
    expect(sqlStates(await second.query('SELECT * FROM mine'))).toEqual(['42P01']);
    const pins = await berth.untilLogged('session.pinned', 2);
    expect(pins.map(({ reason }) => reason)).toEqual(['session_mode', 'session_mode']);
  });
});

describe('InitQuery', () => {
  const INIT = "SET work_mem = '7MB'; SELECT 'from the InitQuery'";
  const runs = (): number => database().log.split("SELECT 'from the InitQuery'").length - 1;

  test('runs once on each connection, and its rows reach nobody', async () => {
    const before = runs();
    const berth = await start({ pool: { MaxConnections: 2, InitQuery: INIT } });
    const clients = await Promise.all([1, 2, 3].map(() => berth.login()));
    const [first, second] = clients;
    for (const client of [first, second]) await client?.query('BEGIN');
    for (const client of [first, second]) await client?.query('COMMIT');
    expect(runs() - before).toBe(2);
    for (const client of clients) {
      expect(textRows(await client.query('SHOW work_mem'))).toEqual([['7MB']]);
      await client.end();
    }
    expect(runs() - before).toBe(2);
  });

  test('runs again after the DISCARD ALL of a pinned session', async () => {
    const berth = await start({
      pool: { MaxConnections: 1, InitQuery: INIT },
      expect: ['session.pinned'],
    });
    using pinned = await berth.login();
    await pinned.query('LISTEN anything');
    await pinned.query("SET work_mem = '9MB'");
    expect(textRows(await pinned.query('SHOW work_mem'))).toEqual([['9MB']]);
    await pinned.end();
    using next = await berth.login();
    expect(textRows(await next.query('SHOW work_mem'))).toEqual([['7MB']]);
    await berth.untilLogged('connection.reset');
  });

  test('its settings are the ones that a client’s own replace, and that come back', async () => {
    const InitQuery = `SELECT set_config('TimeZone', 'Asia/Tokyo', false);
      SET DateStyle = 'German, DMY'; SET work_mem = '7MB'; SET search_path = public, "Ä b"`;
    const berth = await start({ pool: { MaxConnections: 1, InitQuery } });
    const options = '-c work_mem=2MB -c search_path=pg_catalog';
    const parameters = { TimeZone: 'Europe/Paris', DateStyle: 'ISO', options };
    using own = await berth.login({ parameters });
    using plain = await berth.login();
    const shown = async (client: RawClient) => {
      const names = ['TimeZone', 'DateStyle', 'work_mem', 'search_path'];
      const values: unknown[] = [];
      for (const name of names) values.push(textRows(await client.query(`SHOW ${name}`))[0]?.[0]);
      return values;
    };
    for (let round = 0; round < 3; round++) {
      const mine = ['Europe/Paris', 'ISO, DMY', '2MB', 'pg_catalog'];
      expect(await shown(own)).toEqual(mine);
      const initial = ['Asia/Tokyo', 'German, DMY', '7MB', 'public, "Ä b"'];
      expect(await shown(plain)).toEqual(initial);
    }
    expect(plain.parameters.get('TimeZone')).toBe('Asia/Tokyo');
  });

  test('a role that it set comes back, too', async () => {
    await adminQuery(database(), 'CREATE ROLE limited; GRANT limited TO app');
    const berth = await start({ pool: { MaxConnections: 1, InitQuery: 'SET ROLE limited' } });
    using own = await berth.login({ parameters: { role: 'app' } });
    using plain = await berth.login();
    for (let round = 0; round < 2; round++) {
      expect(textRows(await own.query('SELECT current_user'))).toEqual([['app']]);
      expect(textRows(await plain.query('SELECT current_user'))).toEqual([['limited']]);
    }
  });

  test('one that leaves a transaction open is one that fails', async () => {
    const berth = await start({
      pool: { InitQuery: 'BEGIN; SELECT 1' },
      expect: ['connection.open_failed', 'borrow.failed'],
    });
    expect(await stateOf(berth.login())).toBe('08001 The InitQuery of the target group failed.');
    await untilMetric(berth, 'database_connections', 0);
  });

  test('one that fails is told to the client at once, and logged', async () => {
    const berth = await start({
      pool: { InitQuery: 'SELECT * FROM no_such_table' },
      expect: ['connection.open_failed', 'borrow.failed'],
    });
    const startedAt = performance.now();
    expect(await stateOf(berth.login())).toBe('08001 The InitQuery of the target group failed.');
    expect(performance.now() - startedAt).toBeLessThan(3_000);
    const [line] = await berth.untilLogged('connection.open_failed');
    expect(line?.level).toBe('error');
    expect(line?.msg).toContain('no_such_table');
    await untilMetric(berth, 'database_connections', 0);
  });
});
