/** DB clusters of the RDS API: names for databases that are there. */

import { describe, expect, setDefaultTimeout, test } from 'bun:test';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  AddTagsToResourceCommand,
  CreateDBClusterCommand,
  CreateDBInstanceCommand,
  CreateDBProxyCommand,
  DeleteDBClusterCommand,
  DeleteDBInstanceCommand,
  DeleteDBProxyCommand,
  DeregisterDBProxyTargetsCommand,
  DescribeDBClustersCommand,
  DescribeDBInstancesCommand,
  DescribeDBProxiesCommand,
  DescribeDBProxyTargetsCommand,
  ListTagsForResourceCommand,
  ModifyDBClusterCommand,
  paginateDescribeDBClusters,
  RegisterDBProxyTargetsCommand,
} from '@aws-sdk/client-rds';
import { textRows } from '../harness/backend-messages.ts';
import { Berth, useBerth } from '../harness/berth.ts';
import { eventually } from '../harness/polling.ts';
import { usePostgres } from '../harness/postgres.ts';
import { testWith } from '../harness/programs.ts';
import { RawClient } from '../harness/raw-client.ts';
import { aws, faultOf, type RdsCommand, randomRange, rdsClient, sendTo } from '../harness/rds.ts';

setDefaultTimeout(30_000);

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
    'target.role_changed',
    'failover.began',
    'proxy.stopped',
    'client.closed',
    'connection.open_failed',
  ],
}));
const rds = () => rdsClient(berth());

function newInstance(DBInstanceIdentifier: string, DBClusterIdentifier?: string, Port?: number) {
  return new CreateDBInstanceCommand({
    DBInstanceIdentifier,
    DBInstanceClass: 'db.berth',
    Engine: 'postgres',
    Port: Port ?? database().port,
    ...(DBClusterIdentifier === undefined ? {} : { DBClusterIdentifier }),
    Tags: [{ Key: 'berth:address', Value: '127.0.0.1' }],
  });
}

function newProxy(DBProxyName: string, EngineFamily: 'POSTGRESQL' | 'MYSQL' = 'POSTGRESQL') {
  return new CreateDBProxyCommand({
    DBProxyName,
    EngineFamily,
    RoleArn: 'arn:aws:iam::123456789012:role/berth',
    VpcSubnetIds: ['subnet-a', 'subnet-b'],
    Auth: [{ SecretArn: 'app' }],
  });
}

async function targetsOf(DBProxyName: string) {
  const { Targets } = await rds().send(new DescribeDBProxyTargetsCommand({ DBProxyName }));
  return Targets ?? [];
}

function register(DBProxyName: string, ...DBClusterIdentifiers: string[]) {
  return new RegisterDBProxyTargetsCommand({ DBProxyName, DBClusterIdentifiers });
}

