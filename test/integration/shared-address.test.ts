/** Endpoints that share an address: clients are told apart by the host name of their TLS handshake. */

import { describe, expect, setDefaultTimeout, test } from 'bun:test';
import { dirname, join } from 'node:path';
import type { ConnectionOptions, TLSSocket } from 'node:tls';
import {
  CreateDBProxyCommand,
  CreateDBProxyEndpointCommand,
  DeleteDBProxyCommand,
  DescribeDBProxyTargetsCommand,
  ModifyDBProxyCommand,
  RegisterDBProxyTargetsCommand,
} from '@aws-sdk/client-rds';
import { z } from 'zod';
import { untilRunning } from '../faults/activity.ts';
import { formatMessage, sqlStates, textRows } from '../harness/backend-messages.ts';
import { type Berth, useBerth } from '../harness/berth.ts';
import * as frontend from '../harness/frontend-messages.ts';
import { useMysqlBerths } from '../harness/mysql/berth.ts';
import { clientOf, runClient } from '../harness/mysql/programs.ts';
import { MysqlRawClient } from '../harness/mysql/raw-client.ts';
import { describeServers, loginOf, useMysql } from '../harness/mysql/server.ts';
import { eventually } from '../harness/polling.ts';
import { usePostgres } from '../harness/postgres.ts';
import { psql, testWith } from '../harness/programs.ts';
import { RawClient } from '../harness/raw-client.ts';
import { randomRange, rdsClient } from '../harness/rds.ts';

setDefaultTimeout(60_000);

const HOST = randomRange().replace('0/24', '7');
const APP = { user: 'app', password: 'app-password', database: 'app' };
const VpcSubnetIds = ['subnet-a', 'subnet-b'];

/** A proxy that listens on `listen`. Returns its host name. */
async function newProxy(
  berth: Berth,
  DBProxyName: string,
  { listen, family }: { readonly listen: string; readonly family: 'POSTGRESQL' | 'MYSQL' },
): Promise<string> {
  const rds = rdsClient(berth);
  const { DBProxy } = await rds.send(
    new CreateDBProxyCommand({
      DBProxyName,
      EngineFamily: family,
      RoleArn: 'arn:aws:iam::123456789012:role/berth',
      VpcSubnetIds,
      Auth: [{ SecretArn: 'app' }],
      Tags: [{ Key: 'berth:listen', Value: listen }],
    }),
  );
  const DBInstanceIdentifiers = ['orders-db'];
  await rds.send(new RegisterDBProxyTargetsCommand({ DBProxyName, DBInstanceIdentifiers }));
  await eventually(async () => {
    const { Targets } = await rds.send(new DescribeDBProxyTargetsCommand({ DBProxyName }));
    return Targets?.[0]?.TargetHealth?.State === 'AVAILABLE' ? true : undefined;
  }, `${DBProxyName} is available`);
  const token = /db-proxy:prx-(\w{12})/.exec(DBProxy?.DBProxyArn ?? '')?.[1];
  return `${DBProxyName}.proxy-${token}.us-east-1.berth.internal`;
}

const SESSIONS = z.object({
  sessions: z.array(
    z.object({ proxy: z.string(), endpoint: z.string(), client_address: z.string() }),
  ),
});

async function sessionsOf(berth: Berth) {
  return SESSIONS.parse(await (await berth.fetch('/sessions')).json()).sessions;
}

/** Whose client it is. */
async function proxyOf(berth: Berth, clientAddress: string): Promise<string> {
  const sessions = await sessionsOf(berth);
  const found = sessions.find(({ client_address: address }) => address === clientAddress);
  return `${found?.proxy}/${found?.endpoint}`;
}

const addressOf = ({ localAddress, localPort }: TLSSocket) => `${localAddress}:${localPort}`;

