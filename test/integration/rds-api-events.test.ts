/** DescribeEvents: what has happened to proxies, for whoever asks afterwards; and how often one may ask. */

import { describe, expect, setDefaultTimeout, test } from 'bun:test';
import {
  CreateDBInstanceCommand,
  CreateDBProxyCommand,
  CreateDBProxyEndpointCommand,
  DeleteDBProxyCommand,
  DeleteDBProxyEndpointCommand,
  DeregisterDBProxyTargetsCommand,
  DescribeEventsCommand,
  type DescribeEventsCommandInput,
  ModifyDBProxyCommand,
  ModifyDBProxyEndpointCommand,
  paginateDescribeEvents,
  RegisterDBProxyTargetsCommand,
} from '@aws-sdk/client-rds';
import { useBerth } from '../harness/berth.ts';
import { eventually } from '../harness/polling.ts';
import { usePostgres } from '../harness/postgres.ts';
import { testWith } from '../harness/programs.ts';
import { aws, faultOf, randomRange, rdsClient } from '../harness/rds.ts';

setDefaultTimeout(30_000);

const HOUR_MS = 3_600_000;
const database = usePostgres();
const berth = useBerth(() => ({
  database: database(),
  file: {
    StateDirectory: 'state',
    DrainTimeout: 1,
    Api: { Listen: '127.0.0.1:0', AllowAnonymous: true, EndpointRange: randomRange() },
  },
  expect: [
    'target.health_changed',
    'proxy.stopped',
    'connection.open_failed',
    'credentials.missing',
  ],
}));
const rds = () => rdsClient(berth());
const VpcSubnetIds = ['subnet-a', 'subnet-b'];

function newProxy(DBProxyName: string, secret = 'app') {
  return rds().send(
    new CreateDBProxyCommand({
      DBProxyName,
      EngineFamily: 'POSTGRESQL',
      RoleArn: 'arn:aws:iam::123456789012:role/berth',
      VpcSubnetIds,
      Auth: [{ SecretArn: secret }],
    }),
  );
}

async function eventsOf(SourceIdentifier: string, other: DescribeEventsCommandInput = {}) {
  const command = new DescribeEventsCommand({ SourceIdentifier, SourceType: 'db-proxy', ...other });
  const { Events = [] } = await rds().send(command);
  return Events.map(({ EventCategories, Message }) => `${EventCategories?.join()}: ${Message}`);
}

function untilEvent(proxy: string, text: string) {
  return eventually(async () => {
    const found = (await eventsOf(proxy)).find((event) => event.includes(text));
    return found;
  }, `${proxy}: ${text}`);
}

describe('what is told', () => {
  test('of a proxy, its endpoints and its targets, in the order in which it happened', async () => {
    const DBProxyName = 'watched';
    const DBProxyEndpointName = 'second';
    const DBInstanceIdentifiers = ['orders-db'];
    const { DBProxy } = await newProxy(DBProxyName);
    await rds().send(new RegisterDBProxyTargetsCommand({ DBProxyName, DBInstanceIdentifiers }));
    await untilEvent(DBProxyName, 'is available');
    await rds().send(new ModifyDBProxyCommand({ DBProxyName, IdleClientTimeout: 60 }));
    const endpoint = { DBProxyName, DBProxyEndpointName, VpcSubnetIds };
    await rds().send(new CreateDBProxyEndpointCommand(endpoint));
    const VpcSecurityGroupIds = ['sg-1'];
    await rds().send(
      new ModifyDBProxyEndpointCommand({ DBProxyEndpointName, VpcSecurityGroupIds }),
    );
    await rds().send(new DeleteDBProxyEndpointCommand({ DBProxyEndpointName }));
    await rds().send(new DeregisterDBProxyTargetsCommand({ DBProxyName, DBInstanceIdentifiers }));
    const command = new DescribeEventsCommand({ SourceType: 'db-proxy' });
    const { Events = [] } = await rds().send(command);
    const [first] = Events.filter((event) => event.SourceIdentifier === DBProxyName);
    expect(first).toMatchObject({
      SourceType: 'db-proxy',
      SourceArn: DBProxy?.DBProxyArn,
      Message: 'The DB proxy was created.',
    });
    expect(Math.abs((first?.Date?.getTime() ?? 0) - Date.now())).toBeLessThan(HOUR_MS);
    await rds().send(new DeleteDBProxyCommand({ DBProxyName }));
    expect(await eventsOf(DBProxyName)).toEqual([
      'creation: The DB proxy was created.',
      'configuration change: The target orders-db was registered with the DB proxy.',
      'availability: The target orders-db of the DB proxy is available.',
      'configuration change: The DB proxy was modified.',
      'creation: The DB proxy endpoint second was created.',
      'configuration change: The DB proxy endpoint second was modified.',
      'deletion: The DB proxy endpoint second was deleted.',
      'configuration change: The target orders-db was deregistered from the DB proxy.',
      'deletion: The DB proxy was deleted.',
    ]);
  });

  test('of a database that does not answer, and of a secret that is not there', async () => {
    await rds().send(
      new CreateDBInstanceCommand({
        DBInstanceIdentifier: 'away',
        DBInstanceClass: 'db.berth',
        Engine: 'postgres',
        Port: 1,
        Tags: [{ Key: 'berth:address', Value: '127.0.0.1' }],
      }),
    );
    await newProxy('lonely');
    const register = (DBProxyName: string, target: string) =>
      rds().send(
        new RegisterDBProxyTargetsCommand({ DBProxyName, DBInstanceIdentifiers: [target] }),
      );
    await register('lonely', 'away');
    expect(await untilEvent('lonely', 'UNREACHABLE')).toStartWith('failure: The target away');
    await newProxy('keyless', 'no-such-secret');
    await register('keyless', 'orders-db');
    expect(await untilEvent('keyless', 'AUTH_FAILURE')).toContain(
      'There is no secret "no-such-secret"',
    );
  });

  test('of a proxy of the file that a reload changes', async () => {
    const { configuration } = berth();
    const DBProxies = configuration.DBProxies.map((proxy) => ({ ...proxy, IdleClientTimeout: 77 }));
    await berth().reload({ ...configuration, DBProxies } as typeof configuration);
    await untilEvent('orders', 'The DB proxy was modified.');
    await berth().reload(configuration);
    expect(await eventsOf('orders')).not.toContain('creation: The DB proxy was created.');
  });
});

