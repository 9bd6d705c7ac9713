// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the syntax of the file
/** Configuration files, right and wrong: what comes out, and the exact words of what is refused. */

import { afterAll, describe, expect, test } from 'bun:test';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { loadConfiguration, parseConfiguration } from '../../../src/control/config-file.ts';
import { ConfigurationError } from '../../../src/control/configuration-error.ts';

const GOOD = `
DBInstances:
  - DBInstanceIdentifier: orders-db
    Engine: postgres
    Endpoint: { Address: 127.0.0.1, Port: 5432 }
Secrets:
  - Name: app
    SecretString: { username: app, password: hunter2 }
DBProxies:
  - DBProxyName: orders
    EngineFamily: POSTGRESQL
    Listen: 127.0.0.1:6432
    Auth: [{ SecretArn: app }]
    TargetGroup:
      DBInstanceIdentifiers: [orders-db]
      ConnectionPoolConfig:
        MaxConnections: 16
`.trimStart();

function parse(text: string, environment: Record<string, string> = {}) {
  return parseConfiguration(text, { file: 'berth.yaml', environment });
}

/** The message that `text` is refused with. */
function refusal(text: string, environment: Record<string, string> = {}): string {
  try {
    parse(text, environment);
  } catch (error) {
    if (error instanceof ConfigurationError) return error.message;
    throw error;
  }
  throw new Error('the file was accepted');
}

/** The good file with one text replaced by another; both sides must really differ. */
function but(from: string, to: string): string {
  expect(GOOD).toContain(from);
  return GOOD.replace(from, () => to);
}

/** The same file for MySQL, with one text replaced by another. */
function mysql(from = '', to = ''): string {
  const text = GOOD.replace('Engine: postgres', 'Engine: mysql').replace('POSTGRESQL', 'MYSQL');
  expect(text).toContain(from);
  return text.replace(from, () => to);
}

describe('a file for MySQL and MariaDB', () => {
  const target = (text: string) => parse(text).snapshot.DBProxies[0]?.Target.Members[0];
  const auth = (text: string) => parse(text).snapshot.DBProxies[0]?.Auth[0];

  test('has their port where it names none', () => {
    const text = mysql(', Port: 5432', '');
    expect(target(text)?.Endpoint).toEqual({ Address: '127.0.0.1', Port: 3306 });
    expect(target(text.replace('Engine: mysql', 'Engine: mariadb'))?.Endpoint.Port).toBe(3306);
    expect(target(GOOD.replace(', Port: 5432', ''))?.Endpoint.Port).toBe(5432);
  });

  test('MY-03 MY-04 asks for passwords in the way that the engine itself has, or the one it says', () => {
    const text = mysql();
    expect(auth(text)?.ClientPasswordAuthType).toBe('MYSQL_CACHING_SHA2_PASSWORD');
    const mariadb = text.replace('Engine: mysql', 'Engine: mariadb');
    expect(auth(mariadb)?.ClientPasswordAuthType).toBe('MYSQL_NATIVE_PASSWORD');
    const both = 'SecretArn: app, ClientPasswordAuthType: MYSQL_CACHING_SHA2_PASSWORD';
    expect(auth(mariadb.replace('SecretArn: app', both))?.ClientPasswordAuthType).toBe(
      'MYSQL_CACHING_SHA2_PASSWORD',
    );
  });

  test('MY-01 may say what clients are told of the version', () => {
    const text = mysql('    Auth:', '    ServerVersion: 8.0.41-berth\n    Auth:');
    expect(parse(text).snapshot.DBProxies[0]?.ServerVersion).toBe('8.0.41-berth');
    expect(parse(mysql()).snapshot.DBProxies[0]?.ServerVersion).toBeUndefined();
  });

  test.each([
    ['DISABLED', 'disable'],
    ['PREFERRED', 'prefer'],
    ['REQUIRED', 'require'],
    ['VERIFY_IDENTITY', 'verify-full'],
  ] as const)("MY-50 has its clients' names for the modes of TLS too: %s is %s", (name, mode) => {
    const text = mysql('Engine: mysql', `Engine: mysql\n    Tls: { Mode: ${name} }`);
    expect(target(text)?.Tls.Mode).toBe(mode);
  });

  test('has Unix sockets by their own names', () => {
    const text = mysql('Listen: 127.0.0.1:6432', 'Listen: /run/berth/mysql.sock');
    const socket = text.replace('Address: 127.0.0.1', 'Address: /run/mysqld/mysqld.sock');
    const [proxy] = parse(socket).snapshot.DBProxies;
    expect(proxy?.Endpoints[0]?.Listen).toEqual({ socketPath: '/run/berth/mysql.sock' });
    expect(proxy?.Target.Members[0]?.Endpoint.Address).toBe('/run/mysqld/mysqld.sock');
    const loop = socket.replace('/run/mysqld/mysqld.sock', '/run/berth/mysql.sock');
    expect(refusal(loop)).toContain('must not have an address that DBProxies[0].Listen listens on');
  });

  test.each([
    [
      'Listen: 127.0.0.1:6432',
      'Listen: /run/berth/.s.PGSQL.6432',
      'DBProxies[0].Listen: must end with .sock: clients of MYSQL are told the path of a Unix socket, got "/run/berth/.s.PGSQL.6432"',
    ],
    [
      'SecretArn: app',
      'SecretArn: app, ClientPasswordAuthType: POSTGRES_MD5',
      'DBProxies[0].Auth[0].ClientPasswordAuthType: must begin with MYSQL_, as EngineFamily is MYSQL, got "POSTGRES_MD5"',
    ],
    [
      '    Auth:',
      '    Replication: refuse\n    Auth:',
      'DBProxies[0].Replication: is for EngineFamily POSTGRESQL only',
    ],
    [
      '    Auth:',
      '    NotificationFanOut: true\n    Auth:',
      'DBProxies[0].NotificationFanOut: is for EngineFamily POSTGRESQL only',
    ],
    [
      '    Auth:',
      '    ServerVersion: new\n    Auth:',
      'DBProxies[0].ServerVersion: must begin like 8.4.0, without spaces, got "new"',
    ],
    [
      'Engine: mysql',
      'Engine: mysql\n    Tls: { Mode: VERIFY_CA }',
      'DBInstances[0].Tls.Mode: may be verify-ca only with a CAFile, got "VERIFY_CA"',
    ],
  ])('with %p -> %p is refused', (from, to, text) => {
    const [, message] = /^berth\.yaml:\d+ {2}(.*)$/s.exec(refusal(mysql(from, to))) ?? [];
    expect(message).toBe(text);
  });
});

