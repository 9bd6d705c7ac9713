/** `berth check` as operators run it: real targets, and secrets from every source. */

import { expect, setDefaultTimeout, test } from 'bun:test';
import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CreateSecretCommand } from '@aws-sdk/client-secrets-manager';
import { Berth } from '../harness/berth.ts';
import { adminQuery, usePostgres } from '../harness/postgres.ts';
import { secretsClient } from '../harness/secrets-manager.ts';
import { outerConfiguration } from '../harness/two-berths.ts';

setDefaultTimeout(60_000);

const scram = 'scram-sha-256' as const;
const database = usePostgres({ authentication: { hostssl: scram, hostnossl: scram } });
const LAUNCHER = join(import.meta.dir, '..', '..', 'bin', 'berth');
const STORED = 'arn:aws:secretsmanager:us-east-1:000000000000:secret:stored';
const NOWHERE = 'arn:aws:secretsmanager:us-east-1:000000000000:secret:nowhere';

function check(file: string) {
  const args = ['check', '--config', file];
  const { status, stdout } = spawnSync(LAUNCHER, args, { encoding: 'utf8' });
  const lines = stdout.split('\n').map((line) => line.replaceAll(/ {2,}/g, ' | '));
  return { status, text: lines.join('\n') };
}

const json = (username: string, password: string) => JSON.stringify({ username, password });

test('every secret is tried, and what a running Berth has is tried when it does not run', async () => {
  for (const name of ['mounted', 'stored']) {
    await adminQuery(database(), `create role ${name} login password 'right'`);
  }
  const folder = mkdtempSync(join(tmpdir(), 'berth-check-'));
  const mounted = join(folder, 'mounted.json');
  writeFileSync(mounted, json('mounted', 'right'));
  const names = ['app', 'mounted', 'wrong', 'lost', 'twice', STORED, NOWHERE];
  const berth = await Berth.start({
    database: database(),
    proxy: { Auth: names.map((SecretArn) => ({ SecretArn })) },
    file: {
      StateDirectory: join(folder, 'state'),
      Api: { Listen: '127.0.0.1:0', AllowAnonymous: true },
      Secrets: [
        { Name: 'app', SecretString: json('app', 'app-password') },
        { Name: 'mounted', SecretFile: mounted },
        { Name: 'wrong', SecretString: json('other', 'not it') },
        { Name: 'lost', SecretFile: 'nothing.json' },
        { Name: 'twice', SecretFile: mounted },
      ],
    },
    expect: ['credentials.missing', 'secret.unreadable', 'target.health_changed'],
  });
  const create = { Name: 'stored', SecretString: json('stored', 'right') };
  await secretsClient(berth).send(new CreateSecretCommand(create));

  const file = join(folder, 'berth.yaml');
  copyFileSync(berth.configurationFile, file);
  const running = check(file);
  expect(running.status).toBe(1);
  expect(running.text).toContain(
    `${STORED} | not tried: the secret may be one that the API has made`,
  );
  expect(running.text).toContain('Warning: What the API has made is not checked. StateDirectory:');
  expect(running.text).toContain('another process has it open');

  await berth.stop();
  const { status, text } = check(file);
  expect(status).toBe(1);
  expect(text).toContain('| app | ok: PostgreSQL');
  expect(text).toContain('| other | failed: password authentication failed for user "other"');
  expect(text).toContain('| lost | failed: the secret cannot be read:');
  expect(text).toContain(
    '| mounted | failed: Credentials couldn\'t be retrieved. The database user "mounted" was found in multiple',
  );
  expect(text).toContain('| stored | ok: PostgreSQL');
  expect(text).toContain(
    `| ${NOWHERE} | failed: Credentials couldn't be retrieved. There is no secret`,
  );
  expect(text).toEndWith('4 of 7 logins failed.\n');
  expect(text).not.toContain('not it');
  rmSync(folder, { recursive: true });
});

test('users that only policies name are told of, and not tried', () => {
  const folder = mkdtempSync(join(tmpdir(), 'berth-check-'));
  const file = join(folder, 'berth.yaml');
  const { DBInstances, DBProxies } = outerConfiguration('postgres', database().port);
  const proxies = DBProxies.map((proxy) => ({ ...proxy, Listen: '127.0.0.1:6432' }));
  writeFileSync(file, JSON.stringify({ DBInstances, DBProxies: proxies }));
  const { status, text } = check(file);
  expect(text).toContain(
    '| others | not tried: they log in with IAM tokens, and policies say who they are',
  );
  expect(status).toBe(0);
  rmSync(folder, { recursive: true });
});

test('a process leaves no core file, which would hold passwords', async () => {
  await using berth = await Berth.start({ database: database() });
  expect(readFileSync(`/proc/${berth.pid}/limits`, 'utf8')).toMatch(/^Max core file size +0 +0 /m);
});
