/** Every fault that the RDS API answers with, as AWS's SDK sees it. rds-api-access.test.ts has those of signatures. */

import { describe, expect, setDefaultTimeout, test } from 'bun:test';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  AddTagsToResourceCommand,
  CreateDBInstanceCommand,
  type CreateDBInstanceCommandInput,
  CreateDBProxyCommand,
  type CreateDBProxyCommandInput,
  CreateDBProxyEndpointCommand,
  type CreateDBProxyEndpointCommandInput,
  DeleteDBProxyCommand,
  DeleteDBProxyEndpointCommand,
  DeregisterDBProxyTargetsCommand,
  DescribeDBProxiesCommand,
  DescribeDBProxyEndpointsCommand,
  DescribeDBProxyTargetGroupsCommand,
  DescribeDBProxyTargetsCommand,
  ListTagsForResourceCommand,
  ModifyDBInstanceCommand,
  ModifyDBProxyCommand,
  ModifyDBProxyEndpointCommand,
  ModifyDBProxyTargetGroupCommand,
  RegisterDBProxyTargetsCommand,
  RemoveTagsFromResourceCommand,
} from '@aws-sdk/client-rds';
import { CreateSecretCommand, ListSecretsCommand } from '@aws-sdk/client-secrets-manager';
import type { StateRecord } from '../../src/control/state/records.ts';
import { SqliteStore } from '../../src/control/state/sqlite-store.ts';
import { Berth, useBerth } from '../harness/berth.ts';
import { usePostgres } from '../harness/postgres.ts';
import { faultOf, type RdsCommand, randomRange, rdsClient, sendTo } from '../harness/rds.ts';
import { secretsClient, secretsFaultOf } from '../harness/secrets-manager.ts';

setDefaultTimeout(30_000);

const range = randomRange();
const Api = { Listen: '127.0.0.1:0', AllowAnonymous: true, EndpointRange: range };
const database = usePostgres();
const berth = useBerth(() => ({ database: database(), file: { StateDirectory: 'state', Api } }));

const send = (command: RdsCommand) => sendTo(rdsClient(berth()), command);
const refusal = (command: RdsCommand) => faultOf(send(command));

const PROXY: CreateDBProxyCommandInput = {
  DBProxyName: 'made',
  EngineFamily: 'POSTGRESQL',
  RoleArn: 'arn:aws:iam::123456789012:role/berth',
  VpcSubnetIds: ['subnet-a', 'subnet-b'],
  Auth: [{ SecretArn: 'app' }],
};
const INSTANCE: CreateDBInstanceCommandInput = {
  DBInstanceIdentifier: 'made-db',
  DBInstanceClass: 'db.berth',
  Engine: 'postgres',
  Port: 1,
  Tags: [{ Key: 'berth:address', Value: '127.0.0.1' }],
};
const ENDPOINT: CreateDBProxyEndpointCommandInput = {
  DBProxyName: 'made',
  DBProxyEndpointName: 'made-endpoint',
  VpcSubnetIds: ['subnet-a', 'subnet-b'],
};

