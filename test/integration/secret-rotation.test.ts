/** Passwords are changed under load, at the database and at the secret, and nobody fails. */

import { beforeEach, describe, expect, setDefaultTimeout, test } from 'bun:test';
import {
  CreateDBInstanceCommand,
  CreateDBProxyCommand,
  DescribeDBProxyTargetsCommand,
  type RDSClient,
  RegisterDBProxyTargetsCommand,
} from '@aws-sdk/client-rds';
import {
  CreateSecretCommand,
  DeleteSecretCommand,
  PutSecretValueCommand,
  type SecretsManagerClient,
  UpdateSecretVersionStageCommand,
} from '@aws-sdk/client-secrets-manager';
import { textRows } from '../harness/backend-messages.ts';
import { type Berth, useBerth } from '../harness/berth.ts';
import { useMysqlBerths } from '../harness/mysql/berth.ts';
import { MysqlRawClient } from '../harness/mysql/raw-client.ts';
import { describeServers, mysqlAdmin, useMysql } from '../harness/mysql/server.ts';
import { eventually } from '../harness/polling.ts';
import { adminQuery, usePostgres } from '../harness/postgres.ts';
import { LoginError, RawClient } from '../harness/raw-client.ts';
import { randomRange, rdsClient } from '../harness/rds.ts';
import { secretsClient } from '../harness/secrets-manager.ts';

setDefaultTimeout(90_000);

/** What the test needs of one engine. */
interface World {
  readonly berth: () => Berth;
  readonly engine: 'postgres' | 'mysql' | 'mariadb';
  readonly databasePort: () => number;
  /** At the database; makes the user when there is none. */
  setPassword(user: string, password: string): Promise<unknown>;
  login(endpoint: string, user: string, password: string, database?: string): Promise<Client>;
}

interface Client extends Disposable {
  ask(sql: string): Promise<unknown>;
  /** A transaction, which lasts until the client is gone. */
  begin(): Promise<unknown>;
}

/** Long enough for all clients to need a connection at the same time. */
const together = { wanted: 12, came: 0, all: Promise.withResolvers<void>() };
async function hold(begun: Promise<unknown>): Promise<void> {
  await begun;
  together.came++;
  if (together.came === together.wanted) together.all.resolve();
  await together.all.promise;
}

let proxies = 0;

/** A proxy of its own, with one user, whose password is `first` everywhere. */
async function prepare(world: World) {
  const number = ++proxies;
  const user = `rotating${number}`;
  const secretName = `secret${number}`;
  const DBProxyName = `proxy${number}`;
  const rds: RDSClient = rdsClient(world.berth());
  const secrets: SecretsManagerClient = secretsClient(world.berth());
  const secretString = (password: string) => JSON.stringify({ username: user, password });
  await world.setPassword(user, 'first');
  const created = await secrets.send(
    new CreateSecretCommand({ Name: secretName, SecretString: secretString('first') }),
  );
  await rds.send(
    new CreateDBInstanceCommand({
      DBInstanceIdentifier: `db${number}`,
      DBInstanceClass: 'db.berth',
      Engine: world.engine,
      Port: world.databasePort(),
      Tags: [{ Key: 'berth:address', Value: '127.0.0.1' }],
    }),
  );
  const { DBProxy } = await rds.send(
    new CreateDBProxyCommand({
      DBProxyName,
      EngineFamily: world.engine === 'postgres' ? 'POSTGRESQL' : 'MYSQL',
      RoleArn: 'arn:aws:iam::000000000000:role/berth',
      VpcSubnetIds: ['subnet-a', 'subnet-b'],
      Auth: [{ SecretArn: created.ARN ?? '' }],
    }),
  );
  const DBInstanceIdentifiers = [`db${number}`];
  await rds.send(new RegisterDBProxyTargetsCommand({ DBProxyName, DBInstanceIdentifiers }));
  const endpoint = DBProxy?.Endpoint ?? '';
  const health = async () => {
    const answer = await rds.send(new DescribeDBProxyTargetsCommand({ DBProxyName }));
    return answer.Targets?.[0]?.TargetHealth;
  };
  await eventually(
    async () => ((await health())?.State === 'AVAILABLE' ? true : undefined),
    'the target is available',
    30_000,
  );
  return {
    user,
    secretName,
    secrets,
    health,
    firstVersion: created.VersionId ?? '',
    login: (password: string, database?: string) => world.login(endpoint, user, password, database),
    setPassword: (password: string) => world.setPassword(user, password),
    put: (password: string, VersionStages?: string[]) =>
      secrets.send(
        new PutSecretValueCommand({
          SecretId: secretName,
          SecretString: secretString(password),
          VersionStages,
        }),
      ),
  };
}