describe('of PostgreSQL', () => {
  const database = usePostgres();
  const berth = useBerth(() => ({
    database: database(),
    file: {
      StateDirectory: 'state',
      DrainTimeout: 1,
      Api: { Listen: '127.0.0.1:0', AllowAnonymous: true, EndpointRange: randomRange() },
      SecurityGroups: [{ GroupId: 'sg-closed', CidrIps: ['10.0.0.0/8'] }],
    },
    expect: ['proxy.stopped', 'client.denied'],
  }));
  const listen = `${HOST}:5432`;
  const names = { red: '', blue: '', extra: '' };

  async function connect(tls: ConnectionOptions): Promise<{ client: RawClient; proxy: string }> {
    const client = await RawClient.connect({ host: HOST, port: 5432 });
    const socket = await client.startTls(tls);
    await client.logIn(APP);
    return { client, proxy: await proxyOf(berth(), addressOf(socket)) };
  }

  test('the name says which one', async () => {
    names.red = await newProxy(berth(), 'red', { listen, family: 'POSTGRESQL' });
    // Alone, it asks for no name.
    using alone = await RawClient.login({ host: HOST, port: 5432 }, APP);
    expect(textRows(await alone.query('select 1'))).toEqual([['1']]);
    names.blue = await newProxy(berth(), 'blue', { listen, family: 'POSTGRESQL' });
    const { DBProxyEndpoint } = await rdsClient(berth()).send(
      new CreateDBProxyEndpointCommand({
        DBProxyName: 'red',
        DBProxyEndpointName: 'extra',
        VpcSubnetIds,
        Tags: [{ Key: 'berth:listen', Value: listen }],
      }),
    );
    names.extra = DBProxyEndpoint?.Endpoint ?? '';
    expect(names.extra).toBe(names.red.replace('red.', 'extra.endpoint.'));
    for (const [servername, expected] of [
      [names.blue, 'blue/default'],
      [names.red.toUpperCase(), 'red/default'],
      [names.extra, 'red/extra'],
    ] as const) {
      const { client, proxy } = await connect({ servername });
      using _ = client;
      expect(proxy).toBe(expected);
      expect(textRows(await client.query('select 42'))).toEqual([['42']]);
    }
    expect(textRows(await alone.query('select 2'))).toEqual([['2']]);
  });

  test('each shows a certificate of its own', async () => {
    for (const servername of [names.red, names.blue]) {
      using client = await RawClient.connect({ host: HOST, port: 5432 });
      const socket = await client.startTls({ servername });
      expect(socket.getPeerCertificate().subjectaltname).toContain(
        `DNS:*.${servername.replace(/^\w+\./, '')}`,
      );
    }
  });

  test('TLS at once, and a request for GSS before it', async () => {
    using direct = await RawClient.connect({ host: HOST, port: 5432 });
    const options = { servername: names.blue, ALPNProtocols: ['postgresql'] };
    const socket = await direct.handshake(options);
    await direct.logIn(APP);
    expect(await proxyOf(berth(), addressOf(socket))).toBe('blue/default');
    using second = await RawClient.connect({ host: HOST, port: 5432 });
    expect(await second.requestEncryption(frontend.gssEncRequest())).toBe('N');
    await second.startTls({ servername: names.red });
    await second.logIn(APP);
    expect(textRows(await second.query('select 42'))).toEqual([['42']]);
  });

  test.each([
    ['without TLS', undefined],
    ['without a name', {}],
    ['with a name that nobody has', { servername: 'other.example' }],
  ])('who comes %s is told what is missing', async (_what, tls) => {
    using client = await RawClient.connect({ host: HOST, port: 5432 });
    if (tls !== undefined) await client.startTls(tls);
    else client.send(frontend.startup(APP));
    const [message] = await client.untilClosed();
    expect(message === undefined ? '' : formatMessage(message)).toContain('C="08004"');
    await berth().untilLogged('client.unplaced');
  });

  test.each([
    ['nothing', Buffer.alloc(0)],
    ['nonsense', Buffer.from('GET / HTTP/1.1\r\n\r\n')],
    [
      'plain text behind the request for TLS',
      Buffer.concat([frontend.sslRequest(), frontend.startup(APP)]),
    ],
    ['a handshake that is none', Buffer.from([0x16, 3, 1, 0, 4, 2, 0, 0, 0])],
  ])('who sends %s leaves nothing behind', async (_what, bytes) => {
    const count = berth().logged('client.unplaced').length;
    const client = await RawClient.connect({ host: HOST, port: 5432 });
    if (bytes.length > 0) {
      client.send(bytes);
      await client.untilClosed();
    }
    client.destroy();
    await berth().untilLogged('client.unplaced', count + 1);
  });

  test('a cancel request finds its session, with and without TLS', async () => {
    for (const servername of [names.red, names.blue]) {
      const { client } = await connect({ servername });
      using session = client;
      session.send(frontend.query('select pg_sleep(60)'));
      await untilRunning(database(), 'pg_sleep(60)');
      await session.cancel();
      expect(sqlStates(await session.untilReady())).toEqual(['57014']);
      session.send(frontend.query('select pg_sleep(61)'));
      await untilRunning(database(), 'pg_sleep(61)');
      using messenger = await RawClient.connect({ host: HOST, port: 5432 });
      await messenger.startTls({ servername });
      messenger.send(frontend.cancelRequest(session.backendPid, session.backendSecret));
      await messenger.untilClosed();
      expect(sqlStates(await session.untilReady())).toEqual(['57014']);
    }
  });

  testWith('psql', 'psql verifies the name', async () => {
    const environment = {
      PGHOSTADDR: HOST,
      PGSSLMODE: 'verify-full',
      PGSSLROOTCERT: join(dirname(berth().configurationFile), 'state', 'ca.crt'),
    };
    for (const host of Object.values(names)) {
      const result = await psql('select 42', { ...APP, host, port: 5432, environment });
      expect(result).toMatchObject({ code: 0, stdout: '42\n' });
    }
  });

  test('security groups are those of the endpoint that is named', async () => {
    const rds = rdsClient(berth());
    const modify = (SecurityGroups: string[]) =>
      rds.send(new ModifyDBProxyCommand({ DBProxyName: 'blue', SecurityGroups }));
    await modify(['sg-closed']);
    await expect(connect({ servername: names.blue })).rejects.toThrow();
    const { client, proxy } = await connect({ servername: names.red });
    client.destroy();
    expect(proxy).toBe('red/default');
    await modify([]);
  });

  test('when one goes the others stay, and the last one needs no name', async () => {
    const rds = rdsClient(berth());
    const { client } = await connect({ servername: names.blue });
    using blue = client;
    await rds.send(new DeleteDBProxyCommand({ DBProxyName: 'red' }));
    expect(textRows(await blue.query('select 42'))).toEqual([['42']]);
    using last = await RawClient.login({ host: HOST, port: 5432 }, APP);
    expect(textRows(await last.query('select 42'))).toEqual([['42']]);
    await rds.send(new DeleteDBProxyCommand({ DBProxyName: 'blue' }));
    await expect(RawClient.connect({ host: HOST, port: 5432 })).rejects.toThrow();
  });
});

