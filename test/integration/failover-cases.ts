/**
 * A cluster under load, and everything that may befall its members, one after the other. After each of them all
 * clients write again, no idle client was dropped, and nobody was told of more than it had under way; in the end
 * what was acknowledged is on the writer, and nothing twice.
 */

import { expect, setDefaultTimeout, test } from 'bun:test';
import { storyOf, untilReader } from '../drill/berth-story.ts';
import { now } from '../drill/clock.ts';
import { type Connection, connect } from '../drill/connection.ts';
import { failOver } from '../drill/failover.ts';
import { type FaultName, networkOf, type Stage, startNetworks } from '../drill/faults.ts';
import { Load } from '../drill/load.ts';
import { excessFailures, lateFailures, lostClients } from '../drill/report.ts';
import { makeTables } from '../drill/tables.ts';
import { Berth, type LogPattern } from '../harness/berth.ts';
import type { Cluster, Member } from '../harness/cluster/cluster.ts';
import { type ClusterKind, useCluster } from '../harness/cluster/clusters.ts';
import { makeClusterConfiguration } from '../harness/cluster/configuration.ts';
import { START_DEADLINE_MS } from '../harness/postgres.ts';
import { useShared } from '../harness/shared.ts';

setDefaultTimeout(60_000);

const POOL_SIZE = 4;
const WRITERS = { autocommit: 4, transaction: 2, prepared: 2, pinned: 1 };
const IDLE = 6;
/** Failures are the same however long the orchestrator thinks. */
const PROMOTE_AFTER_MS = 150;
/** A flap may be told of when it begins and when it ends, by each of some parts. */
const LINES_PER_FLAP = 20;

/** What Berth warns of when a member fails. */
const EXPECTED: LogPattern = /"event":"(target|failover|session|connection|client|notifications)\./;

interface Scene {
  readonly stage: Stage;
  readonly berth: Berth;
  readonly load: Load;
}

export function testFailovers(
  kind: ClusterKind,
  { faults, flaps }: { readonly faults: readonly FaultName[]; readonly flaps: number },
): void {
  const cluster = useCluster(kind, { isSynchronous: true, isDurable: kind.engine !== 'postgres' });
  const scene = useShared({
    name: 'the load',
    start: () => set(cluster()),
    stop: strike,
    deadlineMs: START_DEADLINE_MS,
  });

  for (const fault of faults) {
    test(`${fault}: only what was under way fails, and the new writer gets the rest`, async () => {
      const { stage, load, berth } = scene();
      const failover = await failOver({ stage, load, fault, promoteAfterMs: PROMOTE_AFTER_MS });
      // Only PostgreSQL says itself who was promoted last; of others that must have been seen.
      if (kind.engine !== 'postgres') await untilReader(berth, failover.from, failover.at);
      const round = { ...failover, story: storyOf(berth, failover.at), queuePeak: 0 };
      expect(round.idleProblems).toEqual([]);
      expect(round.strays).toEqual([]);
      expect([...excessFailures(round), ...lateFailures(round)]).toEqual([]);
      expect(lostClients(round)).toEqual([]);
      expect(round.proxied.everyMs).toHaveLength(load.proxied.length);
    });
  }

  test('connections that are reset are no failover', async () => {
    const { stage, load } = scene();
    const { writer } = stage.cluster;
    const errors = await errorsDuring(scene(), () => networkOf(stage, writer).resetAll());
    expect(Math.max(0, ...errors.values())).toBeLessThanOrEqual(1);
    expect(await load.checkIdle()).toEqual([]);
    expect(stage.cluster.writer).toBe(writer);
  });

  test('replicas may crash, all of them, and come back', async () => {
    const { stage, load } = scene();
    const { replicas } = stage.cluster;
    await stage.cluster.relax();
    for (const replica of replicas) {
      expect(await errorsDuring(scene(), () => stage.cluster.kill(replica))).toEqual(new Map());
    }
    for (const replica of replicas) {
      const startUp = () => stage.cluster.startUp(replica);
      expect(await errorsDuring(scene(), startUp)).toEqual(new Map());
    }
    await stage.cluster.settle([]);
    expect(await load.checkIdle()).toEqual([]);
  });

  test(`a writer that comes and goes ${flaps} times leaves nothing behind`, async () => {
    const { stage, load, berth } = scene();
    const network = networkOf(stage, stage.cluster.writer);
    const linesBefore = berth.log.length;
    for (let flap = 1; flap <= flaps; flap++) {
      const { attempts } = network;
      network.plan = () => ({ cut: CUT });
      network.resetAll();
      await network.links.until(
        () => (network.attempts > attempts ? true : undefined),
        'somebody looks for the writer',
      );
      network.plan = () => ({});
      await load.untilWritten(now());
    }
    await load.untilAllWrite(now());
    expect(berth.log.length - linesBefore).toBeLessThan(flaps * LINES_PER_FLAP);
    expect(await load.checkIdle()).toEqual([]);
  });

  test('in the end the books are right, and no connection is lost sight of', async () => {
    const { stage, load, berth } = scene();
    const wrong = await load.stopAndCompare();
    expect(wrong.proxied).toEqual([]);
    expect(load.books.acknowledged.length).toBeGreaterThan(0);
    await expectAllPermits(stage.cluster, berth);
  });
}