/** Clients that come and go, and clients that stay, until it is stopped; nobody may fail. */
class Load {
  /** What new clients log in with. */
  password = 'first';
  statements = 0;
  logins = 0;
  private isOver = false;
  private readonly workers: Promise<void>[] = [];

  constructor(login: (password: string) => Promise<Client>) {
    for (let worker = 0; worker < 3; worker++) this.workers.push(this.comeAndGo(login));
    for (let worker = 0; worker < 2; worker++) this.workers.push(this.stay(login));
  }

  /** Waits until everything has happened some times more. */
  async go(times = 10): Promise<void> {
    const [statements, logins] = [this.statements + 3 * times, this.logins + times];
    const isEnough = () => this.statements >= statements && this.logins >= logins;
    const failed = Promise.all(this.workers).then(() => {
      throw new Error('the load has ended');
    });
    const enough = eventually(() => (isEnough() ? true : undefined), 'more load', 45_000);
    await Promise.race([enough, failed]);
  }

  async stop(): Promise<void> {
    this.isOver = true;
    await Promise.all(this.workers);
  }

  private async comeAndGo(login: (password: string) => Promise<Client>): Promise<void> {
    while (!this.isOver) {
      using client = await login(this.password);
      await client.ask('select 1');
      this.logins++;
      this.statements++;
    }
  }

  private async stay(login: (password: string) => Promise<Client>): Promise<void> {
    using client = await login(this.password);
    while (!this.isOver) {
      await client.ask('select 1');
      this.statements++;
    }
  }
}

function rotations(world: World): void {
  test('the database first, then the secret: who needs a connection meanwhile waits', async () => {
    const { login, setPassword, put } = await prepare(world);
    world.berth().expectLog(/connection\.open_failed/);
    const load = new Load(login);
    await load.go();
    await setPassword('second');
    // More than there are connections, which only the new password opens.
    Object.assign(together, { came: 0, all: Promise.withResolvers<void>() });
    const waiting = Array.from({ length: 12 }, async () => {
      using client = await login('first');
      await client.begin();
    });
    await world.berth().untilLogged((line) => line.event === 'connection.open_failed');
    await put('second');
    await Promise.all(waiting);
    // Clients that have not heard of it yet are let in for a while.
    await load.go();
    load.password = 'second';
    await load.go();
    await load.stop();
    using client = await login('second', 'second');
    await client.ask('select 1');
  });

  test('the secret first, then the database', async () => {
    const { login, setPassword, put } = await prepare(world);
    const load = new Load(login);
    await load.go();
    await put('second');
    load.password = 'second';
    using other = await login('second', 'second');
    await other.ask('select 1');
    await load.go();
    await setPassword('second');
    await load.go();
    await load.stop();
  });

  test('as a function of AWS does it: pending, the database, current', async () => {
    const { login, setPassword, put, secrets, secretName, firstVersion } = await prepare(world);
    const load = new Load(login);
    const { VersionId } = await put('second', ['AWSPENDING']);
    await setPassword('second');
    using other = await login('first', 'second');
    await other.ask('select 1');
    using tester = await login('second');
    await tester.ask('select 1');
    await load.go();
    await secrets.send(
      new UpdateSecretVersionStageCommand({
        SecretId: secretName,
        VersionStage: 'AWSCURRENT',
        MoveToVersionId: VersionId,
        RemoveFromVersionId: firstVersion,
      }),
    );
    load.password = 'second';
    await load.go();
    await load.stop();
  });

  test('a password that was never right is an error at once', async () => {
    const { login, put, secrets, secretName } = await prepare(world);
    world.berth().expectLog(/connection\.open_failed|client\.closed|client\.auth|target\.|borrow/);
    await expect(login('wrong')).rejects.toThrow();
    // Twice, so that the former one is not the right one.
    await put('wrong');
    await put('wrong too');
    const remove = { SecretId: secretName, ForceDeleteWithoutRecovery: true };
    await secrets.send(new DeleteSecretCommand(remove));
    world.berth().expectLog('credentials.missing');
    await expect(login('wrong too')).rejects.toThrow();
  });
}