describe('a good file', () => {
  test('becomes a snapshot, with every default', () => {
    expect(parse(GOOD)).toMatchObject({
      api: undefined,
      drainTimeoutMs: 30_000,
      mayBatchSends: true,
      snapshot: {
        Secrets: [{ Name: 'app', username: 'app' }],
        DBProxies: [
          {
            DBProxyName: 'orders',
            EngineFamily: 'POSTGRESQL',
            IdleClientTimeout: 1800,
            MaxClientConnections: 10_000,
            Replication: 'passthrough',
            NotificationFanOut: true,
            DebugLoggingUntil: undefined,
            DefaultAuthScheme: 'NONE',
            Auth: [
              {
                AuthScheme: 'SECRETS',
                SecretArn: 'app',
                IAMAuth: 'DISABLED',
                ClientPasswordAuthType: 'POSTGRES_SCRAM_SHA_256',
              },
            ],
            Target: {
              DBClusterIdentifier: undefined,
              Members: [
                {
                  DBInstanceIdentifier: 'orders-db',
                  Engine: 'postgres',
                  Endpoint: { Address: '127.0.0.1', Port: 5432 },
                },
              ],
            },
            ConnectionPoolConfig: {
              MaxConnectionsPercent: 100,
              MaxConnections: 16,
              MaxIdleConnectionsPercent: 50,
              ConnectionBorrowTimeout: 120,
              BorrowedIdleTimeout: 300,
              DatabaseConnectionIdleTimeout: 1800,
              PoolMode: 'TRANSACTION',
              InitQuery: undefined,
              Priorities: [],
            },
            Endpoints: [
              { DBProxyEndpointName: 'default', Listen: { host: '127.0.0.1', port: 6432 } },
            ],
          },
        ],
      },
    });
  });

  test('needs no ConnectionPoolConfig', () => {
    const text = GOOD.replace(/ +ConnectionPoolConfig:\n.*\n/, '');
    expect(text).not.toContain('ConnectionPoolConfig');
    expect(parse(text).snapshot.DBProxies[0]?.ConnectionPoolConfig.MaxConnections).toBe(1000);
  });

  test('keeps the password, and prints it nowhere', () => {
    const configuration = parse(GOOD);
    expect(configuration.snapshot.Secrets[0]?.password.reveal()).toBe('hunter2');
    expect(inspect(configuration, { depth: 20 }) + JSON.stringify(configuration)).not.toContain(
      'hunter2',
    );
  });

  test.each([
    ['MaxConnectionsPercent: 1', 1],
    ['MaxConnectionsPercent: 15', 8],
    ['MaxConnectionsPercent: 90', 45],
    ['MaxIdleConnectionsPercent: 0', 0],
    ['{ MaxConnectionsPercent: 20, MaxIdleConnectionsPercent: 20 }', 20],
  ])('MaxIdleConnectionsPercent for %s is %d', (setting, idle) => {
    const block = setting.startsWith('{') ? ` ${setting}` : `\n        ${setting}`;
    const text = but('\n        MaxConnections: 16', block);
    expect(parse(text).snapshot.DBProxies[0]?.ConnectionPoolConfig.MaxIdleConnectionsPercent).toBe(
      idle,
    );
  });

  test.each([
    ['127.0.0.1:6432', { host: '127.0.0.1', port: 6432 }],
    ['"[::1]:6432"', { host: '::1', port: 6432 }],
    ['localhost:0', { host: 'localhost', port: 0 }],
    ['proxy.example.internal:65535', { host: 'proxy.example.internal', port: 65_535 }],
    ['/run/berth/.s.PGSQL.6432', { socketPath: '/run/berth/.s.PGSQL.6432' }],
    ['/.s.PGSQL.1', { socketPath: '/.s.PGSQL.1' }],
    ['//run/./other/../berth//.s.PGSQL.65535', { socketPath: '/run/berth/.s.PGSQL.65535' }],
    [`/${'x'.repeat(92)}/.s.PGSQL.6432`, { socketPath: `/${'x'.repeat(92)}/.s.PGSQL.6432` }],
  ])('may listen on %s', (listen, address) => {
    const [proxy] = parse(but('127.0.0.1:6432', listen)).snapshot.DBProxies;
    expect(proxy?.Endpoints[0]?.Listen).toEqual(address);
  });

  test.each(['db.example.internal', '10.0.0.1', '"::1"', 'fd00::12', '/var/run/postgresql'])(
    'may have its database at %s',
    (address) => {
      expect(() => parse(but('Address: 127.0.0.1', `Address: ${address}`))).not.toThrow();
    },
  );

  test.each([
    'app',
    'arn:aws:secretsmanager:us-east-1:000000000000:secret:app',
    'arn:aws:secretsmanager:us-east-1:000000000000:secret:app-a1B2c3',
  ])('may call a secret %s', (arn) => {
    const [proxy] = parse(but('SecretArn: app', `SecretArn: ${arn}`)).snapshot.DBProxies;
    expect(proxy?.Auth[0]?.SecretArn).toBe('app');
  });

  test('may have its secret as JSON, with what Secrets Manager keeps beside it', () => {
    const json = `'{"username":"app","password":"hunter3","engine":"postgres","port":5432}'`;
    const text = but('{ username: app, password: hunter2 }', json);
    expect(parse(text).snapshot.Secrets[0]?.password.reveal()).toBe('hunter3');
  });

  test('may have an API, further endpoints and priorities', () => {
    const text = `${but(
      'MaxConnections: 16',
      'Priorities: [{ UserName: app, Endpoint: batch, Priority: -100 }, { Priority: 100 }]',
    )}    Endpoints: [{ DBProxyEndpointName: batch, Listen: "127.0.0.1:6433" }]
Api: { Listen: 127.0.0.1:8400, AllowAnonymous: true }
DrainTimeout: 0
`;
    const { api, drainTimeoutMs, snapshot } = parse(text);
    expect(api).toMatchObject({ listen: { host: '127.0.0.1', port: 8400 }, allowAnonymous: true });
    expect(drainTimeoutMs).toBe(0);
    expect(snapshot.DBProxies[0]?.ConnectionPoolConfig.Priorities).toEqual([
      { UserName: 'app', Endpoint: 'batch', Priority: -100 },
      { Priority: 100 },
    ]);
    expect(snapshot.DBProxies[0]?.Endpoints[1]).toEqual({
      DBProxyEndpointName: 'batch',
      Listen: { host: '127.0.0.1', port: 6433 },
      HostName: expect.stringMatching(
        /^batch\.endpoint\.proxy-[0-9a-f]{12}\.us-east-1\.berth\.internal$/,
      ),
      AllowedSources: expect.arrayContaining(['127.0.0.0/8', '10.0.0.0/8', 'fc00::/7']),
      Readers: undefined,
    });
  });
});

