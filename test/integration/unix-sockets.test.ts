/**
 * Endpoints on Unix sockets: who gets in and how, what becomes of the file, and whose file is left
 * alone. The measure is what a PostgreSQL server does with its own.
 */

import { afterEach, describe, expect, setDefaultTimeout, test } from 'bun:test';
import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import postgres from 'postgres';
import { untilRunning } from '../faults/activity.ts';
import { sqlStates, textRows } from '../harness/backend-messages.ts';
import { Berth, type BerthOptions } from '../harness/berth.ts';
import { TestAuthority } from '../harness/certificates.ts';
import { type ConfigurationOptions, makeConfiguration } from '../harness/configuration.ts';
import { within } from '../harness/deadline.ts';
import * as frontend from '../harness/frontend-messages.ts';
import { eventually, untilMetric } from '../harness/polling.ts';
import { adminQuery, usePostgres } from '../harness/postgres.ts';
import { psql, testWith } from '../harness/programs.ts';
import { LoginError, RawClient } from '../harness/raw-client.ts';

setDefaultTimeout(30_000);

const PORT = 6432;
const APP = { user: 'app', database: 'app', password: 'app-password' } as const;

const database = usePostgres({ authentication: { hostnossl: 'scram-sha-256' } });

const berths: Berth[] = [];
const folders: string[] = [];

afterEach(async () => {
  for (const berth of berths.splice(0)) if (berth.isRunning) await berth.stop();
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true });
});

function makeFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'berth-test-socket-'));
  folders.push(folder);
  return folder;
}

function socketIn(folder: string, port = PORT): string {
  return `${folder}/.s.PGSQL.${port}`;
}

/** A proxy that listens in `folder`, and on nothing else. */
async function start(folder: string, options: Partial<ConfigurationOptions> = {}): Promise<Berth> {
  return await keep(Berth.start(optionsFor(folder, options)));
}

function optionsFor(folder: string, options: Partial<ConfigurationOptions> = {}): BerthOptions {
  const { proxy = {}, ...others } = options;
  return { database: database(), proxy: { Listen: socketIn(folder), ...proxy }, ...others };
}

async function keep(starting: Promise<Berth>): Promise<Berth> {
  const berth = await starting;
  berths.push(berth);
  return berth;
}

function login(folder: string, options: Partial<typeof APP> = {}): Promise<RawClient> {
  return RawClient.login({ socketDirectory: folder, port: PORT }, { ...APP, ...options });
}

/** What a proxy says that ends because it cannot listen. */
async function refusal(options: BerthOptions): Promise<string> {
  const berth = Berth.launch(options);
  try {
    expect(await within(berth.ended, 'the refusal')).toEqual({ code: 1, signal: null });
    return berth
      .logged('unstructured')
      .map(({ msg }) => msg)
      .join('\n');
  } finally {
    await berth.kill();
  }
}

