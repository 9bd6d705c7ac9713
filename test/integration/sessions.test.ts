/** Who is connected, and why a session is pinned: over HTTP, and as `berth sessions` and `berth pools` show it. */

import { describe, expect, setDefaultTimeout, test } from 'bun:test';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createServer as createTcpServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Commands, runCommandLine } from '../../src/cli/command-line.ts';
import { pools } from '../../src/cli/pools.ts';
import { sessions } from '../../src/cli/sessions.ts';
import { PIN_ADVICE } from '../../src/observe/advice.ts';
import type { PinReason } from '../../src/observe/reasons.ts';
import { backendPid, untilRunning } from '../faults/activity.ts';
import { EngineOnWheel } from '../faults/engine-on-wheel.ts';
import { sqlStates } from '../harness/backend-messages.ts';
import { Berth, useBerth } from '../harness/berth.ts';
import { EVENT_DEADLINE_MS } from '../harness/deadline.ts';
import * as frontend from '../harness/frontend-messages.ts';
import { eventually } from '../harness/polling.ts';
import { usePostgres } from '../harness/postgres.ts';
import type { RawClient } from '../harness/raw-client.ts';

setDefaultTimeout(30_000);

const database = usePostgres();
const berth = useBerth(() => ({
  database: database(),
  pool: { MaxConnections: 3 },
  expect: ['session.pinned'],
}));

interface Session {
  readonly client_connection: number;
  readonly application_name: string;
  readonly state: string;
  readonly state_since: string;
  readonly logged_in_at: string;
  readonly database_connection: number | null;
  readonly database_process_id: number | null;
  readonly pin: {
    readonly reason: PinReason;
    readonly digest: string;
    readonly since: string;
    readonly advice: string;
  } | null;
  readonly [field: string]: unknown;
}

async function get(path: string, of = berth()) {
  const response = await of.fetch(path);
  return { status: response.status, text: await response.text() };
}

async function listed(parameters = ''): Promise<readonly Session[]> {
  const { status, text } = await get(`/sessions${parameters}`);
  expect(status).toBe(200);
  return JSON.parse(text).sessions;
}

/** The session of a client, which was told 2^30 plus its number. */
async function sessionOf(client: RawClient): Promise<Session> {
  const all = await listed();
  const session = all.find((each) => each.client_connection === client.backendPid - 2 ** 30);
  if (session === undefined) throw new Error('the session is not listed');
  return session;
}

async function untilState(client: RawClient, state: string): Promise<Session> {
  const look = async () => {
    const session = await sessionOf(client);
    return session.state === state ? session : undefined;
  };
  return await eventually(look, `a session that is ${state}`);
}

function expectRecent(time: string | undefined, since: number): void {
  // What the timer wheel kept is coarse.
  expect(Date.parse(time ?? '')).toBeGreaterThanOrEqual(since - 500);
  expect(Date.parse(time ?? '')).toBeLessThanOrEqual(Date.now() + 500);
}

