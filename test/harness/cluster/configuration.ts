/** The configuration file of a proxy for tests before a cluster. */

import { type Configuration, TEST_PROXY, type TestUser } from '../configuration.ts';
import { MYSQL_USERS } from '../mysql/server.ts';
import { TEST_USERS } from '../postgres.ts';
import type { Cluster, Member } from './cluster.ts';

type Properties = Readonly<Record<string, unknown>>;

export interface ClusterConfigurationOptions {
  readonly users?: readonly TestUser[];
  /** Where a member is reached instead of at its own port. */
  readonly portOf?: (member: Member) => number;
  /** Properties of ConnectionPoolConfig. */
  readonly pool?: Properties;
  /** Properties of the proxy, over the usual ones. */
  readonly proxy?: Properties;
  /** Properties of the file, over the usual ones. */
  readonly file?: Properties;
}

/** The name of the cluster in a test's configuration. Its members are there by their own names. */
export const TEST_CLUSTER = 'orders-cluster';

export function makeClusterConfiguration(
  cluster: Pick<Cluster, 'engine' | 'members'>,
  options: ClusterConfigurationOptions = {},
): Configuration {
  const { engine, members } = cluster;
  const isPostgres = engine === 'postgres';
  const { users = isPostgres ? TEST_USERS : MYSQL_USERS.filter(hasPassword) } = options;
  const { portOf = (member: Member) => member.port } = options;
  return {
    Api: { Listen: '127.0.0.1:0', AllowAnonymous: true },
    DBInstances: members.map((member) => ({
      DBInstanceIdentifier: member.name,
      Engine: engine,
      Endpoint: { Address: '127.0.0.1', Port: portOf(member) },
    })),
    DBClusters: [
      {
        DBClusterIdentifier: TEST_CLUSTER,
        Engine: engine,
        Members: members.map(({ name }) => name),
      },
    ],
    Secrets: users.map((user) => ({
      Name: user.name,
      SecretString: { username: user.name, password: user.password },
    })),
    DBProxies: [
      {
        DBProxyName: TEST_PROXY,
        EngineFamily: isPostgres ? 'POSTGRESQL' : 'MYSQL',
        Listen: '127.0.0.1:0',
        Auth: users.map((user) => ({ SecretArn: user.name })),
        TargetGroup: {
          DBClusterIdentifiers: [TEST_CLUSTER],
          ConnectionPoolConfig: { MaxConnections: 4, ...options.pool },
        },
        ...options.proxy,
      },
    ],
    ...options.file,
  };
}

/** A secret must have one. */
function hasPassword({ password }: TestUser): boolean {
  return password !== '';
}
