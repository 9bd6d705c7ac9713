/**
 * DefaultAuthScheme IAM_AUTH: clients log in to Berth with their tokens, and Berth to the database with its own. The
 * database is a Berth that knows its users by IAM, in front of a real one.
 */

import { describe, expect, setDefaultTimeout, test } from 'bun:test';
import { DescribeDBProxiesCommand, DescribeDBProxyTargetsCommand } from '@aws-sdk/client-rds';
import { createConnection } from 'mysql2/promise';
import { Client } from 'pg';
import { Berth, useBerth } from '../harness/berth.ts';
import { iamToken, POWERLESS_KEY } from '../harness/iam.ts';
import { makeMysqlConfiguration } from '../harness/mysql/configuration.ts';
import { describeServers, useMysql } from '../harness/mysql/server.ts';
import { eventually } from '../harness/polling.ts';
import { adminQuery, usePostgres } from '../harness/postgres.ts';
import { type AccessKey, rdsClient } from '../harness/rds.ts';
import {
  credentialsOf,
  INNER_PRINCIPALS,
  NO_CREDENTIALS,
  outerConfiguration,
  ROLE_KEY,
} from '../harness/two-berths.ts';

setDefaultTimeout(60_000);

const NOISE = [
  'client.authentication_failed',
  'connection.open_failed',
  'target.health_changed',
  'client.closed',
  'borrow.failed',
  // To the inner one the outer one is a client that changes settings which few clients do.
  'session.pinned',
];

interface Login {
  readonly port: number;
  readonly user?: string;
  readonly password?: string;
  readonly isEncrypted?: boolean;
  readonly key?: AccessKey;
}

/** Who the database says that it is, or what the client reads. */
async function withPostgres({ port, user = 'app', isEncrypted = true, ...login }: Login) {
  const { password = await iamToken({ port, user, ...login }) } = login;
  const ssl = isEncrypted && { rejectUnauthorized: false };
  const client = new Client({ host: '127.0.0.1', port, user, password, database: 'app', ssl });
  try {
    await client.connect();
    const { rows } = await client.query<{ name: string }>('select current_user as name');
    return rows[0]?.name;
  } catch (error) {
    const { code, message } = error as Error & { code?: string };
    return `${code} ${message}`;
  } finally {
    await client.end();
  }
}

async function withMysql({ port, user = 'app', isEncrypted = true, ...login }: Login) {
  const { password = await iamToken({ port, user, ...login }) } = login;
  const tls = isEncrypted ? { ssl: { rejectUnauthorized: false } } : {};
  const place = { host: '127.0.0.1', port, database: 'app' };
  try {
    const client = { enableCleartextPlugin: true, user, password, ...tls };
    const connection = await createConnection({ ...place, ...client });
    const [[row] = []] = await connection.query<never[]>('select current_user() as name');
    await connection.end();
    return String((row as { name: string } | undefined)?.name).replace(/@.*/, '');
  } catch (error) {
    const { errno, message } = error as Error & { errno?: number };
    return `${errno} ${message}`;
  }
}

/** What is the same for every engine. */
function describeBoth(of: {
  readonly engine: 'postgres' | 'mysql' | 'mariadb';
  readonly inner: () => Berth;
  readonly logIn: (login: Login) => Promise<string | undefined>;
  readonly refusals: {
    readonly passwordGiven: string;
    readonly noTls: string;
    readonly notAllowed: string;
    readonly databaseRefuses: string;
  };
}) {
  const { engine, inner, logIn, refusals } = of;
  const outer = useBerth(() => ({
    configuration: outerConfiguration(engine, inner().port),
    environment: credentialsOf(ROLE_KEY),
    expect: NOISE,
  }));
  const port = () => outer().port;
  const untilRefused = (reason: string) =>
    outer().untilLogged(
      (line) => line.event === 'client.authentication_failed' && line.reason === reason,
    );
  const started = (options: Partial<Parameters<typeof Berth.start>[0]>) =>
    Berth.start({
      configuration: outerConfiguration(engine, inner().port),
      environment: credentialsOf(ROLE_KEY),
      expect: NOISE,
      ...options,
    } as Parameters<typeof Berth.start>[0]);

  const health = async (berth: Berth) => {
    const command = new DescribeDBProxyTargetsCommand({ DBProxyName: 'outer' });
    const { Targets: [target] = [] } = await rdsClient(berth).send(command);
    return target?.TargetHealth;
  };

  test('is available before anybody has come, as the database answers', async () => {
    await outer().untilLogged(
      ({ event, msg }) => event === 'target.health_changed' && msg.includes('is AVAILABLE'),
    );
    expect(await health(outer())).toEqual({ State: 'AVAILABLE' });
    const { DBProxies: [proxy] = [] } = await rdsClient(outer()).send(
      new DescribeDBProxiesCommand({ DBProxyName: 'outer' }),
    );
    expect(proxy).toMatchObject({ DefaultAuthScheme: 'IAM_AUTH', Auth: [] });
  });

  test('clients log in with their tokens, and the proxy with its own', async () => {
    expect(await logIn({ port: port() })).toBe('app');
    expect(await logIn({ port: port(), user: 'other' })).toBe('other');
    const principalOf = (berth: Berth) =>
      berth.logged('client.authenticated').map(({ user, principal }) => [user, principal]);
    expect(principalOf(outer())).toContainEqual(['app', `${USERS}connect`]);
    expect(principalOf(inner())).toContainEqual(['app', `${USERS}role`]);
    expect(principalOf(inner())).toContainEqual(['other', `${USERS}role`]);
    const said = outer().logText + inner().logText;
    expect(said).not.toContain('X-Amz-Signature');
    expect(said).not.toContain(ROLE_KEY.secretAccessKey);
  });

  test('then the monitor asks what it allows', async () => {
    await logIn({ port: port() });
    await eventually(async () => {
      const metrics = await outer().metrics();
      const name = [...metrics.keys()].find((key) => key.includes('max_database_connections'));
      return name !== undefined && (metrics.get(name) ?? 1000) < 1000 ? name : undefined;
    }, 'the limit of the database');
  });

  test('a password is refused, and the client is told what is asked for', async () => {
    expect(await logIn({ port: port(), password: 'app-password' })).toBe(refusals.passwordGiven);
    await untilRefused('password_given');
  });

  test('without TLS nobody is asked for a token', async () => {
    expect(await logIn({ port: port(), isEncrypted: false })).toBe(refusals.noTls);
    await untilRefused('no_tls');
  });

  test('who no policy allows is refused', async () => {
    expect(await logIn({ port: port(), key: POWERLESS_KEY })).toBe(refusals.notAllowed);
    await untilRefused('not_allowed');
  });

  test('a user whom the database does not let in is told so', async () => {
    expect(await logIn({ port: port(), user: 'nobody' })).toBe(refusals.databaseRefuses);
  });

  test('a role that may not connect is no reason to let anybody in', async () => {
    await using berth = await started({ environment: credentialsOf(POWERLESS_KEY) });
    const answer = await logIn({ port: berth.port });
    expect(answer).toBe(refusals.databaseRefuses.replace('nobody', 'app'));
  });

  test('without credentials of AWS the health of the target says so', async () => {
    await using berth = await started({ environment: NO_CREDENTIALS });
    await berth.untilLogged('target.health_changed');
    expect(await health(berth)).toMatchObject({
      State: 'UNAVAILABLE',
      Reason: 'AUTH_FAILURE',
      Description: expect.stringContaining('no IAM token could be made: '),
    });
  });
}

