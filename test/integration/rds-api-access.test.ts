/** Who may use the RDS API: signatures as AWS's own clients make them, and those that were tampered with. */

import { describe, expect, setDefaultTimeout, test } from 'bun:test';
import {
  CreateDBInstanceCommand,
  DescribeDBProxiesCommand,
  type RDSClient,
} from '@aws-sdk/client-rds';
import { useBerth } from '../harness/berth.ts';
import { eventually } from '../harness/polling.ts';
import { usePostgres } from '../harness/postgres.ts';
import { testWith } from '../harness/programs.ts';
import { type AccessKey, aws, faultOf, REGION, rdsClient, TEST_KEY } from '../harness/rds.ts';

setDefaultTimeout(30_000);

const SECOND_KEY = { accessKeyId: 'AKIASECOND', secretAccessKey: 'a/secret+with=signs' };

const SESSION = {
  accessKeyId: 'ASIASESSION',
  secretAccessKey: 'session-secret',
  sessionToken: 'a/session+token=',
};
const EXPIRED = { ...SESSION, accessKeyId: 'ASIAEXPIRED' };

const keyOf = ({ accessKeyId, secretAccessKey }: AccessKey) => ({
  AccessKeyId: accessKeyId,
  SecretAccessKey: secretAccessKey,
});
const sessionOf = (key: typeof SESSION) => ({ ...keyOf(key), SessionToken: key.sessionToken });
const EVERYTHING = policy({ Effect: 'Allow', Action: '*', Resource: '*' });

function policy(...Statement: readonly object[]) {
  return { PolicyName: 'test', PolicyDocument: { Version: '2012-10-17', Statement } };
}

const PRINCIPALS = [
  { UserName: 'first', AccessKeys: [keyOf(TEST_KEY)], Policies: [EVERYTHING] },
  {
    UserName: 'second',
    AccessKeys: [{ AccessKeyId: SECOND_KEY.accessKeyId, SecretAccessKey: `$\{SECOND_SECRET}` }],
    Policies: [policy({ Effect: 'Allow', Action: 'rds:*', Resource: ['*'] })],
  },
  {
    RoleName: 'deployer',
    Sessions: [
      { RoleSessionName: 'now', ...sessionOf(SESSION), Expiration: '2100-01-01T00:00:00Z' },
      { RoleSessionName: 'then', ...sessionOf(EXPIRED), Expiration: '2026-01-01T00:00:00Z' },
    ],
    Policies: [EVERYTHING],
  },
];

const database = usePostgres();
const berth = useBerth(() => ({
  database: database(),
  environment: { SECOND_SECRET: SECOND_KEY.secretAccessKey },
  file: {
    StateDirectory: 'state',
    Api: {
      Listen: '127.0.0.1:0',
    },
    Principals: PRINCIPALS,
  },
}));

function keysOnly({ accessKeyId, secretAccessKey }: AccessKey): AccessKey {
  return { accessKeyId, secretAccessKey };
}

const describeProxies = (client: RDSClient) => client.send(new DescribeDBProxiesCommand({}));

interface SentRequest {
  body?: unknown;
  readonly headers: Record<string, string>;
}

/** Changes what has been signed, on its way. */
function tampering(change: (request: SentRequest) => void): RDSClient {
  const client = rdsClient(berth());
  client.middlewareStack.add(
    (next) => (args) => {
      change(args.request as SentRequest);
      return next(args);
    },
    { step: 'finalizeRequest', priority: 'low', name: 'tamper' },
  );
  return client;
}

function replaceHeader(name: string, pattern: RegExp, by: string): RDSClient {
  return tampering(({ headers }) => {
    headers[name] = (headers[name] ?? '').replace(pattern, by);
  });
}

