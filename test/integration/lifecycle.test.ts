/** PG-78: how a proxy stops, and how it takes a new configuration without dropping anyone. */

import { afterEach, describe, expect, setDefaultTimeout, test } from 'bun:test';
import { sqlStates, textRows } from '../harness/backend-messages.ts';
import { Berth, type BerthOptions, type LogPattern } from '../harness/berth.ts';
import type { Configuration } from '../harness/configuration.ts';
import * as frontend from '../harness/frontend-messages.ts';
import { eventually, untilMetric } from '../harness/polling.ts';
import { adminQuery, usePostgres } from '../harness/postgres.ts';
import { LoginError, RawClient } from '../harness/raw-client.ts';

setDefaultTimeout(30_000);

const database = usePostgres({ authentication: { hostnossl: 'scram-sha-256' } });

type Properties = Readonly<Record<string, unknown>>;

interface Options {
  readonly pool?: Properties;
  readonly proxy?: Properties;
  readonly file?: Properties;
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
  for (const berth of berths.splice(0)) {
    if (berth.isRunning) await berth.stop();
    else berth.assertCleanLog();
    await berth.kill();
  }
});

/** What a client gets when the proxy stops: one message, then the end. */
async function farewell(client: RawClient): Promise<string[]> {
  const messages = await client.untilClosed();
  expect(messages.map(({ type }) => type)).toEqual(['E']);
  return sqlStates(messages);
}

/** The SQLSTATE of a login that fails. */
async function endOf(login: Promise<RawClient>): Promise<string> {
  const error = await login.catch((reason: unknown) => reason);
  return error instanceof LoginError ? error.sqlState : String(error);
}

async function signalled(berth: Berth, signal: NodeJS.Signals): Promise<void> {
  berth.signal(signal);
  await berth.untilLogged('process.draining');
}

async function untilRunning(text: string): Promise<void> {
  await eventually(async () => {
    const sql = `SELECT pid FROM pg_stat_activity
      WHERE usename = 'app' AND state = 'active' AND strpos(query, '${text}') > 0`;
    return (await adminQuery(database(), sql)).length > 0 || undefined;
  }, `the database runs ${text}`);
}