describe('clients', () => {
  testWith('psql', 'psql finds it by its folder and port', async () => {
    const folder = makeFolder();
    await start(folder);
    const sql = 'SELECT current_user';
    for (const mode of ['disable', 'prefer', 'require']) {
      const environment = { PGSSLMODE: mode };
      const result = await psql(sql, { host: folder, port: PORT, environment });
      expect(result).toEqual({ code: 0, stdout: 'app\n', stderr: '' });
    }
    const wrong = await psql(sql, { host: folder, port: PORT, password: 'wrong' });
    expect(wrong.stderr).toContain('The password that was provided for the role app is wrong');
    berths[0]?.expectLog('client.authentication_failed');
  });

  test('node-postgres and postgres.js do, too', async () => {
    const folder = makeFolder();
    await start(folder);
    const client = new pg.Client({ ...APP, host: folder, port: PORT });
    await client.connect();
    expect((await client.query('SELECT $1::int AS n', [7])).rows).toEqual([{ n: 7 }]);
    await client.end();
    const sql = postgres({ ...APP, host: folder, port: PORT, max: 1 });
    expect(Array.from(await sql`SELECT ${7}::int AS n`)).toEqual([{ n: 7 }]);
    await sql.end();
  });

  test('are [local] wherever an address is shown', async () => {
    const folder = makeFolder();
    const berth = await start(folder);
    using _client = await login(folder);
    expect(berth.logged('client.connected')).toMatchObject([
      { msg: 'A new client connected from [local].' },
    ]);
    const { sessions } = (await (await berth.fetch('/sessions')).json()) as { sessions: unknown };
    expect(sessions).toMatchObject([{ client_address: '[local]', tls: false }]);
    expect(berth.logged('endpoint.listening')).toMatchObject([
      { level: 'info', msg: `The endpoint listens on ${socketIn(folder)}.` },
    ]);
  });

  test('are told that there is no TLS, and go on without', async () => {
    const folder = makeFolder();
    const berth = await start(folder);
    const address = { socketDirectory: folder, port: PORT };
    using asking = await RawClient.connect(address);
    expect(await asking.requestEncryption(frontend.sslRequest())).toBe('N');
    await asking.logIn(APP);
    expect(textRows(await asking.query('SELECT 1'))).toEqual([['1']]);
    using direct = await RawClient.connect(address);
    direct.send(Buffer.from([0x16, 3, 1, 0, 5, 1, 0, 0, 1, 0]));
    expect(await direct.untilClosed()).toEqual([]);
    berth.expectLog(
      ({ event, reason }) => event === 'client.closed' && reason === 'protocol_violation',
    );
  });

  test('cancel what they run', async () => {
    const folder = makeFolder();
    await start(folder);
    using client = await login(folder);
    client.send(frontend.query('select pg_sleep(60)'));
    await untilRunning(database(), 'pg_sleep(60)');
    await client.cancel();
    expect(sqlStates(await client.untilReady())).toEqual(['57014']);
    expect(textRows(await client.query('SELECT 1'))).toEqual([['1']]);
  });

  test('may read slowly, and may vanish', async () => {
    const folder = makeFolder();
    const berth = await start(folder, { pool: { MaxConnections: 1 } });
    const rows = 20_000;
    const large = `SELECT repeat('x', 1000) FROM generate_series(1, ${rows})`;
    using slow = await login(folder);
    slow.pause();
    slow.send(frontend.query(large));
    await untilMetric(berth, 'database_connections_currently_borrowed', 1);
    // The one connection waits for whoever reads.
    await eventually(async () => {
      const waiting = "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'ClientWrite'";
      return (await adminQuery(database(), waiting)).length > 0 || undefined;
    }, 'the database waits for the client');
    slow.resume();
    expect(textRows(await slow.untilReady())).toHaveLength(rows);
    const gone = await login(folder);
    gone.pause();
    gone.send(frontend.query(large));
    await untilMetric(berth, 'database_connections_currently_borrowed', 1);
    gone.destroy();
    await untilMetric(berth, 'client_connections', 1);
    expect(textRows(await slow.query('SELECT 1'))).toEqual([['1']]);
  });
});

describe('RequireTLS and client certificates', () => {
  test('concern endpoints on TCP only', async () => {
    const folder = makeFolder();
    const { certificate } = await TestAuthority.make();
    const berth = await keep(
      Berth.start({
        ...optionsFor(folder, {
          proxy: {
            RequireTLS: true,
            Endpoints: [{ DBProxyEndpointName: 'tcp', Listen: '127.0.0.1:0' }],
          },
          file: { Tls: { ClientCAFile: 'clients.crt', ClientCertificate: 'REQUIRED' } },
        }),
        files: { 'clients.crt': certificate },
      }),
    );
    using client = await login(folder);
    expect(textRows(await client.query('SELECT 1'))).toEqual([['1']]);
    const refused = await berth.login({ port: berth.ports[1] ?? 0 }).catch((error) => error);
    expect(refused).toBeInstanceOf(LoginError);
    expect(refused).toMatchObject({ sqlState: '28000' });
  });
});