describe('the environment', () => {
  const password = (text: string, environment: Record<string, string>) =>
    parse(
      but('password: hunter2', `password: ${text}`),
      environment,
    ).snapshot.Secrets[0]?.password.reveal();

  test.each([
    ['"${PW}"', 'secret'],
    ['"a${PW}b${PW}c"', 'asecretbsecretc'],
    ['"$${PW}"', '${PW}'],
    ['"$$${PW}"', '$${PW}'],
    ['"$PW"', '$PW'],
    ['"$(PW)"', '$(PW)'],
    ['"${NUMBER}"', '0123'],
  ])('password %s is %s', (text, expected) => {
    expect(password(text, { PW: 'secret', NUMBER: '0123' })).toBe(expected);
  });

  test.each(['"', '}', ': {a: b}\n- c', '${PW}', '\\', "'"])('may hold %j', (value) => {
    expect(password('"${PW}"', { PW: value })).toBe(value);
    const json = but(
      '{ username: app, password: hunter2 }',
      `'{"username":"app","password":"\${PW}"}'`,
    );
    expect(parse(json, { PW: value }).snapshot.Secrets[0]?.password.reveal()).toBe(value);
  });

  test('may hold the whole secret', () => {
    const text = but('{ username: app, password: hunter2 }', '"${SECRET}"');
    const SECRET = JSON.stringify({ username: 'app', password: 'a"b' });
    expect(parse(text, { SECRET }).snapshot.Secrets[0]?.password.reveal()).toBe('a"b');
  });

  test('may hold a number where one is wanted, without quotes', () => {
    const text = `${but('{ Address: 127.0.0.1, Port: 5432 }', '\n      Address: 127.0.0.1\n      Port: ${PORT}')}Api: { Listen: 127.0.0.1:1, AllowAnonymous: true }\nDrainTimeout: \${DRAIN}\n`;
    const { drainTimeoutMs, snapshot } = parse(text, { PORT: '5433', DRAIN: '5' });
    expect(snapshot.DBProxies[0]?.Target.Members[0]?.Endpoint.Port).toBe(5433);
    expect(drainTimeoutMs).toBe(5000);
  });

  test('may hold a number as a password, with and without quotes', () => {
    const text = but(
      '{ username: app, password: hunter2 }',
      '\n      username: app\n      password: ${PW}',
    );
    expect(parse(text, { PW: '12345' }).snapshot.Secrets[0]?.password.reveal()).toBe('12345');
  });

  const cases: readonly (readonly [string, string, Record<string, string>, string])[] = [
    [
      'password: hunter2',
      'password: "${PW}"',
      {},
      'berth.yaml:7  Secrets[0].SecretString.password: the environment variable PW is not set',
    ],
    [
      'password: hunter2',
      'password: "${PW}"',
      { PW: '' },
      'berth.yaml:7  Secrets[0].SecretString.password: must not be empty',
    ],
    [
      'password: hunter2',
      'password: "x${hunter2 }"',
      {},
      'berth.yaml:7  Secrets[0].SecretString.password: "${" is not followed by the name of a variable and "}"; write "$${" for the two characters',
    ],
    [
      'Listen: 127.0.0.1:6432',
      'Listen: ${WHERE}',
      { WHERE: 'hunter2' },
      'berth.yaml:11  DBProxies[0].Listen: must be host:port or the path of a Unix socket, for example 127.0.0.1:6432, "[::1]:6432", /run/berth/.s.PGSQL.6432 or, for MYSQL, /run/berth/mysql.sock',
    ],
    [
      'SecretArn: app',
      'SecretArn: "${WHICH}"',
      { WHICH: 'hunter2' },
      'berth.yaml:12  DBProxies[0].Auth[0].SecretArn: must be the Name or the ARN of a secret in Secrets',
    ],
    [
      'MaxConnections: 16',
      'MaxConnections: "${MAX}"',
      { MAX: '16' },
      'berth.yaml:16  DBProxies[0].TargetGroup.ConnectionPoolConfig.MaxConnections: must be a whole number, 1 to 100000',
    ],
  ];
  test.each(cases)('%s as %s with %p is refused', (from, to, environment, message) => {
    expect(refusal(but(from, to), environment).replace(/berth.yaml:\d+/, '')).toBe(
      message.replace(/berth.yaml:\d+/, ''),
    );
  });
});

/** What is replaced in the good file, by what, and the line and text of the refusal. */
const KEYS = 'AccessKeys: [{ AccessKeyId: AKIA, SecretAccessKey: s }]';
const BAD_PRINCIPALS: readonly (readonly [string, string])[] = [
  [
    'UserName: a, AccessKeys: [{ AccessKeyId: a, SecretAccessKey: s }]',
    '.AccessKeys[0].AccessKeyId: must be 4 to 128 letters and digits, got "a"',
  ],
  [
    'UserName: a, AccessKeys: [{ AccessKeyId: AKIA, SecretAccessKey: 12345 }]',
    '.AccessKeys[0].SecretAccessKey: must be text',
  ],
  ['AccessKeys: []', ': must have either a UserName or a RoleName'],
  ['UserName: a, RoleName: b', ': must have either a UserName or a RoleName'],
  [`RoleName: a, ${KEYS}`, '.AccessKeys: are of users; a role has Sessions'],
  ['UserName: a b', '.UserName: must be 1 to 64 letters, digits and +=,.@_-, got "a b"'],
  [
    'UserName: a, Sessions: [{ RoleSessionName: s, AccessKeyId: ASIA, SecretAccessKey: s, SessionToken: t }]',
    '.Sessions: are of roles; a user has AccessKeys',
  ],
  [
    'RoleName: a, Sessions: [{ RoleSessionName: s, AccessKeyId: ASIA, SecretAccessKey: s, SessionToken: 7 }]',
    '.Sessions[0].SessionToken: must be text',
  ],
  [
    'RoleName: a, Sessions: [{ RoleSessionName: s, AccessKeyId: ASIA, SecretAccessKey: s, SessionToken: t, Expiration: soon }]',
    '.Sessions[0].Expiration: must be a time such as 2027-01-31T12:00:00Z, got "soon"',
  ],
  ...(
    [
      [
        'Effect: Maybe, Action: "*", Resource: "*"',
        '.Effect: must be one of Allow, Deny, got "Maybe"',
      ],
      [
        'Effect: Allow, Action: connect, Resource: "*"',
        '.Action: must be * or a service and an action, such as rds-db:connect or rds:Describe*; or a list of these, got "connect"',
      ],
      [
        'Effect: Allow, Action: "*", Resource: ["*", orders]',
        '.Resource: must be * or an ARN, in which * and ? stand for any text and any character; or a list of these',
      ],
      [
        'Effect: Allow, Action: "*", Resource: "arn:aws:rds-db:::dbuser:x/$${aws:username}"',
        '.Resource: must be * or an ARN, in which * and ? stand for any text and any character; or a list of these, got "arn:aws:rds-db:::dbuser:x/${aws:username}"',
      ],
      [
        'Effect: Allow, Action: [], Resource: "*"',
        '.Action: must be * or a service and an action, such as rds-db:connect or rds:Describe*; or a list of these',
      ],
      [
        'Effect: Allow, Action: "*", Resource: "*", Condition: {}',
        '.Condition: is not supported: policies have no conditions',
      ],
      [
        'Effect: Allow, NotAction: "*", Action: "*", Resource: "*"',
        '.NotAction: is not supported: write a Deny for the Action',
      ],
    ] as const
  ).map(
    ([statement, message]) =>
      [
        `UserName: a, Policies: [{ PolicyName: p, PolicyDocument: { Statement: [{ ${statement} }] } }]`,
        `.Policies[0].PolicyDocument.Statement[0]${message}`,
      ] as const,
  ),
];

