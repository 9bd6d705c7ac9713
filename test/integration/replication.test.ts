/**
 * PG-79: replication connections. Each has a database connection of its own, opened with the client's
 * start-up parameters, and bytes pass both ways as they are.
 */

import { describe, expect, setDefaultTimeout, test } from 'bun:test';
import postgres from 'postgres';
import type { EmbeddedPostgres } from '../../src/embedded/postgres.ts';
import { reachedAt, untilRunning } from '../faults/activity.ts';
import {
  type BackendMessage,
  columnNames,
  errorFields,
  formatMessage,
  sqlStates,
  textRows,
} from '../harness/backend-messages.ts';
import { Berth, type BerthOptions, useBerth } from '../harness/berth.ts';
import { Arrivals } from '../harness/deadline.ts';
import * as frontend from '../harness/frontend-messages.ts';
import { eventually, untilMetric } from '../harness/polling.ts';
import { addressOf, adminQuery, startPostgres, usePostgres } from '../harness/postgres.ts';
import { type LoginError, type LoginOptions, RawClient } from '../harness/raw-client.ts';
import {
  AUTHENTICATION_OK,
  fields,
  keyData,
  parameterStatus,
  READY,
  ScriptedDatabase,
} from '../harness/scripted-database.ts';
import { Wiretap } from '../harness/wiretap.ts';

setDefaultTimeout(40_000);

/** `app` may replicate, `other` may not. */
const USERS = [
  { name: 'app', password: 'app-password', attributes: 'REPLICATION' },
  { name: 'other', password: 'other-password' },
] as const;

const LOGICAL = {
  users: USERS,
  settings: { wal_level: 'logical', max_wal_senders: 4, max_replication_slots: 20 },
};

const database = usePostgres(LOGICAL);
const berth = useBerth(() => ({
  database: database(),
  pool: { MaxConnections: 6 },
  expect: ['connection.open_failed', 'client.authentication_failed', isReplicationEnd],
}));

/** What databases and clients do to each other here on purpose. */
function isReplicationEnd(line: { readonly event: string; readonly reason?: unknown }): boolean {
  return (
    (line.event === 'client.closed' && line.reason === 'database_lost') ||
    (line.event === 'connection.closed' && line.reason === 'database_closed') ||
    line.event === 'borrow.failed'
  );
}

const REPLICATION_LOGIN = {
  user: 'app',
  password: 'app-password',
  parameters: { replication: 'true' },
};

function replicate(
  value: string,
  { parameters, ...options }: Partial<LoginOptions> & { readonly port?: number } = {},
): Promise<RawClient> {
  return berth().login({ ...options, parameters: { replication: value, ...parameters } });
}

/** What a server does, straight. */
function direct(options: Partial<LoginOptions> = {}): Promise<RawClient> {
  const login = { user: 'app', password: 'app-password', database: 'app', ...options };
  return RawClient.login(addressOf(database()), login);
}

async function walsenders(of: EmbeddedPostgres = database()): Promise<number> {
  const sql = `select count(*) as count from pg_stat_activity where backend_type = 'walsender'`;
  return Number((await adminQuery(of, sql))[0]?.count);
}

async function untilNoWalsender(of: EmbeddedPostgres = database()): Promise<void> {
  const look = async () => ((await walsenders(of)) === 0 ? true : undefined);
  await eventually(look, 'no walsender is left');
}

/** Nothing of a replication connection is left: neither its walsender nor its permit. */
async function untilFree(of: Berth = berth()): Promise<void> {
  await untilNoWalsender();
  await untilMetric(of, 'berth_replication_connections', 0);
  await untilMetric(of, 'database_connections_currently_borrowed', 0);
}

let slots = 0;

/** A slot of its own for each test, made past the proxy; the caller drops it by the end. */
async function makeSlot(plugin = 'test_decoding'): Promise<string> {
  const name = `slot_${++slots}`;
  await adminQuery(database(), `select pg_create_logical_replication_slot('${name}', '${plugin}')`);
  return name;
}

async function dropSlot(name: string, of: EmbeddedPostgres = database()): Promise<void> {
  const sql = `select active from pg_replication_slots where slot_name = '${name}'`;
  const look = async () => ((await adminQuery(of, sql))[0]?.active === 'f' ? true : undefined);
  await eventually(look, `the slot ${name} is free`);
  await adminQuery(of, `select pg_drop_replication_slot('${name}')`);
}

