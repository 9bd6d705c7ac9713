/** The RDS API, spoken by AWS's own clients, and what becomes of it in the data plane. */

import { describe, expect, setDefaultTimeout, test } from 'bun:test';
import {
  AddTagsToResourceCommand,
  CreateDBInstanceCommand,
  CreateDBProxyCommand,
  type CreateDBProxyCommandInput,
  CreateDBProxyEndpointCommand,
  DeleteDBInstanceCommand,
  DeleteDBProxyCommand,
  DeleteDBProxyEndpointCommand,
  DeregisterDBProxyTargetsCommand,
  DescribeDBInstancesCommand,
  DescribeDBProxiesCommand,
  DescribeDBProxyEndpointsCommand,
  DescribeDBProxyTargetGroupsCommand,
  DescribeDBProxyTargetsCommand,
  ListTagsForResourceCommand,
  ModifyDBInstanceCommand,
  ModifyDBProxyCommand,
  ModifyDBProxyEndpointCommand,
  ModifyDBProxyTargetGroupCommand,
  paginateDescribeDBProxies,
  type RDSClient,
  RegisterDBProxyTargetsCommand,
  RemoveTagsFromResourceCommand,
  StartDBInstanceCommand,
} from '@aws-sdk/client-rds';
import { textRows } from '../harness/backend-messages.ts';
import { useBerth } from '../harness/berth.ts';
import { eventually } from '../harness/polling.ts';
import { usePostgres } from '../harness/postgres.ts';
import { psql, testWith } from '../harness/programs.ts';
import { RawClient } from '../harness/raw-client.ts';
import { aws, faultOf, randomRange, rdsClient } from '../harness/rds.ts';

setDefaultTimeout(30_000);

const ACCOUNT = '123456789012';
const range = randomRange();
const database = usePostgres();
const berth = useBerth(() => ({
  database: database(),
  file: {
    AccountId: ACCOUNT,
    StateDirectory: 'state',
    Api: { Listen: '127.0.0.1:0', AllowAnonymous: true, EndpointRange: range },
    DrainTimeout: 1,
  },
  // Tests register what is not there, and remove what is in use.
  expect: [
    'credentials.missing',
    'target.health_changed',
    'proxy.stopped',
    'client.closed',
    'client.authentication_failed',
    'connection.open_failed',
  ],
}));
const rds = (): RDSClient => rdsClient(berth());

const AUTH = [{ SecretArn: 'app' }, { SecretArn: 'other' }];

function newProxy(DBProxyName: string, other: Partial<CreateDBProxyCommandInput> = {}) {
  return new CreateDBProxyCommand({
    DBProxyName,
    EngineFamily: 'POSTGRESQL',
    RoleArn: `arn:aws:iam::${ACCOUNT}:role/berth`,
    VpcSubnetIds: ['subnet-a', 'subnet-b'],
    Auth: AUTH,
    ...other,
  });
}

function newInstance(DBInstanceIdentifier: string, Port = database().port) {
  return new CreateDBInstanceCommand({
    DBInstanceIdentifier,
    DBInstanceClass: 'db.berth',
    Engine: 'postgres',
    Port,
    Tags: [{ Key: 'berth:address', Value: '127.0.0.1' }],
  });
}

function register(DBProxyName: string, ...DBInstanceIdentifiers: string[]) {
  return rds().send(new RegisterDBProxyTargetsCommand({ DBProxyName, DBInstanceIdentifiers }));
}

async function targetOf(DBProxyName: string) {
  const { Targets } = await rds().send(new DescribeDBProxyTargetsCommand({ DBProxyName }));
  return Targets?.[0];
}

function untilHealth(proxy: string, state: string, reason?: string) {
  return eventually(async () => {
    const { TargetHealth: health } = (await targetOf(proxy)) ?? {};
    return health?.State === state && health.Reason === reason ? health : undefined;
  }, `${proxy} is ${state} ${reason}`);
}

/** A proxy that serves the test's database. Returns the address of its default endpoint. */
async function servingProxy(
  name: string,
  other?: Partial<CreateDBProxyCommandInput>,
): Promise<string> {
  const { DBProxy } = await rds().send(newProxy(name, other));
  await register(name, 'orders-db');
  await untilHealth(name, 'AVAILABLE');
  return DBProxy?.Endpoint ?? '';
}

