/** Secrets that others keep: in files, and in another store that speaks the API of Secrets Manager. */

import { describe, expect, setDefaultTimeout, test } from 'bun:test';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CreateSecretCommand, PutSecretValueCommand } from '@aws-sdk/client-secrets-manager';
import { textRows } from '../harness/backend-messages.ts';
import { Berth, useBerth } from '../harness/berth.ts';
import { eventually } from '../harness/polling.ts';
import { adminQuery, usePostgres } from '../harness/postgres.ts';
import { TEST_KEY } from '../harness/rds.ts';
import { secretsClient } from '../harness/secrets-manager.ts';

setDefaultTimeout(60_000);

const scram = 'scram-sha-256' as const;
const database = usePostgres({ authentication: { hostssl: scram, hostnossl: scram } });

const EVERYTHING = {
  PolicyName: 'test',
  PolicyDocument: { Statement: [{ Effect: 'Allow', Action: '*', Resource: '*' }] },
};

let users = 0;

async function newUser(password: string): Promise<string> {
  const user = `kept${++users}`;
  await adminQuery(database(), `create role ${user} login password '${password}'`);
  return user;
}

const setPassword = (user: string, password: string) =>
  adminQuery(database(), `alter role ${user} password '${password}'`);

const json = (username: string, password: string) => JSON.stringify({ username, password });

async function canLogIn(berth: Berth, user: string, password: string): Promise<true | undefined> {
  try {
    using client = await berth.login({ user, password });
    expect(textRows(await client.query('select 42'))).toEqual([['42']]);
    return true;
  } catch {
    return undefined;
  }
}

function proxyOf(SecretArn: string) {
  return { proxy: { Auth: [{ SecretArn }] } };
}

describe('a secret in a file', () => {
  test('is read again when it has changed', async () => {
    const user = await newUser('first');
    await using berth = await Berth.start({
      database: database(),
      ...proxyOf('kept'),
      file: { Secrets: [{ Name: 'kept', SecretFile: 'kept.json' }] },
      files: { 'kept.json': json(user, 'first') },
      expect: ['connection.open_failed', 'client.authentication_failed', 'secret.unreadable'],
    });
    expect(await canLogIn(berth, user, 'first')).toBeTrue();
    using staying = await berth.login({ user, password: 'first' });
    await setPassword(user, 'second');
    berth.writeFile('kept.json', json(user, 'second'));
    await eventually(() => canLogIn(berth, user, 'second'), 'the new password is taken');
    expect(textRows(await staying.query('select 42'))).toEqual([['42']]);
    // What cannot be understood changes nothing.
    berth.writeFile('kept.json', '{"username": "half');
    const [line] = await berth.untilLogged('secret.unreadable');
    expect(line?.msg).toContain('kept.json is not JSON with username and password');
    expect(await canLogIn(berth, user, 'second')).toBeTrue();
  });

  test('may be in a folder, as Kubernetes mounts it', async () => {
    const user = await newUser('first');
    const folder = mkdtempSync(join(tmpdir(), 'berth-mounted-'));
    mkdirSync(join(folder, 'app'));
    writeFileSync(join(folder, 'app', 'username'), `${user}\n`);
    writeFileSync(join(folder, 'app', 'password'), 'first');
    await using berth = await Berth.start({
      database: database(),
      ...proxyOf('kept'),
      file: { Secrets: [{ Name: 'kept', SecretFile: join(folder, 'app') }] },
    });
    expect(await canLogIn(berth, user, 'first')).toBeTrue();
    rmSync(folder, { recursive: true });
  });

  test('that is not there is told, and awaited', async () => {
    const user = await newUser('first');
    await using berth = await Berth.start({
      database: database(),
      ...proxyOf('kept'),
      file: { Secrets: [{ Name: 'kept', SecretFile: 'kept.json' }] },
      expect: ['secret.unreadable', 'credentials.missing', 'target.health_changed', /client\./],
    });
    const [line] = await berth.untilLogged('credentials.missing');
    expect(line?.msg).toContain('There is no secret "kept" with a user name and a password');
    berth.writeFile('kept.json', json(user, 'first'));
    await eventually(() => canLogIn(berth, user, 'first'), 'the secret is read');
  });
});

describe('a secret in Secrets Manager', () => {
  const store = useBerth(() => ({
    database: database(),
    file: {
      StateDirectory: 'state',
      Principals: [
        {
          UserName: 'admin',
          AccessKeys: [
            { AccessKeyId: TEST_KEY.accessKeyId, SecretAccessKey: TEST_KEY.secretAccessKey },
          ],
          Policies: [EVERYTHING],
        },
      ],
      Api: { Listen: '127.0.0.1:0' },
    },
  }));

  const environment = {
    AWS_ACCESS_KEY_ID: TEST_KEY.accessKeyId,
    AWS_SECRET_ACCESS_KEY: TEST_KEY.secretAccessKey,
    AWS_EC2_METADATA_DISABLED: 'true',
  };

  async function makeSecret(user: string) {
    const SecretString = json(user, 'first');
    const command = new CreateSecretCommand({ Name: `store/${user}`, SecretString });
    const { ARN = '' } = await secretsClient(store()).send(command);
    return ARN;
  }

  const put = (SecretId: string, user: string, password: string, VersionStages?: string[]) =>
    secretsClient(store()).send(
      new PutSecretValueCommand({ SecretId, SecretString: json(user, password), VersionStages }),
    );

  function start(SecretArn: string, RefreshInterval: number, expected: string[] = []) {
    return Berth.start({
      database: database(),
      ...proxyOf(SecretArn),
      file: { Secrets: [], SecretsManager: { Endpoint: store().apiUrl, RefreshInterval } },
      environment,
      expect: expected,
    });
  }

  test('is asked for every now and then', async () => {
    const user = await newUser('first');
    const arn = await makeSecret(user);
    const expected = ['connection.open_failed', 'client.authentication_failed'];
    await using berth = await start(arn, 1, expected);
    expect(await canLogIn(berth, user, 'first')).toBeTrue();
    await put(arn, user, 'second');
    await setPassword(user, 'second');
    await eventually(() => canLogIn(berth, user, 'second'), 'the new password is taken');
  });

  test('is asked for when a client or a database knows another password', async () => {
    const user = await newUser('first');
    const arn = await makeSecret(user);
    const expected = ['connection.open_failed', 'client.authentication_failed'];
    await using berth = await start(arn, 3_600, expected);
    expect(await canLogIn(berth, user, 'first')).toBeTrue();
    await put(arn, user, 'second');
    await eventually(() => canLogIn(berth, user, 'second'), 'the client is believed');
    // Nobody tells the proxy of this one but the database, which refuses the one before.
    await put(arn, user, 'third', ['AWSPENDING']);
    await setPassword(user, 'third');
    using client = await berth.login({ user, password: 'second', database: 'second' });
    expect(textRows(await client.query('select 42'))).toEqual([['42']]);
  });

  test('that cannot be had is told, in the words of AWS and without a value', async () => {
    const arn = 'arn:aws:secretsmanager:us-east-1:000000000000:secret:nothing-abcdef';
    const expected = ['secret.unreadable', 'credentials.missing', 'target.health_changed'];
    await using berth = await start(arn, 1, expected);
    const [line] = await berth.untilLogged('secret.unreadable');
    expect(line?.msg).toBe(
      `The secret "${arn}" cannot be read. ResourceNotFoundException: Secrets Manager can't find the specified secret.`,
    );
  });
});