describe('what is not there', () => {
  const DBProxyName = 'nobody';
  const TargetGroupName = 'default';
  const commands: [string, RdsCommand][] = [
    ['DescribeDBProxies', new DescribeDBProxiesCommand({ DBProxyName })],
    ['ModifyDBProxy', new ModifyDBProxyCommand({ DBProxyName })],
    ['DeleteDBProxy', new DeleteDBProxyCommand({ DBProxyName })],
    ['CreateDBProxyEndpoint', new CreateDBProxyEndpointCommand({ ...ENDPOINT, DBProxyName })],
    ['DescribeDBProxyEndpoints', new DescribeDBProxyEndpointsCommand({ DBProxyName })],
    ['DescribeDBProxyTargetGroups', new DescribeDBProxyTargetGroupsCommand({ DBProxyName })],
    [
      'ModifyDBProxyTargetGroup',
      new ModifyDBProxyTargetGroupCommand({ DBProxyName, TargetGroupName }),
    ],
    ['RegisterDBProxyTargets', new RegisterDBProxyTargetsCommand({ DBProxyName })],
    ['DeregisterDBProxyTargets', new DeregisterDBProxyTargetsCommand({ DBProxyName })],
    ['DescribeDBProxyTargets', new DescribeDBProxyTargetsCommand({ DBProxyName })],
  ];

  test.each(commands)('%s of a proxy', async (_name, command) => {
    expect(await refusal(command)).toEqual({
      code: 'DBProxyNotFoundFault',
      message: 'DB proxy nobody was not found.',
      status: 404,
      side: 'client',
    });
  });

  test('endpoints', async () => {
    const DBProxyEndpointName = 'nobody';
    const commands = [
      new DescribeDBProxyEndpointsCommand({ DBProxyEndpointName }),
      new ModifyDBProxyEndpointCommand({ DBProxyEndpointName }),
      new DeleteDBProxyEndpointCommand({ DBProxyEndpointName }),
    ];
    for (const command of commands) {
      expect(await refusal(command)).toMatchObject({
        code: 'DBProxyEndpointNotFoundFault',
        status: 404,
      });
    }
  });

  test('target groups', async () => {
    await send(new CreateDBProxyCommand({ ...PROXY, DBProxyName: 'one-group' }));
    const names = { DBProxyName: 'one-group', TargetGroupName: 'other' };
    const DBInstanceIdentifiers = ['orders-db'];
    const commands = [
      new DescribeDBProxyTargetGroupsCommand(names),
      new ModifyDBProxyTargetGroupCommand(names),
      new RegisterDBProxyTargetsCommand({ ...names, DBInstanceIdentifiers }),
      new DeregisterDBProxyTargetsCommand({ ...names, DBInstanceIdentifiers }),
      new DescribeDBProxyTargetsCommand(names),
    ];
    for (const command of commands) {
      expect(await refusal(command)).toMatchObject({
        code: 'DBProxyTargetGroupNotFoundFault',
        status: 404,
      });
    }
  });

  test('targets', async () => {
    const names = { DBProxyName: 'no-targets' };
    await send(new CreateDBProxyCommand({ ...PROXY, ...names }));
    const DBInstanceIdentifiers = ['nobody'];
    const DBClusterIdentifiers = ['nobody'];
    const instance = new RegisterDBProxyTargetsCommand({ ...names, DBInstanceIdentifiers });
    expect(await refusal(instance)).toMatchObject({ code: 'DBInstanceNotFoundFault', status: 404 });
    const cluster = new RegisterDBProxyTargetsCommand({ ...names, DBClusterIdentifiers });
    expect(await refusal(cluster)).toMatchObject({ code: 'DBClusterNotFoundFault', status: 404 });
    for (const target of [{ DBInstanceIdentifiers }, { DBClusterIdentifiers }]) {
      const command = new DeregisterDBProxyTargetsCommand({ ...names, ...target });
      expect(await refusal(command)).toMatchObject({
        code: 'DBProxyTargetNotFoundFault',
        status: 404,
      });
    }
    for (const Command of [RegisterDBProxyTargetsCommand, DeregisterDBProxyTargetsCommand]) {
      expect(await refusal(new Command(names))).toMatchObject({
        code: 'InvalidParameterCombination',
        status: 400,
      });
    }
  });

  test.each([
    ['db-proxy:prx-1', 'DBProxyNotFoundFault'],
    ['db-proxy-endpoint:prx-endpoint-1', 'DBProxyEndpointNotFoundFault'],
    ['target-group:prx-tg-1', 'DBProxyTargetGroupNotFoundFault'],
    ['db:nobody', 'DBInstanceNotFoundFault'],
    ['og:nobody', 'InvalidParameterValue'],
  ])('the resource %s', async (resource, code) => {
    const ResourceName = `arn:aws:rds:us-east-1:000000000000:${resource}`;
    const commands = [
      new ListTagsForResourceCommand({ ResourceName }),
      new AddTagsToResourceCommand({ ResourceName, Tags: [] }),
      new RemoveTagsFromResourceCommand({ ResourceName, TagKeys: [] }),
    ];
    for (const command of commands) expect(await refusal(command)).toMatchObject({ code });
  });
});