/** Begins to stream the slot; resolves when the database streams. */
async function stream(client: RawClient, slot: string): Promise<void> {
  client.send(frontend.query(`START_REPLICATION SLOT ${slot} LOGICAL 0/0`));
  expect((await client.next()).type).toBe('W');
}

/** Reads until a decoded change contains the text. Keepalives are answered. */
async function untilChange(client: RawClient, text: string): Promise<string> {
  for (;;) {
    const message = await client.next();
    expect(message.type).toBe('d');
    const kind = message.body.toString('latin1', 0, 1);
    if (kind === 'k' && message.body[17] === 1)
      client.send(frontend.copyData(status(message.body)));
    const change = message.body.toString('utf8', 25);
    if (kind === 'w' && change.includes(text)) return change;
  }
}

/** A standby status update that confirms what a keepalive said. */
function status(keepalive: Buffer): Buffer {
  const body = Buffer.alloc(34);
  body.write('r', 0);
  for (const at of [1, 9, 17]) keepalive.copy(body, at, 1, 9);
  return body;
}

function types(messages: readonly BackendMessage[]): string {
  return messages.map(({ type }) => type).join('');
}

async function refusal(login: Promise<RawClient>): Promise<LoginError> {
  return await login.then(
    (client) => {
      client.destroy();
      throw new Error('the login succeeded');
    },
    (error: LoginError) => error,
  );
}

describe('who replicates', () => {
  test.each(['database', 'true', 'on', 'YES', '1', 't'])('replication=%s', async (value) => {
    using client = await replicate(value);
    const answer = await client.query('IDENTIFY_SYSTEM');
    const [description] = answer.filter(({ type }) => type === 'T');
    expect(description === undefined ? [] : columnNames(description)).toEqual([
      'systemid',
      'timeline',
      'xlogpos',
      'dbname',
    ]);
    expect(textRows(answer)[0]?.[3]).toBe(value === 'database' ? 'app' : null);
    expect(await walsenders()).toBe(1);
    expect(await berth().metric('berth_replication_connections')).toBe(1);
    await client.end();
    await untilFree();
  });

  test.each(['false', 'off', 'no', '0', 'F', 'of'])('replication=%s does not', async (value) => {
    using client = await replicate(value);
    expect(textRows(await client.query("select 'shared'"))).toEqual([['shared']]);
    expect(await walsenders()).toBe(0);
    expect(await berth().metric('berth_replication_connections')).toBe(0);
  });

  test.each(['maybe', '', 'Database', 'o', '2'])('replication=%p is an error', async (value) => {
    const login = { parameters: { replication: value } };
    const [proxied, straight] = await Promise.all([
      refusal(replicate(value)),
      refusal(direct(login)),
    ]);
    for (const field of ['S', 'V', 'C', 'M']) {
      expect(proxied.fields.get(field)).toBe(straight.fields.get(field) ?? '');
    }
  });

  test('the user must be one of the proxy, with the right password', async () => {
    const error = await refusal(replicate('database', { password: 'wrong' }));
    expect(error.sqlState).toBe('28P01');
    expect(await walsenders()).toBe(0);
  });
});

