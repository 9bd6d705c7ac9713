/** What the configuration file declares, in the form of records, so that the API can show it. */

import type { DBInstance, DBProxy } from '../../proxy/snapshot.ts';
import type { DBCluster } from '../config-file.ts';
import { formatListen } from '../listen-address.ts';
import { declaredId, declaredSecretId } from './arns.ts';
import type { DBClusterRecord, DBInstanceRecord, ProxyRecord, SecretRecord } from './records.ts';

const NO_NETWORK = { vpcSubnetIds: [], vpcSecurityGroupIds: [] };

export function declaredProxy(
  proxy: DBProxy,
  debugLoggingUntil: ProxyRecord['debugLoggingUntil'],
): ProxyRecord {
  const { DBProxyName: name, ConnectionPoolConfig: config } = proxy;
  const [first, ...others] = proxy.Endpoints;
  const { DBClusterIdentifier: cluster, Members } = proxy.Target;
  return {
    kind: 'proxy',
    id: declaredId('proxy', name),
    name,
    engineFamily: proxy.EngineFamily,
    ...NO_NETWORK,
    defaultAuthScheme: proxy.DefaultAuthScheme,
    auth: proxy.Auth,
    requireTls: proxy.RequireTLS,
    idleClientTimeout: proxy.IdleClientTimeout,
    ...(debugLoggingUntil === undefined ? {} : { debugLoggingUntil }),
    listen: first === undefined ? '' : formatListen(first.Listen),
    tags: [],
    targetGroup: {
      id: declaredId('target-group', name),
      config: {
        MaxConnectionsPercent: config.MaxConnectionsPercent,
        MaxIdleConnectionsPercent: config.MaxIdleConnectionsPercent,
        ConnectionBorrowTimeout: config.ConnectionBorrowTimeout,
        SessionPinningFilters: config.SessionPinningFilters,
        ...(config.InitQuery === undefined ? {} : { InitQuery: config.InitQuery }),
      },
      ...(cluster === undefined
        ? { targets: Members.map(({ DBInstanceIdentifier }) => DBInstanceIdentifier) }
        : { targets: [], clusterId: declaredId('db-cluster', cluster) }),
      tags: [],
    },
    endpoints: others.map(({ DBProxyEndpointName, Listen, Readers }) => ({
      id: declaredId('db-proxy-endpoint', DBProxyEndpointName),
      name: DBProxyEndpointName,
      ...NO_NETWORK,
      listen: formatListen(Listen),
      ...(Readers === undefined ? {} : { readers: Readers }),
      tags: [],
    })),
  };
}

/** `clusters`: all that the file declares. */
export function declaredInstance(
  instance: DBInstance,
  clusters: readonly DBCluster[],
): DBInstanceRecord {
  const { DBInstanceIdentifier: name, Endpoint } = instance;
  const cluster = clusters.find(({ Members }) => Members.includes(name));
  return {
    kind: 'db-instance',
    id: declaredId('db-instance', name),
    name,
    engine: instance.Engine,
    address: Endpoint.Address,
    port: Endpoint.Port,
    tlsMode: instance.Tls.Mode,
    ...(cluster === undefined
      ? {}
      : { clusterId: declaredId('db-cluster', cluster.DBClusterIdentifier) }),
    tags: [],
  };
}

export function declaredCluster({ DBClusterIdentifier: name, Engine }: DBCluster): DBClusterRecord {
  return { kind: 'db-cluster', id: declaredId('db-cluster', name), name, engine: Engine, tags: [] };
}

/** Its value is not for the API, so there are no versions. */
export function declaredSecret(name: string): SecretRecord {
  return { kind: 'secret', id: declaredSecretId(name), name, tags: [], versions: [] };
}
