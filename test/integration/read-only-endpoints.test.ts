/**
 * READ_ONLY endpoints before real clusters: clients are spread over the readers, go on at another when theirs is
 * gone, and wait when there is none.
 */

import { expect, setDefaultTimeout, test } from 'bun:test';
import { DescribeDBProxyTargetsCommand } from '@aws-sdk/client-rds';
import { sqlStates, textRows } from '../harness/backend-messages.ts';
import { useBerth } from '../harness/berth.ts';
import type { Cluster, Member } from '../harness/cluster/cluster.ts';
import { describeClusters, useCluster } from '../harness/cluster/clusters.ts';
import { makeClusterConfiguration } from '../harness/cluster/configuration.ts';
import { TEST_PROXY } from '../harness/configuration.ts';
import { errorsOf, loginThrough } from '../harness/mysql/berth.ts';
import { eventually } from '../harness/polling.ts';
import { rdsClient } from '../harness/rds.ts';

setDefaultTimeout(60_000);

/** In the order in which they listen, after the default one. */
const ENDPOINTS = [
  { DBProxyEndpointName: 'reads' },
  { DBProxyEndpointName: 'fresh', MaxReplicaLag: 1 },
  { DBProxyEndpointName: 'fallback', ReaderFallback: 'WRITER' },
].map((endpoint) => ({ ...endpoint, Listen: '127.0.0.1:0', TargetRole: 'READ_ONLY' }));
const [WRITES, READS, FRESH, FALLBACK] = [0, 1, 2, 3] as const;

/** A client of either engine. */
interface Client {
  /** Asks, and returns one value. */
  value(sql: string): Promise<string>;
  /** The codes of the errors that come of it. */
  errors(sql: string): Promise<readonly (string | number)[]>;
  end(): Promise<void>;
}