describe('a pinned session is explained', () => {
  test('with its reason, statement, time and advice, until nothing pins it any more', async () => {
    using client = await berth().login({ parameters: { application_name: 'till' } });
    const before = Date.now();
    const sql = "create temp table jobs as select 'hunter2' as word, 42 as number";
    expect(sqlStates(await client.query(sql))).toEqual([]);
    const session = await untilState(client, 'pinned');
    expect(session).toMatchObject({
      proxy: 'orders',
      endpoint: 'default',
      user: 'app',
      database: 'app',
      client_address: `127.0.0.1:${client.socket.localPort}`,
      application_name: 'till',
      tls: false,
      database_process_id: Number(await backendPid(client)),
      pin: {
        reason: 'temporary_object',
        digest: 'create temp table jobs as select $1 as word,$2 as number',
        advice: PIN_ADVICE.temporary_object,
      },
    });
    expectRecent(session.pin?.since, before);
    expectRecent(session.state_since, before);
    const [line] = await berth().untilLogged('session.pinned');
    expect(line).toMatchObject({
      client_connection: session.client_connection,
      database_connection: session.database_connection ?? undefined,
      digest: session.pin?.digest,
    });

    await client.query('begin');
    const inTransaction = await sessionOf(client);
    expect(inTransaction).toMatchObject({ state: 'in_transaction', pin: session.pin });
    await client.query('rollback');
    await client.query('discard all');
    const free = await untilState(client, 'idle');
    expect(free).toMatchObject({ pin: null, database_connection: null, database_process_id: null });
  });

  test.each([
    ["set app.tenant = 'é'", 'set', 'set app.tenant = $1'],
    ['select 1; listen jobs', 'listen', 'select $1; listen jobs'],
    ["prepare p as select 'x'", 'sql_prepare', 'prepare p as select $1'],
    ['select pg_advisory_lock(42)', 'advisory_lock', 'select pg_advisory_lock($1)'],
  ] as const)('%s', async (sql, reason, digest) => {
    using client = await berth().login();
    await client.query(sql);
    const { pin } = await untilState(client, 'pinned');
    expect(pin).toMatchObject({ reason, digest, advice: PIN_ADVICE[reason] });
    await client.end();
  });

  test('without a statement when none is the reason', async () => {
    await using other = await Berth.start({
      database: database(),
      pool: { PoolMode: 'SESSION' },
      expect: ['session.pinned'],
    });
    using client = await other.login();
    await client.query('select 1');
    const [session] = JSON.parse((await get('/sessions', other)).text).sessions;
    expect(session.pin).toMatchObject({ reason: 'session_mode', digest: '' });
  });

  test('and ?pinned=true is only those', async () => {
    using pinned = await berth().login();
    using _other = await berth().login();
    await pinned.query('create temp table todo (id int)');
    await untilState(pinned, 'pinned');
    const found = await listed('?pinned=true');
    expect(found.map((each) => each.client_connection)).toEqual([pinned.backendPid - 2 ** 30]);
    expect(await listed('?pinned=true&proxy=orders')).toHaveLength(1);
    expect((await listed()).length).toBeGreaterThan(1);
  });
});

test('every state is told, with its beginning', async () => {
  await using one = await Berth.start({ database: database(), pool: { MaxConnections: 1 } });
  const stateOf = async (client: RawClient): Promise<Session> => {
    const all = JSON.parse((await get('/sessions', one)).text).sessions;
    const id = client.backendPid - 2 ** 30;
    return all.find((each: Session) => each.client_connection === id);
  };
  const before = Date.now();
  using client = await one.login();
  using other = await one.login();
  const idle = await stateOf(client);
  expect(idle).toMatchObject({ state: 'idle', database_connection: null, pin: null });
  expectRecent(idle.logged_in_at, before);
  expectRecent(idle.state_since, before);

  await client.query('begin');
  const open = await stateOf(client);
  expect(open).toMatchObject({ state: 'in_transaction', pin: null });
  expect(open.database_process_id).toBePositive();
  expectRecent(open.state_since, before);

  await client.query('select pg_sleep(0.1)');
  const asked = Date.now();
  client.send(frontend.query('select pg_sleep(60)'));
  await untilRunning(database(), 'pg_sleep(60)');
  const active = await stateOf(client);
  expect(active).toMatchObject({
    state: 'active',
    database_connection: open.database_connection,
  });
  // Of this request, not of the transaction.
  expect(Date.parse(active.state_since)).toBeGreaterThanOrEqual(asked - 5);
  expect(Date.parse(active.state_since)).toBeLessThanOrEqual(Date.now());

  const queuedAt = Date.now();
  other.send(frontend.query('select 1'));
  const queued = await eventually(async () => {
    const session = await stateOf(other);
    return session.state === 'queued' ? session : undefined;
  }, 'a session that is queued');
  expect(queued.database_connection).toBeNull();
  expect(Date.parse(queued.state_since)).toBeGreaterThanOrEqual(queuedAt - 5);

  const listedPools = JSON.parse((await get('/pools', one)).text).pools;
  expect(listedPools).toEqual([
    {
      proxy: 'orders',
      target: 'orders-db',
      user: 'app',
      database: 'app',
      clients: 2,
      connections: { connecting: 0, idle: 0, borrowed: 1, pinned: 0, resetting: 0, closing: 0 },
      waiting: 1,
      waiting_since: expect.any(String),
      paused_since: null,
      target_limits: {
        max_connections: 1,
        limited_by: 'MaxConnections',
        max_idle_connections: 1,
        in_use: 1,
      },
    },
  ]);
  expectRecent(listedPools[0].waiting_since, queuedAt);
  await client.cancel();
  await client.untilReady();
  await client.query('rollback');
  await other.untilReady();
});