describe('what the client is told', () => {
  test.each(['database', 'true'])(
    'replication=%s: the welcome is the server’s own',
    async (value) => {
      const parameters = {
        replication: value,
        application_name: 'Zoë',
        DateStyle: 'SQL, DMY',
        options: '-c intervalstyle=iso_8601 -S 2048',
      };
      using proxied = await berth().login({ parameters });
      using straight = await direct({ parameters });
      const told = (client: RawClient) =>
        client.received.filter(({ type }) => type !== 'R' && type !== 'K').map(formatMessage);
      expect(told(proxied)).toEqual(told(straight));
      expect(proxied.parameters.get('DateStyle')).toBe('SQL, DMY');
      expect(proxied.backendSecret).toHaveLength(4);
      expect(proxied.backendPid).toBeGreaterThan(2 ** 30);
      for (const sql of ['SHOW intervalstyle', 'SHOW work_mem', 'SHOW application_name']) {
        expect(textRows(await proxied.query(sql))).toEqual(textRows(await straight.query(sql)));
      }
    },
  );

  test('a role that may not replicate reads the server’s own error', async () => {
    const login = { user: 'other', password: 'other-password' };
    const proxied = await refusal(replicate('database', login));
    const straight = await refusal(direct({ ...login, parameters: { replication: 'database' } }));
    expect([...proxied.fields]).toEqual([...straight.fields]);
    expect(proxied.sqlState).toBe('42501');
    await untilFree();
  });

  test('so does one for whom the server has no walsender left, at once', async () => {
    const parameters = { replication: 'true' };
    const clients = [await direct({ parameters }), await direct({ parameters })];
    clients.push(await direct({ parameters }), await direct({ parameters }));
    const proxied = await refusal(replicate('true'));
    const straight = await refusal(direct({ parameters }));
    expect([...proxied.fields]).toEqual([...straight.fields]);
    expect(proxied.sqlState).toBe('53300');
    // Others are not held up by it.
    using other = await berth().login();
    expect(textRows(await other.query("select 'on'"))).toEqual([['on']]);
    for (const client of clients) client.destroy();
    await untilFree();
  });

  test('of a wrong command and of the extended protocol the server says what it thinks', async () => {
    const parameters = { replication: 'true' };
    using proxied = await berth().login({ parameters });
    using straight = await direct({ parameters });
    for (const request of [
      frontend.query('NONSENSE'),
      Buffer.concat([frontend.parse('', 'select 1'), frontend.sync()]),
      frontend.functionCall(1, []),
      frontend.query('select 1'),
    ]) {
      proxied.send(request);
      straight.send(request);
      const expected = (await straight.untilReady()).map(formatMessage);
      expect((await proxied.untilReady()).map(formatMessage)).toEqual(expected);
    }
  });

  test('long keys for who speaks protocol 3.2', async () => {
    using client = await replicate('database', { protocol: frontend.PROTOCOL_3_2 });
    expect(client.backendSecret).toHaveLength(32);
  });
});

describe('a stream', () => {
  test('changes, keepalives and confirmations go both ways', async () => {
    const slot = await makeSlot();
    using client = await replicate('database');
    await stream(client, slot);
    await adminQuery(database(), 'create table if not exists flow (id int)');
    await adminQuery(database(), 'insert into flow values (4711)');
    expect(await untilChange(client, '4711')).toContain('INSERT');
    client.send(frontend.copyDone());
    const end = await client.untilReady();
    // Keepalives come as they like.
    expect(types(end).replaceAll('d', '')).toBe('cCCZ');
    expect(textRows(await client.query("select 'sql again'"))).toEqual([['sql again']]);
    await client.end();
    await untilFree();
    await dropSlot(slot);
  });

  test('16 MB of changes, against a client that reads slowly', async () => {
    const slot = await makeSlot();
    using client = await replicate('database');
    await stream(client, slot);
    client.pause();
    await adminQuery(
      database(),
      `create table if not exists bulk (id int, filler text);
       insert into bulk select i, repeat('x', 16384) from generate_series(1, 1024) i`,
    );
    const before = berth().residentBytes();
    client.resume();
    await untilChange(client, 'id[integer]:1024');
    expect(berth().residentBytes() - before).toBeLessThan(100 * 1024 * 1024);
    client.destroy();
    await untilFree();
    await dropSlot(slot);
  });

  test('a client that goes without a word frees the walsender and the permit', async () => {
    const slot = await makeSlot();
    const client = await replicate('database');
    await stream(client, slot);
    client.reset();
    await untilFree();
    await dropSlot(slot);
  });

  test('PG-70: a cancel ends the command, not the connection', async () => {
    const slot = await makeSlot();
    const parameters = { replication: 'database' };
    using client = await berth().login({ parameters });
    // Nothing to cancel.
    await client.cancel();
    client.send(frontend.query('select pg_sleep(60)'));
    await untilRunning(database(), 'pg_sleep(60)');
    const forwarded = berth().logged('cancel.forwarded').length;
    await client.cancel();
    expect(sqlStates(await client.untilReady())).toEqual(['57014']);
    expect(berth().logged('cancel.forwarded')).toHaveLength(forwarded + 1);
    await stream(client, slot);
    await client.cancel(Buffer.alloc(4));
    await client.cancel();
    const ended = await client.untilReady();
    expect(sqlStates(ended)).toEqual(['57014']);
    expect(textRows(await client.query("select 'on'"))).toEqual([['on']]);
    await client.end();
    await dropSlot(slot);
  });
});

