/** Where endpoints listen, who may connect to them, what they are called, and who vouches for it. */

import { describe, expect, setDefaultTimeout, test } from 'bun:test';
import { dirname, join } from 'node:path';
import {
  CreateDBProxyCommand,
  type CreateDBProxyCommandInput,
  CreateDBProxyEndpointCommand,
  DescribeDBProxiesCommand,
  DescribeDBProxyTargetsCommand,
  ModifyDBProxyCommand,
  ModifyDBProxyEndpointCommand,
  RegisterDBProxyTargetsCommand,
} from '@aws-sdk/client-rds';
import { textRows } from '../harness/backend-messages.ts';
import { type Berth, useBerth } from '../harness/berth.ts';
import { eventually } from '../harness/polling.ts';
import { usePostgres } from '../harness/postgres.ts';
import { psql, testWith } from '../harness/programs.ts';
import { RawClient } from '../harness/raw-client.ts';
import { faultOf, randomRange, rdsClient } from '../harness/rds.ts';

setDefaultTimeout(30_000);

const LAUNCHER = join(import.meta.dir, '..', '..', 'bin', 'berth');
const range = randomRange();
const subnetA = randomRange();
const subnetB = randomRange().replace('/24', '/30');
const database = usePostgres();
const berth = useBerth(() => ({
  database: database(),
  file: {
    StateDirectory: 'state',
    DrainTimeout: 1,
    Api: { Listen: '127.0.0.1:0', AllowAnonymous: true, EndpointRange: range },
    Subnets: [
      { SubnetId: 'subnet-a', CidrBlock: subnetA },
      { SubnetId: 'subnet-b', CidrBlock: subnetB },
    ],
    SecurityGroups: [
      { GroupId: 'sg-closed', CidrIps: ['10.0.0.0/8', 'fd00::/8'] },
      { GroupId: 'sg-loopback', CidrIps: ['127.0.0.0/8'] },
    ],
  },
  expect: ['client.denied', 'proxy.stopped'],
}));
const rds = () => rdsClient(berth());

async function newProxy(
  DBProxyName: string,
  other: Partial<CreateDBProxyCommandInput> = {},
): Promise<string> {
  const { DBProxy } = await rds().send(
    new CreateDBProxyCommand({
      DBProxyName,
      EngineFamily: 'POSTGRESQL',
      RoleArn: 'arn:aws:iam::123456789012:role/berth',
      VpcSubnetIds: ['subnet-x', 'subnet-y'],
      Auth: [{ SecretArn: 'app' }],
      ...other,
    }),
  );
  return DBProxy?.Endpoint ?? '';
}

async function serve(DBProxyName: string): Promise<void> {
  const DBInstanceIdentifiers = ['orders-db'];
  await rds().send(new RegisterDBProxyTargetsCommand({ DBProxyName, DBInstanceIdentifiers }));
  await eventually(async () => {
    const { Targets } = await rds().send(new DescribeDBProxyTargetsCommand({ DBProxyName }));
    return Targets?.[0]?.TargetHealth?.State === 'AVAILABLE' ? true : undefined;
  }, `${DBProxyName} is available`);
}

function login(host: string): Promise<RawClient> {
  const app = { user: 'app', password: 'app-password', database: 'app' };
  return RawClient.login({ host, port: 5432 }, app);
}

async function serves(host: string): Promise<boolean> {
  const client = await login(host).catch(() => undefined);
  if (client === undefined) return false;
  using connected = client;
  expect(textRows(await connected.query('select 42'))).toEqual([['42']]);
  return true;
}

/** What a file says takes effect a moment after it was replaced. */
function untilServes(host: string, expected: boolean): Promise<true> {
  const what = `${host} ${expected ? 'serves' : 'is closed'}`;
  return eventually(async () => ((await serves(host)) === expected ? true : undefined), what);
}

const network = (cidr: string) => cidr.replace(/\.\d+\/\d+$/, '.');

