/** Passwords are nowhere but where they belong: everything that Berth says or keeps is searched for them. */

import { expect, setDefaultTimeout, test } from 'bun:test';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  CreateDBInstanceCommand,
  CreateDBProxyCommand,
  DescribeDBProxiesCommand,
  DescribeDBProxyTargetsCommand,
  RegisterDBProxyTargetsCommand,
} from '@aws-sdk/client-rds';
import {
  CreateSecretCommand,
  DescribeSecretCommand,
  ListSecretsCommand,
  ListSecretVersionIdsCommand,
  PutSecretValueCommand,
} from '@aws-sdk/client-secrets-manager';
import { Client } from 'pg';
import { Berth } from '../harness/berth.ts';
import { IAM_PRINCIPALS, iamToken, signatureOf } from '../harness/iam.ts';
import { eventually } from '../harness/polling.ts';
import { adminQuery, usePostgres } from '../harness/postgres.ts';
import { RawClient } from '../harness/raw-client.ts';
import { faultOf, randomRange, rdsClient } from '../harness/rds.ts';
import { secretsClient, secretsFaultOf } from '../harness/secrets-manager.ts';

setDefaultTimeout(90_000);

const scram = 'scram-sha-256' as const;
const database = usePostgres({ authentication: { hostssl: scram, hostnossl: scram } });

/** Each in its own place, so that a finding says where it came from. */
const CANARIES = {
  ofTheFile: 'canary-of-the-file',
  ofAFile: 'canary-of-a-file',
  ofTheStore: 'canary-of-the-store',
  pending: 'canary-that-is-pending',
  ofAClient: 'canary-of-a-client',
  notJson: 'canary-without-json',
  ofAKey: 'canary-of-an-access-key',
  ofASession: 'canary-of-a-session-token',
  inAStatement: 'canary-in-a-statement',
};
/** What belongs to a session of a role. */
const KEY = {
  accessKeyId: 'ASIACANARY',
  secretAccessKey: CANARIES.ofAKey,
  sessionToken: CANARIES.ofASession,
};
const SESSION = {
  RoleSessionName: 'canary',
  AccessKeyId: KEY.accessKeyId,
  SecretAccessKey: KEY.secretAccessKey,
  SessionToken: KEY.sessionToken,
};
const NOISY = [/connection\.open_failed|client\.|target\.|borrow\.|credentials\.|secret\./];

/** The canaries that `bytes` holds, as they are or in a usual encoding. */
function found(bytes: Buffer, canaries: readonly string[] = Object.values(CANARIES)): string[] {
  return canaries.filter((canary) =>
    [canary, encodeURIComponent(canary), Buffer.from(canary).toString('hex')]
      .concat([0, 1, 2].map((shift) => base64Inside(canary, shift)))
      .some((text) => bytes.includes(text)),
  );
}

/** What stays the same of the base64 of any text that has `text` at this place. */
function base64Inside(text: string, shift: number): string {
  const encoded = Buffer.from('x'.repeat(shift) + text).toString('base64');
  return encoded.slice(Math.ceil((shift * 4) / 3), -4);
}

function filesIn(folder: string): Buffer[] {
  const names = readdirSync(folder, { recursive: true, withFileTypes: true });
  return names
    .filter((entry) => entry.isFile())
    .map((entry) => readFileSync(join(entry.parentPath, entry.name)));
}

test('the search finds what is there', () => {
  for (const text of [
    CANARIES.pending,
    `x${CANARIES.pending}y`,
    Buffer.from(`{"password":"${CANARIES.pending}"}`).toString('base64'),
    Buffer.from(`x{"password":"${CANARIES.pending}"}`).toString('base64'),
    Buffer.from(`xy{"password":"${CANARIES.pending}"}`).toString('base64'),
    Buffer.from(CANARIES.pending).toString('hex'),
  ]) {
    expect(found(Buffer.from(text))).toEqual([CANARIES.pending]);
  }
});

