/** IAM tokens as passwords of PostgreSQL's clients, through Berth: right ones, and all that can be wrong with one. */

import { describe, expect, setDefaultTimeout, test } from 'bun:test';
import { join } from 'node:path';
import { Client } from 'pg';
import { useBerth } from '../harness/berth.ts';
import {
  IAM_KEY,
  IAM_PRINCIPALS,
  iamToken,
  POWERLESS_KEY,
  signatureOf,
  type TokenOptions,
} from '../harness/iam.ts';
import { usePostgres } from '../harness/postgres.ts';
import { type ProgramResult, psql, runProgram, testWith } from '../harness/programs.ts';
import { type AccessKey, REGION } from '../harness/rds.ts';

setDefaultTimeout(30_000);

const database = usePostgres();
const berth = useBerth(() => ({
  database: database(),
  proxy: {
    Auth: [
      { SecretArn: 'app', IAMAuth: 'REQUIRED' },
      { SecretArn: 'other', IAMAuth: 'REQUIRED' },
      { SecretArn: 'native' },
    ],
  },
  file: {
    Secrets: [
      { Name: 'app', SecretString: { username: 'app', password: 'app-password' } },
      { Name: 'other', SecretString: { username: 'other', password: 'other-password' } },
      { Name: 'native', SecretString: { username: 'native', password: 'native-password' } },
    ],
    Principals: IAM_PRINCIPALS,
  },
  expect: ['client.authentication_failed'],
}));

const port = () => berth().port;
const tokenOf = (options: Partial<TokenOptions> = {}) => iamToken({ port: port(), ...options });

interface Login {
  readonly password: string;
  readonly user?: string;
  readonly isEncrypted?: boolean;
  readonly host?: string;
}

/** Log-ins that were refused so far. Each is in the log, at last. */
let refusals = 0;

async function logIn({ password, user = 'app', isEncrypted = true, host = '127.0.0.1' }: Login) {
  const ssl = isEncrypted && { rejectUnauthorized: false };
  const client = new Client({ host, port: port(), user, password, database: 'app', ssl });
  try {
    await client.connect();
    const { rows } = await client.query<{ name: string }>('select current_user as name');
    return rows[0]?.name;
  } catch (error) {
    refusals++;
    const { code, message } = error as Error & { code?: string };
    return `${code} ${message}`;
  } finally {
    await client.end();
  }
}

/** Why the last log-in was refused, for the operator. The log is written beside the answer, maybe after it. */
async function lastFailure() {
  const lines = await berth().untilLogged('client.authentication_failed', refusals);
  const line = lines[refusals - 1];
  return { why: line?.reason, msg: line?.msg, principal: line?.principal };
}

const WRONG =
  '28P01 The IAM authentication failed for the role app. Check the IAM token for this role and try again.';

describe('a token', () => {
  test('logs its user in, with the password of the secret at the database', async () => {
    const password = await tokenOf();
    expect(await logIn({ password })).toBe('app');
    const [line] = berth().logged('client.authenticated').slice(-1);
    expect(line).toMatchObject({
      user: 'app',
      principal: 'arn:aws:iam::000000000000:user/connect',
    });
    expect(berth().logText).not.toContain(signatureOf(password));
  });

  test('may be used again until it expires', async () => {
    const password = await tokenOf();
    expect([await logIn({ password }), await logIn({ password })]).toEqual(['app', 'app']);
  });

  test('may name any name of the endpoint', async () => {
    for (const host of ['127.0.0.1', 'localhost']) {
      expect(await logIn({ password: await tokenOf({ host }) })).toBe('app');
    }
  });

  test('is for each user its own', async () => {
    const password = await tokenOf({ user: 'other' });
    expect(await logIn({ password, user: 'other' })).toBe('other');
  });

  testWith('psql', 'of the aws command, with psql', async () => {
    const made = await generateToken(IAM_KEY);
    expect(made.stderr).toBe('');
    const password = made.stdout.trim();
    const environment = { PGSSLMODE: 'require' };
    const options = { port: port(), user: 'app', password, database: 'app', environment };
    const { code, stdout, stderr } = await psql('select current_user', options);
    expect({ code, stdout, stderr }).toEqual({ code: 0, stdout: 'app\n', stderr: '' });
  });
});

