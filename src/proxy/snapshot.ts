/**
 * Desired state, as the data plane takes it: complete, validated and serialisable but for secrets,
 * which print as `[secret]`. Property names are those of the RDS API; extensions are named in
 * docs/configuration.md. The control plane makes it, `registry.ts` reconciles towards it.
 */

import type { ClientPasswordAuthType, DefaultAuthScheme } from '../credential/credentials.ts';
import type { AccessKey } from '../credential/principals.ts';
import type { Secret } from '../credential/secret.ts';
import type { Address } from '../net/address.ts';

export type { Address, TcpAddress, UnixAddress } from '../net/address.ts';

export type TlsVersion = 'TLSv1' | 'TLSv1.1' | 'TLSv1.2' | 'TLSv1.3';

/** TLS towards a database, with libpq's modes. Certificates and keys are PEM texts. */
export interface DatabaseTls {
  readonly Mode: 'disable' | 'prefer' | 'require' | 'verify-ca' | 'verify-full';
  /** Whose certificates are trusted; undefined for the public authorities. */
  readonly CA: string | undefined;
  /** What is shown to a database that asks. */
  readonly Certificate: string | undefined;
  readonly PrivateKey: Secret | undefined;
  readonly MinProtocolVersion: TlsVersion;
}

/** TLS towards clients. Certificates and keys are PEM texts. */
export interface ClientTls {
  readonly Certificate: string;
  readonly PrivateKey: Secret;
  /** Who vouches for clients; undefined: clients are asked for no certificate. */
  readonly ClientCA: string | undefined;
  readonly ClientCertificate: 'OPTIONAL' | 'REQUIRED';
  readonly MinProtocolVersion: 'TLSv1.2' | 'TLSv1.3';
}

export type EngineFamily = 'POSTGRESQL' | 'MYSQL';
export type EngineName = 'postgres' | 'mysql' | 'mariadb';

export interface DBInstance {
  readonly DBInstanceIdentifier: string;
  readonly Engine: EngineName;
  /**
   * An `Address` that begins with `/` is that of a Unix socket: its folder for PostgreSQL, the socket
   * itself for MySQL and MariaDB.
   */
  readonly Endpoint: { readonly Address: string; readonly Port: number };
  readonly Tls: DatabaseTls;
}

/** What a secret will hold, or has held. */
export interface OtherVersion {
  readonly username: string;
  readonly password: Secret;
  /** Until when clients may use it: milliseconds since 1970. */
  readonly acceptedUntil: number;
}

export interface SecretEntry {
  readonly Name: string;
  readonly username: string;
  readonly password: Secret;
  /** What is good beside it, while it is being changed. Default: nothing. */
  readonly others?: readonly OtherVersion[];
  /** It may say something else at any time, without a reload. Default: no. */
  readonly mayChange?: boolean;
}

export interface UserAuth {
  readonly AuthScheme: 'SECRETS';
  /** The `Name` of an entry of `Snapshot.Secrets`, if there is such a secret now. */
  readonly SecretArn: string;
  readonly IAMAuth: 'DISABLED' | 'REQUIRED';
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
  readonly SessionPinningFilters: readonly 'EXCLUDE_VARIABLE_SETS'[];
  readonly InitQuery: string | undefined;
  readonly Priorities: readonly PriorityRule[];
}

export interface Endpoint {
  /** `default` for the one that every proxy has. */
  readonly DBProxyEndpointName: string;
  readonly Listen: Address;
  /** What clients may call it, with TLS. */
  readonly HostName: string;
  /** Who may connect, in CIDR notation. */
  readonly AllowedSources: readonly string[];
  /** Undefined: `READ_WRITE`. */
  readonly Readers: EndpointReaders | undefined;
}

/** What a `READ_ONLY` endpoint asks of the readers. */
export interface EndpointReaders {
  /** Seconds that a reader may be behind the writer; undefined: any. */
  readonly MaxReplicaLag: number | undefined;
  /** Where clients read from while there is no reader for them. */
  readonly ReaderFallback: 'NONE' | 'WRITER';
}

/** What a proxy is for. */
export interface Target {
  /** Undefined: it is one DB instance. */
  readonly DBClusterIdentifier: string | undefined;
  /** At least one. Who of them is the writer, the databases say themselves. */
  readonly Members: readonly DBInstance[];
}

export interface DBProxy {
  readonly DBProxyName: string;
  /** The tail of its ARN, which policies name. */
  readonly DBProxyId: string;
  readonly EngineFamily: EngineFamily;
  /** What MySQL clients are told; undefined: the version of the target. */
  readonly ServerVersion: string | undefined;
  readonly RequireTLS: boolean;
  readonly IdleClientTimeout: number;
  readonly MaxClientConnections: number;
  /** What becomes of clients that ask for replication. */
  readonly Replication: 'passthrough' | 'refuse';
  readonly NotificationFanOut: boolean;
  /** Until when what its clients do is told statement by statement: milliseconds since 1970. */
  readonly DebugLoggingUntil: number | undefined;
  /** For users whom no entry of `Auth` names. */
  readonly DefaultAuthScheme: DefaultAuthScheme;
  readonly Auth: readonly UserAuth[];
  readonly Target: Target;
  readonly ConnectionPoolConfig: ConnectionPoolConfig;
  readonly Endpoints: readonly Endpoint[];
  /** TLS towards its clients, when it is not that of the snapshot. */
  readonly Tls: ClientTls | undefined;
}

export interface Snapshot {
  /** For all proxies that have none of their own. Undefined: their clients cannot have TLS. */
  readonly Tls: ClientTls | undefined;
  /**
   * An RSA key, PEM, that MySQL clients without TLS encrypt their passwords with; undefined: one is made
   * at each start.
   */
  readonly PasswordKey: Secret | undefined;
  /** Parts of ARNs, and of what is signed. */
  readonly Owner: { readonly region: string; readonly accountId: string };
  /** Of all principals. */
  readonly AccessKeys: readonly AccessKey[];
  readonly Secrets: readonly SecretEntry[];
  readonly DBProxies: readonly DBProxy[];
}