describe('what is there already, or is not as it must be', () => {
  test('names', async () => {
    await send(new CreateDBProxyCommand(PROXY));
    await send(new CreateDBInstanceCommand(INSTANCE));
    await send(new CreateDBProxyEndpointCommand(ENDPOINT));
    await send(new CreateDBProxyCommand({ ...PROXY, DBProxyName: 'other' }));
    const other = { DBProxyName: 'other', DBProxyEndpointName: 'other-endpoint' };
    await send(new CreateDBProxyEndpointCommand({ ...ENDPOINT, ...other }));
    const proxies = [
      new CreateDBProxyCommand(PROXY),
      new ModifyDBProxyCommand({ DBProxyName: 'other', NewDBProxyName: 'made' }),
    ];
    for (const command of proxies) {
      expect(await refusal(command)).toMatchObject({
        code: 'DBProxyAlreadyExistsFault',
        status: 400,
      });
    }
    const endpoints = [
      new CreateDBProxyEndpointCommand(ENDPOINT),
      new CreateDBProxyEndpointCommand({ ...ENDPOINT, DBProxyEndpointName: 'default' }),
      new ModifyDBProxyEndpointCommand({
        DBProxyEndpointName: 'other-endpoint',
        NewDBProxyEndpointName: 'made-endpoint',
      }),
    ];
    for (const command of endpoints) {
      expect(await refusal(command)).toMatchObject({
        code: 'DBProxyEndpointAlreadyExistsFault',
        status: 400,
      });
    }
    const instances = [
      new CreateDBInstanceCommand(INSTANCE),
      new ModifyDBInstanceCommand({
        DBInstanceIdentifier: 'made-db',
        NewDBInstanceIdentifier: 'orders-db',
      }),
    ];
    for (const command of instances) {
      expect(await refusal(command)).toMatchObject({
        code: 'DBInstanceAlreadyExistsFault',
        status: 400,
      });
    }
  });

  test('a second target', async () => {
    const DBProxyName = 'one-target';
    await send(new CreateDBProxyCommand({ ...PROXY, DBProxyName }));
    await send(
      new CreateDBInstanceCommand({
        ...INSTANCE,
        DBInstanceIdentifier: 'two',
        Port: database().port,
      }),
    );
    const register = (...DBInstanceIdentifiers: string[]) =>
      new RegisterDBProxyTargetsCommand({ DBProxyName, DBInstanceIdentifiers });
    expect(await refusal(register('orders-db', 'two'))).toMatchObject({
      code: 'InvalidDBProxyStateFault',
    });
    await send(register('two'));
    const reads = { DBProxyName, DBProxyEndpointName: 'reads', TargetRole: 'READ_ONLY' } as const;
    expect(
      await refusal(new CreateDBProxyEndpointCommand({ ...ENDPOINT, ...reads })),
    ).toMatchObject({ code: 'InvalidDBProxyStateFault', status: 400 });
    expect(await refusal(register('two'))).toMatchObject({
      code: 'DBProxyTargetAlreadyRegisteredFault',
      status: 400,
    });
    expect(await refusal(register('orders-db'))).toMatchObject({
      code: 'InvalidDBProxyStateFault',
      status: 400,
    });
  });

  test('the default endpoint, and the name of the default target group', async () => {
    const DBProxyEndpointName = 'default';
    const commands = [
      new ModifyDBProxyEndpointCommand({ DBProxyEndpointName, NewDBProxyEndpointName: 'x' }),
      new DeleteDBProxyEndpointCommand({ DBProxyEndpointName }),
    ];
    for (const command of commands) {
      expect(await refusal(command)).toMatchObject({
        code: 'InvalidDBProxyEndpointStateFault',
        status: 400,
      });
    }
    const DBProxyName = 'keeps-group';
    await send(new CreateDBProxyCommand({ ...PROXY, DBProxyName }));
    const rename = { DBProxyName, TargetGroupName: 'default', NewName: 'other' };
    expect(await refusal(new ModifyDBProxyTargetGroupCommand(rename))).toMatchObject({
      code: 'InvalidParameterValue',
      message: 'The default target group cannot be renamed.',
    });
  });

  test('more endpoints than a proxy may have', async () => {
    const DBProxyName = 'crowded';
    await send(new CreateDBProxyCommand({ ...PROXY, DBProxyName }));
    const endpoint = (index: number) =>
      new CreateDBProxyEndpointCommand({
        ...ENDPOINT,
        DBProxyName,
        DBProxyEndpointName: `crowded-${index}`,
      });
    for (let index = 1; index <= 20; index++) await send(endpoint(index));
    expect(await refusal(endpoint(21))).toMatchObject({
      code: 'DBProxyEndpointQuotaExceededFault',
      status: 400,
    });
  });
});