describe('PG-78 stopping', () => {
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    test(`${signal} while clients are idle: 57P01 for each, and exit code 0`, async () => {
      const berth = await start();
      const clients = await Promise.all([1, 2, 3].map(() => berth.login()));
      await clients[0]?.query('SELECT 1');
      await signalled(berth, signal);
      for (const client of clients) expect(await farewell(client)).toEqual(['57P01']);
      expect(await berth.ended).toEqual({ code: 0, signal: null });
      const rows = await adminQuery(
        database(),
        "SELECT count(*) FROM pg_stat_activity WHERE usename = 'app'",
      );
      expect(rows).toEqual([{ count: '0' }]);
    });
  }

  test('SIGTERM in a transaction: it finishes, then 57P01; nobody new comes in', async () => {
    await adminQuery(database(), 'CREATE TABLE finished (id int)');
    await adminQuery(database(), 'ALTER TABLE finished OWNER TO app');
    const berth = await start();
    using client = await berth.login();
    await client.query('BEGIN');
    await signalled(berth, 'SIGTERM');
    expect(sqlStates(await client.query('INSERT INTO finished VALUES (1)'))).toEqual([]);
    await expect(RawClient.connect({ port: berth.port })).rejects.toMatchObject({
      code: 'ECONNREFUSED',
    });
    client.send(frontend.query('COMMIT'));
    const messages = await client.untilClosed();
    expect(messages.map(({ type }) => type)).toEqual(['C', 'Z', 'E']);
    expect(sqlStates(messages)).toEqual(['57P01']);
    expect((await berth.ended).code).toBe(0);
    expect(await adminQuery(database(), 'SELECT * FROM finished')).toEqual([{ id: '1' }]);
  });

  test('SIGTERM during a statement, an open batch, and a COPY: each is answered first', async () => {
    const berth = await start();
    using slow = await berth.login();
    slow.send(frontend.query("SELECT pg_sleep(0.3), 'slept'"));
    using batch = await berth.login();
    batch.send(frontend.parse('', 'SELECT 7'), frontend.bind(), frontend.execute());
    batch.send(frontend.flush());
    await batch.until('C');
    using copy = await berth.login();
    copy.send(frontend.query('COPY (SELECT 1) TO STDOUT; COPY pg_class TO STDOUT'));
    await copy.until('H');
    await untilRunning('pg_sleep(0.3)');
    await signalled(berth, 'SIGTERM');
    expect(batch.isClosed).toBe(false);
    batch.send(frontend.sync());
    for (const client of [slow, batch, copy]) {
      const types = (await client.untilClosed()).map(({ type }) => type);
      expect(types.slice(-2)).toEqual(['Z', 'E']);
    }
    expect((await berth.ended).code).toBe(0);
  });

  test('SIGTERM with clients that wait for a connection: they are served first', async () => {
    const berth = await start({ pool: { MaxConnections: 1 } });
    using holder = await berth.login();
    using waiting = await berth.login();
    await holder.query('BEGIN');
    waiting.send(frontend.query('SELECT 8'));
    await untilMetric(berth, 'berth_borrow_queue_depth', 1);
    await signalled(berth, 'SIGTERM');
    holder.send(frontend.query('COMMIT'));
    const messages = await waiting.untilClosed();
    expect(textRows(messages)).toEqual([['8']]);
    expect(sqlStates(messages)).toEqual(['57P01']);
    await holder.untilClosed();
    expect((await berth.ended).code).toBe(0);
  });

  test('SIGTERM with clients in every state of their login: 57P01, at once', async () => {
    const berth = await start({
      pool: { MaxConnections: 1 },
      expect: ['client.authentication_failed'],
    });
    using holder = await berth.login();
    await holder.query('BEGIN');
    const address = { port: berth.port };
    const startup = frontend.startup({ user: 'app', database: 'app' });
    using silent = await RawClient.connect(address);
    using half = await RawClient.connect(address);
    half.send(startup.subarray(0, 20));
    using asked = await RawClient.connect(address);
    asked.send(startup);
    await asked.next();
    using plain = await RawClient.connect(address);
    await plain.requestEncryption(frontend.gssEncRequest());
    using handshaking = await RawClient.connect(address);
    await handshaking.requestEncryption(frontend.sslRequest());
    // One whose own settings need the only connection, and one whose password was wrong just now.
    const queued = endOf(berth.login({ parameters: { TimeZone: 'Asia/Tokyo' } }));
    await untilMetric(berth, 'berth_borrow_queue_depth', 1);
    const wrong = endOf(berth.login({ password: 'wrong' }));
    await berth.untilLogged('client.authentication_failed');
    await signalled(berth, 'SIGTERM');
    for (const client of [silent, half, asked, plain]) {
      expect(await farewell(client)).toEqual(['57P01']);
    }
    // In the middle of a handshake nothing can be said.
    expect(await handshaking.untilClosed()).toEqual([]);
    expect(await Promise.all([queued, wrong])).toEqual(['57P01', '57P01']);
    holder.send(frontend.query('COMMIT'));
    await holder.untilClosed();
    expect((await berth.ended).code).toBe(0);
  });

  test('SIGTERM while a pinned client is idle: 57P01', async () => {
    const berth = await start({ expect: ['session.pinned'] });
    using pinned = await berth.login();
    await pinned.query('LISTEN something');
    await signalled(berth, 'SIGTERM');
    expect(await farewell(pinned)).toEqual(['57P01']);
    expect((await berth.ended).code).toBe(0);
  });

  test('a second SIGTERM stops at once: open transactions are told 57P01 and rolled back', async () => {
    await adminQuery(database(), 'CREATE TABLE cut (id int)');
    await adminQuery(database(), 'ALTER TABLE cut OWNER TO app');
    const berth = await start();
    using client = await berth.login();
    await client.query('BEGIN; INSERT INTO cut VALUES (1)');
    using sleeper = await berth.login();
    sleeper.send(frontend.query('SELECT pg_sleep(60)'));
    await untilMetric(berth, 'database_connections_currently_borrowed', 2);
    await signalled(berth, 'SIGTERM');
    expect(client.isClosed).toBe(false);
    berth.signal('SIGTERM');
    expect(await farewell(client)).toEqual(['57P01']);
    expect(await farewell(sleeper)).toEqual(['57P01']);
    expect((await berth.ended).code).toBe(0);
    expect((await berth.untilLogged('process.stopped'))[0]?.msg).toContain('2 clients');
    await eventually(async () => {
      const rows = await adminQuery(
        database(),
        "SELECT pid FROM pg_stat_activity WHERE usename = 'app' AND state <> 'idle'",
      );
      return rows.length === 0 || undefined;
    }, 'the end of the cut statements');
    expect(await adminQuery(database(), 'SELECT * FROM cut')).toEqual([]);
  });

  test('DrainTimeout stops who does not finish', async () => {
    const berth = await start({ file: { DrainTimeout: 1 } });
    using client = await berth.login();
    await client.query('BEGIN');
    const startedAt = performance.now();
    await signalled(berth, 'SIGTERM');
    expect(await farewell(client)).toEqual(['57P01']);
    expect(performance.now() - startedAt).toBeGreaterThan(900);
    expect((await berth.ended).code).toBe(0);
  });

  test('DrainTimeout: 0 does not wait', async () => {
    const berth = await start({ file: { DrainTimeout: 0 } });
    using client = await berth.login();
    await client.query('BEGIN');
    await signalled(berth, 'SIGTERM');
    expect(await farewell(client)).toEqual(['57P01']);
    expect((await berth.ended).code).toBe(0);
  });
});

