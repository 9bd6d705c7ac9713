/** What the RDS API has acknowledged is there after any crash, and goes on serving. */

import { describe, expect, setDefaultTimeout, test } from 'bun:test';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  AddTagsToResourceCommand,
  CreateDBInstanceCommand,
  CreateDBProxyCommand,
  DeleteDBInstanceCommand,
  DescribeDBInstancesCommand,
  DescribeDBProxiesCommand,
  DescribeDBProxyTargetsCommand,
  ModifyDBInstanceCommand,
  type RDSClient,
  RegisterDBProxyTargetsCommand,
} from '@aws-sdk/client-rds';
import { textRows } from '../harness/backend-messages.ts';
import { Berth, type LogPattern } from '../harness/berth.ts';
import { eventually } from '../harness/polling.ts';
import { usePostgres } from '../harness/postgres.ts';
import { RawClient } from '../harness/raw-client.ts';
import { faultOf, randomRange, rdsClient } from '../harness/rds.ts';

setDefaultTimeout(90_000);

const database = usePostgres();
const EndpointRange = randomRange();
const Api = { Listen: '127.0.0.1:0', AllowAnonymous: true, EndpointRange };

async function inFolder(body: (StateDirectory: string) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'berth-state-'));
  await body(folder);
  rmSync(folder, { recursive: true });
}

function start(StateDirectory: string, expected: readonly LogPattern[] = []): Promise<Berth> {
  return Berth.start({ database: database(), file: { StateDirectory, Api }, expect: expected });
}

function newInstance(name: string) {
  return new CreateDBInstanceCommand({
    DBInstanceIdentifier: name,
    DBInstanceClass: 'db.berth',
    Engine: 'postgres',
    Port: database().port,
    Tags: [{ Key: 'berth:address', Value: '127.0.0.1' }],
  });
}

function newProxy(DBProxyName: string) {
  return new CreateDBProxyCommand({
    DBProxyName,
    EngineFamily: 'POSTGRESQL',
    RoleArn: 'arn:aws:iam::123456789012:role/berth',
    VpcSubnetIds: ['subnet-a', 'subnet-b'],
    Auth: [{ SecretArn: 'app' }],
  });
}

describe('killed while it is being changed', () => {
  const ROUNDS = 4;
  const WRITERS = 3;
  /** A state of one DB instance: the tag that it has last been given; undefined: it does not exist. */
  type State = string | undefined;

  /** What each name may be afterwards: what was acknowledged last, or what was being asked for. */
  class Journal {
    readonly acknowledged = new Map<string, State>();
    readonly asked = new Map<string, State>();
    count = 0;

    async change(name: string, state: State, change: () => Promise<unknown>): Promise<void> {
      this.asked.set(name, state);
      await change();
      this.acknowledged.set(name, state);
      this.asked.delete(name);
      this.count++;
    }

    allows(name: string, state: State): boolean {
      if (this.asked.has(name) && this.asked.get(name) === state) return true;
      return this.acknowledged.get(name) === state;
    }
  }

  /** Makes, changes and deletes DB instances of its own until the process is gone. */
  async function write(rds: RDSClient, writer: string, journal: Journal): Promise<void> {
    for (let index = 0; ; index++) {
      const name = `${writer}-${index}`;
      await journal.change(name, 'made', () => rds.send(newInstance(name)));
      const DBInstanceIdentifier = name;
      const modify = new ModifyDBInstanceCommand({ DBInstanceIdentifier, DBInstanceClass: 'two' });
      await journal.change(name, 'two', () => rds.send(modify));
      if (index % 2 === 0) continue;
      const remove = new DeleteDBInstanceCommand({ DBInstanceIdentifier });
      await journal.change(name, undefined, () => rds.send(remove));
    }
  }

  async function found(rds: RDSClient): Promise<Map<string, State>> {
    const states = new Map<string, State>();
    let Marker: string | undefined;
    do {
      const page = await rds.send(new DescribeDBInstancesCommand({ Marker }));
      for (const { DBInstanceIdentifier = '', DBInstanceClass } of page.DBInstances ?? []) {
        if (DBInstanceIdentifier === 'orders-db') continue;
        states.set(DBInstanceIdentifier, DBInstanceClass === 'two' ? 'two' : 'made');
      }
      Marker = page.Marker;
    } while (Marker !== undefined);
    return states;
  }

  test('nothing acknowledged is lost, and nothing is there that nobody asked for', async () => {
    await inFolder(async (folder) => {
      const journal = new Journal();
      for (let round = 0; round < ROUNDS; round++) {
        const berth = await start(folder);
        const rds = rdsClient(berth);
        const before = journal.count;
        const writers = Array.from({ length: WRITERS }, (_, index) =>
          write(rds, `r${round}w${index}`, journal).catch(() => undefined),
        );
        const enough = before + 5 + Math.floor(Math.random() * 60);
        await eventually(() => (journal.count >= enough ? true : undefined), 'some changes');
        await berth.kill();
        await Promise.all(writers);
        await using next = await start(folder);
        const states = await found(rdsClient(next));
        const names = new Set([...journal.acknowledged.keys(), ...states.keys()]);
        const wrong = [...names].filter((name) => !journal.allows(name, states.get(name)));
        expect(wrong).toEqual([]);
        // What was being asked for has now been decided.
        for (const [name] of journal.asked) journal.acknowledged.set(name, states.get(name));
        journal.asked.clear();
      }
      expect(journal.acknowledged.size).toBeGreaterThan(ROUNDS);
    });
  });
});