const BAD: readonly (readonly [string, string, string])[] = [
  [
    'MaxConnections: 16',
    'MaxConnectionsPercent: 250',
    '16  DBProxies[0].TargetGroup.ConnectionPoolConfig.MaxConnectionsPercent: must be 1 to 100, got 250',
  ],
  [
    'MaxConnections: 16',
    'MaxConnectionsPercent: 0',
    '16  DBProxies[0].TargetGroup.ConnectionPoolConfig.MaxConnectionsPercent: must be 1 to 100, got 0',
  ],
  [
    'MaxConnections: 16',
    'MaxConections: 16',
    '16  DBProxies[0].TargetGroup.ConnectionPoolConfig.MaxConections: unknown key; did you mean MaxConnections?',
  ],
  [
    'MaxConnections: 16',
    'Max Connections: 16',
    '16  DBProxies[0].TargetGroup.ConnectionPoolConfig.Max Connections: unknown key; did you mean MaxConnections?',
  ],
  [
    'MaxConnections: 16',
    'MaxConnections: 1.5',
    '16  DBProxies[0].TargetGroup.ConnectionPoolConfig.MaxConnections: must be a whole number, 1 to 100000, got 1.5',
  ],
  [
    'MaxConnections: 16',
    'MaxConnections: "16"',
    '16  DBProxies[0].TargetGroup.ConnectionPoolConfig.MaxConnections: must be a whole number, 1 to 100000, got "16"',
  ],
  [
    'MaxConnections: 16',
    'MaxConnections:',
    '16  DBProxies[0].TargetGroup.ConnectionPoolConfig.MaxConnections: must be a whole number, 1 to 100000, got nothing',
  ],
  [
    'MaxConnections: 16',
    'MaxIdleConnectionsPercent: 101',
    '16  DBProxies[0].TargetGroup.ConnectionPoolConfig.MaxIdleConnectionsPercent: must be 0 to 100, got 101',
  ],
  [
    '\n        MaxConnections: 16',
    ' { MaxConnectionsPercent: 10, MaxIdleConnectionsPercent: 11 }',
    '15  DBProxies[0].TargetGroup.ConnectionPoolConfig.MaxIdleConnectionsPercent: must be at most MaxConnectionsPercent (10), got 11',
  ],
  [
    'MaxConnections: 16',
    'ConnectionBorrowTimeout: 301',
    '16  DBProxies[0].TargetGroup.ConnectionPoolConfig.ConnectionBorrowTimeout: must be 0 to 300, got 301',
  ],
  [
    'MaxConnections: 16',
    'BorrowedIdleTimeout: 0',
    '16  DBProxies[0].TargetGroup.ConnectionPoolConfig.BorrowedIdleTimeout: must be 1 to 86400, got 0',
  ],
  [
    'MaxConnections: 16',
    'DatabaseConnectionIdleTimeout: -1',
    '16  DBProxies[0].TargetGroup.ConnectionPoolConfig.DatabaseConnectionIdleTimeout: must be 1 to 86400, got -1',
  ],
  [
    'MaxConnections: 16',
    'PoolMode: STATEMENT',
    '16  DBProxies[0].TargetGroup.ConnectionPoolConfig.PoolMode: must be one of TRANSACTION, SESSION, got "STATEMENT"',
  ],
  [
    'MaxConnections: 16',
    'InitQuery: 1',
    '16  DBProxies[0].TargetGroup.ConnectionPoolConfig.InitQuery: must be text',
  ],
  [
    'MaxConnections: 16',
    'SessionPinningFilters: [EXCLUDE_VARIABLE_SETS]',
    '16  DBProxies[0].TargetGroup.ConnectionPoolConfig.SessionPinningFilters: is for EngineFamily MYSQL only',
  ],
  [
    'MaxConnections: 16',
    'SessionPinningFilters: [EVERYTHING]',
    '16  DBProxies[0].TargetGroup.ConnectionPoolConfig.SessionPinningFilters[0]: must be EXCLUDE_VARIABLE_SETS, got "EVERYTHING"\nberth.yaml:16  DBProxies[0].TargetGroup.ConnectionPoolConfig.SessionPinningFilters: is for EngineFamily MYSQL only',
  ],
  [
    'MaxConnections: 16',
    'Priorities: [{ Priority: 101 }]',
    '16  DBProxies[0].TargetGroup.ConnectionPoolConfig.Priorities[0].Priority: must be -100 to 100, got 101',
  ],
  [
    'MaxConnections: 16',
    'Priorities: [{ UserName: app }]',
    '16  DBProxies[0].TargetGroup.ConnectionPoolConfig.Priorities[0].Priority: is required',
  ],
  [
    'MaxConnections: 16',
    'Priorities: [{ UserName: ap, Priority: 1 }]',
    '16  DBProxies[0].TargetGroup.ConnectionPoolConfig.Priorities[0].UserName: must be a user of this proxy\'s secrets, got "ap"',
  ],
  [
    'MaxConnections: 16',
    'Priorities: [{ Endpoint: batch, Priority: 1 }]',
    '16  DBProxies[0].TargetGroup.ConnectionPoolConfig.Priorities[0].Endpoint: must be default or the name of an endpoint of this proxy, got "batch"',
  ],
  [
    '\n      ConnectionPoolConfig:\n        MaxConnections: 16',
    '\n      ConnectionPoolConfig: 16',
    '15  DBProxies[0].TargetGroup.ConnectionPoolConfig: must be a mapping, got 16',
  ],
  [
    'DBInstanceIdentifiers: [orders-db]',
    'DBInstanceIdentifiers: [order-db]',
    '14  DBProxies[0].TargetGroup.DBInstanceIdentifiers[0]: must be the name of a DB instance in DBInstances, got "order-db"',
  ],
  [
    'DBInstanceIdentifiers: [orders-db]',
    'DBInstanceIdentifiers: []',
    '14  DBProxies[0].TargetGroup.DBInstanceIdentifiers: must have exactly 1 item',
  ],
  [
    'DBInstanceIdentifiers: [orders-db]',
    'DBInstanceIdentifiers: orders-db',
    '14  DBProxies[0].TargetGroup.DBInstanceIdentifiers: must be a list, got "orders-db"',
  ],
  [
    'EngineFamily: POSTGRESQL',
    'EngineFamily: SQLSERVER',
    '10  DBProxies[0].EngineFamily: must be one of POSTGRESQL, MYSQL, got "SQLSERVER"',
  ],
  [
    'EngineFamily: POSTGRESQL',
    'EngineFamily: MYSQL',
    '14  DBProxies[0].TargetGroup.DBInstanceIdentifiers[0]: must be a DB instance with Engine mysql or mariadb, as EngineFamily is MYSQL, got "orders-db"',
  ],
  ['    EngineFamily: POSTGRESQL\n', '', '9  DBProxies[0].EngineFamily: is required'],
  [
    'Engine: postgres',
    'Engine: mysql',
    '14  DBProxies[0].TargetGroup.DBInstanceIdentifiers[0]: must be a DB instance with Engine postgres, as EngineFamily is POSTGRESQL, got "orders-db"',
  ],
  [
    'Auth: [{ SecretArn: app }]',
    'Auth: [{ SecretArn: app, ClientPasswordAuthType: MYSQL_NATIVE_PASSWORD }]',
    '12  DBProxies[0].Auth[0].ClientPasswordAuthType: must begin with POSTGRES_, as EngineFamily is POSTGRESQL, got "MYSQL_NATIVE_PASSWORD"',
  ],
  [
    'Auth: [{ SecretArn: app }]',
    'ServerVersion: 8.4.0\n    Auth: [{ SecretArn: app }]',
    '12  DBProxies[0].ServerVersion: is for EngineFamily MYSQL only',
  ],
  [
    'Listen: 127.0.0.1:6432',
    'Listen: /run/berth/mysql.sock',
    '11  DBProxies[0].Listen: must end with .s.PGSQL. and a port, where clients of POSTGRESQL look for a Unix socket, got "/run/berth/mysql.sock"',
  ],
  [
    'Listen: 127.0.0.1:6432',
    'Listen: 6432',
    '11  DBProxies[0].Listen: must be host:port or the path of a Unix socket, for example 127.0.0.1:6432, "[::1]:6432", /run/berth/.s.PGSQL.6432 or, for MYSQL, /run/berth/mysql.sock, got 6432',
  ],
  [
    'Listen: 127.0.0.1:6432',
    'Listen: ":6432"',
    '11  DBProxies[0].Listen: must be host:port or the path of a Unix socket, for example 127.0.0.1:6432, "[::1]:6432", /run/berth/.s.PGSQL.6432 or, for MYSQL, /run/berth/mysql.sock, got ":6432"',
  ],
  [
    'Listen: 127.0.0.1:6432',
    'Listen: 127.0.0.1:65536',
    '11  DBProxies[0].Listen: must be host:port or the path of a Unix socket, for example 127.0.0.1:6432, "[::1]:6432", /run/berth/.s.PGSQL.6432 or, for MYSQL, /run/berth/mysql.sock, got "127.0.0.1:65536"',
  ],
  [
    'Listen: 127.0.0.1:6432',
    'Listen: 127.0.0.256:1',
    '11  DBProxies[0].Listen: must be host:port or the path of a Unix socket, for example 127.0.0.1:6432, "[::1]:6432", /run/berth/.s.PGSQL.6432 or, for MYSQL, /run/berth/mysql.sock, got "127.0.0.256:1"',
  ],
  ...[
    '/run/berth',
    '/run/berth/',
    '/run/berth/.s.PGSQL.',
    '/run/berth/.s.PGSQL.0',
    '/run/berth/.s.PGSQL.06432',
    '/run/berth/.s.PGSQL.65536',
    '/run/berth/x.s.PGSQL.6432',
    '/run/berth/.s.PGSQL.6432.lock',
    'run/berth/.s.PGSQL.6432',
  ].map(
    (path) =>
      [
        'Listen: 127.0.0.1:6432',
        `Listen: ${path}`,
        `11  DBProxies[0].Listen: must be host:port or the path of a Unix socket, for example 127.0.0.1:6432, "[::1]:6432", /run/berth/.s.PGSQL.6432 or, for MYSQL, /run/berth/mysql.sock, got "${path}"`,
      ] as const,
  ),
  [
    'Listen: 127.0.0.1:6432',
    `Listen: /${'x'.repeat(93)}/.s.PGSQL.6432`,
    `11  DBProxies[0].Listen: must be shorter: a Unix socket's path has at most 107 bytes, got "/${'x'.repeat(58)}...`,
  ],
  [
    'Endpoint: { Address: 127.0.0.1, Port: 5432 }',
    `Endpoint: { Address: /${'x'.repeat(93)}, Port: 5432 }`,
    `4  DBInstances[0].Endpoint.Address: must be shorter: a Unix socket's path has at most 107 bytes, got "/${'x'.repeat(58)}...`,
  ],
  [
    'DBInstances:',
    'Api: { Listen: /run/berth/.s.PGSQL.8400 }\nDBInstances:',
    '1  Api.Listen: must be host:port, for example 127.0.0.1:6432 or "[::1]:6432"; the API listens on no Unix socket, got "/run/berth/.s.PGSQL.8400"',
  ],
  [
    'Listen: 127.0.0.1:6432',
    'Listen: 127.0.0.1:5432',
    '14  DBProxies[0].TargetGroup.DBInstanceIdentifiers[0]: must not have an address that DBProxies[0].Listen listens on, got "orders-db"',
  ],
  [
    'Listen: 127.0.0.1:6432',
    'Listen: 0.0.0.0:5432',
    '14  DBProxies[0].TargetGroup.DBInstanceIdentifiers[0]: must not have an address that DBProxies[0].Listen listens on, got "orders-db"',
  ],
  [
    'Address: 127.0.0.1',
    'Address: db:5432',
    '4  DBInstances[0].Endpoint.Address: must be a host name, an IP address without brackets or, for a Unix socket, its folder or (MySQL) its path; the port is a setting of its own, got "db:5432"',
  ],
  ['Port: 5432', 'Port: 65536', '4  DBInstances[0].Endpoint.Port: must be 1 to 65535, got 65536'],
  [
    'DBProxyName: orders',
    'DBProxyName: or--ders',
    '9  DBProxies[0].DBProxyName: must be 1 to 63 letters, digits and single hyphens, beginning with a letter and not ending with a hyphen, got "or--ders"',
  ],
  [
    'DBProxyName: orders',
    `DBProxyName: ${'a'.repeat(64)}`,
    `9  DBProxies[0].DBProxyName: must be 1 to 63 letters, digits and single hyphens, beginning with a letter and not ending with a hyphen, got "${'a'.repeat(59)}...`,
  ],
  [
    'DBProxyName: orders',
    'DBProxyName: orders\n    RequireTLS: on',
    '10  DBProxies[0].RequireTLS: must be true or false, got "on"',
  ],
  [
    'DBProxyName: orders',
    'DBProxyName: orders\n    IdleClientTimeout: 28801',
    '10  DBProxies[0].IdleClientTimeout: must be 1 to 28800, got 28801',
  ],
  [
    'DBProxyName: orders',
    'DBProxyName: orders\n    RoleArn: x',
    '10  DBProxies[0].RoleArn: is not supported: there is no IAM role to take: secrets are in this file',
  ],
  [
    'DBProxyName: orders',
    'DBProxyName: orders\n    DBProxyName: orders',
    '10  not valid YAML at column 5: this key is in the same mapping twice',
  ],
  [
    '[{ SecretArn: app }]',
    '[]',
    '12  DBProxies[0].Auth: must have 1 to 200 items, unless DefaultAuthScheme is IAM_AUTH',
  ],
  [
    '[{ SecretArn: app }]',
    '[{ SecretArn: ap }]',
    '12  DBProxies[0].Auth[0].SecretArn: must be the Name or the ARN of a secret in Secrets, got "ap"',
  ],
  [
    '[{ SecretArn: app }]',
    '[{ SecretArn: app, IAMAuth: ENABLED }]',
    '12  DBProxies[0].Auth[0].IAMAuth: must be one of DISABLED, REQUIRED (RDS Proxy has it for SQL Server only), got "ENABLED"',
  ],
  [
    '[{ SecretArn: app }]',
    '[{ SecretArn: app }, { SecretArn: app }]',
    '12  DBProxies[0].Auth[1].SecretArn: Credentials couldn\'t be retrieved. The database user "app" was found in multiple DB proxy authentication entries',
  ],
  [
    'password: hunter2',
    'password: 12345',
    '7  Secrets[0].SecretString.password: must be text (put a number in quotes)',
  ],
  ['password: hunter2', 'pasword: hunter2', '7  Secrets[0].SecretString.password: is required'],
  [
    '{ username: app, password: hunter2 }',
    'hunter2',
    '7  Secrets[0].SecretString: must be a mapping, or JSON, with username and password',
  ],
  [
    '  - Name: app\n',
    '  - Name: app\n    Value: hunter2\n',
    '7  Secrets[0].Value: unknown key; known here: Name, SecretString, SecretFile',
  ],
  [
    'DBInstances:',
    'Tls: { CertificateFile: x }\nDBInstances:',
    '1  Tls: must have both CertificateFile and PrivateKeyFile, or neither',
  ],
  [
    'DBInstances:',
    'DBClusters: [{ DBClusterIdentifier: shop, Engine: postgres, Members: [shop-1] }]\nDBInstances:',
    '1  DBClusters[0].Members[0]: must be the name of a DB instance in DBInstances, got "shop-1"',
  ],
  [
    'DBInstances:',
    'DBClusters: [{ DBClusterIdentifier: shop, Engine: mysql, Members: [orders-db] }]\nDBInstances:',
    '1  DBClusters[0].Members[0]: must be a DB instance with Engine mysql, as that of the cluster is, got "orders-db"',
  ],
  [
    'DBInstances:',
    'DBClusters: [{ DBClusterIdentifier: a, Engine: postgres, Members: [orders-db] }, { DBClusterIdentifier: b, Engine: postgres, Members: [orders-db] }]\nDBInstances:',
    '1  DBClusters[1].Members[0]: must be unique, and DBClusters[0].Members[0] is the same, got "orders-db"',
  ],
  [
    'DBInstanceIdentifiers: [orders-db]',
    'DBClusterIdentifiers: [shop]',
    '14  DBProxies[0].TargetGroup.DBClusterIdentifiers[0]: must be the name of a DB cluster in DBClusters, got "shop"',
  ],
  [
    'DBInstanceIdentifiers: [orders-db]',
    'DBInstanceIdentifiers: [orders-db]\n      DBClusterIdentifiers: [shop]',
    '13  DBProxies[0].TargetGroup: must have either DBInstanceIdentifiers or DBClusterIdentifiers\nberth.yaml:15  DBProxies[0].TargetGroup.DBClusterIdentifiers[0]: must be the name of a DB cluster in DBClusters, got "shop"',
  ],
  [
    'DBInstances:',
    'DbInstances: []\nDBInstances:',
    '1  DbInstances: unknown key; did you mean DBInstances?',
  ],
  [
    'DBInstances:',
    'AccountId: 000000000000\nDBInstances:',
    '1  AccountId: must be 12 digits in quotes, got 0',
  ],
  [
    'DBInstances:',
    'Region: Virginia\nDBInstances:',
    '1  Region: must look like us-east-1, got "Virginia"',
  ],
  [
    'DBInstances:',
    'DrainTimeout: 3601\nDBInstances:',
    '1  DrainTimeout: must be 0 to 3600, got 3601',
  ],
  [
    'DBInstances:',
    'Api: { Listen: 0.0.0.0:8400, AllowAnonymous: true }\nDBInstances:',
    '1  Api.AllowAnonymous: may be true only when Listen is a loopback address, such as 127.0.0.1, got true',
  ],
  ['DBInstances:', 'Api: {}\nDBInstances:', '1  Api.Listen: is required'],
  [
    'DBInstances:',
    'Api: { Listen: 127.0.0.1:1, EndpointRange: 127.1.0.0/31 }\nDBInstances:',
    '1  Api.EndpointRange: must be an IPv4 range such as 127.1.0.0/16, from /8 to /30, got "127.1.0.0/31"',
  ],
  ...BAD_PRINCIPALS.map(
    ([text, message]) =>
      [
        'DBInstances:',
        `Principals: [{ ${text} }]\nDBInstances:`,
        `1  Principals[0]${message}`,
      ] as const,
  ),
  [
    'DBInstances:',
    'Api: { Listen: 127.0.0.1:1, Principals: [] }\nDBInstances:',
    '1  Api.Principals: is not supported: Principals are at the top of the file, and have Policies',
  ],
  [
    'DBInstances:',
    'Api: { Listen: 127.0.0.1:6432 }\nDBInstances:',
    '12  DBProxies[0].Listen: must not be an address that Api.Listen listens on, got "127.0.0.1:6432"',
  ],
];