const USERS = 'arn:aws:iam::000000000000:user/';
const IAM = [
  { SecretArn: 'app', IAMAuth: 'REQUIRED' },
  { SecretArn: 'other', IAMAuth: 'REQUIRED' },
];

describe('end-to-end IAM with PostgreSQL', () => {
  const database = usePostgres();
  const inner = useBerth(() => ({
    database: database(),
    proxy: { Auth: [...IAM, { SecretArn: 'native' }] },
    file: {
      Principals: INNER_PRINCIPALS,
      Secrets: ['app', 'other', 'native'].map((username) => ({
        Name: username,
        SecretString: { username, password: `${username}-password` },
      })),
    },
    expect: NOISE,
  }));
  const again = 'Check the IAM token for this role and try again.';
  const refusals = {
    passwordGiven:
      '28000 Enable IAM authentication for the client connection to the proxy and try again.',
    noTls: '28000 IAM authentication is allowed only with SSL connections.',
    notAllowed: `28P01 The IAM authentication failed for the role app. ${again}`,
    databaseRefuses:
      '28000 The database did not accept the credentials that the proxy has for the role nobody.',
  };
  describeBoth({ engine: 'postgres', inner, logIn: withPostgres, refusals });

  test('users with an entry in Auth are as the entry says, beside the others', async () => {
    const SecretString = { username: 'native', password: 'native-password' };
    await adminQuery(database(), `create role native login password 'native-password'`);
    await using berth = await Berth.start({
      configuration: outerConfiguration('postgres', inner().port, {
        proxy: { Auth: [{ SecretArn: 'native' }] },
        file: { Secrets: [{ Name: 'native', SecretString }] },
      }),
      environment: credentialsOf(ROLE_KEY),
      expect: NOISE,
    });
    const native = { port: berth.port, user: 'native' };
    expect(await withPostgres({ ...native, password: 'native-password' })).toBe('native');
    expect(await withPostgres(native)).toStartWith('28P01 The password that was provided');
    expect(await withPostgres({ port: berth.port })).toBe('app');
  });

  test('a database that asks for a password does not get a token', async () => {
    const configuration = outerConfiguration('postgres', secured().port);
    await using berth = await Berth.start({
      configuration,
      environment: credentialsOf(ROLE_KEY),
      expect: NOISE,
    });
    expect(await withPostgres({ port: berth.port })).toStartWith('28000 The database did not');
    const [line] = await berth.untilLogged('connection.open_failed');
    expect(line?.msg).toContain('it does not know the user by IAM');
  });
  const secured = useBerth(() => ({ database: database(), expect: NOISE }));

  test('and one without TLS neither', async () => {
    await using berth = await Berth.start({
      configuration: outerConfiguration('postgres', database().port, { tls: 'prefer' }),
      environment: credentialsOf(ROLE_KEY),
      expect: NOISE,
    });
    expect(await withPostgres({ port: berth.port })).toStartWith('28000 The database did not');
    const [line] = await berth.untilLogged('connection.open_failed');
    expect(line?.msg).toContain('an IAM token is only sent over TLS');
  });
});

describeServers('end-to-end IAM', (server) => {
  const database = useMysql(server);
  const inner = useBerth(() => ({
    configuration: makeMysqlConfiguration(database(), {
      proxy: { Auth: IAM },
      file: { Principals: INNER_PRINCIPALS },
    }),
    expect: NOISE,
  }));
  const denied = "1045 Access denied for user 'app'@'%' (using password: YES)";
  const refusals = {
    passwordGiven: denied,
    noTls: '3159 This RDS Proxy requires TLS connections.',
    notAllowed: denied,
    databaseRefuses:
      '1045 The database did not accept the credentials that the proxy has for the user nobody.',
  };
  const engine = server.product === 'MariaDB' ? 'mariadb' : 'mysql';
  describeBoth({ engine, inner, logIn: withMysql, refusals });
});