test('over TLS, and only so with RequireTLS', async () => {
  await using own = await start({ proxy: { RequireTLS: true } });
  const parameters = { replication: 'database' };
  expect((await refusal(own.login({ parameters }))).sqlState).toBe('28000');
  const slot = await makeSlot();
  using client = await own.login({ parameters, tls: {} });
  await stream(client, slot);
  await adminQuery(database(), 'create table if not exists encrypted (id int)');
  await adminQuery(database(), 'insert into encrypted values (1848)');
  await untilChange(client, '1848');
  expect(await own.metric('client_connections_tls')).toBe(1);
  client.destroy();
  await untilMetric(own, 'client_connections_tls', 0);
  await dropSlot(slot);
});

describe('permits', () => {
  test('a replication connection counts against MaxConnections, and waits like others', async () => {
    await using own = await start({ pool: { MaxConnections: 1, ConnectionBorrowTimeout: 60 } });
    using holder = await own.login();
    await holder.query('begin');
    const parameters = { replication: 'database' };
    const waiting = own.login({ parameters });
    await untilMetric(own, 'berth_borrow_queue_depth', 1);
    await holder.query('commit');
    using client = await waiting;
    expect(await own.metric('database_connections')).toBe(1);
    // Now the other waits, and the replication connection is never taken for it.
    holder.send(frontend.query("select 'served'"));
    await untilMetric(own, 'berth_borrow_queue_depth', 1);
    expect(textRows(await client.query('IDENTIFY_SYSTEM'))).toHaveLength(1);
    await client.end();
    expect(textRows(await holder.untilReady())).toEqual([['served']]);
    expect(
      await own.metric('berth_database_connection_closes_total', { reason: 'replication_ended' }),
    ).toBe(1);
  });

  test('it is refused after ConnectionBorrowTimeout, with the limit', async () => {
    await using own = await start({ pool: { MaxConnections: 1, ConnectionBorrowTimeout: 0 } });
    const parameters = { replication: 'true' };
    // Not 0: there is never a connection that is free at once.
    using holder = await own.login({ parameters });
    await holder.query('IDENTIFY_SYSTEM');
    const error = await refusal(own.login({ parameters }));
    expect(error.sqlState).toBe('08000');
    expect(error.fields.get('D')).toContain('MaxConnections');
  });

  test('a client that leaves while it waits takes its place along', async () => {
    await using own = await start({ pool: { MaxConnections: 1 } });
    using holder = await own.login();
    await holder.query('begin');
    using client = await RawClient.connect({ port: own.port });
    const waiting = client.logIn(REPLICATION_LOGIN);
    await untilMetric(own, 'berth_borrow_queue_depth', 1);
    client.destroy();
    await waiting.catch(() => undefined);
    await untilMetric(own, 'berth_borrow_queue_depth', 0);
    await holder.query('commit');
    await untilMetric(own, 'client_connections', 1);
    await untilNoWalsender();
  });

  test('a client that leaves while its connection is being opened leaves nothing behind', async () => {
    const opening = Promise.withResolvers<void>();
    const gone = Promise.withResolvers<void>();
    await using scripted = await ScriptedDatabase.start(async (session) => {
      opening.resolve();
      await session.next().catch(() => undefined);
      gone.resolve();
    });
    await using own = await start({ file: reachedAt(scripted.port), pool: { MaxConnections: 1 } });
    using client = await RawClient.connect({ port: own.port });
    const waiting = client.logIn(REPLICATION_LOGIN);
    await opening.promise;
    expect(scripted.sessions[0]?.parameters.get('replication')).toBe('true');
    client.destroy();
    await waiting.catch(() => undefined);
    await gone.promise;
    await untilMetric(own, 'client_connections', 0);
    await untilMetric(own, 'database_connections', 0);
  });
});