describe('a request that is signed', () => {
  test.each([TEST_KEY, SECOND_KEY, SESSION])(
    "by the SDK with somebody's key",
    async (credentials) => {
      const { DBProxies } = await describeProxies(rdsClient(berth(), { credentials }));
      expect(DBProxies).toHaveLength(1);
    },
  );

  testWith('aws', "by AWS's command line", async () => {
    const { code, stdout } = await aws(berth(), 'describe-db-proxies', SECOND_KEY);
    expect(code).toBe(0);
    expect(JSON.parse(stdout).DBProxies).toHaveLength(1);
    const wrong = { ...TEST_KEY, secretAccessKey: 'other' };
    expect((await aws(berth(), 'describe-db-proxies', wrong)).stderr).toContain(
      '(SignatureDoesNotMatch)',
    );
  });

  test('with text that is no ASCII', async () => {
    const { DBInstance } = await rdsClient(berth()).send(
      new CreateDBInstanceCommand({
        DBInstanceIdentifier: 'signed',
        DBInstanceClass: 'ünïcode & = + %',
        Engine: 'postgres',
        Tags: [{ Key: 'berth:address', Value: '::1' }],
      }),
    );
    expect(DBInstance?.DBInstanceClass).toBe('ünïcode & = + %');
  });

  test.each([
    ['an unknown key', { ...TEST_KEY, accessKeyId: 'AKIANOBODY' }, 'InvalidClientTokenId'],
    ['another secret', { ...TEST_KEY, secretAccessKey: 'other' }, 'SignatureDoesNotMatch'],
    ['a session token', { ...TEST_KEY, sessionToken: 'token' }, 'InvalidClientTokenId'],
    ['another session token', { ...SESSION, sessionToken: 'token' }, 'InvalidClientTokenId'],
    ['no session token', keysOnly(SESSION), 'InvalidClientTokenId'],
    ['a session that is over', EXPIRED, 'ExpiredToken'],
  ])('with %s is refused', async (_name, credentials, code) => {
    const answer = describeProxies(rdsClient(berth(), { credentials }));
    expect(await faultOf(answer)).toMatchObject({ code, status: 403 });
  });

  test('for another region is refused', async () => {
    const answer = describeProxies(rdsClient(berth(), { region: 'eu-west-1' }));
    expect(await faultOf(answer)).toMatchObject({
      code: 'SignatureDoesNotMatch',
      message: expect.stringContaining(`/${REGION}/rds/aws4_request, not`),
    });
  });

  test.each([
    ['too old', -6, 'Signature expired: '],
    ['of the future', 6, 'Signature not yet current: '],
  ])('%s is refused', async (_name, minutes, text) => {
    const client = rdsClient(berth());
    client.config.systemClockOffset = minutes * 60_000;
    expect(await faultOf(describeProxies(client))).toMatchObject({
      code: 'SignatureDoesNotMatch',
      status: 403,
      message: expect.stringContaining(text),
    });
  });

  test.each([-4, 4])('%d minutes off is taken', async (minutes) => {
    const client = rdsClient(berth());
    client.config.systemClockOffset = minutes * 60_000;
    expect((await describeProxies(client)).DBProxies).toHaveLength(1);
  });
});