describe('parameters', () => {
  const proxy = (other: object) =>
    new CreateDBProxyCommand({ ...PROXY, DBProxyName: 'x', ...other });
  const instance = (other: object) =>
    new CreateDBInstanceCommand({ ...INSTANCE, DBInstanceIdentifier: 'x', ...other });
  const endpoint = (other: object) =>
    new CreateDBProxyEndpointCommand({
      ...ENDPOINT,
      DBProxyName: 'parameters',
      DBProxyEndpointName: 'x',
      ...other,
    });
  const readers = (other: object) => endpoint({ TargetRole: 'READ_ONLY', ...other });
  const group = (ConnectionPoolConfig: object) =>
    new ModifyDBProxyTargetGroupCommand({
      DBProxyName: 'parameters',
      TargetGroupName: 'default',
      ConnectionPoolConfig,
    });

  test('that are missing', async () => {
    expect(await refusal(proxy({ DBProxyName: undefined }))).toMatchObject({
      code: 'ValidationError',
      status: 400,
      message:
        "1 validation error detected: Value null at 'dBProxyName' failed to satisfy constraint: Member must not be null",
    });
    expect(await refusal(proxy({ Auth: [{ IAMAuth: 'DISABLED' }] }))).toMatchObject({
      code: 'ValidationError',
      message: expect.stringContaining("at 'auth.0.secretArn'"),
    });
  });

  const invalid: [string, () => RdsCommand, string][] = [
    ['a name', () => proxy({ DBProxyName: '1-a' }), 'DBProxyName'],
    ['a family', () => proxy({ EngineFamily: 'SQLSERVER' }), 'EngineFamily'],
    ['a role', () => proxy({ RoleArn: 'short' }), 'RoleArn'],
    ['IAM for some', () => proxy({ Auth: [{ SecretArn: 'a', IAMAuth: 'ENABLED' }] }), 'SQL Server'],
    ['a scheme', () => proxy({ DefaultAuthScheme: 'SECRETS' as 'NONE' }), 'NONE, IAM_AUTH'],
    ['a timeout', () => proxy({ IdleClientTimeout: 28_801 }), 'must be between 1 and 28800'],
    ['IPv6', () => proxy({ EndpointNetworkType: 'IPV6' }), 'not supported yet'],
    ['dual stack', () => proxy({ TargetConnectionNetworkType: 'IPV6' }), 'not supported yet'],
    ['a tag key', () => proxy({ Tags: [{ Key: 'aws:a' }] }), 'Tags.0.Key'],
    ['a tag value', () => proxy({ Tags: [{ Key: 'a', Value: '*' }] }), 'Tags.0.Value'],
    ['an own tag', () => proxy({ Tags: [{ Key: 'berth:lisen', Value: 'a' }] }), 'berth:listen'],
    [
      'an address',
      () => proxy({ Tags: [{ Key: 'berth:listen', Value: '127.0.0.1:0' }] }),
      'must be host:port',
    ],
    [
      'a taken address',
      () => proxy({ Tags: [{ Key: 'berth:listen', Value: `0.0.0.0:${berth().port}` }] }),
      'an endpoint of another engine, or of all addresses, listens',
    ],
    [
      'a lag of the writer',
      () => endpoint({ Tags: [{ Key: 'berth:max-replica-lag', Value: '5' }] }),
      'is for endpoints whose TargetRole is READ_ONLY',
    ],
    [
      'a lag without end',
      () => readers({ Tags: [{ Key: 'berth:max-replica-lag', Value: '-1' }] }),
      'must be seconds, 0 to 86400',
    ],
    [
      'a place to fall back to',
      () => readers({ Tags: [{ Key: 'berth:reader-fallback', Value: 'yes' }] }),
      'must be NONE or WRITER',
    ],
    ['a percentage', () => group({ MaxConnectionsPercent: 0 }), 'must be between 1 and 100'],
    ['a borrow timeout', () => group({ ConnectionBorrowTimeout: 301 }), 'between 0 and 300'],
    [
      'more idle than at most',
      () => group({ MaxConnectionsPercent: 10, MaxIdleConnectionsPercent: 11 }),
      '11 is larger than 10',
    ],
    [
      "MySQL's filter",
      () => group({ SessionPinningFilters: ['EXCLUDE_VARIABLE_SETS'] }),
      'EngineFamily MYSQL',
    ],
    [
      'an engine',
      () => instance({ Engine: 'oracle-ee' }),
      'must be one of postgres, mysql, mariadb',
    ],
    ['a port', () => instance({ Port: 65_536 }), 'must be between 1 and 65535'],
    ['no address', () => instance({ Tags: [] }), 'berth:address'],
    ['a host', () => instance({ Tags: [{ Key: 'berth:address', Value: 'a b' }] }), 'host name'],
    [
      'a folder',
      () => instance({ Tags: [{ Key: 'berth:address', Value: `/${'a'.repeat(120)}` }] }),
      'too long',
    ],
    [
      'a TLS mode',
      () => instance({ Tags: [...(INSTANCE.Tags ?? []), { Key: 'berth:tls-mode', Value: 'on' }] }),
      'berth:tls-mode must be one of',
    ],
  ];

  test.each(invalid)('that are invalid: %s', async (_name, command, text) => {
    const needsProxy = [ModifyDBProxyTargetGroupCommand, CreateDBProxyEndpointCommand].some(
      (kind) => command() instanceof kind,
    );
    if (needsProxy) {
      await send(new CreateDBProxyCommand({ ...PROXY, DBProxyName: 'parameters' }));
    }
    const fault = await refusal(command());
    if (needsProxy) {
      await send(new DeleteDBProxyCommand({ DBProxyName: 'parameters' }));
    }
    expect(fault).toMatchObject({
      code: 'InvalidParameterValue',
      status: 400,
      message: expect.stringContaining(text),
    });
  });

  test('that do not go together', async () => {
    const commands = [
      proxy({ Auth: [] }),
      proxy({ Auth: undefined }),
      proxy({ Auth: [{ SecretArn: 'a', ClientPasswordAuthType: 'MYSQL_NATIVE_PASSWORD' }] }),
    ];
    for (const command of commands) {
      expect(await refusal(command)).toMatchObject({
        code: 'InvalidParameterCombination',
        status: 400,
      });
    }
  });

  test('that Berth has not', async () => {
    expect(await refusal(instance({ AllocatedStorage: 20 }))).toMatchObject({
      code: 'InvalidQueryParameter',
      status: 400,
      message: 'The parameter AllocatedStorage is not one that this operation takes here.',
    });
  });

  test('one subnet', async () => {
    const subnets = { VpcSubnetIds: ['subnet-a', 'subnet-a'] };
    expect(await refusal(proxy(subnets))).toMatchObject({ code: 'InvalidSubnet', status: 400 });
    await send(new CreateDBProxyCommand({ ...PROXY, DBProxyName: 'subnets' }));
    const endpoint = {
      ...ENDPOINT,
      ...subnets,
      DBProxyName: 'subnets',
      DBProxyEndpointName: 'one',
    };
    expect(await refusal(new CreateDBProxyEndpointCommand(endpoint))).toMatchObject({
      code: 'InvalidSubnet',
    });
  });
});