test('a proxy serves again at the same address after a crash', async () => {
  await inFolder(async (folder) => {
    const first = await start(folder);
    const rds = rdsClient(first);
    const { DBProxy } = await rds.send(newProxy('lasting'));
    await rds.send(newInstance('lasting-db'));
    const target = { DBProxyName: 'lasting', DBInstanceIdentifiers: ['lasting-db'] };
    await rds.send(new RegisterDBProxyTargetsCommand(target));
    await first.kill();
    await using second = await start(folder);
    const again = await rdsClient(second).send(new DescribeDBProxiesCommand({}));
    expect(again.DBProxies).toContainEqual(DBProxy ?? {});
    using client = await RawClient.login(
      { host: DBProxy?.Endpoint ?? '', port: 5432 },
      { user: 'app', password: 'app-password', database: 'app' },
    );
    expect(textRows(await client.query('select 42'))).toEqual([['42']]);
  });
});

describe('the configuration file and the state', () => {
  test('a file is refused that has what the API has made', async () => {
    await inFolder(async (folder) => {
      await using berth = await start(folder, ['configuration.refused']);
      const rds = rdsClient(berth);
      await rds.send(newProxy('made'));
      await rds.send(newInstance('made-db'));
      const { configuration } = berth;
      const [proxy] = configuration.DBProxies;
      const more = {
        ...configuration,
        DBInstances: [
          { DBInstanceIdentifier: 'orders-db', Engine: 'postgres', Endpoint: { Address: '::1' } },
          { DBInstanceIdentifier: 'made-db', Engine: 'postgres', Endpoint: { Address: '::1' } },
        ],
        DBProxies: [
          proxy ?? {},
          // That of the proxy made alone could be shared.
          { ...proxy, DBProxyName: 'made', Listen: '0.0.0.0:5432' },
        ],
      };
      berth.writeFile('berth.yaml', JSON.stringify(more));
      berth.signal('SIGHUP');
      const [{ msg } = { msg: '' }] = await berth.untilLogged('configuration.refused');
      expect(msg).toContain(
        'DBProxies[1]: must not be what the management API has given to the proxy made',
      );
      expect(msg).toContain('DBProxies[1]: listens where the proxy made does, too');
      expect(msg).toContain(
        'DBInstances[1]: must not be what the management API has given to the DB instance made-db',
      );
      using client = await berth.login();
      expect(textRows(await client.query('select 42'))).toEqual([['42']]);
      const described = new DescribeDBProxiesCommand({ DBProxyName: 'made' });
      expect((await rds.send(described)).DBProxies).toHaveLength(1);
    });
  });

  test('a file is read again, and what the API has made stays; what it takes away is missed', async () => {
    await inFolder(async (folder) => {
      await using berth = await start(folder, ['proxy.stopped', 'client.closed']);
      const rds = rdsClient(berth);
      const { DBProxy } = await rds.send(newProxy('staying'));
      await rds.send(newInstance('staying-db'));
      const DBProxyName = 'staying';
      const DBInstanceIdentifiers = ['staying-db'];
      await rds.send(new RegisterDBProxyTargetsCommand({ DBProxyName, DBInstanceIdentifiers }));
      await rds.send(newProxy('bereft'));
      await rds.send(
        new RegisterDBProxyTargetsCommand({
          DBProxyName: 'bereft',
          DBInstanceIdentifiers: ['orders-db'],
        }),
      );
      using client = await RawClient.login(
        { host: DBProxy?.Endpoint ?? '', port: 5432 },
        { user: 'app', password: 'app-password', database: 'app' },
      );
      await client.query('begin');
      await berth.reload({ ...berth.configuration, DBInstances: [], DBProxies: [] });
      expect(textRows(await client.query('select 42'))).toEqual([['42']]);
      const targets = await rds.send(new DescribeDBProxyTargetsCommand({ DBProxyName: 'bereft' }));
      expect(targets.Targets?.[0]?.TargetHealth).toEqual({
        State: 'UNAVAILABLE',
        Reason: 'UNREACHABLE',
        Description: 'The configuration file does not declare this DB instance any more',
      });
    });
  });

  test('a second process does not start with the same state, until the first one stops', async () => {
    await inFolder(async (folder) => {
      await using first = await start(folder, ['client.closed']);
      await rdsClient(first).send(newProxy('only-one'));
      const second = Berth.launch({ database: database(), file: { StateDirectory: folder, Api } });
      expect(await second.ended).toEqual({ code: 1, signal: null });
      expect(second.logText).toContain('cannot be opened: another process has it open');
      await second.kill();
      // While the first one drains, another one may take over; the first one changes nothing more.
      using client = await first.login();
      await client.query('begin');
      first.signal('SIGTERM');
      await first.untilLogged('process.draining');
      await using third = await start(folder);
      const ResourceName = 'arn:aws:rds:us-east-1:000000000000:db-proxy:prx-1';
      const { DBProxies = [] } = await rdsClient(third).send(new DescribeDBProxiesCommand({}));
      expect(DBProxies.map(({ DBProxyName }) => DBProxyName)).toContain('only-one');
      const add = new AddTagsToResourceCommand({
        ResourceName: DBProxies[0]?.DBProxyArn ?? ResourceName,
        Tags: [{ Key: 'a', Value: 'b' }],
      });
      expect(await faultOf(rdsClient(first).send(add))).toMatchObject({
        code: 'ServiceUnavailable',
        message: 'Berth is stopping.',
      });
      await client.query('commit');
    });
  });
});