function login(host: string, port = 5432): Promise<RawClient> {
  return RawClient.login(
    { host, port },
    { user: 'app', password: 'app-password', database: 'app' },
  );
}

async function answers(client: RawClient): Promise<void> {
  expect(textRows(await client.query('select 42'))).toEqual([['42']]);
}

describe('a proxy made through the API', () => {
  testWith('psql', 'serves psql', async () => {
    const host = await servingProxy('for-psql');
    expect(host).toMatch(/^127\.\d+\.\d+\.\d+$/);
    const { code, stdout } = await psql('select 1 + 1', { host, port: 5432 });
    expect({ code, stdout }).toEqual({ code: 0, stdout: '2\n' });
  });

  test('has the defaults of RDS Proxy, and says all that it was made with', async () => {
    const { DBProxy } = await rds().send(
      newProxy('defaults', { VpcSecurityGroupIds: ['sg-1'], Auth: [{ SecretArn: 'app' }] }),
    );
    expect(DBProxy).toMatchObject({
      DBProxyName: 'defaults',
      Status: 'available',
      EngineFamily: 'POSTGRESQL',
      VpcSecurityGroupIds: ['sg-1'],
      VpcSubnetIds: ['subnet-a', 'subnet-b'],
      DefaultAuthScheme: 'NONE',
      Auth: [
        {
          AuthScheme: 'SECRETS',
          SecretArn: 'app',
          IAMAuth: 'DISABLED',
          ClientPasswordAuthType: 'POSTGRES_SCRAM_SHA_256',
        },
      ],
      RoleArn: `arn:aws:iam::${ACCOUNT}:role/berth`,
      RequireTLS: false,
      IdleClientTimeout: 1800,
      DebugLogging: false,
      EndpointNetworkType: 'IPV4',
      TargetConnectionNetworkType: 'IPV4',
    });
    expect(DBProxy?.DBProxyArn).toMatch(
      new RegExp(`^arn:aws:rds:us-east-1:${ACCOUNT}:db-proxy:prx-[a-z0-9]{17}$`),
    );
    expect(DBProxy?.CreatedDate?.getTime()).toBeGreaterThan(Date.now() - 60_000);
    const described = await rds().send(new DescribeDBProxiesCommand({ DBProxyName: 'defaults' }));
    expect(described.DBProxies).toEqual([DBProxy ?? {}]);
    const groups = await rds().send(
      new DescribeDBProxyTargetGroupsCommand({ DBProxyName: 'defaults' }),
    );
    expect(groups.TargetGroups).toMatchObject([
      {
        DBProxyName: 'defaults',
        TargetGroupName: 'default',
        IsDefault: true,
        Status: 'available',
        ConnectionPoolConfig: {
          MaxConnectionsPercent: 100,
          MaxIdleConnectionsPercent: 50,
          ConnectionBorrowTimeout: 120,
          SessionPinningFilters: [],
        },
      },
    ]);
    expect(await targetOf('defaults')).toBeUndefined();
  });

  test('has IAM as its default scheme with Auth and without, and back only with Auth', async () => {
    const DBProxyName = 'iam';
    const scheme = { DefaultAuthScheme: 'IAM_AUTH', Auth: undefined } as const;
    const { DBProxy } = await rds().send(newProxy(DBProxyName, scheme));
    expect(DBProxy).toMatchObject({ DefaultAuthScheme: 'IAM_AUTH', Auth: [] });
    const modify = async (changes: Partial<CreateDBProxyCommandInput>) => {
      const { DBProxy: changed } = await rds().send(
        new ModifyDBProxyCommand({ DBProxyName, ...changes }),
      );
      return [changed?.DefaultAuthScheme, changed?.Auth?.length];
    };
    const none = { DefaultAuthScheme: 'NONE' } as const;
    expect(await faultOf(modify(none))).toMatchObject({ code: 'InvalidParameterCombination' });
    expect(await modify({ IdleClientTimeout: 60 })).toEqual(['IAM_AUTH', 0]);
    expect(await modify({ Auth: AUTH })).toEqual(['IAM_AUTH', 2]);
    expect(await modify(none)).toEqual(['NONE', 2]);
    expect(await modify({ DefaultAuthScheme: 'IAM_AUTH' })).toEqual(['IAM_AUTH', 2]);
  });

  test('requires TLS unless it is asked not to, where others than this machine can come', async () => {
    const Tags = [{ Key: 'berth:listen', Value: '10.255.255.1:5432' }];
    const { DBProxy } = await rds().send(newProxy('public', { Tags }));
    expect(DBProxy?.RequireTLS).toBe(true);
    await rds().send(new DeleteDBProxyCommand({ DBProxyName: 'public' }));
    const asked = await rds().send(newProxy('public', { Tags, RequireTLS: false }));
    expect(asked.DBProxy?.RequireTLS).toBe(false);
  });

  test('is changed while clients are connected, and they stay', async () => {
    const host = await servingProxy('changing');
    using client = await login(host);
    await client.query('begin');
    const { DBProxy } = await rds().send(
      new ModifyDBProxyCommand({
        DBProxyName: 'changing',
        IdleClientTimeout: 60,
        RoleArn: `arn:aws:iam::${ACCOUNT}:role/other`,
        SecurityGroups: ['sg-2'],
        Auth: [{ SecretArn: 'app', Description: 'the <usual> & "only" one' }],
      }),
    );
    expect(DBProxy).toMatchObject({
      IdleClientTimeout: 60,
      RoleArn: `arn:aws:iam::${ACCOUNT}:role/other`,
      VpcSecurityGroupIds: ['sg-2'],
      Auth: [{ SecretArn: 'app', Description: 'the <usual> & "only" one' }],
      RequireTLS: false,
    });
    await answers(client);
    await client.query('commit');
    // The user of the secret that was taken away cannot log in any more.
    await expect(
      RawClient.login(
        { host, port: 5432 },
        { user: 'other', password: 'other-password', database: 'app' },
      ),
    ).rejects.toThrow();
  });

  test('changes of one leave the clients of the others alone', async () => {
    const host = await servingProxy('bystander');
    using client = await login(host);
    using ofFile = await berth().login();
    await client.query('begin');
    await ofFile.query('begin');
    await servingProxy('passing');
    await rds().send(new DeleteDBProxyCommand({ DBProxyName: 'passing' }));
    await answers(client);
    await answers(ofFile);
  });

  test('requires TLS when it is told to', async () => {
    const host = await servingProxy('with-tls', { RequireTLS: true });
    await expect(login(host)).rejects.toThrow();
    await rds().send(new ModifyDBProxyCommand({ DBProxyName: 'with-tls', RequireTLS: false }));
    using client = await login(host);
    await answers(client);
  });

  test('has another name later, at the same address', async () => {
    const host = await servingProxy('old-name');
    const { DBProxy } = await rds().send(
      new ModifyDBProxyCommand({ DBProxyName: 'old-name', NewDBProxyName: 'new-name' }),
    );
    expect(DBProxy).toMatchObject({ DBProxyName: 'new-name', Endpoint: host });
    using client = await login(host);
    await answers(client);
    const gone = new DescribeDBProxiesCommand({ DBProxyName: 'old-name' });
    expect(await faultOf(rds().send(gone))).toMatchObject({ code: 'DBProxyNotFoundFault' });
  });

  test('listens where its tag says, and moves', async () => {
    const listen = (octet: number) => ({
      Key: 'berth:listen',
      Value: `${range.replace('0/24', String(octet))}:7432`,
    });
    const endpoint = await servingProxy('tagged', { Tags: [listen(200)] });
    expect(endpoint).toBe(listen(200).Value);
    const hostOf = ({ Value }: { Value: string }) => Value.replace(/:.*/, '');
    using client = await login(hostOf(listen(200)), 7432);
    await answers(client);
    const { DBProxies } = await rds().send(new DescribeDBProxiesCommand({ DBProxyName: 'tagged' }));
    const ResourceName = DBProxies?.[0]?.DBProxyArn ?? '';
    await rds().send(new AddTagsToResourceCommand({ ResourceName, Tags: [listen(201)] }));
    using moved = await login(hostOf(listen(201)), 7432);
    await answers(moved);
    await answers(client);
    const TagKeys = ['berth:listen'];
    await rds().send(new RemoveTagsFromResourceCommand({ ResourceName, TagKeys }));
    const after = await rds().send(new DescribeDBProxiesCommand({ DBProxyName: 'tagged' }));
    using back = await login(after.DBProxies?.[0]?.Endpoint ?? '');
    await answers(back);
  });

  test('is gone when it is deleted, and its name and address are free', async () => {
    const host = await servingProxy('fleeting');
    const { DBProxy } = await rds().send(new DeleteDBProxyCommand({ DBProxyName: 'fleeting' }));
    expect(DBProxy).toMatchObject({ DBProxyName: 'fleeting', Status: 'deleting' });
    await expect(login(host)).rejects.toThrow();
    expect(await servingProxy('fleeting')).toBe(host);
  });

  test('is incompatible-network where somebody else listens', async () => {
    const Value = `127.0.0.1:${database().port}`;
    await rds().send(newProxy('blocked', { Tags: [{ Key: 'berth:listen', Value }] }));
    berth().expectLog('configuration.incomplete');
    await register('blocked', 'orders-db');
    const { DBProxies } = await rds().send(
      new DescribeDBProxiesCommand({ DBProxyName: 'blocked' }),
    );
    expect(DBProxies?.[0]?.Status).toBe('incompatible-network');
    expect((await targetOf('blocked'))?.TargetHealth).toMatchObject({
      State: 'UNAVAILABLE',
      Reason: 'PENDING_PROXY_CAPACITY',
    });
    await rds().send(new DeleteDBProxyCommand({ DBProxyName: 'blocked' }));
  });
});