describeServers('endpoints that share an address,', (server) => {
  const database = useMysql(server);
  const start = useMysqlBerths(database);
  const client = clientOf(server);

  test('the name says which one', async () => {
    const Api = { Listen: '127.0.0.1:0', AllowAnonymous: true, EndpointRange: randomRange() };
    const berth = await start({ file: { StateDirectory: 'state', Api } });
    const listen = `${HOST}:3306`;
    const place = { host: HOST, port: 3306 };
    const red = await newProxy(berth, 'red', { listen, family: 'MYSQL' });
    const blue = await newProxy(berth, 'blue', { listen, family: 'MYSQL' });
    for (const servername of [red, blue, red]) {
      using session = await MysqlRawClient.login(place, { ...loginOf('app'), tls: { servername } });
      expect(await session.rows('select 42')).toEqual([['42']]);
      const sessions = await sessionsOf(berth);
      expect(sessions.map(({ proxy }) => proxy)).toEqual([servername === red ? 'red' : 'blue']);
      session.destroy();
      await eventually(
        async () => ((await berth.metric('client_connections')) === 0 ? true : undefined),
        'the client is gone',
      );
    }
    if (server.product === 'MySQL' && client !== undefined) {
      const ca = join(dirname(berth.configurationFile), 'state', 'ca.crt');
      const tls = ['--ssl-mode=VERIFY_IDENTITY', `--ssl-ca=${ca}`];
      const where = [`--host=${HOST}`, '--port=3306', '--user=app', ...tls];
      const ask = (...args: string[]) =>
        runClient(client, [...where, ...args, '--execute=select 42'], 'app-password');
      for (const name of [red, blue]) {
        expect(await ask(`--tls-sni-servername=${name}`)).toMatchObject({
          code: 0,
          stdout: '42\n',
        });
      }
      const unnamed = await ask();
      expect(unnamed.code).not.toBe(0);
      expect(unnamed.stderr).toContain('Several endpoints of RDS Proxy listen on this address');
    }
    for (const tls of [undefined, {}, { servername: 'other.example' }]) {
      const login = MysqlRawClient.login(place, { ...loginOf('app'), ...(tls && { tls }) });
      const refusal = await login.catch((error: unknown) => String(error));
      expect(refusal).toContain('Several endpoints of RDS Proxy listen on this address');
    }
  });
});