test('PG-78: SIGTERM while it starts, at any moment: it ends', async () => {
  const first = await start();
  await first.stop();
  for (const moment of ['process.started', 'endpoint.listening', 'api.listening', undefined]) {
    const berth = Berth.launch({ configuration: first.configuration });
    berths.push(berth);
    if (moment !== undefined) await berth.untilLogged(moment);
    berth.signal('SIGTERM');
    const { code, signal } = await berth.ended;
    // Before it listens there is nothing to finish.
    if (signal === null) expect(code).toBe(0);
    else expect([undefined, 'process.started']).toContain(moment);
  }
});

test('PG-78: SIGTERM while the database is away: who waits is told at the deadline', async () => {
  const gone = ['connection.open_failed', 'target.health_changed', 'connection.closed'];
  const berth = await start({ file: { DrainTimeout: 1 }, expect: gone });
  using client = await berth.login();
  await client.query('SELECT 1');
  await database().shutDown();
  try {
    client.send(frontend.query('SELECT 1'));
    const login = endOf(berth.login({ parameters: { TimeZone: 'Asia/Tokyo' } }));
    await untilMetric(berth, 'berth_borrow_queue_depth', 2);
    await signalled(berth, 'SIGTERM');
    expect(await farewell(client)).toEqual(['57P01']);
    expect(await login).toBe('57P01');
    expect((await berth.ended).code).toBe(0);
  } finally {
    await database().startUp();
  }
});

