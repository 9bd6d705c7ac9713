/**
 * Desired state, as the data plane takes it: complete, validated and serialisable but for secrets,
 * which print as `[secret]`. Property names are those of the RDS API; extensions are named in
 * docs/configuration.md. The control plane makes it, `registry.ts` reconciles towards it.
 */

import type { Secret } from '../credential/secret.ts';

export interface ListenAddress {
  readonly host: string;
  readonly port: number;
}

export interface DBInstance {
  readonly DBInstanceIdentifier: string;
  readonly Engine: 'postgres';
  /** An `Address` that begins with `/` is the folder of a Unix socket. */
  readonly Endpoint: { readonly Address: string; readonly Port: number };
}

export interface SecretEntry {
  readonly Name: string;
  readonly username: string;
  readonly password: Secret;
}

export type ClientPasswordAuthType = 'POSTGRES_SCRAM_SHA_256' | 'POSTGRES_MD5';

export interface UserAuth {
  readonly AuthScheme: 'SECRETS';
  /** The `Name` of an entry of `Snapshot.Secrets`, whichever way it was written. */
  readonly SecretArn: string;
  readonly IAMAuth: 'DISABLED';
  readonly ClientPasswordAuthType: ClientPasswordAuthType;
}

/** The first rule that matches a client gives its priority; 0 when none does. Higher goes first. */
export interface PriorityRule {
  readonly UserName?: string;
  readonly ApplicationName?: string;
  readonly Endpoint?: string;
  /** -100 to 100. */
  readonly Priority: number;
}

/** Times are seconds, as in the RDS API. */
export interface ConnectionPoolConfig {
  readonly MaxConnectionsPercent: number;
  readonly MaxConnections: number;
  readonly MaxIdleConnectionsPercent: number;
  readonly ConnectionBorrowTimeout: number;
  readonly BorrowedIdleTimeout: number;
  readonly DatabaseConnectionIdleTimeout: number;
  readonly PoolMode: 'TRANSACTION' | 'SESSION';
  readonly InitQuery: string | undefined;
  readonly Priorities: readonly PriorityRule[];
}

export interface Endpoint {
  /** `default` for the one that every proxy has. */
  readonly DBProxyEndpointName: string;
  readonly Listen: ListenAddress;
}

export interface DBProxy {
  readonly DBProxyName: string;
  readonly EngineFamily: 'POSTGRESQL';
  readonly IdleClientTimeout: number;
  readonly MaxClientConnections: number;
  readonly Auth: readonly UserAuth[];
  readonly Target: DBInstance;
  readonly ConnectionPoolConfig: ConnectionPoolConfig;
  readonly Endpoints: readonly Endpoint[];
}

export interface Snapshot {
  readonly Secrets: readonly SecretEntry[];
  readonly DBProxies: readonly DBProxy[];
}
