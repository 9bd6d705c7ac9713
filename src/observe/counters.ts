/**
 * Counters as plain number fields: the hot path adds to a field, `metrics.ts` reads the fields when
 * somebody scrapes. Names are RDS Proxy's CloudWatch metrics in camel case. Latencies are sums in
 * microseconds beside the count that divides them.
 */

import {
  CLIENT_CLOSE_REASONS,
  type ClientCloseReason,
  DATABASE_CLOSE_REASONS,
  type DatabaseCloseReason,
  INTERRUPTIONS,
  type Interruption,
  PIN_REASONS,
  type PinReason,
} from './reasons.ts';

function zeroes<Reason extends string>(reasons: readonly Reason[]): Record<Reason, number> {
  return Object.fromEntries(reasons.map((reason) => [reason, 0])) as Record<Reason, number>;
}

/** One per endpoint of a proxy. */
export class EndpointCounters {
  // Gauges.
  clientConnections = 0;
  clientConnectionsInSetup = 0;
  clientConnectionsTls = 0;
  replicationConnections = 0;
  // Totals.
  clientConnectionsReceived = 0;
  /** Cut off at once, as no security group allows their address; not received. */
  clientConnectionsDenied = 0;
  clientConnectionsClosed = 0;
  clientConnectionsSetupSucceeded = 0;
  clientConnectionsSetupFailedAuth = 0;
  queryRequestsTls = 0;
  /** With TLS and without. */
  queryRequests = 0;
  queryResponses = 0;
  queryResponseLatencyMicros = 0;
  borrows = 0;
  borrowLatencyMicros = 0;
  /** Told to clients by way of a listening connection; see docs/notifications.md. */
  notificationsDelivered = 0;
  notificationsDropped = 0;
  /** MySQL: sessions that kept their connection because the next statement may ask for warnings or the like. */
  diagnosticsKept = 0;
  /** MySQL: statements that asked, when the connection of the statement before had gone to somebody else. */
  diagnosticsLost = 0;
  readonly closes: Record<ClientCloseReason, number> = zeroes(CLIENT_CLOSE_REASONS);
  readonly interruptions: Record<Interruption, number> = zeroes(INTERRUPTIONS);
  readonly pins: Record<PinReason, number> = zeroes(PIN_REASONS);
  readonly unpins: Record<PinReason, number> = zeroes(PIN_REASONS);
}

/** One per target of a proxy. The gauges are read off the pools at scrape time, see `TargetGauges`. */
export class TargetCounters {
  databaseConnectionRequests = 0;
  databaseConnectionRequestsWithTls = 0;
  databaseConnectionsSetupSucceeded = 0;
  databaseConnectionsSetupFailed = 0;
  queryDatabaseResponses = 0;
  queryDatabaseResponseLatencyMicros = 0;
  /** Loans made, of any connection. */
  connectionsBorrowed = 0;
  /** Loans that had to wait because every permitted connection was in use. */
  connectionPoolFullCount = 0;
  borrowTimeouts = 0;
  /** It has become the writer, and clients have moved to it from another. */
  failovers = 0;
  readonly closes: Record<DatabaseCloseReason, number> = zeroes(DATABASE_CLOSE_REASONS);
}

/** A reading of a target's pools. */
export interface PoolGauges {
  readonly databaseConnections: number;
  readonly databaseConnectionsWithTls: number;
  readonly databaseConnectionsCurrentlyBorrowed: number;
  readonly databaseConnectionsCurrentlyInTransaction: number;
  readonly databaseConnectionsCurrentlySessionPinned: number;
  readonly maxDatabaseConnectionsAllowed: number;
  readonly queueDepth: number;
  /** 1 while the target answers, else 0. */
  readonly isAvailable: boolean;
  /** The proxy is paused, or about to be. */
  readonly isHeld: boolean;
}

/** The same, and of the connections that listen for clients. */
export interface TargetGauges extends PoolGauges {
  readonly listeningConnections: number;
  readonly subscriptions: number;
}

/** The same, and what it is to the proxy. */
export interface MemberGauges extends TargetGauges {
  readonly isWriter: boolean;
  readonly isReader: boolean;
}

/** What `/metrics` reads when it is scraped. */
export interface MetricsSource {
  endpoints(): Iterable<{
    readonly proxy: string;
    readonly endpoint: string;
    readonly counters: EndpointCounters;
  }>;
  targets(): Iterable<{
    readonly proxy: string;
    readonly target: string;
    readonly counters: TargetCounters;
    readonly gauges: MemberGauges;
  }>;
}