describe('a file without proxies', () => {
  test('needs an API that can make some', () => {
    expect(refusal('Region: us-east-1\nDBProxies: []\n')).toBe(
      'berth.yaml:2  DBProxies: must have 1 to 1000 items, as without an Api none can be made later',
    );
    const { snapshot, api } = parse('Api: { Listen: 127.0.0.1:1 }\n');
    expect(snapshot).toMatchObject({ DBProxies: [], Secrets: [] });
    expect(api).toMatchObject({ allowAnonymous: false });
  });
});

describe('principals', () => {
  test('are users with keys and roles with sessions, with the statements of their policies', () => {
    const { snapshot } = parse(`Api: { Listen: 127.0.0.1:1 }
AccountId: "123456789012"
Principals:
  - UserName: alice
    AccessKeys: [{ AccessKeyId: AKIA, SecretAccessKey: s }]
    Policies:
      - PolicyName: connect
        PolicyDocument:
          Statement: [{ Effect: Allow, Action: rds-db:connect, Resource: "*" }]
      - PolicyName: look
        PolicyDocument:
          Version: 2012-10-17
          Statement: [{ Effect: Deny, Action: [rds:Describe*, rds:List*], Resource: ["arn:aws:rds:*:*:db:x"] }]
  - RoleName: deployer
    Sessions:
      - { RoleSessionName: ci, AccessKeyId: ASIA, SecretAccessKey: s, SessionToken: t, Expiration: 2027-01-01T00:00:00Z }
`);
    expect(snapshot.AccessKeys).toMatchObject([
      {
        accessKeyId: 'AKIA',
        arn: 'arn:aws:iam::123456789012:user/alice',
        sessionToken: undefined,
        statements: [
          { Effect: 'Allow', Action: ['rds-db:connect'], Resource: ['*'] },
          {
            Effect: 'Deny',
            Action: ['rds:Describe*', 'rds:List*'],
            Resource: ['arn:aws:rds:*:*:db:x'],
          },
        ],
      },
      {
        accessKeyId: 'ASIA',
        arn: 'arn:aws:sts::123456789012:assumed-role/deployer/ci',
        expiresAt: Date.parse('2027-01-01T00:00:00Z'),
        statements: [],
      },
    ]);
    expect(JSON.stringify(snapshot.AccessKeys)).toContain('"secretAccessKey":"[secret]"');
    expect(JSON.stringify(snapshot.AccessKeys)).toContain('"sessionToken":"[secret]"');
  });
});

