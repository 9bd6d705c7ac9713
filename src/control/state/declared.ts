/** What the configuration file declares, in the form of records, so that the API can show it. */

import type { DBInstance, DBProxy } from '../../proxy/snapshot.ts';
import { formatListen } from '../listen-address.ts';
import { declaredId, declaredSecretId } from './arns.ts';
import type { DBInstanceRecord, ProxyRecord, SecretRecord } from './records.ts';

const NO_NETWORK = { vpcSubnetIds: [], vpcSecurityGroupIds: [] };

export function declaredProxy(
  proxy: DBProxy,
  debugLoggingUntil: ProxyRecord['debugLoggingUntil'],
): ProxyRecord {
  const { DBProxyName: name, ConnectionPoolConfig: config } = proxy;
  const [first, ...others] = proxy.Endpoints;
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
      targets: proxy.Target.Members.map(({ DBInstanceIdentifier }) => DBInstanceIdentifier),
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

export function declaredInstance(instance: DBInstance): DBInstanceRecord {
  const { DBInstanceIdentifier: name, Endpoint } = instance;
  return {
    kind: 'db-instance',
    id: declaredId('db-instance', name),
    name,
    engine: instance.Engine,
    address: Endpoint.Address,
    port: Endpoint.Port,
    tlsMode: instance.Tls.Mode,
    tags: [],
  };
}

/** Its value is not for the API, so there are no versions. */
export function declaredSecret(name: string): SecretRecord {
  return { kind: 'secret', id: declaredSecretId(name), name, tags: [], versions: [] };
}