function generateToken({ accessKeyId, secretAccessKey }: AccessKey): Promise<ProgramResult> {
  const environment = {
    HOME: process.env.HOME ?? '',
    AWS_ACCESS_KEY_ID: accessKeyId,
    AWS_SECRET_ACCESS_KEY: secretAccessKey,
    AWS_CONFIG_FILE: '/dev/null',
    AWS_SHARED_CREDENTIALS_FILE: '/dev/null',
  };
  const place = ['--hostname', 'localhost', '--port', String(port()), '--region', REGION];
  const args = ['rds', 'generate-db-auth-token', ...place, '--username', 'app'];
  return runProgram('aws', args, { port: 0, environment });
}

test('berth token makes one', async () => {
  const environment = {
    AWS_ACCESS_KEY_ID: IAM_KEY.accessKeyId,
    AWS_SECRET_ACCESS_KEY: IAM_KEY.secretAccessKey,
    AWS_REGION: REGION,
  };
  const place = ['--host', 'localhost', '--port', String(port()), '--user', 'app'];
  const { code, stdout, stderr } = await runProgram('berth', ['token', ...place], {
    port: 0,
    folder: join(import.meta.dir, '..', '..', 'bin'),
    environment,
  });
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  expect(await logIn({ password: stdout.trim() })).toBe('app');
});

describe('a token is refused', () => {
  test.each<[string, Partial<TokenOptions>, string]>([
    ['for another host', { host: 'other.example' }, 'wrong_host'],
    ['for another port', { port: 1 }, 'wrong_port'],
    ['for another user', { user: 'other' }, 'wrong_user'],
    ['for another region', { region: 'eu-west-1' }, 'wrong_region'],
    ['of nobody', { key: { ...IAM_KEY, accessKeyId: 'AKIAGONE' } }, 'unknown_key'],
    ['with another secret', { key: { ...IAM_KEY, secretAccessKey: 'other' } }, 'wrong_signature'],
    ['with a session token', { key: { ...IAM_KEY, sessionToken: 'other' } }, 'wrong_session_token'],
    ['that no policy allows', { key: POWERLESS_KEY }, 'not_allowed'],
  ])('%s', async (_name, options, why) => {
    expect(await logIn({ password: await tokenOf(options) })).toBe(WRONG);
    expect(await lastFailure()).toMatchObject({ why });
  });

  test('when it has been tampered with', async () => {
    const token = await tokenOf();
    expect(await logIn({ password: token.replace('DBUser=app', 'DBUser=other') })).toBe(WRONG);
    expect(await lastFailure()).toMatchObject({ why: 'wrong_signature' });
  });

  test('when it is a password', async () => {
    expect(await logIn({ password: 'app-password' })).toBe(WRONG);
    expect(await lastFailure()).toEqual({
      why: 'no_token',
      msg: 'Proxy authentication with IAM authentication failed for user "app" with TLS on. Reason: Invalid credentials. If you provide an IAM token, make sure to either use the correct password or enable IAM authentication.',
      principal: undefined,
    });
  });

  test('over plaintext, before anybody is asked for it', async () => {
    expect(await logIn({ password: await tokenOf(), isEncrypted: false })).toBe(
      '28000 IAM authentication is allowed only with SSL connections.',
    );
    expect(await lastFailure()).toMatchObject({
      why: 'no_tls',
      msg: 'Proxy authentication with IAM authentication failed for user "app" with TLS off. Reason: IAM is allowed only with SSL connections.',
    });
  });

  test('of a user that the proxy has no secret for', async () => {
    const password = await tokenOf({ user: 'nobody' });
    expect(await logIn({ password, user: 'nobody' })).toBe(
      '28000 This RDS proxy has no credentials for the role nobody. Check the credentials for this role and try again.',
    );
    expect(await lastFailure()).toMatchObject({ why: 'no_credentials' });
    // Without a token nobody learns whether there is such a user.
    expect(await logIn({ password: 'x', user: 'nobody' })).toBe(WRONG.replace('app', 'nobody'));
  });

  test('as the password of a user whose clients have passwords', async () => {
    const password = await tokenOf({ user: 'native' });
    expect(await logIn({ password, user: 'native' })).toBe(
      '28P01 The password that was provided for the role native is wrong.',
    );
  });
});

test('principals change with the configuration file, for the next log-in', async () => {
  const { configuration } = berth();
  const password = await tokenOf();
  await berth().reload({ ...configuration, Principals: [] });
  expect(await logIn({ password })).toBe(WRONG);
  await berth().reload(configuration);
  expect(await logIn({ password })).toBe('app');
});