describe('a file with IAM_AUTH', () => {
  const iam = GOOD.replace('    Auth: [{ SecretArn: app }]', '    DefaultAuthScheme: IAM_AUTH');

  test('needs no Auth', () => {
    const [proxy] = parse(iam).snapshot.DBProxies;
    expect(proxy).toMatchObject({ DefaultAuthScheme: 'IAM_AUTH', Auth: [] });
  });

  test('may have priorities of any user', () => {
    const rule = '        MaxConnections: 16\n        Priorities: [{ UserName: any, Priority: 1 }]';
    expect(parse(iam.replace('        MaxConnections: 16', rule)).snapshot.DBProxies).toHaveLength(
      1,
    );
  });

  test.each([
    ['Engine: postgres', 'Engine: postgres\n    Tls: { Mode: disable }'],
    ['Address: 127.0.0.1', 'Address: /run/postgresql'],
  ])('must not have a target without TLS: %s -> %s', (from, to) => {
    expect(refusal(iam.replace(from, to))).toContain(
      'DBProxies[0].DefaultAuthScheme: must not be IAM_AUTH for a target without TLS',
    );
  });
});

describe('a bad file', () => {
  test.each(BAD)('%s -> %s', (from, to, message) => {
    expect(refusal(but(from, to))).toBe(`berth.yaml:${message}`);
  });

  test.each([
    ['DBInstances', 'DBInstanceIdentifier'],
    ['Secrets', 'Name'],
    ['DBProxies', 'DBProxyName'],
  ])('names in %s are unique', (list, key) => {
    const block = new RegExp(`^${list}:\\n((?: .*\\n)+)`, 'm').exec(GOOD)?.[1] ?? '';
    const twice = GOOD.replace(block, block + block.replace('6432', '6433'));
    const name = new RegExp(`${key}: (\\S+)`).exec(block)?.[1];
    expect(refusal(twice)).toEndWith(
      `${list}[1].${key}: must be unique, and ${list}[0].${key} is the same, got "${name}"`,
    );
  });

  test('endpoints have names and addresses of their own', () => {
    const endpoints = `    Endpoints:
      - { DBProxyEndpointName: default, Listen: 127.0.0.1:6433 }
      - { DBProxyEndpointName: batch, Listen: 0.0.0.0:6432 }
      - { DBProxyEndpointName: batch, Listen: "[::]:6433" }
      - { DBProxyEndpointName: writes, Listen: 127.0.0.1:0, MaxReplicaLag: 1, ReaderFallback: WRITER }
      - { DBProxyEndpointName: reads, Listen: 127.0.0.1:0, TargetRole: READ_ONLY }
      - { DBProxyEndpointName: zero, Listen: 127.0.0.1:0 }
`;
    expect(refusal(GOOD + endpoints).split('\n')).toEqual([
      'berth.yaml:18  DBProxies[0].Endpoints[0].DBProxyEndpointName: must not be the name of the endpoint that every proxy has, got "default"',
      'berth.yaml:19  DBProxies[0].Endpoints[1].Listen: must not be an address that DBProxies[0].Listen listens on, got "0.0.0.0:6432"',
      'berth.yaml:20  DBProxies[0].Endpoints[2].DBProxyEndpointName: must be unique, and DBProxies[0].Endpoints[1].DBProxyEndpointName is the same, got "batch"',
      'berth.yaml:20  DBProxies[0].Endpoints[2].Listen: must not be an address that DBProxies[0].Endpoints[0].Listen listens on, got "[::]:6433"',
      'berth.yaml:21  DBProxies[0].Endpoints[3].MaxReplicaLag: is for endpoints whose TargetRole is READ_ONLY, got 1',
      'berth.yaml:21  DBProxies[0].Endpoints[3].ReaderFallback: is for endpoints whose TargetRole is READ_ONLY, got "WRITER"',
      'berth.yaml:22  DBProxies[0].Endpoints[4].TargetRole: must be READ_WRITE, as the target of the proxy is no DB cluster, got "READ_ONLY"',
    ]);
  });

  test('a Unix socket belongs to one endpoint, and not to the database', () => {
    const text = but('Listen: 127.0.0.1:6432', 'Listen: /run/berth/.s.PGSQL.6432').replace(
      'Address: 127.0.0.1, Port: 5432',
      'Address: /run/berth/, Port: 6432',
    );
    const endpoints = `    Endpoints:
      - { DBProxyEndpointName: batch, Listen: /run/./berth/.s.PGSQL.6432 }
      - { DBProxyEndpointName: other, Listen: /run/berth/.s.PGSQL.6433 }
      - { DBProxyEndpointName: port, Listen: 127.0.0.1:6432 }
`;
    expect(refusal(text + endpoints).split('\n')).toEqual([
      'berth.yaml:14  DBProxies[0].TargetGroup.DBInstanceIdentifiers[0]: must not have an address that DBProxies[0].Listen listens on, got "orders-db"',
      'berth.yaml:18  DBProxies[0].Endpoints[0].Listen: must not be an address that DBProxies[0].Listen listens on, got "/run/./berth/.s.PGSQL.6432"',
    ]);
  });

  test('is told all its problems at once, in the order of the file', () => {
    const text = but('Engine: postgres', 'Engine: oracle')
      .replace('password: hunter2', 'password: "${PW}"')
      .replace('SecretArn: app', 'SecretArn: nobody')
      .replace('MaxConnections: 16', 'MaxConections: 16');
    expect(refusal(text).split('\n')).toEqual([
      'berth.yaml:3  DBInstances[0].Engine: must be one of postgres, mysql, mariadb, got "oracle"',
      'berth.yaml:7  Secrets[0].SecretString.password: the environment variable PW is not set',
      'berth.yaml:12  DBProxies[0].Auth[0].SecretArn: must be the Name or the ARN of a secret in Secrets, got "nobody"',
      'berth.yaml:16  DBProxies[0].TargetGroup.ConnectionPoolConfig.MaxConections: unknown key; did you mean MaxConnections?',
    ]);
  });

  test.each([
    ['', 'berth.yaml  the file is empty'],
    ['# nothing\n', 'berth.yaml  the file is empty'],
    ['---\n', 'berth.yaml  the file is empty'],
    ['hello', 'berth.yaml:1  must be a mapping, got "hello"'],
    [
      'a: b: c',
      'berth.yaml:1  not valid YAML at column 4: a second "key: value" on the same line; put text with ": " in quotes',
    ],
    ['a: [1, 2\nb: 3\n', /^berth.yaml:2 {2}not valid YAML at column \d+: /],
    ['a:\n\tb: 1\n', /^berth.yaml:2 {2}not valid YAML at column \d+: /],
    ['a: 1\n---\nb: 2\n', /^berth.yaml:2 {2}not valid YAML at column 1: a second document/],
  ])('%j as a file', (text, message) => {
    const refused = refusal(text);
    if (typeof message === 'string') expect(refused).toBe(message);
    else expect(refused).toMatch(message);
  });

  test('that is a bomb of aliases is refused', () => {
    const levels = Array.from({ length: 30 }, (_, level) =>
      level === 0 ? 'l0: &l0 [x, x]' : `l${level}: &l${level} [*l${level - 1}, *l${level - 1}]`,
    );
    expect(refusal(levels.join('\n'))).toBe(
      'berth.yaml:1  not valid YAML: too many aliases (*name)',
    );
  });

  test.each([
    'password: *hunter2',
    'password: !hunter2',
    'password: "hunter2',
    'password: hunter2: hunter2',
    'password: "\\hunter2"',
    'password: @hunter2',
    'password: [hunter2]',
    'password: {hunter2: hunter2}',
    'password: hunter2, hunter2',
    'password: hunter2, password: hunter2',
    'password: "hunter2${"',
    'password: "${hunter2"',
    'password: %hunter2',
    'password: `hunter2`',
    'password: &hunter2 &hunter2 x',
  ])('with %s does not show the password', (line) => {
    const inFlow = but('password: hunter2', line);
    const inBlock = GOOD.replace(
      '{ username: app, password: hunter2 }',
      `\n      username: app\n      ${line}`,
    ).replace('Engine: postgres', 'Engine: x');
    for (const text of [inFlow, inBlock]) {
      const message = (() => {
        try {
          parse(text);
          return '';
        } catch (error) {
          return error instanceof ConfigurationError ? error.message : inspect(error);
        }
      })();
      expect(message).not.toContain('hunter2');
    }
  });

  test.each(['[hunter2', '{"username":"app","password":"hunter2"', '["hunter2"]', '"hunter2"'])(
    'with %s as JSON does not show the password',
    (json) => {
      const text = but('{ username: app, password: hunter2 }', `'${json}'`);
      expect(refusal(text)).toBe(
        'berth.yaml:7  Secrets[0].SecretString: must be a mapping, or JSON, with username and password',
      );
    },
  );
});