describe('target groups', () => {
  test('changes are merged, and take effect', async () => {
    await servingProxy('merging');
    const modify = (ConnectionPoolConfig: Record<string, unknown>) =>
      rds().send(
        new ModifyDBProxyTargetGroupCommand({
          DBProxyName: 'merging',
          TargetGroupName: 'default',
          ConnectionPoolConfig,
        }),
      );
    await modify({ MaxConnectionsPercent: 3 });
    await modify({ ConnectionBorrowTimeout: 0, InitQuery: "set application_name to 'made & set'" });
    const { DBProxyTargetGroup: group } = await modify({ MaxIdleConnectionsPercent: 1 });
    expect(group?.ConnectionPoolConfig).toEqual({
      MaxConnectionsPercent: 3,
      MaxIdleConnectionsPercent: 1,
      ConnectionBorrowTimeout: 0,
      SessionPinningFilters: [],
      InitQuery: "set application_name to 'made & set'",
    });
    await modify({ ConnectionBorrowTimeout: 120 });
    const { DBProxies } = await rds().send(
      new DescribeDBProxiesCommand({ DBProxyName: 'merging' }),
    );
    using client = await login(DBProxies?.[0]?.Endpoint ?? '');
    expect(textRows(await client.query('show application_name'))).toEqual([['made & set']]);
    const answer = await berth().fetch('/pools?proxy=merging');
    // 3 % of the 100 that the test's database allows.
    expect(await answer.json()).toMatchObject({
      pools: [{ target_limits: { max_connections: 3, limited_by: 'MaxConnectionsPercent' } }],
    });
    const { DBProxyTargetGroup: without } = await modify({ InitQuery: '' });
    expect(without?.ConnectionPoolConfig?.InitQuery).toBeUndefined();
  });
});

