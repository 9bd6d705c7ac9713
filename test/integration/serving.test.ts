/** `berth serve` and `berth check` on whole configurations: several of everything, and files that are wrong. */

import { afterEach, describe, expect, setDefaultTimeout, test } from 'bun:test';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { textRows } from '../harness/backend-messages.ts';
import { Berth, type BerthOptions } from '../harness/berth.ts';
import { type Configuration, makeConfiguration } from '../harness/configuration.ts';
import { usePostgres } from '../harness/postgres.ts';
import { RawClient } from '../harness/raw-client.ts';

setDefaultTimeout(20_000);

const LAUNCHER = join(import.meta.dir, '..', '..', 'bin', 'berth');

const database = usePostgres({ authentication: { hostnossl: 'scram-sha-256' } });

/** How the file names a variable of the environment. */
const variable = (name: string): string => `\${${name}}`;

const berths: Berth[] = [];
async function start(options: BerthOptions): Promise<Berth> {
  const berth = await Berth.start(options);
  berths.push(berth);
  return berth;
}

afterEach(async () => {
  for (const berth of berths.splice(0)) await berth.stop();
});

const WHO = 'SELECT current_user, current_database()';

describe('several', () => {
  test('users and databases of one proxy, each in a pool of its own', async () => {
    const berth = await start({ database: database(), pool: { MaxConnections: 4 } });
    const logins = ['app', 'other'].flatMap((user) =>
      ['app', 'second'].map((name) => ({ user, database: name })),
    );
    for (const login of logins) {
      using client = await berth.login(login);
      expect(textRows(await client.query(WHO))).toEqual([[login.user, login.database]]);
    }
    // And at once, as often as there are connections.
    const clients = await Promise.all(logins.map((login) => berth.login(login)));
    for (const [index, client] of clients.entries()) {
      const { user, database: name } = logins[index] ?? {};
      await client.query('BEGIN');
      expect(textRows(await client.query(WHO))).toEqual([[user ?? '', name ?? '']]);
    }
    expect(await berth.metric('database_connections')).toBe(4);
    for (const client of clients) {
      await client.query('COMMIT');
      await client.end();
    }
  });

  test('a limit smaller than the number of users still serves each of them', async () => {
    const berth = await start({ database: database(), pool: { MaxConnections: 1 } });
    const [app, other] = await Promise.all([berth.login(), berth.login({ user: 'other' })]);
    for (let round = 0; round < 3; round++) {
      expect(textRows(await app.query(WHO))).toEqual([['app', 'app']]);
      expect(textRows(await other.query(WHO))).toEqual([['other', 'app']]);
      expect(await berth.metric('database_connections')).toBeLessThanOrEqual(1);
    }
    for (const client of [app, other]) await client.end();
  });

  test('proxies of one process: own users, own limits, own metrics', async () => {
    const configuration = makeConfiguration({ database: database() });
    const [orders = {}] = configuration.DBProxies;
    const group = { DBInstanceIdentifiers: ['orders-db'] };
    const berth = await start({
      configuration: {
        ...configuration,
        DBProxies: [
          orders,
          {
            ...orders,
            DBProxyName: 'reports',
            Auth: [{ SecretArn: 'other' }],
            TargetGroup: { ...group, ConnectionPoolConfig: { MaxConnections: 1 } },
          },
        ],
      },
      expect: ['client.authentication_failed'],
    });
    const [first = 0, second = 0] = berth.ports;
    using one = await berth.login({ port: first });
    using two = await berth.login({ port: second, user: 'other' });
    expect(textRows(await one.query(WHO))).toEqual([['app', 'app']]);
    expect(textRows(await two.query(WHO))).toEqual([['other', 'app']]);
    await expect(berth.login({ port: second })).rejects.toMatchObject({ sqlState: '28P01' });
    const limit = 'max_database_connections_allowed';
    expect(await berth.metric(limit, { proxy: 'reports' })).toBe(1);
    expect(await berth.metric(limit, { proxy: 'orders' })).toBe(4);
    expect(await berth.metric('client_connections', { proxy: 'reports' })).toBe(1);
  });

  test('endpoints of one proxy share its pools and count for themselves', async () => {
    const berth = await start({
      database: database(),
      pool: { MaxConnections: 1 },
      proxy: { Endpoints: [{ DBProxyEndpointName: 'extra', Listen: '127.0.0.1:0' }] },
    });
    const [usual = 0, extra = 0] = berth.ports;
    using one = await berth.login({ port: usual });
    using two = await berth.login({ port: extra });
    const pid = 'SELECT pg_backend_pid()';
    expect(textRows(await one.query(pid))).toEqual(textRows(await two.query(pid)));
    expect(await berth.metric('client_connections', { endpoint: 'extra' })).toBe(1);
    expect(await berth.metric('client_connections')).toBe(2);
  });

  test('secrets from the environment, which appear nowhere', async () => {
    const configuration = makeConfiguration({ database: database() });
    const berth = await start({
      configuration: {
        ...configuration,
        Secrets: [
          { Name: 'app', SecretString: { username: 'app', password: variable('APP_PASSWORD') } },
          { Name: 'other', SecretString: variable('OTHER_SECRET') },
        ],
      },
      environment: {
        APP_PASSWORD: 'app-password',
        OTHER_SECRET: '{"username":"other","password":"other-password","port":5432}',
      },
      logLevel: 'trace',
    });
    for (const user of ['app', 'other']) {
      using client = await berth.login({ user });
      expect(textRows(await client.query('SELECT current_user'))).toEqual([[user]]);
    }
    const metrics = await (await berth.fetch('/metrics')).text();
    for (const text of [berth.logText, metrics]) {
      expect(text).not.toContain('app-password');
      expect(text).not.toContain('other-password');
    }
  });

  test('an IPv6 address and a host name to listen on', async () => {
    const berth = await start({
      database: database(),
      proxy: {
        Listen: '[::1]:0',
        Endpoints: [{ DBProxyEndpointName: 'named', Listen: 'localhost:0' }],
      },
    });
    const [six = 0, named = 0] = berth.ports;
    const options = { user: 'app', password: 'app-password', database: 'app' };
    using one = await RawClient.login({ host: '::1', port: six }, options);
    using two = await RawClient.login({ host: 'localhost', port: named }, options);
    for (const client of [one, two]) {
      expect(textRows(await client.query('SELECT 1'))).toEqual([['1']]);
    }
  });
});