describe('SIGHUP', () => {
  /** The file as it is, with other properties of ConnectionPoolConfig, the proxy or the file. */
  function changed(berth: Berth, change: Options): Configuration {
    const [proxy = {}, ...others] = berth.configuration.DBProxies;
    const group = proxy.TargetGroup as Properties;
    const config = { ...(group.ConnectionPoolConfig as Properties), ...change.pool };
    return {
      ...berth.configuration,
      ...change.file,
      DBProxies: [
        { ...proxy, TargetGroup: { ...group, ConnectionPoolConfig: config }, ...change.proxy },
        ...others,
      ],
    };
  }

  test('a larger pool serves who waits, a smaller one closes what is too much', async () => {
    const berth = await start({ pool: { MaxConnections: 1 } });
    const clients = await Promise.all([1, 2, 3].map(() => berth.login()));
    const [holder] = clients;
    await holder?.query('BEGIN');
    for (const client of clients.slice(1)) client.send(frontend.query('SELECT pg_sleep(0.1)'));
    await untilMetric(berth, 'berth_borrow_queue_depth', 2);
    await berth.reload(changed(berth, { pool: { MaxConnections: 3 } }));
    for (const client of clients.slice(1)) {
      expect(sqlStates(await client.untilReady())).toEqual([]);
    }
    await untilMetric(berth, 'database_connections', 3);
    await berth.reload(changed(berth, { pool: { MaxConnections: 1 } }));
    expect(sqlStates((await holder?.query('COMMIT')) ?? [])).toEqual([]);
    await untilMetric(berth, 'database_connections', 1);
    for (const client of clients) {
      expect(textRows(await client.query('SELECT 1'))).toEqual([['1']]);
      await client.end();
    }
  });

  test('PG-18: nothing changed: no connection is replaced, nobody notices', async () => {
    const berth = await start({ pool: { MaxConnections: 1 } });
    using idle = await berth.login();
    const pid = textRows(await idle.query('SELECT pg_backend_pid()'));
    using busy = await berth.login();
    await busy.query('BEGIN');
    await berth.reload(berth.configuration);
    await busy.query('COMMIT');
    expect(textRows(await idle.query('SELECT pg_backend_pid()'))).toEqual(pid);
    expect(berth.logged('connection.closed')).toEqual([]);
  });

  test('endpoints come and go; who came through one that is gone stays', async () => {
    const berth = await start();
    using client = await berth.login();
    await client.query('BEGIN');
    const spare = 14_990 + (berth.pid % 500);
    const extra = { DBProxyEndpointName: 'extra', Listen: `127.0.0.1:${spare}` };
    await berth.reload(changed(berth, { proxy: { Endpoints: [extra] } }));
    using guest = await berth.login({ port: spare });
    await guest.query('BEGIN');
    await berth.reload(changed(berth, { proxy: { Endpoints: [] } }));
    await expect(RawClient.connect({ port: spare })).rejects.toMatchObject({
      code: 'ECONNREFUSED',
    });
    for (const each of [client, guest]) {
      expect(sqlStates(await each.query('COMMIT'))).toEqual([]);
      expect(sqlStates(await each.query('SELECT 1'))).toEqual([]);
    }
    await guest.end();
  });

  test('proxies come and go; who is in a transaction of one that is gone finishes it', async () => {
    const berth = await start();
    const [orders = {}] = berth.configuration.DBProxies;
    const port = 15_490 + (berth.pid % 500);
    const second = { ...orders, DBProxyName: 'second', Listen: `127.0.0.1:${port}` };
    await berth.reload({ ...berth.configuration, DBProxies: [orders, second] });
    using stays = await berth.login();
    using idle = await berth.login({ port });
    using working = await berth.login({ port });
    await working.query('BEGIN');
    await berth.reload({ ...berth.configuration, DBProxies: [orders] });
    expect(await farewell(idle)).toEqual(['57P01']);
    working.send(frontend.query('COMMIT'));
    expect((await working.untilClosed()).map(({ type }) => type)).toEqual(['C', 'Z', 'E']);
    const [gone] = await berth.untilLogged('proxy.stopped');
    expect([gone?.level, gone?.proxy]).toEqual(['info', 'second']);
    expect(textRows(await stays.query('SELECT 1'))).toEqual([['1']]);
    // The address is free again, and may be another proxy's.
    await berth.reload({ ...berth.configuration, DBProxies: [orders, second] });
    using again = await berth.login({ port });
    expect(textRows(await again.query('SELECT 1'))).toEqual([['1']]);
  });

  test('PG-78: DrainTimeout stops who does not finish on a proxy that a reload removed', async () => {
    const berth = await start({ file: { DrainTimeout: 1 }, expect: ['proxy.stopped'] });
    const [orders = {}] = berth.configuration.DBProxies;
    const port = 16_490 + (berth.pid % 500);
    const second = { ...orders, DBProxyName: 'second', Listen: `127.0.0.1:${port}` };
    await berth.reload({ ...berth.configuration, DBProxies: [orders, second] });
    using stays = await berth.login();
    await stays.query('BEGIN');
    using endless = await berth.login({ port });
    await endless.query('BEGIN');
    const startedAt = performance.now();
    await berth.reload({ ...berth.configuration, DBProxies: [orders] });
    expect(await farewell(endless)).toEqual(['57P01']);
    expect(performance.now() - startedAt).toBeGreaterThan(900);
    const [line] = await berth.untilLogged('proxy.stopped');
    expect([line?.level, line?.proxy]).toEqual(['warn', 'second']);
    expect(line?.msg).toContain('1 client');
    // It is no matter of the others', and nothing is left of it.
    expect(sqlStates(await stays.query('COMMIT'))).toEqual([]);
    await eventually(async () => {
      const sql = "SELECT pid FROM pg_stat_activity WHERE state = 'idle in transaction'";
      return (await adminQuery(database(), sql)).length === 0 || undefined;
    }, 'the end of the transaction');
  });

  test('SIGTERM waits for transactions of a proxy that a reload removed', async () => {
    const berth = await start();
    const [orders = {}] = berth.configuration.DBProxies;
    const port = 15_990 + (berth.pid % 500);
    const second = { ...orders, DBProxyName: 'second', Listen: `127.0.0.1:${port}` };
    await berth.reload({ ...berth.configuration, DBProxies: [orders, second] });
    using working = await berth.login({ port });
    await working.query('BEGIN');
    await berth.reload({ ...berth.configuration, DBProxies: [orders] });
    await signalled(berth, 'SIGTERM');
    expect(sqlStates(await working.query('SELECT 1'))).toEqual([]);
    working.send(frontend.query('COMMIT'));
    expect((await working.untilClosed()).map(({ type }) => type)).toEqual(['C', 'Z', 'E']);
    expect((await berth.ended).code).toBe(0);
  });

  test('another target behind the same address', async () => {
    const berth = await start();
    using working = await berth.login();
    await working.query('BEGIN');
    const DBInstances = [
      {
        DBInstanceIdentifier: 'orders-db',
        Engine: 'postgres',
        Endpoint: { Address: database().socketDirectory, Port: database().port },
      },
    ];
    await berth.reload({ ...berth.configuration, DBInstances });
    using next = await berth.login();
    const sql = 'SELECT inet_client_addr() IS NULL';
    expect(textRows(await next.query(sql))).toEqual([['t']]);
    expect(sqlStates(await working.query('SELECT 1'))).toEqual([]);
    expect(sqlStates(await working.query('COMMIT'))).toEqual([]);
    expect(textRows(await working.query(sql))).toEqual([['t']]);
  });

  test('what still runs at the former target is cut off after DrainTimeout', async () => {
    const berth = await start({ expect: ['session.interrupted'] });
    using working = await berth.login();
    using idle = await berth.login();
    await idle.query('SELECT 1');
    await working.query('BEGIN');
    const DBInstances = [
      {
        DBInstanceIdentifier: 'another-db',
        Engine: 'postgres',
        Endpoint: { Address: database().socketDirectory, Port: database().port },
      },
    ];
    const proxies = berth.configuration.DBProxies as Properties[];
    const DBProxies = proxies.map((proxy) => ({
      ...proxy,
      TargetGroup: { DBInstanceIdentifiers: ['another-db'] },
    }));
    await berth.reload({ ...berth.configuration, DBInstances, DBProxies, DrainTimeout: 0 });
    await berth.untilLogged('session.interrupted');
    const sql = 'SELECT inet_client_addr() IS NULL';
    expect(textRows(await idle.query(sql))).toEqual([['t']]);
    expect(sqlStates(await working.query(sql))).toEqual(['08006']);
    await working.query('ROLLBACK');
    expect(textRows(await working.query(sql))).toEqual([['t']]);
  });

  test('PG-15: a changed password: those inside stay, the new one opens, and for a while the old one', async () => {
    // Until the file is read again, the proxy has a password that the database no longer takes.
    const meanwhile = ['connection.open_failed', 'target.health_changed'];
    const berth = await start({ expect: ['client.authentication_failed', ...meanwhile] });
    using inside = await berth.login();
    await inside.query('SELECT 1');
    await adminQuery(database(), "ALTER ROLE app PASSWORD 'changed'");
    try {
      const secrets = berth.configuration.Secrets as Properties[];
      const Secrets = secrets.map((secret) =>
        secret.Name === 'app'
          ? { ...secret, SecretString: { username: 'app', password: 'changed' } }
          : secret,
      );
      await berth.reload({ ...berth.configuration, Secrets });
      using outside = await berth.login({ password: 'changed' });
      // More connections than there are: at least one is opened with the new password.
      await inside.query('BEGIN');
      expect(sqlStates(await outside.query('SELECT 1'))).toEqual([]);
      expect(sqlStates(await inside.query('COMMIT'))).toEqual([]);
      using late = await berth.login({ password: 'app-password' });
      expect(sqlStates(await late.query('SELECT 1'))).toEqual([]);
      await expect(berth.login({ password: 'neither' })).rejects.toMatchObject({
        sqlState: '28P01',
      });
    } finally {
      await adminQuery(database(), "ALTER ROLE app PASSWORD 'app-password'");
    }
  });

  test('a removed user: no new login, those inside stay', async () => {
    const berth = await start({ expect: ['client.authentication_failed'] });
    using inside = await berth.login({ user: 'other' });
    await inside.query('BEGIN');
    await berth.reload(changed(berth, { proxy: { Auth: [{ SecretArn: 'app' }] } }));
    expect(sqlStates(await inside.query('COMMIT'))).toEqual([]);
    await expect(berth.login({ user: 'other' })).rejects.toMatchObject({ sqlState: '28P01' });
  });

  test('PG-77: a reload that replaces connections lets a batch that is half sent go on', async () => {
    const berth = await start({ pool: { MaxConnections: 1 } });
    using client = await berth.login();
    using waiting = await berth.login();
    const pid = 'SELECT pg_backend_pid()';
    client.send(frontend.parse('', pid), frontend.bind(), frontend.execute(), frontend.flush());
    const [before] = textRows(await client.until('C'));
    await berth.reload(changed(berth, { pool: { InitQuery: "SET work_mem = '2MB'" } }));
    // Who waits is not served by what is to be replaced.
    waiting.send(frontend.query('SHOW work_mem'));
    await untilMetric(berth, 'berth_borrow_queue_depth', 1);
    client.send(frontend.bind(), frontend.execute(), frontend.sync());
    expect(textRows(await client.untilReady())).toEqual([before ?? []]);
    expect(textRows(await waiting.untilReady())).toEqual([['2MB']]);
    expect(textRows(await client.query(pid))).not.toEqual([before ?? []]);
    const reasons = berth.logged('connection.closed').map(({ reason }) => reason);
    expect(reasons).toEqual(['configuration_changed']);
  });

  test('PG-77: a reload does not disturb who waits for a database that is away', async () => {
    const gone = ['connection.open_failed', 'target.health_changed', 'connection.closed'];
    const berth = await start({ expect: gone });
    using client = await berth.login();
    await client.query('SELECT 1');
    await database().shutDown();
    client.send(frontend.query("SELECT 'served'"));
    await untilMetric(berth, 'berth_borrow_queue_depth', 1);
    await berth.reload(berth.configuration);
    await berth.reload(changed(berth, { pool: { MaxConnections: 2 } }));
    expect(await berth.metric('berth_borrow_queue_depth')).toBe(1);
    await database().startUp();
    expect(textRows(await client.untilReady())).toEqual([['served']]);
  });

  test('another InitQuery: connections are replaced as they return', async () => {
    const berth = await start({ pool: { MaxConnections: 1, InitQuery: "SET work_mem = '1MB'" } });
    using client = await berth.login();
    expect(textRows(await client.query('SHOW work_mem'))).toEqual([['1MB']]);
    await client.query('BEGIN');
    await berth.reload(changed(berth, { pool: { InitQuery: "SET work_mem = '2MB'" } }));
    expect(textRows(await client.query('SHOW work_mem'))).toEqual([['1MB']]);
    await client.query('COMMIT');
    expect(textRows(await client.query('SHOW work_mem'))).toEqual([['2MB']]);
  });

  const invalid: readonly (readonly [string, (berth: Berth) => Configuration])[] = [
    ['an unknown key', (berth) => changed(berth, { pool: { NoSuchKey: 1 } })],
    ['a wrong type', (berth) => changed(berth, { pool: { MaxConnections: 'many' } })],
    ['a missing secret', (berth) => changed(berth, { proxy: { Auth: [{ SecretArn: 'gone' }] } })],
    ['no proxies', (berth) => changed(berth, { file: { Api: undefined, DBProxies: 'none' } })],
  ];
  for (const [what, configuration] of invalid) {
    test(`a file with ${what}: the old one stays in force, and the log says why`, async () => {
      const berth = await start({ expect: ['configuration.refused'] });
      const before = configuration(berth);
      const broken = what === 'no proxies' ? { ...before, DBProxies: [] } : before;
      using client = await berth.login();
      await client.query('BEGIN');
      const applied = berth.reload(broken).catch((error: unknown) => error);
      const [line] = await berth.untilLogged('configuration.refused');
      expect(line?.level).toBe('error');
      expect(line?.msg).toContain('DBProxies');
      expect(sqlStates(await client.query('COMMIT'))).toEqual([]);
      using next = await berth.login();
      expect(textRows(await next.query('SELECT 1'))).toEqual([['1']]);
      // And a right one is taken afterwards.
      await berth.reload(berth.configuration);
      await applied;
    });
  }
});