describe('targets', () => {
  test('registering says REGISTERING, then it is AVAILABLE', async () => {
    await rds().send(newProxy('healthy'));
    const { DBProxyTargets } = await register('healthy', 'orders-db');
    const shared = {
      TargetArn: `arn:aws:rds:us-east-1:${ACCOUNT}:db:orders-db`,
      RdsResourceId: 'orders-db',
      Endpoint: '127.0.0.1',
      Port: database().port,
      Type: 'RDS_INSTANCE',
      Role: 'READ_WRITE',
    } as const;
    expect(DBProxyTargets).toEqual([{ ...shared, TargetHealth: { State: 'REGISTERING' } }]);
    await untilHealth('healthy', 'AVAILABLE');
    expect(await targetOf('healthy')).toEqual({ ...shared, TargetHealth: { State: 'AVAILABLE' } });
  });

  test('UNREACHABLE: nobody listens', async () => {
    await rds().send(newInstance('nowhere', 1));
    await rds().send(newProxy('unreachable'));
    await register('unreachable', 'nowhere');
    const health = await untilHealth('unreachable', 'UNAVAILABLE', 'UNREACHABLE');
    expect(health.Description).toBeString();
    // It is found where it really is.
    const DBInstanceIdentifier = 'nowhere';
    const DBPortNumber = database().port;
    await rds().send(new ModifyDBInstanceCommand({ DBInstanceIdentifier, DBPortNumber }));
    await untilHealth('unreachable', 'AVAILABLE');
  });

  test('CONNECTION_FAILED: it is no database', async () => {
    const apiPort = Number(new URL(berth().apiUrl).port);
    await rds().send(newInstance('not-a-database', apiPort));
    await rds().send(newProxy('failing'));
    await register('failing', 'not-a-database');
    await untilHealth('failing', 'UNAVAILABLE', 'CONNECTION_FAILED');
  });

  test('AUTH_FAILURE: there is no such secret', async () => {
    await rds().send(newProxy('penniless', { Auth: [{ SecretArn: 'no-such-secret' }] }));
    await register('penniless', 'orders-db');
    const health = await untilHealth('penniless', 'UNAVAILABLE', 'AUTH_FAILURE');
    expect(health.Description).toBe(
      'Credentials couldn\'t be retrieved. There is no secret "no-such-secret" with a user name and a password.',
    );
  });

  test('deregistering ends the service, and registering another begins it anew', async () => {
    const host = await servingProxy('switching');
    await rds().send(newInstance('second-db'));
    const DBInstanceIdentifiers = ['orders-db'];
    await rds().send(
      new DeregisterDBProxyTargetsCommand({ DBProxyName: 'switching', DBInstanceIdentifiers }),
    );
    expect(await targetOf('switching')).toBeUndefined();
    await expect(login(host)).rejects.toThrow();
    await register('switching', 'second-db');
    await untilHealth('switching', 'AVAILABLE');
    using client = await login(host);
    await answers(client);
  });
});