test('no password is in the log, the metrics, the listings, the answers or the state', async () => {
  const StateDirectory = mkdtempSync(join(tmpdir(), 'berth-canary-'));
  for (const [name, password] of [
    ['declared', CANARIES.ofTheFile],
    ['mounted', CANARIES.ofAFile],
    ['stored', CANARIES.ofTheStore],
  ]) {
    await adminQuery(database(), `create role ${name} login password '${password}'`);
  }
  const json = (username: string, password: string) => JSON.stringify({ username, password });
  const berth = await Berth.start({
    database: database(),
    // With all that a log can be made to tell.
    proxy: {
      Auth: [
        { SecretArn: 'declared' },
        { SecretArn: 'mounted' },
        { SecretArn: 'app', IAMAuth: 'REQUIRED' },
      ],
      DebugLogging: true,
    },
    file: {
      StateDirectory,
      Api: { Listen: '127.0.0.1:0', AllowAnonymous: true, EndpointRange: randomRange() },
      Secrets: [
        { Name: 'declared', SecretString: json('declared', CANARIES.ofTheFile) },
        { Name: 'mounted', SecretFile: 'mounted.json' },
        { Name: 'app', SecretString: json('app', 'app-password') },
      ],
      Principals: [
        { RoleName: 'canary', Sessions: [SESSION], Policies: IAM_PRINCIPALS[0]?.Policies },
      ],
    },
    files: { 'mounted.json': json('mounted', CANARIES.ofAFile) },
    logLevel: 'trace',
    expect: NOISY,
  });
  const said: Buffer[] = [];
  const note = (text: unknown) => said.push(Buffer.from(JSON.stringify(text) ?? ''));
  const rds = rdsClient(berth);
  const secrets = secretsClient(berth);
  const Name = 'stored';
  const create = { Name, SecretString: json('stored', 'before'), Description: 'described' };
  note(await secrets.send(new CreateSecretCommand(create)));
  const put = (SecretString: string, VersionStages?: string[]) =>
    secrets.send(new PutSecretValueCommand({ SecretId: Name, SecretString, VersionStages }));
  note(await put(json('stored', CANARIES.ofTheStore)));
  note(await put(json('stored', CANARIES.pending), ['AWSPENDING']));
  note(
    await rds.send(
      new CreateDBInstanceCommand({
        DBInstanceIdentifier: 'db',
        DBInstanceClass: 'db.berth',
        Engine: 'postgres',
        Port: database().port,
        Tags: [{ Key: 'berth:address', Value: '127.0.0.1' }],
      }),
    ),
  );
  const { DBProxy } = await rds.send(
    new CreateDBProxyCommand({
      DBProxyName: 'made',
      EngineFamily: 'POSTGRESQL',
      RoleArn: 'arn:aws:iam::000000000000:role/berth',
      VpcSubnetIds: ['subnet-a', 'subnet-b'],
      Auth: [{ SecretArn: Name }],
    }),
  );
  const DBProxyName = 'made';
  await rds.send(new RegisterDBProxyTargetsCommand({ DBProxyName, DBInstanceIdentifiers: ['db'] }));

  // Log-ins that succeed, and those that fail on either side.
  const made = { host: DBProxy?.Endpoint ?? '', port: 5432 };
  const login = { user: 'stored', database: 'app' };
  const client = await eventually(
    () => RawClient.login(made, { ...login, password: CANARIES.ofTheStore }).catch(() => undefined),
    'a log-in',
    30_000,
  );
  using declared = await berth.login({ user: 'declared', password: CANARIES.ofTheFile });
  using mounted = await berth.login({ user: 'mounted', password: CANARIES.ofAFile });
  for (const each of [client, declared, mounted]) note(await each.query('select 1'));
  for (const user of ['declared', 'stored', 'nobody']) {
    const attempt = { user, password: CANARIES.ofAClient };
    note(String(await berth.login(attempt).catch((error: unknown) => error)));
  }
  await adminQuery(database(), `alter role declared password 'another'`);
  const other = { user: 'declared', password: CANARIES.ofTheFile, database: 'second' };
  const waiting = berth.login(other).catch((error: unknown) => error);
  await berth.untilLogged('connection.open_failed');
  await adminQuery(database(), `alter role declared password '${CANARIES.ofTheFile}'`);
  const let_in = await waiting;
  if (let_in instanceof RawClient) let_in[Symbol.dispose]();

  // Tokens, good and bad, and statements with values, of which one fails.
  const token = await iamToken({ port: berth.port, key: KEY });
  const signature = signatureOf(token);
  for (const password of [token, token.replace(signature, signature.replaceAll('0', '1'))]) {
    const ssl = { rejectUnauthorized: false };
    const place = { host: '127.0.0.1', port: berth.port, database: 'app', user: 'app' };
    const withToken = new Client({ ...place, password, ssl });
    note(String(await withToken.connect().catch((error: unknown) => error)));
    if (password === token) {
      await withToken.query(`select '${CANARIES.inAStatement}'`);
      await withToken.query('select $1::text', [CANARIES.inAStatement]);
      await withToken.query(`select '${CANARIES.inAStatement}'::int`).catch(() => undefined);
    }
    await withToken.end();
  }

  // Requests that fail.
  const wrong = { ...KEY, sessionToken: `${KEY.sessionToken}!` };
  note(
    await faultOf(
      rdsClient(berth, { credentials: wrong }).send(new DescribeDBProxiesCommand({})),
    ).catch(String),
  );
  note(await secretsFaultOf(put('x'.repeat(70_000) + CANARIES.notJson)));
  const body = `{"SecretId": "stored", "SecretString": "${CANARIES.notJson}`;
  const target = { 'x-amz-target': 'secretsmanager.PutSecretValue' };
  const broken = await fetch(berth.apiUrl, { method: 'POST', headers: target, body });
  note(await broken.text());
  berth.writeFile('mounted.json', `{"username": "mounted", "password": "${CANARIES.ofAFile}"`);
  await berth.untilLogged('secret.unreadable');
  await put(CANARIES.notJson);
  await berth.untilLogged('credentials.missing');

  for (const path of ['/metrics', '/sessions', '/pools', '/readyz', '/healthz']) {
    note(await (await berth.fetch(path)).text());
  }
  note(await secrets.send(new ListSecretsCommand({ IncludePlannedDeletion: true })));
  note(await secrets.send(new DescribeSecretCommand({ SecretId: Name })));
  const all = { SecretId: Name, IncludeDeprecated: true };
  note(await secrets.send(new ListSecretVersionIdsCommand(all)));
  note(await rds.send(new DescribeDBProxiesCommand({})));
  note(await rds.send(new DescribeDBProxyTargetsCommand({ DBProxyName })));

  // What the system shows of the process.
  said.push(readFileSync(`/proc/${berth.pid}/cmdline`));

  client[Symbol.dispose]();
  const state = () => filesIn(StateDirectory);
  expect(state().length).toBeGreaterThan(1);
  const places = [Buffer.from(berth.logText), ...said, ...state()];
  await berth.stop();
  const canaries = [...Object.values(CANARIES), signature];
  expect([...places, ...state()].flatMap((bytes) => found(bytes, canaries))).toEqual([]);
  expect(berth.logged('statement.sent').length).toBeGreaterThan(2);
  rmSync(StateDirectory, { recursive: true });
});

test('the secret of the first key is told once, and kept only encrypted', async () => {
  const StateDirectory = mkdtempSync(join(tmpdir(), 'berth-canary-'));
  const start = (expected: string[]) =>
    Berth.start({
      database: database(),
      file: { StateDirectory, Api: { Listen: '127.0.0.1:0' } },
      expect: expected,
    });
  const berth = await start(['unstructured']);
  const told = /AWS_SECRET_ACCESS_KEY=([\w+/]{40})/.exec(
    berth.log.map(({ msg }) => msg).join('\n'),
  );
  const [, secret = ''] = told ?? [];
  expect(secret).toHaveLength(40);
  const foundIn = (places: readonly Buffer[]) => places.flatMap((bytes) => found(bytes, [secret]));
  const state = () => filesIn(StateDirectory);
  expect(state().some((bytes) => bytes.includes('"kind":"principal"'))).toBeTrue();
  expect(foundIn(state())).toEqual([]);
  await berth.stop();
  expect(foundIn(state())).toEqual([]);
  const again = await start([]);
  expect(foundIn([Buffer.from(again.logText), ...state()])).toEqual([]);
  await again.stop();
  rmSync(StateDirectory, { recursive: true });
});