describe('reading a file', () => {
  const folder = mkdtempSync(join(tmpdir(), 'berth-configuration-'));
  afterAll(() => rmSync(folder, { recursive: true }));
  const refusalOf = (file: string) =>
    loadConfiguration(file, {}).then(
      () => 'accepted',
      (error: unknown) => (error instanceof ConfigurationError ? error.message : inspect(error)),
    );

  test('that is good', async () => {
    const file = join(folder, 'good.yaml');
    writeFileSync(file, GOOD);
    expect((await loadConfiguration(file, {})).snapshot.DBProxies).toHaveLength(1);
  });

  test('that is not there', async () => {
    const file = join(folder, 'nothing.yaml');
    expect(await refusalOf(file)).toBe(`${file}  there is no such file`);
  });

  test('that is a folder', async () => {
    expect(await refusalOf(folder)).toBe(`${folder}  this is a folder, not a file`);
  });

  test('that is not text', async () => {
    const file = join(folder, 'binary.yaml');
    writeFileSync(file, new Uint8Array([0xff, 0xfe, 0x00]));
    expect(await refusalOf(file)).toBe(`${file}  the file is not UTF-8 text`);
  });

  test('that is too large', async () => {
    const file = join(folder, 'large.yaml');
    writeFileSync(file, '#'.repeat(4 * 1024 * 1024 + 1));
    expect(await refusalOf(file)).toBe(`${file}  the file is larger than 4 MiB`);
  });

  test.skipIf(process.getuid?.() === 0)('that may not be read', async () => {
    const file = join(folder, 'closed.yaml');
    writeFileSync(file, GOOD);
    chmodSync(file, 0);
    expect(await refusalOf(file)).toBe(`${file}  the file cannot be read: permission denied`);
  });
});