describeClusters(
  'READ_ONLY endpoints',
  (kind) => {
    const isPostgres = kind.engine === 'postgres';
    const cluster = useCluster(kind);
    const berth = useBerth(() => ({
      configuration: makeClusterConfiguration(cluster(), {
        pool: { ConnectionBorrowTimeout: 10 },
        proxy: { Endpoints: ENDPOINTS },
      }),
      expect: [
        'connection.open_failed',
        'session.interrupted',
        'connection.closed',
        ({ event }) => /^(target|failover)\./.test(event),
      ],
    }));

    async function enter(endpoint: number): Promise<Client> {
      const port = berth().ports[endpoint] ?? 0;
      if (isPostgres) {
        const client = await berth().login({ port });
        return {
          value: async (sql) => textRows(await client.query(sql))[0]?.[0] ?? '',
          errors: async (sql) => sqlStates(await client.query(sql)),
          end: () => client.end(),
        };
      }
      const client = await loginThrough(berth(), { port });
      return {
        value: async (sql) => (await client.rows(sql))[0]?.[0] ?? '',
        errors: async (sql) => errorsOf(await client.query(sql)),
        end: () => client.end(),
      };
    }

    const crowd = (size: number, endpoint: number) =>
      Promise.all(Array.from({ length: size }, () => enter(endpoint)));

    async function whereIs(client: Client): Promise<string> {
      const port = await client.value(isPostgres ? 'select inet_server_port()' : 'select @@port');
      return cluster().members.find((each) => String(each.port) === port)?.name ?? port;
    }

    const whereAre = (clients: readonly Client[]) => Promise.all(clients.map(whereIs));

    const untilReaders = (...names: readonly string[]) =>
      eventually(
        async () => {
          const command = new DescribeDBProxyTargetsCommand({ DBProxyName: TEST_PROXY });
          const { Targets = [] } = await rdsClient(berth()).send(command);
          const readers = Targets.filter(
            ({ Role, TargetHealth }) => Role === 'READ_ONLY' && TargetHealth?.State === 'AVAILABLE',
          ).map(({ RdsResourceId }) => RdsResourceId);
          return Bun.deepEquals(readers.toSorted(), names.toSorted()) ? true : undefined;
        },
        `the readers ${names.join(', ')}`,
      );

    const end = (clients: readonly Client[]) => Promise.all(clients.map((client) => client.end()));

    test('clients are spread over the readers, and stay with theirs', async () => {
      await untilReaders('member-2', 'member-3');
      const clients = await crowd(8, READS);
      const first = await whereAre(clients);
      expect(await whereAre(clients)).toEqual(first);
      expect(first.toSorted()).toEqual([
        ...Array<string>(4).fill('member-2'),
        ...Array<string>(4).fill('member-3'),
      ]);
      await end(clients);
    });

    test('a reader refuses what writes, and the writer is where it was', async () => {
      const [reader, writer] = [await enter(READS), await enter(WRITES)];
      expect(await reader.errors('create table t (a int)')).toEqual([isPostgres ? '25006' : 1290]);
      if (isPostgres) expect(await reader.errors('listen news')).toEqual(['25006']);
      expect(await whereIs(writer)).toBe(cluster().writer.name);
      await end([reader, writer]);
    });

    test('clients of a reader that is killed go on at another, wait when there is none, or read from the writer', async () => {
      await untilReaders('member-2', 'member-3');
      const clients = await crowd(4, READS);
      const [gone, other] = twoReaders(cluster());
      expect(new Set(await whereAre(clients))).toEqual(new Set([gone.name, other.name]));
      await cluster().kill(gone);
      expect(new Set(await whereAre(clients))).toEqual(new Set([other.name]));
      const fallback = await enter(FALLBACK);
      expect(await whereIs(fallback)).toBe(other.name);
      await cluster().kill(other);
      expect(await whereIs(fallback)).toBe(cluster().writer.name);
      const waiting = whereAre(clients);
      await cluster().startUp(other);
      expect(new Set(await waiting)).toEqual(new Set([other.name]));
      await cluster().startUp(gone);
      await untilReaders(gone.name, other.name);
      await end([...clients, fallback]);
    });

    test('what runs at a reader that hangs is cut off, and the client goes on at another', async () => {
      await untilReaders('member-2', 'member-3');
      const clients = await crowd(2, READS);
      const places = await whereAre(clients);
      const [gone] = twoReaders(cluster());
      const [hung, fine] = places[0] === gone.name ? clients : clients.toReversed();
      if (hung === undefined || fine === undefined) throw new Error('there are two clients');
      cluster().hang(gone);
      // It may take a moment until all of its processes have stopped.
      const errors = await hung.errors(isPostgres ? 'select pg_sleep(1)' : 'select sleep(1)');
      expect(errors).toHaveLength(1);
      expect(await whereAre([hung, fine])).not.toContain(gone.name);
      cluster().wake(gone);
      await untilReaders('member-2', 'member-3');
      await end(clients);
    });

    if (isPostgres) {
      test('a reader that falls behind loses the clients that MaxReplicaLag is for, and no others', async () => {
        const [behind, other] = twoReaders(cluster());
        const [fresh, any] = [await crowd(2, FRESH), await crowd(2, READS)];
        expect(new Set(await whereAre(fresh)).size).toBe(2);
        await cluster().query(behind, 'select pg_wal_replay_pause()');
        await cluster().query(cluster().writer, 'create table late (a int)');
        await eventually(async () => {
          const places = await whereAre(fresh);
          return places.every((name) => name === other.name) ? true : undefined;
        }, 'nobody is at the reader that is behind');
        expect(new Set(await whereAre(any)).size).toBe(2);
        await cluster().query(behind, 'select pg_wal_replay_resume()');
        await end([...fresh, ...any]);
      });
    }
  },
  ['postgres', 'mariadb'],
);

function twoReaders(cluster: Cluster): [Member, Member] {
  const [first, second] = cluster.others;
  if (first === undefined || second === undefined) throw new Error('there are two readers');
  return [first, second];
}