test('with more sessions than are asked for, the rest is counted', async () => {
  using proxy = new EngineOnWheel(database().port, 2);
  const clients = [await proxy.login(), await proxy.login(), await proxy.login()];
  await clients[2]?.query('create temp table todo (id int)');
  const { engine } = proxy;
  await eventually(async () => {
    const { total } = engine.describeSessions({ isPinnedOnly: true, limit: 0 });
    return total === 1 ? true : undefined;
  }, 'the pin');
  const some = engine.describeSessions({ isPinnedOnly: false, limit: 2 });
  const ids = clients.map(({ backendPid: pid }) => pid - 2 ** 30);
  expect(some.items.map((each) => Number(each.clientConnection))).toEqual(ids.slice(0, 2));
  expect(some.total).toBe(3);
  const pinned = engine.describeSessions({ isPinnedOnly: true, limit: 2 });
  expect(pinned.items.map(({ pin }) => pin?.reason)).toEqual(['temporary_object']);
  expect(pinned.total).toBe(1);
  expect(engine.describeSessions({ isPinnedOnly: true, limit: 0 })).toEqual({
    items: [],
    total: 1,
  });
  for (const client of clients) client.destroy();
});

test('an unknown proxy and an unknown parameter are refused', async () => {
  expect(await get('/sessions?proxy=nobody')).toEqual({
    status: 404,
    text: '{"error":"there is no proxy \\"nobody\\""}',
  });
  expect((await get('/pools?proxy=nobody')).status).toBe(404);
  expect((await get('/sessions?pinned=1')).status).toBe(400);
});