describe('requests that no official client makes', () => {
  async function post(body: string, { path = '/', headers = {} } = {}) {
    const response = await fetch(berth().apiUrl + path, { method: 'POST', body, headers });
    const text = await response.text();
    expect(response.headers.get('content-type')).toBe('text/xml');
    const id = response.headers.get('x-amzn-requestid');
    expect(text).toContain(`<RequestId>${id}</RequestId>`);
    return { status: response.status, code: /<Code>(.*?)<\/Code>/.exec(text)?.[1], text };
  }

  test.each([
    ['', 'MissingAction', 400],
    ['{"Action":"DescribeDBProxies"}', 'MissingAction', 400],
    ['Action=DescribeDBProxies', 'InvalidAction', 400],
    ['Action=DescribeDBProxies&Version=2010-01-01', 'InvalidAction', 400],
    ['Action=constructor&Version=2014-10-31', 'InvalidAction', 400],
    ['Action=DescribeDBProxies&Action=DescribeDBProxies', 'MalformedQueryString', 404],
    ['Action=a&Tags.Tag.1=a&Tags.Tag.1.Key=b', 'MalformedQueryString', 404],
    ['a.b.c.d.e.f.g.h.i=1', 'MalformedQueryString', 404],
    [
      Array.from({ length: 2001 }, (_, index) => `a${index}=`).join('&'),
      'MalformedQueryString',
      404,
    ],
    ['Action=DescribeDBProxies&Version=2014-10-31&__proto__=a', 'InvalidQueryParameter', 400],
    ['Action=DescribeDBProxies&Version=2014-10-31&MaxRecords=x', 'InvalidParameterValue', 400],
    [
      'Action=RemoveTagsFromResource&Version=2014-10-31&ResourceName=a&TagKeys=b',
      'InvalidParameterValue',
      400,
    ],
  ])('%.60s', async (body, code, status) => {
    expect(await post(body)).toMatchObject({ code, status });
  });

  test('parameters in the address', async () => {
    const answer = await post('', { path: '/?Action=DescribeDBProxies&Version=2014-10-31' });
    expect(answer).toMatchObject({ code: 'MalformedQueryString', status: 404 });
  });

  test('by a web page in the browser of somebody on this machine', async () => {
    const body = 'Action=DescribeDBProxies&Version=2014-10-31';
    for (const headers of [{ Origin: 'https://example.com' }, { 'Sec-Fetch-Site': 'cross-site' }]) {
      expect(await post(body, { headers })).toMatchObject({ code: 'AccessDenied', status: 403 });
    }
  });

  test('texts that XML cannot hold are told all the same', async () => {
    const body = `Action=DescribeDBProxies&Version=2014-10-31&DBProxyName=${encodeURIComponent('<a>&"\u0000\r\n')}`;
    const { text, code } = await post(body);
    expect(code).toBe('DBProxyNotFoundFault');
    expect(text).toContain('DB proxy &lt;a&gt;&amp;&quot;\ufffd&#13;\n was not found.');
  });
});