describe('the file', () => {
  test('is for everybody, and gone as soon as the proxy drains', async () => {
    const folder = makeFolder();
    const berth = await start(folder);
    const stats = statSync(socketIn(folder));
    expect(stats.isSocket()).toBe(true);
    expect((stats.mode & 0o777).toString(8)).toBe('777');
    using client = await login(folder);
    await client.query('BEGIN');
    berth.signal('SIGTERM');
    await berth.untilLogged('endpoint.closed');
    expect(existsSync(socketIn(folder))).toBe(false);
    // Who is there already finishes.
    expect(textRows(await client.query('SELECT 1'))).toEqual([['1']]);
    client.send(frontend.query('COMMIT'));
    expect(sqlStates(await client.untilClosed())).toEqual(['57P01']);
    expect(await berth.ended).toEqual({ code: 0, signal: null });
  });

  test('of a process that was killed is replaced', async () => {
    const folder = makeFolder();
    const killed = await start(folder);
    await killed.kill();
    expect(existsSync(socketIn(folder))).toBe(true);
    await start(folder);
    using client = await login(folder);
    expect(textRows(await client.query('SELECT 1'))).toEqual([['1']]);
  });

  test('of a process that lives is in use, and stays', async () => {
    const folder = makeFolder();
    await start(folder);
    expect(await refusal(optionsFor(folder))).toContain(
      `DBProxies[0].Listen: cannot listen on ${socketIn(folder)}: address in use`,
    );
    using client = await login(folder);
    expect(textRows(await client.query('SELECT 1'))).toEqual([['1']]);
  });

  test('of a process that lives but has no time to accept is in use, too', async () => {
    const folder = makeFolder();
    const path = socketIn(folder);
    const script = `Bun.listen({ unix: ${JSON.stringify(path)}, socket: { data() {} } })`;
    const busy = Bun.spawn([process.execPath, '-e', script], {
      stdio: ['ignore', 'ignore', 'inherit'],
    });
    const clients: Socket[] = [];
    try {
      await eventually(() => existsSync(path) || undefined, 'the process listens');
      busy.kill('SIGSTOP');
      while (await connects(path, clients));
      expect(await refusal(optionsFor(folder))).toContain(`${path}: address in use`);
      expect(existsSync(path)).toBe(true);
    } finally {
      for (const client of clients) client.destroy();
      busy.kill('SIGKILL');
      await busy.exited;
    }
  });

  test('that is no socket stays, and so does a folder that is not there', async () => {
    const folder = makeFolder();
    writeFileSync(socketIn(folder), 'important');
    expect(await refusal(optionsFor(folder))).toContain(`${socketIn(folder)}: not a socket`);
    expect(statSync(socketIn(folder)).size).toBe(9);
    const nowhere = join(folder, 'nowhere');
    expect(await refusal(optionsFor(nowhere))).toContain(`${socketIn(nowhere)}: no such folder`);
    const inFile = socketIn(folder);
    expect(await refusal(optionsFor(inFile))).toContain(`${socketIn(inFile)}: no such folder`);
  });
});

describe('a reload', () => {
  test('moves an endpoint to a Unix socket, to another and back, and disconnects nobody', async () => {
    const [one, two] = [makeFolder(), makeFolder()];
    const berth = await keep(Berth.start({ database: database() }));
    const { port } = berth;
    const [usual = {}] = berth.configuration.DBProxies;
    const reload = (Listen: string) =>
      berth.reload({ ...berth.configuration, DBProxies: [{ ...usual, Listen }] });
    using tcp = await berth.login();
    await reload(socketIn(one));
    await expect(RawClient.connect({ port })).rejects.toThrow();
    using first = await login(one);
    // Left behind by a process that was killed, while this one runs.
    const killed = await start(two);
    await killed.kill();
    await reload(socketIn(two));
    expect(existsSync(socketIn(one))).toBe(false);
    using second = await login(two);
    // The same address again is not another one.
    await berth.reload({
      ...berth.configuration,
      DBProxies: [{ ...usual, Listen: socketIn(two), RequireTLS: true }],
    });
    expect(berth.logged('endpoint.listening')).toHaveLength(3);
    await reload(`127.0.0.1:${port}`);
    expect(existsSync(socketIn(two))).toBe(false);
    using last = await berth.login();
    for (const client of [tcp, first, second, last]) {
      expect(textRows(await client.query('SELECT 1'))).toEqual([['1']]);
    }
  });

  test('to a Unix socket in use leaves the process with what it can do, and tells', async () => {
    const folder = makeFolder();
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(socketIn(folder), resolve));
    try {
      const configuration = makeConfiguration({ database: database() });
      const berth = await keep(
        Berth.start({ configuration, expect: ['configuration.incomplete'] }),
      );
      const [usual = {}] = berth.configuration.DBProxies;
      const Listen = socketIn(folder);
      berth.writeFile(
        'berth.yaml',
        JSON.stringify({ ...berth.configuration, DBProxies: [{ ...usual, Listen }] }),
      );
      berth.signal('SIGHUP');
      const [line] = await berth.untilLogged('configuration.incomplete');
      expect(line?.msg).toContain(`cannot listen on ${Listen}: address in use`);
      expect(existsSync(Listen)).toBe(true);
    } finally {
      server.close();
    }
  });
});

/** Whether one more client gets into the queue of those that wait to be accepted. */
function connects(path: string, clients: Socket[]): Promise<boolean> {
  return new Promise((resolve) => {
    const client = connect(path, () => resolve(true));
    client.on('error', () => resolve(false));
    clients.push(client);
  });
}
