/** From desired state, in the units of the RDS API, to what the engine and the pools work with. */

import { join } from 'node:path';
import type { Secret } from '../credential/secret.ts';
import type { TokenJudge } from '../credential/token-judge.ts';
import type { ClientTls, EngineSettings, ReaderRules } from '../engine/contract.ts';
import type { Address } from '../net/address.ts';
import type { ConnectionLimits } from '../pool/budget.ts';
import type { TargetFacts } from '../target/monitor.ts';
import type {
  ConnectionPoolConfig,
  DBInstance,
  DBProxy,
  Endpoint,
  PriorityRule,
} from './snapshot.ts';

const SECOND = 1_000;
const HOUR = 3_600 * SECOND;
const CLIENT_LIFETIME_MS = 24 * HOUR;
export const LOGIN_TIMEOUT_MS = 15 * SECOND;

export function engineSettings(
  proxy: DBProxy,
  clientTls: Pick<ClientTls, 'accept' | 'isCertificateRequired'>,
  passwordKey: Secret | undefined,
  tokens: TokenJudge,
  isDebugLogging: boolean,
): EngineSettings {
  const config = proxy.ConnectionPoolConfig;
  // Who must show a certificate cannot do so in plain text.
  const isTlsRequired = proxy.RequireTLS || clientTls.isCertificateRequired;
  return {
    idleClientTimeoutMs: proxy.IdleClientTimeout * SECOND,
    borrowedIdleTimeoutMs: config.BorrowedIdleTimeout * SECOND,
    clientLifetimeMs: CLIENT_LIFETIME_MS,
    loginTimeoutMs: LOGIN_TIMEOUT_MS,
    maxClientConnections: proxy.MaxClientConnections,
    isReplicationRefused: proxy.Replication === 'refuse',
    hasNotificationFanOut: proxy.NotificationFanOut,
    isDebugLogging,
    isSessionMode: config.PoolMode === 'SESSION',
    areVariableSetsExcluded: config.SessionPinningFilters.includes('EXCLUDE_VARIABLE_SETS'),
    initQuery: config.InitQuery,
    serverVersion: proxy.ServerVersion,
    passwordKey,
    tokens,
    priorityOf: priorityOf(config.Priorities),
    readOnlyEndpoints: readOnlyEndpoints(proxy.Endpoints),
    clientTls: { ...clientTls, isRequired: isTlsRequired },
    pool: {
      borrowTimeoutMs: config.ConnectionBorrowTimeout * SECOND,
      borrowNoticeMs: 5 * SECOND,
      idleTimeoutMs: config.DatabaseConnectionIdleTimeout * SECOND,
      idleAgeMs: 300 * SECOND,
      lifetimeMs: 24 * HOUR,
      lifetimeJitter: 0.2,
      probeAfterMs: 30 * SECOND,
      probeTimeoutMs: 2 * SECOND,
      resetTimeoutMs: 10 * SECOND,
      maxConnecting: 4,
      backoffFirstMs: 100,
      backoffMaxMs: 5 * SECOND,
      starvationMs: 500,
    },
  };
}

function readOnlyEndpoints(endpoints: readonly Endpoint[]): EngineSettings['readOnlyEndpoints'] {
  const rules = new Map<string, ReaderRules>();
  for (const { DBProxyEndpointName, Readers } of endpoints) {
    if (Readers === undefined) continue;
    const { MaxReplicaLag, ReaderFallback } = Readers;
    rules.set(DBProxyEndpointName, {
      maxLagMs: MaxReplicaLag === undefined ? undefined : MaxReplicaLag * SECOND,
      hasWriterFallback: ReaderFallback === 'WRITER',
    });
  }
  return rules;
}

function priorityOf(rules: readonly PriorityRule[]): EngineSettings['priorityOf'] {
  return (client) => {
    const rule = rules.find(
      ({ UserName, ApplicationName, Endpoint }) =>
        (UserName === undefined || UserName === client.user) &&
        (ApplicationName === undefined || ApplicationName === client.applicationName) &&
        (Endpoint === undefined || Endpoint === client.endpoint),
    );
    return rule?.Priority ?? 0;
  };
}

/**
 * `MaxConnectionsPercent` is a share of what the database says it allows, and never so much that the
 * connections it keeps for administrators, or `kept` ones of our own, would be asked for. Until the database has been asked,
 * `MaxConnections` alone holds.
 */
export function connectionLimits(
  config: ConnectionPoolConfig,
  facts: TargetFacts | undefined,
  kept = 0,
): ConnectionLimits {
  const { MaxConnections, MaxConnectionsPercent, MaxIdleConnectionsPercent } = config;
  if (facts === undefined) {
    const maxIdleConnections = percent(MaxConnections, MaxIdleConnectionsPercent);
    return { maxConnections: MaxConnections, limitedBy: 'MaxConnections', maxIdleConnections };
  }
  const ordinary = facts.maxConnections - facts.reservedConnections - kept;
  const share = Math.min(percent(facts.maxConnections, MaxConnectionsPercent), ordinary);
  const allowed = Math.max(1, share);
  const maxConnections = Math.min(MaxConnections, allowed);
  return {
    maxConnections,
    limitedBy: MaxConnections <= allowed ? 'MaxConnections' : 'MaxConnectionsPercent',
    maxIdleConnections: Math.min(
      maxConnections,
      percent(facts.maxConnections, MaxIdleConnectionsPercent),
    ),
  };
}

function percent(whole: number, share: number): number {
  return Math.floor((whole * share) / 100);
}

export function targetAddress({
  Endpoint: { Address, Port },
  Engine,
}: Pick<DBInstance, 'Endpoint' | 'Engine'>): Address {
  if (!Address.startsWith('/')) return { host: Address, port: Port };
  // PostgreSQL's sockets are known by their folder and port, those of MySQL by their own name.
  return { socketPath: Engine === 'postgres' ? join(Address, `.s.PGSQL.${Port}`) : Address };
}