interface Ended {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

const LAUNCHER = join(import.meta.dir, '..', '..', 'bin', 'berth');

/** Runs a command as a process of its own, as people do. */
async function launch(...args: readonly string[]): Promise<Ended> {
  // Nothing listens on port 1: what is asked on this machine is asked without a detour.
  const environment = { PATH: process.env.PATH ?? '', HTTP_PROXY: 'http://127.0.0.1:1' };
  const child = Bun.spawn([LAUNCHER, ...args], {
    env: environment,
    stdout: 'pipe',
    stderr: 'pipe',
  });
  const [out, err, code] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  return { code, out, err };
}

/** Runs a command in this process, which is quicker. */
async function run(...args: readonly string[]): Promise<Ended> {
  const out: string[] = [];
  const err: string[] = [];
  const output = {
    out: (text: string) => void out.push(text),
    err: (text: string) => void err.push(text),
  };
  const parts = { environment: {}, output, answerTimeoutMs: EVENT_DEADLINE_MS };
  const other = () => Promise.reject(new Error('not part of this test'));
  const commands: Commands = {
    serve: other,
    demo: other,
    check: other,
    ca: other,
    token: other,
    pause: other,
    resume: other,
    sessions: (options) => sessions(options, parts),
    pools: (options) => pools(options, parts),
  };
  const code = await runCommandLine(args, { version: '0', commands, output });
  return { code, out: out.join(''), err: err.join('') };
}

describe('berth sessions', () => {
  test('shows a table, and explains pins', async () => {
    using idle = await berth().login({ parameters: { application_name: 'front\tdesk' } });
    using pinned = await berth().login();
    await pinned.query("prepare p as select 'hunter2'");
    const { database_connection: connection, database_process_id: process } = await untilState(
      pinned,
      'pinned',
    );
    const { code, out, err } = await launch('sessions', '--config', berth().configurationFile);
    expect({ code, err }).toEqual({ code: 0, err: '' });
    const lines = out.split('\n');
    expect(lines[0]).toStartWith('CLIENT  ENDPOINT ');
    const rowOf = (client: RawClient) =>
      lines.findIndex((line) => line.startsWith(`${client.backendPid - 2 ** 30} `));
    expect(lines[rowOf(idle)]).toMatch(
      / orders\/default +app +app +127\.0\.0\.1:\d+ +\S*front\S+desk +no +\d+ s ago +idle +\d+ s$/,
    );
    const at = rowOf(pinned);
    expect(lines[at]).toMatch(
      new RegExp(` pinned +\\d+ s +${connection} \\(process ${process}\\)$`),
    );
    expect(lines[at + 1]).toMatch(/^ {2}pinned for \d+ s by sql_prepare: prepare p as select \$1$/);
    expect(lines[at + 2]).toBe(`  to avoid it: ${PIN_ADVICE.sql_prepare}`);
    expect(out).toMatch(/\n\d sessions, 1 pinned\.\n$/);
    expect(out).not.toContain('hunter2');

    const only = await run('sessions', '--url', berth().apiUrl, '--pinned', '--proxy', 'orders');
    expect(only.code).toBe(0);
    expect(only.out).toEndWith('\n1 pinned session.\n');
    expect(only.out).not.toContain('desk');
    await pinned.end();
  });

  test('--json prints the answer', async () => {
    using client = await berth().login();
    await client.query('create temp table todo (id int)');
    await untilState(client, 'pinned');
    const { code, out } = await run(
      'sessions',
      '--url',
      `${berth().apiUrl}/`,
      '--pinned',
      '--json',
    );
    expect(code).toBe(0);
    const answer = JSON.parse(out);
    expect(answer).toMatchObject({ total: 1, truncated: false });
    expect(answer.sessions[0]).toEqual({
      ...(await sessionOf(client)),
      logged_in_at: expect.any(String),
      state_since: expect.any(String),
    });
  });

  test('says so when nobody is there', async () => {
    await using other = await Berth.start({ database: database() });
    const place = ['--url', other.apiUrl];
    expect(await run('sessions', ...place)).toEqual({ code: 0, out: 'No sessions.\n', err: '' });
    expect((await run('sessions', ...place, '--pinned')).out).toBe('No pinned sessions.\n');
    expect(await run('pools', ...place)).toEqual({ code: 0, out: 'No pools.\n', err: '' });
  });
});

test('berth pools shows a table, or the answer', async () => {
  using client = await berth().login();
  await client.query('create temp table todo (id int)');
  const { code, out } = await run('pools', '--config', berth().configurationFile);
  expect(code).toBe(0);
  const [head = '', row = ''] = out.split('\n');
  expect(head).toStartWith('PROXY   TARGET     USER');
  const cells = Object.fromEntries(
    head.split(/ +/).map((name) => {
      const from = head.indexOf(name);
      return [name, row.slice(from).split('  ')[0]?.trim()];
    }),
  );
  expect(cells).toMatchObject({ PROXY: 'orders', USER: 'app', PINNED: '1', WAITING: '0' });
  expect(out).toMatch(/\norders, orders-db: \d of 3 connections in use \(MaxConnections\)\.\n$/);
  const { out: json } = await run('pools', '--url', berth().apiUrl, '--json', '--proxy', 'orders');
  expect(JSON.parse(json).pools[0].connections.pinned).toBe(1);
});

describe('no answer', () => {
  test('from a proxy that is not there', async () => {
    const ended = await run('sessions', '--url', berth().apiUrl, '--proxy', 'nobody');
    expect(ended).toEqual({
      code: 1,
      out: '',
      err: `berth: ${berth().apiUrl} refuses (404): there is no proxy "nobody"\n`,
    });
  });

  test('from an API that is for nobody', async () => {
    const Api = { Listen: '127.0.0.1:0', AllowAnonymous: false };
    const Principals = [
      { UserName: 'a', AccessKeys: [{ AccessKeyId: 'AKIA', SecretAccessKey: 's' }] },
    ];
    await using other = await Berth.start({ database: database(), file: { Api, Principals } });
    for (const path of ['/sessions', '/pools']) expect((await get(path, other)).status).toBe(403);
    const { code, err } = await run('sessions', '--config', other.configurationFile);
    expect(code).toBe(1);
    expect(err).toContain('refuses (403): only the APIs of AWS, at POST /, take signed requests');
    expect(err).toContain('AllowAnonymous');
  });

  test('from a place where nothing listens', async () => {
    const other = await Berth.start({ database: database() });
    const { apiUrl } = other;
    await other.stop();
    const { code, out, err } = await launch('pools', '--url', apiUrl);
    expect({ code, out }).toEqual({ code: 1, out: '' });
    expect(err).toStartWith(`berth: no answer from ${apiUrl}: nothing listens there`);
  });

  test('from a place that says nothing', async () => {
    const silent = createTcpServer();
    await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
    const address = silent.address();
    const port = typeof address === 'object' && address !== null ? address.port : 0;
    const written: string[] = [];
    const output = {
      out: (text: string) => written.push(text),
      err: (text: string) => written.push(text),
    };
    const api = { url: new URL(`http://127.0.0.1:${port}`) };
    const options = { api, proxy: undefined, json: false };
    const code = await pools(options, { environment: {}, output, answerTimeoutMs: 50 });
    silent.close();
    expect(code).toBe(1);
    expect(written.join('')).toBe(
      `berth: no answer from http://127.0.0.1:${port}: nothing within 0.05 s\n`,
    );
  });

  test.each([
    ['{}', 'answers, but not as Berth does'],
    ['<html>', 'answers, but not as Berth does'],
  ])('from something else: %s', async (body, text) => {
    const server = createServer((_, response) => void response.end(body));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const address = server.address();
    const port = typeof address === 'object' && address !== null ? address.port : 0;
    const { code, err } = await run('sessions', '--url', `http://127.0.0.1:${port}`);
    server.close();
    expect(code).toBe(1);
    expect(err).toBe(`berth: http://127.0.0.1:${port} ${text}\n`);
  });

  describe('because of the file', () => {
    async function withFile(text: string): Promise<Ended> {
      const folder = mkdtempSync(join(tmpdir(), 'berth-sessions-'));
      try {
        writeFileSync(join(folder, 'berth.yaml'), text);
        const ended = await run('sessions', '--config', join(folder, 'berth.yaml'));
        return { ...ended, err: ended.err.replaceAll(folder, '') };
      } finally {
        rmSync(folder, { recursive: true });
      }
    }

    test.each([
      ['Region: us-east-1', 'berth: /berth.yaml has no Api, so a Berth that runs with it'],
      ['- not a mapping', 'berth: /berth.yaml has no Api'],
      ['Api: { Listen: 127.0.0.1:0 }', 'leaves the port of Api.Listen to the system; give --url'],
      ['Api: { Listen: nowhere }', '/berth.yaml:1  Api.Listen: must be host:port'],
      [`Api: { Listen: "\${NOT_SET}" }`, 'NOT_SET'],
      ['Api: [', '/berth.yaml:1  '],
    ])('%s', async (text, message) => {
      const { code, out, err } = await withFile(text);
      expect({ code, out }).toEqual({ code: 2, out: '' });
      expect(err).toContain(message);
    });

    test('that is not there', async () => {
      const { code, err } = await run('pools', '--config', '/nowhere/berth.yaml');
      expect({ code, err }).toEqual({
        code: 2,
        err: '/nowhere/berth.yaml  there is no such file\n',
      });
    });

    test('but not because of the rest of it', async () => {
      const { port } = new URL(berth().apiUrl);
      const text = `Api: { Listen: 0.0.0.0:${port} }\nSecrets: "\${NOT_SET}"\nBogus: 1\n`;
      expect(await withFile(text)).toMatchObject({ code: 0, err: '' });
    });
  });
});