describe('subnets', () => {
  test('say which address an endpoint gets: the first one that has any', async () => {
    expect(await newProxy('usual')).toStartWith(network(range));
    const VpcSubnetIds = ['subnet-b', 'subnet-a'];
    const addresses: string[] = [];
    for (const name of ['one', 'two', 'three']) {
      addresses.push(await newProxy(name, { VpcSubnetIds }));
    }
    const [first = '', second = '', third = ''] = addresses;
    expect(first).toStartWith(network(subnetB));
    expect(second).toStartWith(network(subnetB));
    expect(third).toStartWith(network(subnetA));
    expect(new Set(addresses).size).toBe(3);
    const VpcSubnetIdsOfOne = ['subnet-b', 'subnet-b', 'subnet-b'];
    expect(await faultOf(newProxy('four', { VpcSubnetIds: VpcSubnetIdsOfOne }))).toMatchObject({
      code: 'InvalidSubnet',
    });
    const { DBProxyEndpoint } = await rds().send(
      new CreateDBProxyEndpointCommand({
        DBProxyName: 'one',
        DBProxyEndpointName: 'more',
        VpcSubnetIds: ['subnet-a', 'subnet-b'],
      }),
    );
    expect(DBProxyEndpoint?.Endpoint).toStartWith(network(subnetA));
  });
});

describe('security groups', () => {
  test('say who may connect, at once, and who is connected stays', async () => {
    const host = await newProxy('guarded', { VpcSecurityGroupIds: ['sg-closed'] });
    await serve('guarded');
    expect(await serves(host)).toBe(false);
    expect(await serves(host)).toBe(false);
    const [line] = await berth().untilLogged('client.denied');
    expect(line).toMatchObject({ proxy: 'guarded', endpoint: 'default', level: 'warn' });
    expect(line?.msg).toContain('127.0.0.1');
    const modify = (SecurityGroups: string[]) =>
      rds().send(new ModifyDBProxyCommand({ DBProxyName: 'guarded', SecurityGroups }));
    await modify(['sg-closed', 'sg-loopback']);
    using client = await login(host);
    await modify(['sg-closed']);
    expect(await serves(host)).toBe(false);
    expect(textRows(await client.query('select 43'))).toEqual([['43']]);
    await modify(['sg-that-nobody-has-named']);
    expect(await serves(host)).toBe(true);
    const labels = { proxy: 'guarded', endpoint: 'default' };
    expect(await berth().metric('berth_client_connections_denied_total', labels)).toBe(3);
    expect(await berth().metric('client_connections_received', labels)).toBe(2);
    // A line for all of them.
    expect(
      berth()
        .logged('client.denied')
        .filter(({ proxy }) => proxy === 'guarded'),
    ).toHaveLength(1);
  });

  test('of an endpoint are its own, and change with the file, too', async () => {
    await newProxy('open');
    await serve('open');
    const { DBProxyEndpoint } = await rds().send(
      new CreateDBProxyEndpointCommand({
        DBProxyName: 'open',
        DBProxyEndpointName: 'narrow',
        VpcSubnetIds: ['subnet-x', 'subnet-y'],
        VpcSecurityGroupIds: ['sg-closed'],
      }),
    );
    const host = DBProxyEndpoint?.Endpoint ?? '';
    expect(await serves(host)).toBe(false);
    const { configuration } = berth();
    await berth().reload({
      ...configuration,
      SecurityGroups: [{ GroupId: 'sg-closed', CidrIps: ['127.0.0.0/8'] }],
    } as typeof configuration);
    await untilServes(host, true);
    await berth().reload(configuration);
    await untilServes(host, false);
    await rds().send(
      new ModifyDBProxyEndpointCommand({
        DBProxyEndpointName: 'narrow',
        VpcSecurityGroupIds: ['sg-loopback'],
      }),
    );
    expect(await serves(host)).toBe(true);
  });

  test('of a proxy in the file hold, and without any private addresses may connect', async () => {
    using client = await berth().login();
    expect(textRows(await client.query('select 1'))).toEqual([['1']]);
    const { configuration } = berth();
    const DBProxies = configuration.DBProxies.map((proxy) => ({
      ...proxy,
      VpcSecurityGroupIds: ['sg-closed'],
    }));
    await berth().reload({ ...configuration, DBProxies } as typeof configuration);
    const isOpen = () =>
      berth()
        .login()
        .then((other) => {
          other.destroy();
          return true;
        })
        .catch(() => false);
    await eventually(async () => ((await isOpen()) ? undefined : true), 'nobody may connect');
    expect(textRows(await client.query('select 1'))).toEqual([['1']]);
    await berth().reload(configuration);
    await eventually(async () => ((await isOpen()) ? true : undefined), 'everybody may connect');
  });
});

