/** What policies let principals do with the RDS API, and the first key of an API that has no principals. */

import { describe, expect, setDefaultTimeout, test } from 'bun:test';
import {
  AddTagsToResourceCommand,
  CreateDBProxyCommand,
  CreateDBProxyEndpointCommand,
  DeleteDBProxyCommand,
  DescribeDBInstancesCommand,
  DescribeDBProxiesCommand,
  DescribeDBProxyTargetGroupsCommand,
  DescribeDBProxyTargetsCommand,
  ModifyDBProxyEndpointCommand,
  RegisterDBProxyTargetsCommand,
} from '@aws-sdk/client-rds';
import { Berth, useBerth } from '../harness/berth.ts';
import { usePostgres } from '../harness/postgres.ts';
import { faultOf, type RdsCommand, rdsClient, sendTo } from '../harness/rds.ts';

setDefaultTimeout(30_000);

const ACCOUNT = '123456789012';
const OF_ACCOUNT = `arn:aws:rds:us-east-1:${ACCOUNT}`;

interface Statement {
  readonly Effect: 'Allow' | 'Deny';
  readonly Action: string | readonly string[];
  readonly Resource: string | readonly string[];
}

/** What each principal is allowed; the name is the user's and the key's. */
const POLICIES = {
  nobody: [],
  admin: [{ Effect: 'Allow', Action: 'rds:*', Resource: '*' }],
  reader: [{ Effect: 'Allow', Action: 'rds:Describe*', Resource: '*' }],
  careful: [
    { Effect: 'Allow', Action: '*', Resource: '*' },
    { Effect: 'Deny', Action: 'rds:Delete*', Resource: `${OF_ACCOUNT}:db-proxy:*` },
  ],
  ofInstances: [{ Effect: 'Allow', Action: 'rds:*', Resource: `${OF_ACCOUNT}:db:orders-*` }],
  ofProxies: [{ Effect: 'Allow', Action: 'rds:*', Resource: `${OF_ACCOUNT}:db-proxy:prx-*` }],
  ofOthers: [
    { Effect: 'Allow', Action: 'rds:*', Resource: 'arn:aws:rds:us-east-1:000000000000:*' },
  ],
  ofGroups: [
    {
      Effect: 'Allow',
      Action: 'rds:*',
      Resource: [`${OF_ACCOUNT}:db-proxy:*`, `${OF_ACCOUNT}:target-group:prx-tg-*`],
    },
  ],
} as const satisfies Readonly<Record<string, readonly Statement[]>>;

type User = keyof typeof POLICIES;

const keyOf = (user: string) => ({ accessKeyId: `AKIA${user}`, secretAccessKey: `of ${user}` });

const PRINCIPALS = Object.entries(POLICIES).map(([UserName, Statement]) => ({
  UserName,
  AccessKeys: [{ AccessKeyId: `AKIA${UserName}`, SecretAccessKey: `of ${UserName}` }],
  Policies:
    Statement.length === 0
      ? []
      : [{ PolicyName: 'p', PolicyDocument: { Statement: [...Statement] } }],
}));

const database = usePostgres();
const berth = useBerth(() => ({
  database: database(),
  file: {
    AccountId: ACCOUNT,
    StateDirectory: 'state',
    Api: { Listen: '127.0.0.1:0' },
    Principals: PRINCIPALS,
  },
}));

const as = (user: User, command: RdsCommand) =>
  sendTo(rdsClient(berth(), { credentials: keyOf(user) }), command);

const describeProxy = (name = 'orders') => new DescribeDBProxiesCommand({ DBProxyName: name });
const deleteProxy = () => new DeleteDBProxyCommand({ DBProxyName: 'orders' });
const describeInstance = (name?: string) =>
  new DescribeDBInstancesCommand(name === undefined ? {} : { DBInstanceIdentifier: name });
const GROUPS = new DescribeDBProxyTargetGroupsCommand({ DBProxyName: 'orders' });

async function proxyId(): Promise<string> {
  const answer = await as('admin', describeProxy());
  const [id = ''] = /prx-[a-z0-9]{17}/.exec(JSON.stringify(answer)) ?? [];
  expect(id).not.toBe('');
  return id;
}

describe('what a policy allows is done', () => {
  test.each<[User, RdsCommand]>([
    ['admin', describeProxy()],
    ['reader', describeProxy()],
    ['careful', describeProxy()],
    ['ofInstances', describeInstance('orders-db')],
    ['ofProxies', describeProxy()],
    ['ofGroups', GROUPS],
  ])('%s', async (user, command) => {
    expect(await as(user, command)).toMatchObject({ $metadata: { httpStatusCode: 200 } });
  });
});

const NO_POLICY = (action: string) =>
  `because no identity-based policy allows the rds:${action} action`;

