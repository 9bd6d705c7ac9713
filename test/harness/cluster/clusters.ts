/**
 * Groups of tests on a cluster of each engine. What the machine does not have is skipped, with the reason.
 *
 *   describeClusters('a failover', (kind) => {
 *     const cluster = useCluster(kind);
 *     test('…', async () => { await cluster().kill(cluster().writer); … });
 *   });
 */

import { describe } from 'bun:test';
import { availableServers, describeServers, type MysqlServer } from '../mysql/server.ts';
import { START_DEADLINE_MS } from '../postgres.ts';
import { useShared } from '../shared.ts';
import type { Cluster, ClusterEngine, ClusterOptions } from './cluster.ts';
import { MysqlCluster } from './mysql-cluster.ts';
import { PostgresCluster } from './postgres-cluster.ts';

/** A kind of cluster that can be started here. */
export interface ClusterKind {
  readonly name: 'PostgreSQL' | MysqlServer['name'];
  readonly engine: ClusterEngine;
  readonly start: (options?: ClusterOptions) => Promise<Cluster>;
}

const POSTGRES: ClusterKind = {
  name: 'PostgreSQL',
  engine: 'postgres',
  start: (options) => PostgresCluster.start(options),
};

function kindOf(server: MysqlServer): ClusterKind {
  return {
    name: server.name,
    engine: server.product === 'MySQL' ? 'mysql' : 'mariadb',
    start: (options) => MysqlCluster.start(server, options),
  };
}

/** The first kind of cluster of an engine that this machine can start. */
export function findKind(engine: ClusterEngine): ClusterKind | undefined {
  return [POSTGRES, ...availableServers().map(kindOf)].find((kind) => kind.engine === engine);
}

export function describeClusters(
  title: string,
  body: (kind: ClusterKind) => void,
  engines: readonly ClusterEngine[] = ['postgres', 'mariadb', 'mysql'],
): void {
  if (engines.includes('postgres')) describe(`${title} on PostgreSQL`, () => body(POSTGRES));
  const ofServer = (server: MysqlServer) => body(kindOf(server));
  if (engines.includes('mariadb')) describeServers(title, ofServer, { only: 'MariaDB' });
  if (engines.includes('mysql')) describeServers(title, ofServer, { only: 'MySQL' });
}

/** One cluster for all tests of the file or `describe` that calls it. Call the result inside tests. */
export function useCluster(kind: ClusterKind, options: ClusterOptions = {}): () => Cluster {
  return useShared({
    name: 'the cluster',
    start: () => kind.start(options),
    stop: (cluster) => cluster.stop(),
    deadlineMs: START_DEADLINE_MS,
  });
}