describe('endpoints', () => {
  test('each has an address of its own, and serves', async () => {
    const host = await servingProxy('many');
    const { DBProxyEndpoint: made } = await rds().send(
      new CreateDBProxyEndpointCommand({
        DBProxyName: 'many',
        DBProxyEndpointName: 'reports',
        VpcSubnetIds: ['subnet-a', 'subnet-b'],
        VpcSecurityGroupIds: ['sg-1'],
        Tags: [{ Key: 'team', Value: 'finance' }],
      }),
    );
    expect(made).toMatchObject({
      DBProxyEndpointName: 'reports',
      DBProxyName: 'many',
      Status: 'available',
      TargetRole: 'READ_WRITE',
      IsDefault: false,
      VpcSecurityGroupIds: ['sg-1'],
    });
    expect(made?.Endpoint).not.toBe(host);
    expect(made?.DBProxyEndpointArn).toMatch(/:db-proxy-endpoint:prx-endpoint-[a-z0-9]{17}$/);
    using client = await login(made?.Endpoint ?? '');
    await answers(client);
    const { DBProxyEndpoints } = await rds().send(
      new DescribeDBProxyEndpointsCommand({ DBProxyName: 'many' }),
    );
    expect(DBProxyEndpoints?.map(({ IsDefault, Endpoint }) => ({ IsDefault, Endpoint }))).toEqual([
      { IsDefault: true, Endpoint: host },
      { IsDefault: false, Endpoint: made?.Endpoint ?? '' },
    ]);
    const modified = await rds().send(
      new ModifyDBProxyEndpointCommand({
        DBProxyEndpointName: 'reports',
        NewDBProxyEndpointName: 'figures',
        VpcSecurityGroupIds: ['sg-2'],
      }),
    );
    expect(modified.DBProxyEndpoint).toMatchObject({
      DBProxyEndpointName: 'figures',
      VpcSecurityGroupIds: ['sg-2'],
      Endpoint: made?.Endpoint ?? '',
    });
    using renamed = await login(made?.Endpoint ?? '');
    await answers(renamed);
    const DBProxyEndpointName = 'figures';
    const deleted = await rds().send(new DeleteDBProxyEndpointCommand({ DBProxyEndpointName }));
    expect(deleted.DBProxyEndpoint?.Status).toBe('deleting');
    await expect(login(made?.Endpoint ?? '')).rejects.toThrow();
    // Those who came through it stay.
    await answers(client);
    using other = await login(host);
    await answers(other);
  });
});