describe('what it does not allow is refused, in the words of AWS', () => {
  test.each<[User, RdsCommand, string, string, string]>([
    ['nobody', describeInstance(), 'DescribeDBInstances', 'db:*', 'no'],
    ['ofInstances', describeInstance(), 'DescribeDBInstances', 'db:*', 'no'],
    ['ofInstances', describeInstance('other'), 'DescribeDBInstances', 'db:other', 'no'],
    ['reader', deleteProxy(), 'DeleteDBProxy', 'db-proxy:ID', 'no'],
    ['careful', deleteProxy(), 'DeleteDBProxy', 'db-proxy:ID', 'denied'],
    ['ofOthers', describeProxy(), 'DescribeDBProxies', 'db-proxy:ID', 'no'],
    // Who may see proxies that there are is not told that this is none.
    ['ofProxies', describeProxy('none'), 'DescribeDBProxies', 'db-proxy:*', 'no'],
    [
      'ofProxies',
      new CreateDBProxyCommand({
        DBProxyName: 'new',
        EngineFamily: 'POSTGRESQL',
        RoleArn: 'arn:aws:iam::123456789012:role/none',
        VpcSubnetIds: [],
      }),
      'CreateDBProxy',
      'db-proxy:*',
      'no',
    ],
    [
      'ofGroups',
      new CreateDBProxyEndpointCommand({
        DBProxyName: 'orders',
        DBProxyEndpointName: 'more',
        VpcSubnetIds: [],
      }),
      'CreateDBProxyEndpoint',
      'db-proxy-endpoint:*',
      'no',
    ],
    [
      'ofGroups',
      new ModifyDBProxyEndpointCommand({ DBProxyEndpointName: 'default' }),
      'ModifyDBProxyEndpoint',
      'db-proxy-endpoint:prx-endpoint-ID',
      'no',
    ],
    [
      'ofProxies',
      new DescribeDBProxyTargetsCommand({ DBProxyName: 'orders' }),
      'DescribeDBProxyTargets',
      'target-group:prx-tg-',
      'no',
    ],
    [
      'ofGroups',
      new RegisterDBProxyTargetsCommand({ DBProxyName: 'orders', DBInstanceIdentifiers: ['a'] }),
      'RegisterDBProxyTargets',
      'db:a',
      'no',
    ],
    [
      'ofProxies',
      new AddTagsToResourceCommand({ ResourceName: `${OF_ACCOUNT}:db:a`, Tags: [] }),
      'AddTagsToResource',
      'db:a',
      'no',
    ],
  ])('%s: %p', async (user, command, action, resource, why) => {
    const id = await proxyId();
    const { code, status, message } = await faultOf(as(user, command));
    expect({ code, status }).toEqual({ code: 'AccessDenied', status: 403 });
    const shown = resource
      .replace('prx-endpoint-ID', `prx-endpoint-${id.slice(4)}`)
      .replace('ID', id);
    const subject = `User: arn:aws:iam::${ACCOUNT}:user/${user} is not authorized to perform: rds:${action}`;
    expect(message).toStartWith(`${subject} on resource: ${OF_ACCOUNT}:${shown}`);
    const ending =
      why === 'no' ? NO_POLICY(action) : 'with an explicit deny in an identity-based policy';
    expect(message).toEndWith(` ${ending}`);
  });

  test('and nothing has changed', async () => {
    expect(JSON.stringify(await as('admin', describeProxy()))).toContain('"orders"');
  });
});

describe('an API without principals', () => {
  /** What the start has written beside the log. */
  const told = ({ log }: Berth) =>
    log.filter(({ event }) => event === 'unstructured').map(({ msg }) => msg);
  const options = (StateDirectory: string) => ({
    database: database(),
    file: { StateDirectory, Api: { Listen: '127.0.0.1:0' } },
    expect: ['unstructured'],
  });

  function keyIn(lines: readonly string[]) {
    const text = lines.join('\n');
    const [, accessKeyId = ''] = /^export AWS_ACCESS_KEY_ID=(AKIA[A-Z2-7]{16})$/m.exec(text) ?? [];
    const [, secretAccessKey = ''] =
      /^export AWS_SECRET_ACCESS_KEY=([\w+/]{40})$/m.exec(text) ?? [];
    return { accessKeyId, secretAccessKey };
  }

  test('gets a key at its first start, told once and kept', async () => {
    await using first = await Berth.start(options('state'));
    const credentials = keyIn(told(first));
    const describe = (berth: Berth, key = credentials) =>
      sendTo(rdsClient(berth, { credentials: key }), describeProxy());
    expect(await describe(first)).toMatchObject({ DBProxies: [{ DBProxyName: 'orders' }] });
    // A reload makes no other.
    await first.reload(first.configuration);
    expect(told(first)).toHaveLength(3);
    expect(await describe(first)).toMatchObject({ DBProxies: [{ DBProxyName: 'orders' }] });
    // Principals of the file take its place, and it is there again when they are gone.
    const admin = PRINCIPALS.filter(({ UserName }) => UserName === 'admin');
    await first.reload({ ...first.configuration, Principals: admin });
    expect(await faultOf(describe(first))).toMatchObject({ code: 'InvalidClientTokenId' });
    expect(await describe(first, keyOf('admin'))).toHaveProperty('DBProxies');
    await first.reload(first.configuration);
    expect(await describe(first)).toHaveProperty('DBProxies');
  });

  test('has the same key after a restart, and does not tell it again', async () => {
    const { mkdtempSync, rmSync } = await import('node:fs');
    const { tmpdir } = await import('node:os');
    const folder = mkdtempSync(`${tmpdir()}/berth-bootstrap-`);
    try {
      const first = await Berth.start(options(folder));
      const credentials = keyIn(told(first));
      await first.stop();
      await using second = await Berth.start({ ...options(folder), expect: [] });
      expect(told(second)).toEqual([]);
      const answer = await sendTo(rdsClient(second, { credentials }), describeProxy());
      expect(answer).toHaveProperty('DBProxies');
      expect(second.logText).not.toContain(credentials.secretAccessKey);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  test('is for nobody when no key can be kept, and says so', async () => {
    await using other = await Berth.start({
      ...options('/proc/none'),
      expect: ['configuration.doubted'],
    });
    const [, line] = await other.untilLogged('configuration.doubted', 2);
    expect(line?.msg).toContain('nobody may use the management API: there are no Principals');
    expect((await other.fetch('/healthz')).status).toBe(200);
  });

  test('needs none when it may be used anonymously', async () => {
    await using other = await Berth.start({ database: database(), file: { StateDirectory: 's' } });
    expect(told(other)).toEqual([]);
  });
});
