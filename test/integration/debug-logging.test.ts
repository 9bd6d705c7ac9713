/** DebugLogging: what a proxy tells of its clients while it is on, that no value is in it, and when it ends. */

import { Database } from 'bun:sqlite';
import { afterAll, describe, expect, setDefaultTimeout, test } from 'bun:test';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  CreateDBProxyCommand,
  DescribeDBProxiesCommand,
  ModifyDBProxyCommand,
} from '@aws-sdk/client-rds';
import { createConnection } from 'mysql2/promise';
import { Client } from 'pg';
import { Berth, type LogLine, useBerth } from '../harness/berth.ts';
import { makeMysqlConfiguration } from '../harness/mysql/configuration.ts';
import { describeServers, useMysql } from '../harness/mysql/server.ts';
import { usePostgres } from '../harness/postgres.ts';
import { randomRange, rdsClient } from '../harness/rds.ts';

setDefaultTimeout(30_000);

const DAY_MS = 24 * 3_600_000;
const SECRET = 'canary-in-a-statement';
const DETAILS = [
  'connection.borrowed',
  'statement.sent',
  'request.answered',
  'connection.returned',
];

const stateDirectory = mkdtempSync(join(tmpdir(), 'berth-debug-'));
afterAll(() => rmSync(stateDirectory, { recursive: true }));
const database = usePostgres();
const options = (DebugLogging: boolean, StateDirectory: string) => ({
  database: database(),
  proxy: { DebugLogging },
  file: {
    StateDirectory,
    Api: { Listen: '127.0.0.1:0', AllowAnonymous: true, EndpointRange: randomRange() },
  },
  // As most people have it: what is told beside this is because of DebugLogging.
  logLevel: 'info' as const,
});
const berth = useBerth(() => options(true, 'state'));

async function withClient(port: number, work: (client: Client) => Promise<unknown>) {
  const place = { host: '127.0.0.1', port, database: 'app' };
  const client = new Client({ ...place, user: 'app', password: 'app-password' });
  await client.connect();
  await work(client);
  await client.end();
}

/** What was told since `from`, of clients. */
function details(log: readonly LogLine[], from: number) {
  return log.slice(from).filter(({ event }) => DETAILS.includes(event));
}

const digests = (lines: readonly LogLine[]) =>
  lines.filter(({ event }) => event === 'statement.sent').map(({ digest }) => digest);

describe('the statements of PostgreSQL', () => {
  test('are told one by one, with what became of the connection, and without their values', async () => {
    const before = berth().log.length;
    await withClient(berth().port, (client) => client.query(`select '${SECRET}', 42 as answer`));
    await berth().untilLogged(({ event }) => event === 'client.closed');
    const lines = details(berth().log, before);
    expect(lines.map(({ event }) => event)).toEqual(DETAILS);
    const [borrowed, sent, answered] = lines;
    expect(sent).toMatchObject({
      level: 'debug',
      proxy: 'orders',
      endpoint: 'default',
      client_connection: borrowed?.client_connection,
      database_connection: borrowed?.database_connection,
      digest: 'select $1,$2 as answer',
    });
    expect(Number(answered?.duration_ms)).toBeGreaterThan(0);
    expect(berth().logText).not.toContain(SECRET);
  });

  test('also prepared ones, with a name and without, each time that they run', async () => {
    const before = berth().log.length;
    await withClient(berth().port, async (client) => {
      await client.query('select $1::text as unnamed', [SECRET]);
      const named = { name: 'mine', text: 'select $1::text as named', values: [SECRET] };
      await client.query(named);
      await client.query(named);
    });
    const unnamed = 'select $1::text as unnamed';
    const name = 'select $1::text as named';
    await berth().untilLogged(({ digest }) => digest === name, 2);
    expect(digests(details(berth().log, before))).toEqual([unnamed, name, name]);
    expect(berth().logText).not.toContain(SECRET);
  });

  test('and one that is too large to be kept, by its beginning', async () => {
    const large = `select length('${SECRET.repeat(20_000)}') as large`;
    await withClient(berth().port, (client) => client.query(large));
    await berth().untilLogged(({ digest }) => String(digest).startsWith('select length($1'));
    expect(berth().logText).not.toContain(SECRET);
  });

  test('and log-ins, which the level of the log leaves out otherwise', () => {
    for (const event of ['client.connected', 'client.authenticated', 'connection.opened']) {
      expect(berth().logged(event).length).toBeGreaterThan(0);
    }
  });
});