/** Runs `berth ca` on the configuration of `of`. */
async function ca(of: Berth, ...args: readonly string[]) {
  const child = Bun.spawn([LAUNCHER, 'ca', ...args], {
    cwd: dirname(of.configurationFile),
    stdout: 'pipe',
    stderr: 'pipe',
  });
  const [out, err] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
  ]);
  return { code: await child.exited, out, err };
}

describe('host names', () => {
  const names = { default: '', reports: '' };

  test('are what the answers have once the file has a domain', async () => {
    const address = await newProxy('named');
    expect(address).toStartWith(network(range));
    await serve('named');
    const { configuration } = berth();
    await berth().reload({ ...configuration, Domain: 'db.example' } as typeof configuration);
    const proxy = await eventually(async () => {
      const describe = new DescribeDBProxiesCommand({ DBProxyName: 'named' });
      const [found] = (await rds().send(describe)).DBProxies ?? [];
      return found?.Endpoint?.endsWith('.db.example') === true ? found : undefined;
    }, 'the domain is known');
    const token = /db-proxy:prx-(\w{12})/.exec(proxy.DBProxyArn ?? '')?.[1];
    expect(proxy.Endpoint).toBe(`named.proxy-${token}.us-east-1.db.example`);
    const { DBProxyEndpoint } = await rds().send(
      new CreateDBProxyEndpointCommand({
        DBProxyName: 'named',
        DBProxyEndpointName: 'Reports',
        VpcSubnetIds: ['subnet-x', 'subnet-y'],
      }),
    );
    expect(DBProxyEndpoint?.Endpoint).toBe(`reports.endpoint.proxy-${token}.us-east-1.db.example`);
    names.default = proxy.Endpoint ?? '';
    names.reports = DBProxyEndpoint?.Endpoint ?? '';
  });

  testWith('psql', 'are verified by libpq with what berth ca prints', async () => {
    const { code, out, err } = await ca(berth(), '--config', berth().configurationFile);
    expect({ code, err }).toEqual({ code: 0, err: '' });
    expect(out).toStartWith('-----BEGIN CERTIFICATE-----');
    const folder = dirname(berth().configurationFile);
    berth().writeFile('printed.crt', out);
    const hostaddr = berth()
      .logged((line) => line.event === 'endpoint.listening' && line.proxy === 'named')
      .map(({ msg }) => /on ([\d.]+):5432/.exec(msg)?.[1] ?? '');
    const connect = (host: string, address = '') =>
      psql('select 42', {
        port: 5432,
        host,
        user: 'app',
        password: 'app-password',
        database: 'app',
        environment: {
          ...(address === '' ? {} : { PGHOSTADDR: address }),
          PGSSLMODE: 'verify-full',
          PGSSLROOTCERT: join(folder, 'printed.crt'),
        },
      });
    const [first = '', second = ''] = hostaddr;
    expect(await connect(names.default, first)).toMatchObject({ code: 0, stdout: '42\n' });
    expect(await connect(names.reports, second)).toMatchObject({ code: 0, stdout: '42\n' });
    // By its address, too, and by no other name.
    expect(await connect(first)).toMatchObject({ code: 0, stdout: '42\n' });
    const stranger = await connect('other.db.example', first);
    expect(stranger.code).not.toBe(0);
    expect(stranger.stderr).toContain('does not match host name');
  });

  test('berth ca says where it looks when it is not told', async () => {
    const { code, err } = await ca(berth());
    expect({ code, err }).toEqual({
      code: 1,
      err: 'berth: there is no local authority in ".berth"; name the configuration: --config\n',
    });
  });
});