describe('files and addresses that are wrong', () => {
  interface Ended {
    readonly code: number | null;
    readonly output: string;
  }

  /** Runs a command of `berth` to its end. */
  async function run(command: string, configuration: string | Configuration): Promise<Ended> {
    const folder = mkdtempSync(join(tmpdir(), 'berth-test-'));
    try {
      const file = join(folder, 'berth.yaml');
      const isText = typeof configuration === 'string';
      writeFileSync(file, isText ? configuration : JSON.stringify(configuration));
      const child = Bun.spawn([LAUNCHER, command, '--config', file], {
        stdout: 'pipe',
        stderr: 'pipe',
        env: { PATH: process.env.PATH ?? '' },
      });
      const [out, err, code] = await Promise.all([
        new Response(child.stdout).text(),
        new Response(child.stderr).text(),
        child.exited,
      ]);
      return { code, output: out + err };
    } finally {
      rmSync(folder, { recursive: true });
    }
  }

  async function takenPort(): Promise<{ port: number; [Symbol.dispose](): void }> {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const address = server.address();
    const port = typeof address === 'object' && address !== null ? address.port : 0;
    return { port, [Symbol.dispose]: () => server.close() };
  }

  test('a port in use: exit code 1 and one message that names it', async () => {
    using taken = await takenPort();
    const configuration = makeConfiguration({
      database: database(),
      proxy: { Listen: `127.0.0.1:${taken.port}` },
    });
    const { Api: _, ...withoutApi } = configuration;
    const { code, output } = await run('serve', withoutApi as Configuration);
    expect(code).toBe(1);
    const messages = output.split('\n').filter((line) => line !== '' && !line.startsWith('{'));
    expect(messages).toHaveLength(1);
    expect(messages[0]).toContain('DBProxies[0]');
    expect(messages[0]).toContain(`127.0.0.1:${taken.port}`);
    expect(messages[0]).toContain('in use');
  });

  test('the port of an endpoint or of the API in use: the same', async () => {
    using taken = await takenPort();
    const Listen = `127.0.0.1:${taken.port}`;
    const proxy = { Endpoints: [{ DBProxyEndpointName: 'extra', Listen }] };
    const wrong = [
      { ...makeConfiguration({ database: database(), proxy }), Api: undefined },
      makeConfiguration({ database: database(), file: { Api: { Listen } } }),
    ];
    for (const configuration of wrong) {
      const { code, output } = await run('serve', configuration as unknown as Configuration);
      expect(code).toBe(1);
      expect(output).toContain(Listen);
      expect(output).not.toContain('    at ');
    }
  });

  test('an address that this machine does not have: exit code 1', async () => {
    const proxy = { Listen: '192.0.2.1:6432' };
    const { code, output } = await run('serve', makeConfiguration({ database: database(), proxy }));
    expect(code).toBe(1);
    expect(output).toContain('192.0.2.1:6432');
  });

  const usual = () => makeConfiguration({ database: database() });
  const wrong: readonly (readonly [string, () => string | Configuration, string])[] = [
    ['is not YAML', () => 'DBProxies: [', 'berth.yaml'],
    ['is empty', () => '', 'berth.yaml'],
    ['has an unknown key', () => ({ ...usual(), NoSuchKey: 1 }), 'NoSuchKey'],
    [
      'has a wrong type',
      () => makeConfiguration({ database: database(), pool: { MaxConnections: 'many' } }),
      'MaxConnections',
    ],
    ['misses a secret', () => ({ ...usual(), Secrets: [] }), 'Secrets'],
    [
      'names a variable that is not set',
      () => ({ ...usual(), Region: variable('BERTH_TEST_NOT_SET') }),
      'BERTH_TEST_NOT_SET',
    ],
    [
      'has the same name twice',
      () => {
        const configuration = usual();
        const [orders = {}] = configuration.DBProxies;
        return { ...configuration, DBProxies: [orders, orders] };
      },
      'DBProxyName',
    ],
  ];
  for (const [what, configuration, mention] of wrong) {
    test(`a file that ${what}: exit code 2 and a message, for serve and for check`, async () => {
      for (const command of ['serve', 'check']) {
        const { code, output } = await run(command, configuration());
        expect(`${command} ${code}`).toBe(`${command} 2`);
        expect(output).toContain(mention);
        expect(output).not.toContain('    at ');
      }
    });
  }

  test('no such file: exit code 2', async () => {
    const child = Bun.spawn([LAUNCHER, 'serve', '--config', '/nonexistent/berth.yaml'], {
      stdout: 'ignore',
      stderr: 'pipe',
    });
    expect(await child.exited).toBe(2);
    expect(await new Response(child.stderr).text()).toContain('/nonexistent/berth.yaml');
  });

  test('check: 0 when every target answers every user, 1 when one does not', async () => {
    const right = await run('check', usual());
    expect(right.code).toBe(0);
    for (const text of ['orders-db', 'app', 'other', 'PostgreSQL 18']) {
      expect(right.output).toContain(text);
    }
    const users = [
      { name: 'app', password: 'password-that-is-wrong' },
      { name: 'other', password: 'other-password' },
    ];
    const failing = await run('check', makeConfiguration({ database: database(), users }));
    expect(failing.code).toBe(1);
    expect(failing.output).toContain('28P01');
    expect(failing.output).toContain('1 of 2 logins failed');
    expect(failing.output).not.toContain('password-that-is-wrong');
  });
});