describeServers('the statements', (server) => {
  const mysql = useMysql(server);
  const proxy = useBerth(() => ({
    configuration: makeMysqlConfiguration(mysql(), { proxy: { DebugLogging: true } }),
    logLevel: 'info' as const,
  }));

  test('are told one by one, without their values', async () => {
    const place = { host: '127.0.0.1', port: proxy().port, user: 'app', password: 'app-password' };
    const client = await createConnection({ ...place, database: 'app' });
    await client.query(`select '${SECRET}', 42 as answer`);
    await client.execute('select ? as prepared', [SECRET]);
    await client.execute('select ? as prepared', [SECRET]);
    await client.end();
    await proxy().untilLogged(({ digest }) => digest === 'select ? as prepared', 2);
    const lines = details(proxy().log, 0);
    expect(digests(lines)[0]).toBe('select ?,? as answer');
    expect(new Set(lines.map(({ event }) => event))).toEqual(new Set(DETAILS));
    expect(proxy().logText).not.toContain(SECRET);
  });
});

describe('through the API', () => {
  test('it is switched on and off, for clients that are there already', async () => {
    const rds = rdsClient(berth());
    const DBProxyName = 'made';
    const { DBProxy: created } = await rds.send(
      new CreateDBProxyCommand({
        DBProxyName,
        EngineFamily: 'POSTGRESQL',
        RoleArn: 'arn:aws:iam::000000000000:role/berth',
        VpcSubnetIds: ['subnet-a', 'subnet-b'],
        Auth: [{ SecretArn: 'app' }],
        DebugLogging: true,
      }),
    );
    expect(created?.DebugLogging).toBe(true);
    const modify = async (DebugLogging?: boolean) => {
      const command = new ModifyDBProxyCommand({ DBProxyName, DebugLogging, RequireTLS: false });
      return (await rds.send(command)).DBProxy?.DebugLogging;
    };
    expect(await modify()).toBe(true);
    expect(await modify(false)).toBe(false);
    expect(await modify()).toBe(false);
    expect(await modify(true)).toBe(true);
    const { DBProxies = [] } = await rds.send(new DescribeDBProxiesCommand({}));
    expect(DBProxies.map((each) => [each.DBProxyName, each.DebugLogging])).toEqual([
      ['made', true],
      ['orders', true],
    ]);
  });

  test('a client of a proxy of the file is not told of any more after a reload without it', async () => {
    await withClient(berth().port, async (client) => {
      await client.query('select 1 as before');
      await berth().untilLogged(({ digest }) => digest === 'select $1 as before');
      await berth().reload(withDebugLogging(false));
      await client.query('select 1 as off');
      await berth().reload(withDebugLogging(true));
      await client.query('select 1 as again');
      await berth().untilLogged(({ digest }) => digest === 'select $1 as again');
    });
    expect(berth().logged(({ digest }) => digest === 'select $1 as off')).toEqual([]);
  });
});

function withDebugLogging(DebugLogging: boolean) {
  const { configuration } = berth();
  const DBProxies = configuration.DBProxies.map((proxy) => ({ ...proxy, DebugLogging }));
  return { ...configuration, DBProxies };
}

/** When the proxy of the file ends its debug logging, as the log tells it at the start. */
async function untilOf(proxy: Berth): Promise<string> {
  const [line] = await proxy.untilLogged('proxy.debug_logging');
  return /until (\S+Z)/.exec(line?.msg ?? '')?.[1] ?? '';
}

test('the time at which it ends survives a restart, and then it is off until the file has had it off', async () => {
  const before = Date.now();
  const first = await Berth.start(options(true, stateDirectory));
  const until = await untilOf(first);
  expect(Date.parse(until) - before - DAY_MS).toBeWithin(0, 20_000);
  await first.kill();

  const second = await Berth.start(options(true, stateDirectory));
  expect(await untilOf(second)).toBe(until);
  await second.stop();

  // A day later.
  const state = new Database(join(stateDirectory, 'state.sqlite'));
  const past = new Date(before - 1).toISOString();
  state.run(`update record set body = json_set(body, '$.until', ?1) where kind = 'debug-logging'`, [
    past,
  ]);
  state.close();
  const third = await Berth.start(options(true, stateDirectory));
  await withClient(third.port, (client) => client.query('select 1 as later'));
  const { DBProxies = [] } = await rdsClient(third).send(new DescribeDBProxiesCommand({}));
  expect(DBProxies[0]?.DebugLogging).toBe(false);
  expect(third.logged('proxy.debug_logging')).toEqual([]);
  expect(third.logged('statement.sent')).toEqual([]);
  await third.stop();

  const fourth = await Berth.start(options(false, stateDirectory));
  await fourth.stop();
  const fifth = await Berth.start(options(true, stateDirectory));
  expect(Date.parse(await untilOf(fifth))).toBeGreaterThan(Date.parse(until));
  await fifth.stop();
});