describe('a request that is tampered with', () => {
  test.each([
    [
      'its body',
      (request: SentRequest) => {
        request.body = 'Action=DescribeDBInstances&Version=2014-10-31';
        request.headers['content-length'] = '45';
      },
    ],
    [
      'its body and the hash of it',
      (request: SentRequest) => {
        request.body = 'Action=DescribeDBInstances&Version=2014-10-31';
        request.headers['content-length'] = '45';
        const hash = new Bun.CryptoHasher('sha256').update(String(request.body)).digest('hex');
        request.headers['x-amz-content-sha256'] = hash;
      },
    ],
    [
      'a signed header',
      ({ headers }: SentRequest) => {
        headers['x-amz-user-agent'] = 'other';
      },
    ],
  ])('in %s', async (_name, change) => {
    expect(await faultOf(describeProxies(tampering(change)))).toMatchObject({
      code: 'SignatureDoesNotMatch',
      status: 403,
    });
  });

  test.each([
    [
      'the signature',
      /Signature=[0-9a-f]{64}/,
      `Signature=${'0'.repeat(64)}`,
      'SignatureDoesNotMatch',
    ],
    ['the service', /\/rds\//, '/ec2/', 'SignatureDoesNotMatch'],
    ['the day', /\/\d{8}\//, '/20200101/', 'SignatureDoesNotMatch'],
    ['the list of headers', /;content-type/, '', 'SignatureDoesNotMatch'],
    ['the key', /AKIATEST/, 'AKIASECOND', 'SignatureDoesNotMatch'],
    ['the host left out', /;host/, '', 'IncompleteSignature'],
    ['the date left out', /;x-amz-date/, '', 'IncompleteSignature'],
    ['no signature', /, Signature=.*/, '', 'IncompleteSignature'],
    ['a short signature', /Signature=.*/, 'Signature=00', 'IncompleteSignature'],
    ['a short scope', /\/aws4_request/, '', 'IncompleteSignature'],
    ['another scheme', /^AWS4-HMAC-SHA256/, 'Bearer', 'IncompleteSignature'],
  ])('in its authorization: %s', async (_name, pattern, by, code) => {
    const answer = describeProxies(replaceHeader('authorization', pattern, by));
    expect(await faultOf(answer)).toMatchObject({ code });
  });

  test.each(['2026', '20261399T000000Z'])('with the date %s', async (date) => {
    const answer = describeProxies(replaceHeader('x-amz-date', /^.*$/, date));
    expect(await faultOf(answer)).toMatchObject({ code: 'IncompleteSignature', status: 400 });
  });
});

test('a request that nobody has signed is refused, and so is the rest of the API', async () => {
  const client = tampering(({ headers }) => {
    delete headers.authorization;
  });
  expect(await faultOf(describeProxies(client))).toEqual({
    code: 'MissingAuthenticationToken',
    message: 'Request is missing Authentication Token',
    status: 403,
    side: 'client',
  });
  expect((await berth().fetch('/metrics')).status).toBe(403);
  expect((await berth().fetch('/healthz')).status).toBe(200);
});

test('who asks for too many checks is refused without one, and not for long', async () => {
  const body = 'Action=DescribeDBProxies&Version=2014-10-31';
  const ask = async () => {
    const answer = await fetch(berth().apiUrl, { method: 'POST', body });
    return /<Code>(\w+)<\/Code>/.exec(await answer.text())?.[1];
  };
  const codes = new Set<string | undefined>();
  await eventually(async () => {
    for (const code of await Promise.all(Array.from({ length: 100 }, ask))) codes.add(code);
    return codes.has('Throttling') ? true : undefined;
  }, 'a refusal');
  expect([...codes].toSorted()).toEqual(['MissingAuthenticationToken', 'Throttling']);
  await eventually(
    () =>
      describeProxies(rdsClient(berth())).then(
        () => true,
        () => undefined,
      ),
    'an answer',
  );
});

test('no secret key is in the log', () => {
  expect(berth().logText).not.toContain(TEST_KEY.secretAccessKey);
  expect(berth().logText).not.toContain(SECOND_KEY.secretAccessKey);
  expect(berth().logText).not.toContain(SESSION.sessionToken);
});

test('keys change with the configuration file, for the next request', async () => {
  const { configuration } = berth();
  const key = { accessKeyId: 'AKIATEST', secretAccessKey: 'another secret' };
  const Principals = [{ UserName: 'first', AccessKeys: [keyOf(key)], Policies: [EVERYTHING] }];
  await berth().reload({ ...configuration, Principals });
  const { DBProxies } = await describeProxies(rdsClient(berth(), { credentials: key }));
  expect(DBProxies).toHaveLength(1);
  expect(await faultOf(describeProxies(rdsClient(berth())))).toMatchObject({
    code: 'SignatureDoesNotMatch',
  });
  await berth().reload(configuration);
});