/** A connection to a database that is not there ends before a byte of it has arrived. */
const CUT = { direction: 'toClient', afterBytes: 0, how: 'reset' } as const;

async function set(cluster: Cluster): Promise<Scene> {
  await makeTables(cluster);
  const stage: Stage = { cluster, networks: await startNetworks(cluster) };
  const configuration = makeClusterConfiguration(cluster, {
    portOf: (member: Member) => networkOf(stage, member).port,
    pool: { MaxConnections: POOL_SIZE },
  });
  const berth = await Berth.start({ configuration, logLevel: 'info', expect: [EXPECTED] });
  const load = await Load.start({ cluster, port: berth.port, writers: WRITERS, idle: IDLE });
  return { stage, berth, load };
}

async function strike({ stage, berth, load }: Scene): Promise<void> {
  await load.stop();
  try {
    await berth.stop();
  } finally {
    for (const network of stage.networks.values()) await network.stop();
  }
}

/** How many errors each client is told from the beginning of this until all have written after it. */
async function errorsDuring(
  { load }: Scene,
  act: () => Promise<void> | void,
): Promise<Map<string, number>> {
  const { length } = load.books.failures;
  await act();
  await load.untilAllWrite(now());
  const counts = new Map<string, number>();
  for (const { client } of load.books.failures.slice(length)) {
    counts.set(client, (counts.get(client) ?? 0) + 1);
  }
  return counts;
}

/** As many transactions as the pool has connections can be open at once, and the database has no more of them. */
async function expectAllPermits(cluster: Cluster, berth: Berth): Promise<void> {
  const clients: Connection[] = [];
  try {
    for (let count = 1; count <= POOL_SIZE; count++) {
      const address = { host: '127.0.0.1', port: berth.port };
      const client = await connect(cluster.engine, address, { deadlineMs: START_DEADLINE_MS });
      clients.push(client);
      await client.query('begin');
      await client.query('select 1');
    }
    expect(await berth.metric('database_connections_currently_borrowed')).toBe(POOL_SIZE);
    expect(await berth.metric('berth_borrow_queue_depth')).toBe(0);
    const [row] = await cluster.query(cluster.writer, COUNT_CONNECTIONS[cluster.engine]);
    expect(Number(row?.[0])).toBe(POOL_SIZE);
  } finally {
    for (const client of clients) client.destroy();
  }
}

const COUNT_OF_MYSQL = `select count(*) from performance_schema.processlist
  where user = 'app' and id not in (
    select processlist_id from performance_schema.session_connect_attrs
    where attr_value = 'berth-monitor')`;

const COUNT_CONNECTIONS = {
  postgres: `select count(*) from pg_stat_activity
    where usename = 'app' and application_name <> 'berth-monitor'`,
  mysql: COUNT_OF_MYSQL,
  mariadb: COUNT_OF_MYSQL.replace(
    'performance_schema.processlist',
    'information_schema.processlist',
  ),
};