describe('DB instances', () => {
  test('are registered, shown, changed and forgotten', async () => {
    const { DBInstance } = await rds().send(newInstance('kept', 5432));
    expect(DBInstance).toMatchObject({
      DBInstanceIdentifier: 'kept',
      DBInstanceClass: 'db.berth',
      Engine: 'postgres',
      DBInstanceStatus: 'available',
      Endpoint: { Address: '127.0.0.1', Port: 5432 },
      DBInstanceArn: `arn:aws:rds:us-east-1:${ACCOUNT}:db:kept`,
      TagList: [{ Key: 'berth:address', Value: '127.0.0.1' }],
    });
    const DBInstanceIdentifier = 'kept';
    const tagged = new AddTagsToResourceCommand({
      ResourceName: DBInstance?.DBInstanceArn,
      Tags: [
        { Key: 'berth:address', Value: 'db.example' },
        { Key: 'berth:tls-mode', Value: 'verify-full' },
      ],
    });
    await rds().send(tagged);
    const described = await rds().send(new DescribeDBInstancesCommand({ DBInstanceIdentifier }));
    expect(described.DBInstances).toMatchObject([{ Endpoint: { Address: 'db.example' } }]);
    const renamed = await rds().send(
      new ModifyDBInstanceCommand({
        DBInstanceIdentifier,
        NewDBInstanceIdentifier: 'kept-well',
        DBInstanceClass: 'db.other',
        DBPortNumber: 5433,
        ApplyImmediately: true,
      }),
    );
    expect(renamed.DBInstance).toMatchObject({
      DBInstanceIdentifier: 'kept-well',
      DBInstanceClass: 'db.other',
      Endpoint: { Address: 'db.example', Port: 5433 },
    });
    const gone = await rds().send(
      new DeleteDBInstanceCommand({ DBInstanceIdentifier: 'kept-well', SkipFinalSnapshot: true }),
    );
    expect(gone.DBInstance?.DBInstanceStatus).toBe('deleting');
    const missing = new DescribeDBInstancesCommand({ DBInstanceIdentifier: 'kept-well' });
    expect(await faultOf(rds().send(missing))).toMatchObject({
      code: 'DBInstanceNotFoundFault',
      status: 404,
    });
  });

  test('one that is a target is renamed and deleted there, too', async () => {
    await rds().send(newInstance('shared'));
    await rds().send(newProxy('following'));
    await register('following', 'shared');
    const rename = { DBInstanceIdentifier: 'shared', NewDBInstanceIdentifier: 'shared-2' };
    await rds().send(new ModifyDBInstanceCommand(rename));
    expect((await targetOf('following'))?.RdsResourceId).toBe('shared-2');
    await rds().send(new DeleteDBInstanceCommand({ DBInstanceIdentifier: 'shared-2' }));
    expect(await targetOf('following')).toBeUndefined();
  });
});