describe('what is asked for', () => {
  test('by category and by time', async () => {
    await newProxy('timed');
    const categories = { EventCategories: ['deletion'] };
    expect(await eventsOf('timed', categories)).toEqual([]);
    expect(await eventsOf('timed', { EventCategories: ['creation'] })).toHaveLength(1);
    const [past, future] = [new Date(Date.now() - HOUR_MS), new Date(Date.now() + HOUR_MS)];
    expect(await eventsOf('timed', { StartTime: past })).toHaveLength(1);
    expect(await eventsOf('timed', { StartTime: past, EndTime: future })).toHaveLength(1);
    expect(await eventsOf('timed', { StartTime: future })).toEqual([]);
    expect(await eventsOf('timed', { EndTime: past })).toEqual([]);
    expect(await eventsOf('timed', { EndTime: future, Duration: 59 })).toEqual([]);
    expect(await eventsOf('timed', { EndTime: future, Duration: 62 })).toHaveLength(1);
    expect(await eventsOf('nobody')).toEqual([]);
  });

  test('of something else, of which there is nothing', async () => {
    const { Events } = await rds().send(new DescribeEventsCommand({ SourceType: 'db-instance' }));
    expect(Events).toEqual([]);
  });

  test('in pages', async () => {
    for (let count = 0; count < 30; count++) {
      const IdleClientTimeout = 100 + count;
      await rds().send(new ModifyDBProxyCommand({ DBProxyName: 'timed', IdleClientTimeout }));
    }
    const pages: number[] = [];
    const query = { SourceIdentifier: 'timed', SourceType: 'db-proxy' as const };
    for await (const page of paginateDescribeEvents({ client: rds(), pageSize: 20 }, query)) {
      pages.push(page.Events?.length ?? 0);
    }
    expect(pages).toEqual([20, 11]);
  });

  test.each([
    [{ SourceIdentifier: 'timed' }, 'InvalidParameterCombination'],
    [{ StartTime: new Date(2e12), EndTime: new Date(1e12) }, 'InvalidParameterCombination'],
    [{ Duration: 20_161 }, 'InvalidParameterValue'],
    [{ EventCategories: ['birthday'] }, 'InvalidParameterValue'],
  ])('%j is refused', async (input, code) => {
    const answer = rds().send(new DescribeEventsCommand(input));
    expect(await faultOf(answer)).toMatchObject({ code, status: 400 });
  });

  testWith('aws', 'with the command line', async () => {
    const { stdout, code } = await aws(
      berth(),
      'describe-events --source-type db-proxy --source-identifier timed --duration 30 --event-categories creation',
    );
    expect(code).toBe(0);
    expect(JSON.parse(stdout).Events).toHaveLength(1);
  });
});

test('who asks too often is asked to wait', async () => {
  const client = rds();
  const faults = new Set<string>();
  const ask = () =>
    client.send(new DescribeEventsCommand({ SourceType: 'db-instance' })).catch((error: Error) => {
      faults.add(error.name);
    });
  await eventually(async () => {
    await Promise.all(Array.from({ length: 50 }, ask));
    return faults.size > 0 ? true : undefined;
  }, 'a refusal');
  expect([...faults]).toEqual(['Throttling']);
});