describe('a store that has no room, or is not there', () => {
  const folders: string[] = [];

  function makeFolder(): string {
    const folder = mkdtempSync(join(tmpdir(), 'berth-state-'));
    folders.push(folder);
    return folder;
  }

  test('a thousand proxies, ten thousand DB instances, and every address taken', async () => {
    const StateDirectory = makeFolder();
    const smallRange = randomRange().replace('0/24', '0/30');
    const hosts = [1, 2].map((last) => `${smallRange.replace('0/30', String(last))}:5432`);
    const store = new SqliteStore(StateDirectory);
    const numbers = Array.from({ length: 10_000 }, (_, index) => index);
    const proxies = numbers.slice(0, 999).map((index) => proxyRecord(index, hosts));
    store.commit([...proxies, ...numbers.slice(1).map(instanceRecord)].map((put) => ({ put })));
    store.close();
    const file = { StateDirectory, Api: { ...Api, EndpointRange: smallRange } };
    await using full = await Berth.start({ database: database(), file });
    const rds = rdsClient(full);
    expect(await faultOf(rds.send(new CreateDBProxyCommand(PROXY)))).toMatchObject({
      code: 'DBProxyQuotaExceededFault',
      status: 400,
    });
    expect(await faultOf(rds.send(new CreateDBInstanceCommand(INSTANCE)))).toMatchObject({
      code: 'InstanceQuotaExceededFault',
      status: 400,
    });
    const endpoint = new CreateDBProxyEndpointCommand({ ...ENDPOINT, DBProxyName: 'stored-1' });
    expect(await faultOf(rds.send(endpoint))).toMatchObject({
      code: 'InsufficientAvailableIPsInSubnetFault',
      status: 400,
    });
    rmSync(StateDirectory, { recursive: true });
  });

  test('a change that cannot be kept is refused, and has not been made', async () => {
    // There is a file where the folder should be.
    const file = { StateDirectory: 'berth.yaml', Api };
    const expected = ['configuration.doubted', 'internal.failed'];
    await using broken = await Berth.start({ database: database(), file, expect: expected });
    const rds = rdsClient(broken);
    expect(await faultOf(rds.send(new CreateDBProxyCommand(PROXY)))).toEqual({
      code: 'ServiceUnavailable',
      message: 'The change could not be kept, so nothing has changed.',
      status: 503,
      side: 'server',
    });
    const { DBProxies } = await rds.send(new DescribeDBProxiesCommand({}));
    expect(DBProxies?.map(({ DBProxyName }) => DBProxyName)).toEqual(['orders']);
    // Nor can the key be that a secret needs.
    const secrets = secretsClient(broken);
    const create = new CreateSecretCommand({ Name: 'made', SecretString: '{}' });
    expect(await secretsFaultOf(secrets.send(create))).toMatchObject({
      code: 'ServiceUnavailableException',
      message: 'The change could not be kept, so nothing has changed.',
    });
    const { SecretList = [] } = await secrets.send(new ListSecretsCommand({}));
    expect(SecretList.map(({ Name }) => Name)).not.toContain('made');
  });
});

function proxyRecord(index: number, hosts: readonly string[]): StateRecord {
  const listen = hosts[index] ?? `127.0.0.1:${index + 20_000}`;
  const nothing = { tags: [], vpcSubnetIds: [], vpcSecurityGroupIds: [] };
  return {
    kind: 'proxy',
    id: `prx-${index}`,
    name: `stored-${index}`,
    engineFamily: 'POSTGRESQL',
    ...nothing,
    auth: [],
    requireTls: false,
    idleClientTimeout: 1800,
    listen,
    targetGroup: { id: `prx-tg-${index}`, config: {}, targets: [], tags: [] },
    endpoints: [],
  };
}

function instanceRecord(index: number): StateRecord {
  return {
    kind: 'db-instance',
    id: `db-${index}`,
    name: `stored-${index}`,
    engine: 'postgres',
    address: '127.0.0.1',
    port: 1,
    tlsMode: 'prefer',
    tags: [],
  };
}