describe('ends', () => {
  test('SIGTERM ends a stream with 57P01, between two messages', async () => {
    const slot = await makeSlot();
    const own = await start({});
    const parameters = { replication: 'database' };
    using streaming = await own.login({ parameters });
    using quiet = await own.login({ parameters });
    await stream(streaming, slot);
    const stopped = own.stop();
    for (const client of [streaming, quiet]) {
      const rest = await client.untilClosed();
      const last = rest.at(-1);
      expect(last?.type).toBe('E');
      expect(last === undefined ? '' : errorFields(last).get('C')).toBe('57P01');
      expect(last === undefined ? '' : errorFields(last).get('S')).toBe('FATAL');
    }
    await stopped;
    await untilNoWalsender();
    await dropSlot(slot);
  });

  test('SIGTERM lets a command finish', async () => {
    const own = await start({});
    using keeper = await direct();
    await keeper.query('select pg_advisory_lock(4711)');
    using client = await own.login({ parameters: { replication: 'database' } });
    client.send(frontend.query('select pg_advisory_lock(4711)'));
    await untilRunning(database(), 'pg_advisory_lock(4711)');
    const stopped = own.stop();
    await own.untilLogged('process.draining');
    await keeper.query('select pg_advisory_unlock(4711)');
    expect(types(await client.untilClosed())).toBe('TDCZE');
    await stopped;
  });

  test('an idle one is closed after IdleClientTimeout, a stream is not', async () => {
    const slot = await makeSlot();
    await using own = await start({ proxy: { IdleClientTimeout: 1 } });
    const parameters = { replication: 'database' };
    using streaming = await own.login({ parameters });
    await stream(streaming, slot);
    using idle = await own.login({ parameters });
    const [error] = (await idle.untilClosed()).filter(({ type }) => type === 'E');
    expect(error === undefined ? '' : errorFields(error).get('C')).toBe('57P05');
    using later = await own.login({ parameters });
    await later.untilClosed();
    expect(streaming.isClosed).toBe(false);
    await adminQuery(database(), 'create table if not exists idle (id int)');
    await adminQuery(database(), 'insert into idle values (815)');
    await untilChange(streaming, '815');
    streaming.destroy();
    await untilNoWalsender();
    await dropSlot(slot);
  });

  test('a client that does not take what it asked for is closed after BorrowedIdleTimeout', async () => {
    const slot = await makeSlot();
    await using own = await start({
      pool: { BorrowedIdleTimeout: 1 },
      expect: [({ reason }) => reason === 'borrowed_idle_timeout'],
    });
    using client = await own.login({ parameters: { replication: 'database' } });
    await stream(client, slot);
    client.pause();
    await adminQuery(
      database(),
      `create table if not exists stuck (filler text);
       insert into stuck select repeat('x', 16384) from generate_series(1, 1024)`,
    );
    await own.untilLogged((line) => line.reason === 'borrowed_idle_timeout');
    await untilFree(own);
    await dropSlot(slot);
  });

  test('the database’s own last word reaches the client', async () => {
    using client = await replicate('database');
    await adminQuery(
      database(),
      `select pg_terminate_backend(pid) from pg_stat_activity where backend_type = 'walsender'`,
    );
    const rest = await client.untilClosed();
    expect(sqlStates(rest)).toEqual(['57P01']);
    await untilFree();
  });

  test('a database that is killed ends the client with an error, and the proxy serves on', async () => {
    await using mortal = await startPostgres(LOGICAL);
    await using own = await Berth.start({
      database: mortal,
      expect: [isReplicationEnd, 'target.health_changed', 'connection.open_failed'],
    });
    using client = await own.login({ parameters: { replication: 'true' } });
    await mortal.shutDown('immediate');
    const rest = await client.untilClosed();
    expect(sqlStates(rest)).toHaveLength(1);
    await untilMetric(own, 'berth_replication_connections', 0);
    await untilMetric(own, 'database_connections', 0);
    await mortal.startUp();
    using again = await own.login({ parameters: { replication: 'true' } });
    expect(textRows(await again.query('IDENTIFY_SYSTEM'))).toHaveLength(1);
    await again.end();
  });

  test('a database that goes without a word: 08006', async () => {
    await using scripted = await ScriptedDatabase.start(async (session) => {
      session.send(
        AUTHENTICATION_OK,
        parameterStatus('a', 'b'),
        keyData(1, Buffer.alloc(4)),
        READY,
      );
      await session.until('Q');
      session.end();
    });
    await using own = await start({ file: reachedAt(scripted.port) });
    using client = await own.login({ parameters: { replication: 'true' } });
    client.send(frontend.query('IDENTIFY_SYSTEM'));
    expect(sqlStates(await client.untilClosed())).toEqual(['08006']);
  });

  test('in the middle of a message nothing is put between', async () => {
    await using scripted = await ScriptedDatabase.start(async (session) => {
      session.send(AUTHENTICATION_OK, keyData(1, Buffer.alloc(4)), READY);
      await session.until('Q');
      session.send(frontend.message('d', Buffer.alloc(100)).subarray(0, 50));
      session.end();
    });
    await using own = await start({ file: reachedAt(scripted.port) });
    using client = await own.login({ parameters: { replication: 'true' } });
    client.send(frontend.query('IDENTIFY_SYSTEM'));
    expect(types(await client.untilClosed())).toBe('');
  });

  test('the last word right behind the welcome', async () => {
    await using scripted = await ScriptedDatabase.start((session) => {
      const last = fields('E', 'SFATAL', 'VFATAL', 'C57P01', 'Mgoing');
      session.send(AUTHENTICATION_OK, keyData(1, Buffer.alloc(4)), READY, last);
      session.end();
    });
    await using own = await start({ file: reachedAt(scripted.port) });
    using client = await own.login({ parameters: { replication: 'true' } });
    expect(sqlStates(await client.untilClosed())).toEqual(['57P01']);
  });
});