describe('PostgreSQL', () => {
  const scram = 'scram-sha-256' as const;
  const authentication = { hostssl: scram, hostnossl: scram };
  const database = usePostgres({ authentication });
  const Api = { Listen: '127.0.0.1:0', AllowAnonymous: true, EndpointRange: randomRange() };
  const berth = useBerth(() => ({ database: database(), file: { StateDirectory: 'state', Api } }));
  const world: World = {
    berth,
    engine: 'postgres',
    databasePort: () => database().port,
    async setPassword(user, password) {
      const [known] = await adminQuery(
        database(),
        `select from pg_roles where rolname = '${user}'`,
      );
      const verb = known === undefined ? 'create' : 'alter';
      return adminQuery(database(), `${verb} role ${user} login password '${password}'`);
    },
    async login(host, user, password, name = 'app') {
      const client = await RawClient.login(
        { host, port: 5432 },
        { user, password, database: name, deadlineMs: 45_000 },
      );
      return {
        ask: async (sql) => {
          const rows = textRows(await client.query(sql));
          expect(rows).toEqual([['1']]);
        },
        begin: () => hold(client.query('begin')),
        [Symbol.dispose]: () => client[Symbol.dispose](),
      };
    },
  };

  rotations(world);

  test('a user whose password stays wrong is told so, and the target says why', async () => {
    const { login, setPassword, put, health } = await prepare(world);
    world.berth().expectLog(/connection\.open_failed|client\.closed|target\.health_changed|borrow/);
    await put('second');
    await put('third');
    // What it has been is good, too: only this is the end of it.
    await setPassword('unknown');
    await expect(login('third', 'second')).rejects.toBeInstanceOf(LoginError);
    const state = await eventually(
      async () => {
        const found = await health();
        return found?.State === 'UNAVAILABLE' ? found : undefined;
      },
      'the target is unavailable',
      60_000,
    );
    expect(state).toMatchObject({ Reason: 'AUTH_FAILURE' });
    await put('unknown');
    using client = await login('unknown', 'second');
    await client.ask('select 1');
  });
});

describeServers('MySQL and MariaDB', (server) => {
  const database = useMysql(server);
  const start = useMysqlBerths(database);
  let running: Berth | undefined;
  const world: World = {
    berth: () => {
      if (running === undefined) throw new Error('the proxy does not run');
      return running;
    },
    engine: server.product === 'MySQL' ? 'mysql' : 'mariadb',
    databasePort: () => database().port,
    async setPassword(user, password) {
      await mysqlAdmin(database(), `create user if not exists '${user}'@'%'`);
      await mysqlAdmin(database(), `grant all on *.* to '${user}'@'%'`);
      return mysqlAdmin(database(), `alter user '${user}'@'%' identified by '${password}'`);
    },
    async login(host, user, password, name = 'app') {
      const client = await MysqlRawClient.login(
        { host, port: 3306 },
        { user, password, database: name },
      );
      return {
        ask: async (sql) => expect(await client.rows(sql)).toEqual([['1']]),
        begin: () => hold(client.rows('begin')),
        [Symbol.dispose]: () => client[Symbol.dispose](),
      };
    },
  };

  const Api = { Listen: '127.0.0.1:0', AllowAnonymous: true };
  beforeEach(async () => {
    const file = { StateDirectory: 'state', Api: { ...Api, EndpointRange: randomRange() } };
    running = await start({ file });
  });
  rotations(world);
});