describe('a cluster', () => {
  test('has the instances that were made as its members, and the first one is the writer', async () => {
    const Tags = [{ Key: 'team', Value: 'orders' }];
    const create = { DBClusterIdentifier: 'shop', Engine: 'postgres', Tags };
    const { DBCluster } = await rds().send(new CreateDBClusterCommand(create));
    expect(DBCluster).toMatchObject({
      DBClusterIdentifier: 'shop',
      Engine: 'postgres',
      Status: 'available',
      DBClusterMembers: [],
    });
    expect(DBCluster?.DBClusterArn).toMatch(/^arn:aws:rds:us-east-1:\d{12}:cluster:shop$/);
    await rds().send(newInstance('shop-1', 'shop'));
    await rds().send(newInstance('shop-2', 'shop', 1));
    const { DBClusters } = await rds().send(new DescribeDBClustersCommand({}));
    expect(DBClusters).toHaveLength(1);
    expect(DBClusters?.[0]).toMatchObject({
      Endpoint: '127.0.0.1',
      Port: database().port,
      TagList: Tags,
      DBClusterMembers: [
        { DBInstanceIdentifier: 'shop-1', IsClusterWriter: true },
        { DBInstanceIdentifier: 'shop-2', IsClusterWriter: false },
      ],
    });
    const describeInstance = new DescribeDBInstancesCommand({ DBInstanceIdentifier: 'shop-2' });
    const { DBInstances } = await rds().send(describeInstance);
    expect(DBInstances?.[0]?.DBClusterIdentifier).toBe('shop');
    const ResourceName = DBCluster?.DBClusterArn;
    await rds().send(
      new AddTagsToResourceCommand({ ResourceName, Tags: [{ Key: 'a', Value: 'b' }] }),
    );
    const { TagList } = await rds().send(new ListTagsForResourceCommand({ ResourceName }));
    expect(TagList).toEqual([...Tags, { Key: 'a', Value: 'b' }]);
  });

  test('is a target: clients go to the writer, and the other members are listed', async () => {
    const DBProxyName = 'shop-proxy';
    const { DBProxy } = await rds().send(newProxy(DBProxyName));
    const { DBProxyTargets } = await rds().send(register(DBProxyName, 'shop'));
    expect(DBProxyTargets?.map(({ TargetHealth }) => TargetHealth?.State)).toEqual([
      'REGISTERING',
      'REGISTERING',
      'REGISTERING',
    ]);
    const targets = await eventually(async () => {
      const found = await targetsOf(DBProxyName);
      return found.some(({ TargetHealth }) => TargetHealth?.State === 'AVAILABLE')
        ? found
        : undefined;
    }, 'the writer is available');
    expect(targets).toMatchObject([
      { Type: 'TRACKED_CLUSTER', RdsResourceId: 'shop', Port: 0 },
      {
        Type: 'RDS_INSTANCE',
        RdsResourceId: 'shop-1',
        TrackedClusterId: 'shop',
        Role: 'READ_WRITE',
        Port: database().port,
        TargetHealth: { State: 'AVAILABLE' },
      },
      {
        Type: 'RDS_INSTANCE',
        RdsResourceId: 'shop-2',
        TrackedClusterId: 'shop',
        Role: 'UNKNOWN',
        TargetHealth: { State: 'UNAVAILABLE', Reason: 'UNREACHABLE' },
      },
    ]);
    expect(targets[0]).not.toHaveProperty('Endpoint');
    const place = { host: DBProxy?.Endpoint ?? '', port: 5432 };
    const app = { user: 'app', password: 'app-password', database: 'app' };
    using client = await RawClient.login(place, app);
    expect(textRows(await client.query('select 42'))).toEqual([['42']]);
    // A new name is nothing to the proxy.
    await rds().send(
      new ModifyDBClusterCommand({
        DBClusterIdentifier: 'shop',
        NewDBClusterIdentifier: 'store',
        ApplyImmediately: true,
      }),
    );
    expect((await targetsOf(DBProxyName))[0]?.RdsResourceId).toBe('store');
    expect(textRows(await client.query('select 43'))).toEqual([['43']]);
  });

  test('shows as its writer the member that the databases say it is', async () => {
    const DBClusterIdentifier = 'turned';
    await rds().send(new CreateDBClusterCommand({ DBClusterIdentifier, Engine: 'postgres' }));
    await rds().send(newInstance('turned-1', DBClusterIdentifier, 1));
    await rds().send(newInstance('turned-2', DBClusterIdentifier));
    const describeCluster = async () => {
      const command = new DescribeDBClustersCommand({ DBClusterIdentifier });
      const { DBClusters: [cluster] = [] } = await rds().send(command);
      const writer = cluster?.DBClusterMembers?.find(({ IsClusterWriter }) => IsClusterWriter);
      return [writer?.DBInstanceIdentifier, cluster?.Port];
    };
    // Nobody has looked.
    expect(await describeCluster()).toEqual(['turned-1', 1]);
    const DBProxyName = 'turned-proxy';
    await rds().send(newProxy(DBProxyName));
    await rds().send(register(DBProxyName, DBClusterIdentifier));
    await eventually(async () => {
      const [name] = await describeCluster();
      return name === 'turned-2' ? name : undefined;
    }, 'the writer is known');
    expect(await describeCluster()).toEqual(['turned-2', database().port]);
    await rds().send(new DeleteDBProxyCommand({ DBProxyName }));
    for (const DBInstanceIdentifier of ['turned-1', 'turned-2']) {
      await rds().send(
        new DeleteDBInstanceCommand({ DBInstanceIdentifier, SkipFinalSnapshot: true }),
      );
    }
    await rds().send(new DeleteDBClusterCommand({ DBClusterIdentifier, SkipFinalSnapshot: true }));
  });

  test('is taken out of its proxy, or goes when its members have', async () => {
    const DBProxyName = 'shop-proxy';
    const DBClusterIdentifiers = ['store'];
    const names = { DBProxyName, DBClusterIdentifiers };
    await rds().send(new DeregisterDBProxyTargetsCommand(names));
    expect(await targetsOf(DBProxyName)).toEqual([]);
    await rds().send(register(DBProxyName, 'store'));
    const DBClusterIdentifier = 'store';
    const remove = new DeleteDBClusterCommand({ DBClusterIdentifier, SkipFinalSnapshot: true });
    expect(await faultOf(rds().send(remove))).toMatchObject({
      code: 'InvalidDBClusterStateFault',
      message: 'Cluster cannot be deleted, it still contains DB instances in non-deleting state.',
      status: 400,
    });
    for (const DBInstanceIdentifier of ['shop-1', 'shop-2']) {
      await rds().send(new DeleteDBInstanceCommand({ DBInstanceIdentifier }));
    }
    const { DBProxies } = await rds().send(new DescribeDBProxiesCommand({ DBProxyName }));
    expect(DBProxies?.[0]?.Status).toBe('available');
    const { DBCluster } = await rds().send(remove);
    expect(DBCluster?.Status).toBe('deleting');
    expect(await targetsOf(DBProxyName)).toEqual([]);
    expect((await rds().send(new DescribeDBClustersCommand({}))).DBClusters).toEqual([]);
  });

  test('survives a restart, and is shown in pages', async () => {
    const StateDirectory = mkdtempSync(join(tmpdir(), 'berth-clusters-'));
    const Api = { Listen: '127.0.0.1:0', AllowAnonymous: true, EndpointRange: randomRange() };
    const options = { database: database(), file: { StateDirectory, Api } };
    const names = Array.from({ length: 25 }, (_, index) => `c${String(index).padStart(2, '0')}`);
    {
      await using first = await Berth.start(options);
      for (const DBClusterIdentifier of names) {
        const command = { DBClusterIdentifier, Engine: 'postgres' };
        await rdsClient(first).send(new CreateDBClusterCommand(command));
      }
      await rdsClient(first).send(newInstance('member', 'c07'));
    }
    await using second = await Berth.start(options);
    const found: string[] = [];
    const pages = paginateDescribeDBClusters({ client: rdsClient(second), pageSize: 20 }, {});
    for await (const { DBClusters = [] } of pages) {
      found.push(...DBClusters.map(({ DBClusterIdentifier = '' }) => DBClusterIdentifier));
      for (const { DBClusterIdentifier, DBClusterMembers } of DBClusters) {
        expect(DBClusterMembers).toHaveLength(DBClusterIdentifier === 'c07' ? 1 : 0);
      }
    }
    expect(found).toEqual(names);
    rmSync(StateDirectory, { recursive: true });
  });
});