describe('tags', () => {
  test('of proxies, endpoints, target groups and DB instances', async () => {
    await rds().send(newProxy('with-tags', { Tags: [{ Key: 'a', Value: '1' }] }));
    await rds().send(newInstance('with-tags'));
    const { DBProxyEndpoint } = await rds().send(
      new CreateDBProxyEndpointCommand({
        DBProxyName: 'with-tags',
        DBProxyEndpointName: 'with-tags',
        VpcSubnetIds: ['subnet-a', 'subnet-b'],
      }),
    );
    const DBProxyName = 'with-tags';
    const proxies = await rds().send(new DescribeDBProxiesCommand({ DBProxyName }));
    const groups = await rds().send(new DescribeDBProxyTargetGroupsCommand({ DBProxyName }));
    const arns = [
      proxies.DBProxies?.[0]?.DBProxyArn,
      DBProxyEndpoint?.DBProxyEndpointArn,
      groups.TargetGroups?.[0]?.TargetGroupArn,
      `arn:aws:rds:us-east-1:${ACCOUNT}:db:with-tags`,
    ];
    for (const ResourceName of arns) {
      const Tags = [
        { Key: 'a', Value: '2' },
        { Key: 'Ünïcode key', Value: 'b:/=+-@_ c' },
      ];
      await rds().send(new AddTagsToResourceCommand({ ResourceName, Tags }));
      const listed = await rds().send(new ListTagsForResourceCommand({ ResourceName }));
      expect(listed.TagList).toEqual(expect.arrayContaining(Tags));
      await rds().send(new RemoveTagsFromResourceCommand({ ResourceName, TagKeys: ['a'] }));
      const kept = await rds().send(new ListTagsForResourceCommand({ ResourceName }));
      expect(kept.TagList?.map(({ Key }) => Key)).not.toContain('a');
      expect(kept.TagList?.map(({ Key }) => Key)).toContain('Ünïcode key');
    }
  });
});

describe('what the configuration file declares', () => {
  test('is shown beside the rest', async () => {
    const { DBProxies } = await rds().send(new DescribeDBProxiesCommand({ DBProxyName: 'orders' }));
    expect(DBProxies).toMatchObject([
      { DBProxyName: 'orders', Status: 'available', Endpoint: `127.0.0.1:${berth().port}` },
    ]);
    expect(await targetOf('orders')).toMatchObject({ RdsResourceId: 'orders-db' });
    const { DBInstances } = await rds().send(new DescribeDBInstancesCommand({}));
    expect(DBInstances?.map((each) => each.DBInstanceIdentifier)).toContain('orders-db');
  });

  test('is changed only there', async () => {
    const DBProxyName = 'orders';
    const DBInstanceIdentifier = 'orders-db';
    const TargetGroupName = 'default';
    const VpcSubnetIds = ['subnet-a', 'subnet-b'];
    const { DBProxies } = await rds().send(new DescribeDBProxiesCommand({ DBProxyName }));
    const ResourceName = DBProxies?.[0]?.DBProxyArn;
    const ofProxy = [
      rds().send(new ModifyDBProxyCommand({ DBProxyName, IdleClientTimeout: 5 })),
      rds().send(new DeleteDBProxyCommand({ DBProxyName })),
      rds().send(new ModifyDBProxyTargetGroupCommand({ DBProxyName, TargetGroupName })),
      register(DBProxyName, 'orders-db'),
      rds().send(
        new DeregisterDBProxyTargetsCommand({
          DBProxyName,
          DBInstanceIdentifiers: ['orders-db'],
        }),
      ),
      rds().send(
        new CreateDBProxyEndpointCommand({
          DBProxyName,
          DBProxyEndpointName: 'extra',
          VpcSubnetIds,
        }),
      ),
      rds().send(new AddTagsToResourceCommand({ ResourceName, Tags: [{ Key: 'a' }] })),
    ];
    for (const answer of ofProxy) {
      expect(await faultOf(answer)).toMatchObject({
        code: 'InvalidDBProxyStateFault',
        status: 400,
        message: expect.stringContaining('declared in the configuration file'),
      });
    }
    const ofInstance = [
      rds().send(new ModifyDBInstanceCommand({ DBInstanceIdentifier, DBPortNumber: 5 })),
      rds().send(new DeleteDBInstanceCommand({ DBInstanceIdentifier })),
    ];
    for (const answer of ofInstance) {
      expect(await faultOf(answer)).toMatchObject({
        code: 'InvalidDBInstanceStateFault',
        message: expect.stringContaining('declared in the configuration file'),
      });
    }
    expect(await faultOf(rds().send(newProxy('orders')))).toMatchObject({
      code: 'DBProxyAlreadyExistsFault',
    });
    expect(await faultOf(rds().send(newInstance('orders-db')))).toMatchObject({
      code: 'DBInstanceAlreadyExistsFault',
    });
  });
});