test('what goes to the database is the client’s start-up packet, and nothing is reset', async () => {
  const wiretap = await Wiretap.start(database().port);
  await using own = await start({
    file: reachedAt(wiretap.port),
    pool: { InitQuery: "select 'the InitQuery'" },
  });
  using client = await own.login({
    parameters: { replication: 'database', '_pq_.unknown': 'x', application_name: 'spy' },
  });
  await client.query('IDENTIFY_SYSTEM');
  await client.end();
  await untilNoWalsender();
  const sent = wiretap.sentByClients().map((bytes) => bytes.toString('latin1'));
  const [replication = ''] = sent.filter((text) => text.includes('replication'));
  expect(replication).toContain('user\0app\0database\0app\0replication\0database\0');
  expect(replication).toContain('application_name\0spy\0\0');
  expect(replication).not.toContain('_pq_');
  expect(replication.endsWith('IDENTIFY_SYSTEM\0X\0\0\0\x04')).toBe(true);
  wiretap.stop();
});

test('sessions and pools list who replicates', async () => {
  await using own = await start({});
  const parameters = { replication: 'true', application_name: 'Zoë' };
  using client = await own.login({ parameters });
  const listed = await (await own.fetch('/sessions')).json();
  const [pid] = await adminQuery(
    database(),
    `select pid::int from pg_stat_activity where backend_type = 'walsender'`,
  );
  expect(listed).toMatchObject({
    sessions: [
      {
        user: 'app',
        database: 'app',
        application_name: 'Zoë',
        state: 'replicating',
        database_process_id: Number(pid?.pid),
        pin: null,
      },
    ],
  });
  const pools = await (await own.fetch('/pools')).json();
  expect(pools).toMatchObject({
    pools: [{ user: 'app', clients: 1, connections: { borrowed: 1 } }],
  });
  await client.end();
});

test('Replication: refuse', async () => {
  await using own = await start({ proxy: { Replication: 'refuse' } });
  for (const value of ['database', 'true']) {
    const error = await refusal(own.login({ parameters: { replication: value } }));
    expect([error.fields.get('S'), error.sqlState]).toEqual(['FATAL', '0A000']);
    expect(error.fields.get('M')).toBe(
      "Feature not supported: RDS Proxy currently doesn't support streaming replication mode.",
    );
  }
  using client = await own.login({ parameters: { replication: 'false' } });
  expect(textRows(await client.query("select 'on'"))).toEqual([['on']]);
});

test('postgres.js: subscribe', async () => {
  await adminQuery(
    database(),
    `create table subscribed (id int primary key); alter table subscribed owner to app;
     create publication alltables for all tables`,
  );
  const sql = postgres({
    host: '127.0.0.1',
    port: berth().port,
    user: 'app',
    password: 'app-password',
    database: 'app',
    max: 1,
    publications: 'alltables',
  });
  try {
    const changes = new Arrivals<string>();
    const { unsubscribe } = await sql.subscribe('*', (row, { command }) => {
      changes.push(`${command} ${row?.id}`);
    });
    await sql`insert into subscribed values (1)`;
    await sql`update subscribed set id = 2`;
    await sql`delete from subscribed`;
    const seen = await changes.until(
      () => (changes.all.length >= 3 ? changes.all : undefined),
      'three changes',
    );
    expect(seen).toEqual(['insert 1', 'update 2', 'delete 2']);
    unsubscribe();
  } finally {
    await sql.end();
  }
  await untilFree();
});

function start(
  options: Partial<Omit<BerthOptions, 'configuration' | 'database'>> & Record<string, unknown>,
): Promise<Berth> {
  return Berth.start({
    database: database(),
    ...options,
    expect: [isReplicationEnd, 'connection.open_failed', ...(options.expect ?? [])],
  });
}