describe('what is refused', () => {
  const cases: [string, () => RdsCommand, string][] = [
    [
      'a name that is taken',
      () => new CreateDBClusterCommand({ DBClusterIdentifier: 'full', Engine: 'postgres' }),
      'DBClusterAlreadyExistsFault',
    ],
    [
      'Aurora',
      () => new CreateDBClusterCommand({ DBClusterIdentifier: 'a', Engine: 'aurora-mysql' }),
      'InvalidParameterValue',
    ],
    [
      'a cluster that there is not',
      () => new DescribeDBClustersCommand({ DBClusterIdentifier: 'nobody' }),
      'DBClusterNotFoundFault',
    ],
    [
      'a member of what there is not',
      () => newInstance('stray', 'nobody'),
      'DBClusterNotFoundFault',
    ],
    [
      'a member of another engine',
      () => newInstance('stray', 'other'),
      'InvalidParameterCombination',
    ],
    ['a cluster without members', () => register('p', 'empty'), 'InvalidDBClusterStateFault'],
    ['a cluster of another family', () => register('my', 'full'), 'InvalidDBClusterStateFault'],
    ['two clusters', () => register('p', 'full', 'empty'), 'InvalidParameterCombination'],
    [
      'a cluster beside another target',
      () => register('taken', 'full'),
      'InvalidDBProxyStateFault',
    ],
    [
      'the same cluster again',
      () => register('served', 'full'),
      'DBProxyTargetAlreadyRegisteredFault',
    ],
    [
      'an instance beside a cluster',
      () =>
        new RegisterDBProxyTargetsCommand({
          DBProxyName: 'served',
          DBInstanceIdentifiers: ['full-1'],
        }),
      'InvalidDBProxyStateFault',
    ],
    [
      'to take out a cluster that is no target',
      () =>
        new DeregisterDBProxyTargetsCommand({ DBProxyName: 'p', DBClusterIdentifiers: ['full'] }),
      'DBProxyTargetNotFoundFault',
    ],
  ];

  test('everything that does not go together', async () => {
    const made: RdsCommand[] = [
      new CreateDBClusterCommand({ DBClusterIdentifier: 'full', Engine: 'postgres' }),
      new CreateDBClusterCommand({ DBClusterIdentifier: 'empty', Engine: 'postgres' }),
      new CreateDBClusterCommand({ DBClusterIdentifier: 'other', Engine: 'mysql' }),
      newInstance('full-1', 'full'),
      newProxy('p'),
      newProxy('taken'),
      newProxy('served'),
      newProxy('my', 'MYSQL'),
      new RegisterDBProxyTargetsCommand({
        DBProxyName: 'taken',
        DBInstanceIdentifiers: ['orders-db'],
      }),
      register('served', 'full'),
    ];
    for (const command of made) await sendTo(rds(), command);
    for (const [what, command, code] of cases) {
      const fault = await faultOf(sendTo(rds(), command()));
      expect([what, fault.code, fault.side]).toEqual([what, code, 'client']);
    }
  });

  testWith('aws', 'and the command line says why', async () => {
    const { stderr } = await aws(
      berth(),
      'delete-db-cluster --db-cluster-identifier full --skip-final-snapshot',
    );
    expect(stderr).toContain('(InvalidDBClusterStateFault)');
    const { stdout } = await aws(berth(), 'describe-db-clusters --db-cluster-identifier full');
    expect(JSON.parse(stdout).DBClusters[0].DBClusterMembers[0].IsClusterWriter).toBe(true);
  });
});