describe('pages', () => {
  test('of at least 20, each item once', async () => {
    const names = Array.from(
      { length: 25 },
      (_, index) => `page-${String(index).padStart(2, '0')}`,
    );
    for (const name of names) await rds().send(newProxy(name));
    const seen: (string | undefined)[] = [];
    let pages = 0;
    for await (const { DBProxies = [] } of paginateDescribeDBProxies(
      { client: rds(), pageSize: 20 },
      {},
    )) {
      pages++;
      seen.push(...DBProxies.map(({ DBProxyName }) => DBProxyName));
      // What is deleted meanwhile makes nothing appear twice.
      if (pages === 1) await rds().send(new DeleteDBProxyCommand({ DBProxyName: 'page-00' }));
    }
    expect(pages).toBeGreaterThan(1);
    expect(new Set(seen).size).toBe(seen.length);
    expect(seen).toEqual(expect.arrayContaining(names.slice(1)));
    for (const DBProxyName of names.slice(1)) {
      await rds().send(new DeleteDBProxyCommand({ DBProxyName }));
    }
    const first = await rds().send(new DescribeDBProxiesCommand({ MaxRecords: 20 }));
    expect(first.DBProxies?.length).toBeLessThanOrEqual(20);
  });

  test.each([19, 101])('MaxRecords must not be %d', async (MaxRecords) => {
    expect(await faultOf(rds().send(new DescribeDBProxiesCommand({ MaxRecords })))).toMatchObject({
      code: 'InvalidParameterValue',
      message: 'Invalid value for the parameter MaxRecords: must be between 20 and 100.',
    });
  });

  test('a marker is one of ours', async () => {
    const strange = new DescribeDBProxiesCommand({ Marker: 'something' });
    expect(await faultOf(rds().send(strange))).toMatchObject({ code: 'InvalidParameterValue' });
  });

  test('filters are not supported', async () => {
    const Filters = [{ Name: 'a', Values: ['b'] }];
    expect(await faultOf(rds().send(new DescribeDBProxiesCommand({ Filters })))).toMatchObject({
      code: 'InvalidParameterValue',
    });
  });
});

describe("AWS's command line", () => {
  testWith('aws', 'walks through the usual guide', async () => {
    await rds().send(newInstance('mydbinstance'));
    const made = await aws(
      berth(),
      `create-db-proxy --db-proxy-name myproxy --engine-family POSTGRESQL --auth '[{"AuthScheme": "SECRETS", "SecretArn": "arn:aws:secretsmanager:us-east-1:${ACCOUNT}:secret:app", "IAMAuth": "DISABLED"}]' --role-arn arn:aws:iam::${ACCOUNT}:role/rds-proxy-role --vpc-subnet-ids subnet-abc123 subnet-def456 --vpc-security-group-ids sg-12345678`,
    );
    expect(made.stderr).toBe('');
    const host = JSON.parse(made.stdout).DBProxy.Endpoint;
    const registered = await aws(
      berth(),
      'register-db-proxy-targets --db-proxy-name myproxy --target-group-name default --db-instance-identifiers mydbinstance',
    );
    expect(JSON.parse(registered.stdout).DBProxyTargets).toHaveLength(1);
    const described = await aws(berth(), 'describe-db-proxies --db-proxy-name myproxy');
    expect(JSON.parse(described.stdout).DBProxies).toMatchObject([
      { DBProxyName: 'myproxy', Status: 'available', Endpoint: host },
    ]);
    await untilHealth('myproxy', 'AVAILABLE');
    using client = await login(host);
    await answers(client);
    const unknown = await aws(berth(), 'describe-db-proxies --db-proxy-name nobody');
    expect(unknown.stderr).toContain('(DBProxyNotFoundFault)');
  });
});

describe('operations that there are not', () => {
  test('are InvalidAction', async () => {
    const start = new StartDBInstanceCommand({ DBInstanceIdentifier: 'orders-db' });
    expect(await faultOf(rds().send(start))).toMatchObject({
      code: 'InvalidAction',
      message: 'Could not find operation StartDBInstance for version 2014-10-31',
    });
  });
});
