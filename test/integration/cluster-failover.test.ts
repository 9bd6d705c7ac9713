/**
 * The writer of a cluster is lost, replaced, or comes back: idle clients stay, who waits gets through to the
 * new writer, and nothing reaches the old one any more.
 */

import { afterEach, expect, setDefaultTimeout, test } from 'bun:test';
import { textRows } from '../harness/backend-messages.ts';
import { Berth } from '../harness/berth.ts';
import type { Cluster, Member } from '../harness/cluster/cluster.ts';
import { type ClusterKind, describeClusters, useCluster } from '../harness/cluster/clusters.ts';
import { makeClusterConfiguration } from '../harness/cluster/configuration.ts';
import { MysqlRawClient } from '../harness/mysql/raw-client.ts';
import { eventually } from '../harness/polling.ts';

setDefaultTimeout(60_000);

/** Warnings and errors that a failover is made of. */
const EXPECTED = [
  'failover.began',
  'failover.ended',
  'target.health_changed',
  'target.role_changed',
  'connection.open_failed',
  'connection.closed',
  'session.interrupted',
  'client.closed',
];

/** A client, whatever it speaks. */
interface Client extends Disposable {
  rows(sql: string): Promise<readonly (readonly (string | null)[])[]>;
}

async function loginTo(berth: Berth, { engine }: ClusterKind): Promise<Client> {
  if (engine === 'postgres') {
    const client = await berth.login();
    return {
      rows: async (sql) => textRows(await client.query(sql)),
      [Symbol.dispose]: () => client[Symbol.dispose](),
    };
  }
  const identity = { user: 'app', password: 'app-password', database: 'app' };
  const client = await MysqlRawClient.login({ port: berth.port }, identity);
  return {
    rows: (sql) => client.rows(sql),
    [Symbol.dispose]: () => client[Symbol.dispose](),
  };
}

describeClusters('a failover', (kind) => {
  const cluster = useCluster(kind, { replicas: 1 });
  const whoAmI = kind.engine === 'postgres' ? 'show port' : 'select @@port';
  const table = kind.engine === 'postgres' ? 'letters' : 'app.letters';
  let running: Berth | undefined;

  afterEach(async () => {
    const berth = running;
    running = undefined;
    await berth?.stop();
  });

  async function start(pool = {}): Promise<Berth> {
    const configuration = makeClusterConfiguration(cluster(), { pool });
    running = await Berth.start({ configuration, expect: EXPECTED });
    await untilWriter(running, cluster().writer);
    return running;
  }

  test('kill -9: idle clients stay, and who waits gets through to the new writer', async () => {
    const berth = await start();
    const old = cluster().writer;
    using idle = await loginTo(berth, kind);
    using waiting = await loginTo(berth, kind);
    await idle.rows(`create table ${table} (id varchar(9) primary key)`);
    await cluster().untilCaughtUp();
    expect(await idle.rows(whoAmI)).toEqual([[String(old.port)]]);
    await waiting.rows(whoAmI);
    await cluster().kill(old);
    await berth.untilLogged('failover.began');
    const later = waiting.rows(`insert into ${table} values ('a')`);
    const chosen = await cluster().failOver();
    await later;
    expect(await cluster().query(chosen, `select id from ${table}`)).toEqual([['a']]);
    expect(await idle.rows(whoAmI)).toEqual([[String(chosen.port)]]);
    // Who comes now is told the same.
    using fresh = await loginTo(berth, kind);
    expect(await fresh.rows(whoAmI)).toEqual([[String(chosen.port)]]);
    await cluster().rejoin(old);
    await untilRole(berth, old, 'READ_ONLY');
    expect(await idle.rows(whoAmI)).toEqual([[String(chosen.port)]]);
  });

  test('promoted while the old writer still answers: nothing reaches that any more', async () => {
    const berth = await start({ MaxConnections: 2 });
    const old = cluster().writer;
    using idle = await loginTo(berth, kind);
    using inTransaction = await loginTo(berth, kind);
    await idle.rows(whoAmI);
    await inTransaction.rows('begin');
    await inTransaction.rows(`insert into ${table} values ('b')`);
    const chosen = cluster().replica(0);
    await cluster().promote(chosen);
    await untilWriter(berth, chosen);
    expect(await idle.rows(whoAmI)).toEqual([[String(chosen.port)]]);
    // The transaction is over, and nothing of it is there.
    await eventually(async () => {
      const found = await connectionsOfApp(cluster(), old);
      return found === 0 ? true : undefined;
    }, 'the old writer has no connection left');
    expect(await cluster().query(old, `select id from ${table} where id = 'b'`)).toEqual([]);
    await cluster().rejoin(old);
    await untilRole(berth, old, 'READ_ONLY');
  });

  test('a writer that hangs: who waits gets through to the new one, and stays there when it wakes', async () => {
    const berth = await start();
    const old = cluster().writer;
    using idle = await loginTo(berth, kind);
    await idle.rows(whoAmI);
    cluster().hang(old);
    try {
      await berth.untilLogged('failover.began');
      const later = idle.rows(whoAmI);
      const chosen = await cluster().failOver();
      expect(await later).toEqual([[String(chosen.port)]]);
      cluster().wake(old);
      await berth.untilLogged(
        (line) => line.event === 'target.health_changed' && /AVAILABLE\./.test(line.msg),
        3,
      );
      expect(await idle.rows(whoAmI)).toEqual([[String(chosen.port)]]);
    } finally {
      cluster().wake(old);
    }
    await cluster().rejoin(old);
    await untilRole(berth, old, 'READ_ONLY');
  });

  test('terminated connections are no failover', async () => {
    const berth = await start();
    using client = await loginTo(berth, kind);
    await client.rows(whoAmI);
    await terminateAll(cluster());
    expect(await client.rows(whoAmI)).toEqual([[String(cluster().writer.port)]]);
    expect(berth.logged('failover.began')).toEqual([]);
  });
});

/** Everything that the proxy has there, its watch included. */
async function terminateAll(cluster: Cluster): Promise<void> {
  const { writer } = cluster;
  if (cluster.engine === 'postgres') {
    const sql = "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'app'";
    await cluster.query(writer, sql);
    return;
  }
  const sql = "select id from information_schema.processlist where user = 'app'";
  for (const [id] of await cluster.query(writer, sql)) await cluster.query(writer, `kill ${id}`);
}

async function connectionsOfApp(cluster: Cluster, member: Member): Promise<number> {
  const isPostgres = cluster.engine === 'postgres';
  const [row] = await cluster.query(
    member,
    isPostgres
      ? "select count(*) from pg_stat_activity where usename = 'app' and application_name <> 'berth-monitor'"
      : "select count(*) from information_schema.processlist where user = 'app' and db = 'app'",
  );
  return Number(row?.[0]);
}

async function untilRole(berth: Berth, member: Member, role: string): Promise<void> {
  await eventually(async () => {
    const metrics = await berth.metrics();
    const name = role === 'READ_WRITE' ? 'berth_target_writer' : 'berth_target_reader';
    return metrics.get(`${name}{proxy="orders",target="${member.name}"}`) === 1 ? true : undefined;
  }, `${member.name} is ${role}\n${berth.logText}`);
}

const untilWriter = (berth: Berth, member: Member) => untilRole(berth, member, 'READ_WRITE');
