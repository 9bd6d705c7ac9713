/**
 * All metrics, in Prometheus's text format. RDS Proxy's are named after its CloudWatch metrics in
 * snake case and count as those do; our own begin with `berth_`. Nothing is kept here: the numbers
 * are read off the counters when somebody scrapes. Labels are proxies, endpoints, targets and closed
 * lists of reasons, never users, addresses or SQL. docs/metrics.md describes each; a test compares.
 */

import {
  Counter,
  collectDefaultMetrics,
  Gauge,
  type MetricObjectWithValues,
  type MetricValueWithName,
  Registry,
  Summary,
} from 'prom-client';
import type { EndpointCounters, MemberGauges, MetricsSource, TargetCounters } from './counters.ts';

export interface Metrics {
  /** Reads everything, once. */
  scrape(): Promise<{ readonly contentType: string; readonly body: string }>;
}

interface Reading<From> {
  readonly name: string;
  readonly help: string;
  readonly read: (from: From) => number;
}

interface LatencyReading<From> {
  readonly name: string;
  readonly help: string;
  readonly sumMicros: (from: From) => number;
  readonly count: (from: From) => number;
}

interface ReasonReading<From> {
  readonly name: string;
  readonly help: string;
  readonly read: (from: From) => Readonly<Record<string, number>>;
}

interface TargetReadings {
  readonly counters: TargetCounters;
  readonly gauges: MemberGauges;
}

const ENDPOINT_GAUGES: readonly Reading<EndpointCounters>[] = [
  {
    name: 'client_connections',
    help: 'Client connections that are open.',
    read: (of) => of.clientConnections,
  },
  {
    name: 'client_connections_in_setup',
    help: 'Client connections that are open and have not finished logging in.',
    read: (of) => of.clientConnectionsInSetup,
  },
  {
    name: 'client_connections_tls',
    help: 'Client connections that are open and use TLS.',
    read: (of) => of.clientConnectionsTls,
  },
  {
    name: 'client_connections_no_tls',
    help: 'Client connections that are open and do not use TLS.',
    read: (of) => of.clientConnections - of.clientConnectionsTls,
  },
  {
    name: 'berth_replication_connections',
    help: 'Client connections that are logged in for replication; each has a database connection to itself.',
    read: (of) => of.replicationConnections,
  },
];

const ENDPOINT_COUNTERS: readonly Reading<EndpointCounters>[] = [
  {
    name: 'client_connections_received',
    help: 'Client connections accepted, whatever became of them.',
    read: (of) => of.clientConnectionsReceived,
  },
  {
    name: 'berth_client_connections_denied_total',
    help: 'Connections cut off at once because no security group allows their address.',
    read: (of) => of.clientConnectionsDenied,
  },
  {
    name: 'client_connections_closed',
    help: 'Client connections closed, for any reason.',
    read: (of) => of.clientConnectionsClosed,
  },
  {
    name: 'client_connections_setup_succeeded',
    help: 'Client connections that logged in.',
    read: (of) => of.clientConnectionsSetupSucceeded,
  },
  {
    name: 'client_connections_setup_failed_auth',
    help: 'Client connections that failed to log in.',
    read: (of) => of.clientConnectionsSetupFailedAuth,
  },
  {
    name: 'query_requests',
    help: 'Requests received; several statements in one request count once.',
    read: (of) => of.queryRequests,
  },
  {
    name: 'query_requests_tls',
    help: 'Requests received over TLS.',
    read: (of) => of.queryRequestsTls,
  },
  {
    name: 'query_requests_no_tls',
    help: 'Requests received without TLS.',
    read: (of) => of.queryRequests - of.queryRequestsTls,
  },
  {
    name: 'berth_notifications_delivered_total',
    help: 'Notifications told to clients by way of a listening connection.',
    read: (of) => of.notificationsDelivered,
  },
  {
    name: 'berth_notifications_dropped_total',
    help: 'Notifications dropped because their client did not take them.',
    read: (of) => of.notificationsDropped,
  },
  {
    name: 'berth_diagnostics_kept_total',
    help: 'Times that a session kept its connection for a statement that may ask about the last one.',
    read: (of) => of.diagnosticsKept,
  },
  {
    name: 'berth_diagnostics_lost_total',
    help: 'Statements about the one before whose connection somebody else had since.',
    read: (of) => of.diagnosticsLost,
  },
];

const ENDPOINT_LATENCIES: readonly LatencyReading<EndpointCounters>[] = [
  {
    name: 'query_response_latency',
    help: 'Microseconds from a request to the end of its answer.',
    sumMicros: (of) => of.queryResponseLatencyMicros,
    count: (of) => of.queryResponses,
  },
  {
    name: 'database_connections_borrow_latency',
    help: 'Microseconds that sessions waited for a database connection.',
    sumMicros: (of) => of.borrowLatencyMicros,
    count: (of) => of.borrows,
  },
];

const ENDPOINT_REASONS: readonly ReasonReading<EndpointCounters>[] = [
  {
    name: 'berth_session_pins_total',
    help: 'Sessions pinned to a database connection, by reason.',
    read: (of) => of.pins,
  },
  {
    name: 'berth_session_unpins_total',
    help: 'Pinned sessions whose last reason to be pinned was gone, by their first reason.',
    read: (of) => of.unpins,
  },
  {
    name: 'berth_session_interruptions_total',
    help: 'Sessions that went on when their database connection was lost, by what came of it.',
    read: (of) => of.interruptions,
  },
  {
    name: 'berth_client_connection_closes_total',
    help: 'Client connections closed, by reason.',
    read: (of) => of.closes,
  },
];

const TARGET_GAUGES: readonly Reading<MemberGauges>[] = [
  {
    name: 'availability_percentage',
    help: '100 while the target answers, else 0; average it over time.',
    read: (of) => (of.isAvailable ? 100 : 0),
  },
  {
    name: 'berth_target_writer',
    help: '1 while requests go to the target, else 0.',
    read: (of) => (of.isWriter ? 1 : 0),
  },
  {
    name: 'berth_target_reader',
    help: '1 while the target is a reader of its cluster, else 0.',
    read: (of) => (of.isReader ? 1 : 0),
  },
  {
    name: 'database_connections',
    help: 'Database connections that are open.',
    read: (of) => of.databaseConnections,
  },
  {
    name: 'database_connections_with_tls',
    help: 'Database connections that are open and use TLS.',
    read: (of) => of.databaseConnectionsWithTls,
  },
  {
    name: 'database_connections_currently_borrowed',
    help: 'Database connections that are lent to a session.',
    read: (of) => of.databaseConnectionsCurrentlyBorrowed,
  },
  {
    name: 'database_connections_currently_in_transaction',
    help: 'Database connections that are in a transaction.',
    read: (of) => of.databaseConnectionsCurrentlyInTransaction,
  },
  {
    name: 'database_connections_currently_session_pinned',
    help: 'Database connections that are pinned to a session.',
    read: (of) => of.databaseConnectionsCurrentlySessionPinned,
  },
  {
    name: 'max_database_connections_allowed',
    help: 'The most database connections that the proxy opens to the target.',
    read: (of) => of.maxDatabaseConnectionsAllowed,
  },
  {
    name: 'berth_borrow_queue_depth',
    help: 'Sessions that wait for a database connection.',
    read: (of) => of.queueDepth,
  },
  {
    name: 'berth_paused',
    help: '1 while the proxy is paused and holds the transactions of its clients back, else 0.',
    read: (of) => (of.isHeld ? 1 : 0),
  },
  {
    name: 'berth_listening_connections',
    help: 'Database connections that listen for notifications on behalf of clients.',
    read: (of) => of.listeningConnections,
  },
  {
    name: 'berth_notification_subscriptions',
    help: 'Channels that clients listen to by way of them, over all clients.',
    read: (of) => of.subscriptions,
  },
];

const TARGET_COUNTERS: readonly Reading<TargetCounters>[] = [
  {
    name: 'database_connection_requests',
    help: 'Attempts to open a database connection.',
    read: (of) => of.databaseConnectionRequests,
  },
  {
    name: 'database_connection_requests_with_tls',
    help: 'Attempts to open a database connection with TLS.',
    read: (of) => of.databaseConnectionRequestsWithTls,
  },
  {
    name: 'database_connections_setup_succeeded',
    help: 'Database connections opened.',
    read: (of) => of.databaseConnectionsSetupSucceeded,
  },
  {
    name: 'database_connections_setup_failed',
    help: 'Attempts to open a database connection that failed.',
    read: (of) => of.databaseConnectionsSetupFailed,
  },
  {
    name: 'connections_borrowed',
    help: 'Loans of a database connection to a session.',
    read: (of) => of.connectionsBorrowed,
  },
  {
    name: 'new_connections',
    help: 'Database connections opened; the same as database_connections_setup_succeeded.',
    read: (of) => of.databaseConnectionsSetupSucceeded,
  },
  {
    name: 'connection_pool_full_count',
    help: 'Loans that had to wait because every permitted connection was in use.',
    read: (of) => of.connectionPoolFullCount,
  },
  {
    name: 'berth_borrow_timeouts_total',
    help: 'Sessions that waited for a database connection until ConnectionBorrowTimeout.',
    read: (of) => of.borrowTimeouts,
  },
  {
    name: 'berth_failovers_total',
    help: 'Times that clients moved to the target because it had become the writer.',
    read: (of) => of.failovers,
  },
];

const TARGET_LATENCIES: readonly LatencyReading<TargetCounters>[] = [
  {
    name: 'query_database_response_latency',
    help: 'Microseconds that the database took to answer a request.',
    sumMicros: (of) => of.queryDatabaseResponseLatencyMicros,
    count: (of) => of.queryDatabaseResponses,
  },
];

const TARGET_REASONS: readonly ReasonReading<TargetCounters>[] = [
  {
    name: 'berth_database_connection_closes_total',
    help: 'Database connections closed, by reason.',
    read: (of) => of.closes,
  },
];

/** Of prom-client's metrics of the process, those that mean something on this runtime. */
const PROCESS_METRICS = [
  'process_cpu_user_seconds_total',
  'process_cpu_system_seconds_total',
  'process_cpu_seconds_total',
  'process_start_time_seconds',
  'process_resident_memory_bytes',
  'process_open_fds',
  'process_max_fds',
  'nodejs_eventloop_lag_seconds',
  'nodejs_eventloop_lag_max_seconds',
  'nodejs_eventloop_lag_p99_seconds',
] as const;
const EVENT_LOOP_SAMPLE_MS = 100;

type Labels = Readonly<Record<string, string>>;
/** What this scrape has read, each with its labels. */
type Series<From> = () => readonly (readonly [Labels, From])[];

export function createMetrics(source: MetricsSource, version: string): Metrics {
  const registry = new Registry();
  let endpoints: ReturnType<typeof readEndpoints> = [];
  let targets: ReturnType<typeof readTargets> = [];
  addEndpointMetrics(registry, () => endpoints);
  addTargetMetrics(registry, () => targets);
  addProcessMetrics(registry, version);
  return {
    async scrape() {
      endpoints = readEndpoints(source);
      targets = readTargets(source);
      return { contentType: registry.contentType, body: await registry.metrics() };
    },
  };
}

function readEndpoints(source: MetricsSource): readonly (readonly [Labels, EndpointCounters])[] {
  return Array.from(source.endpoints(), ({ proxy, endpoint, counters }) => [
    { proxy, endpoint },
    counters,
  ]);
}

function readTargets(source: MetricsSource): readonly (readonly [Labels, TargetReadings])[] {
  return Array.from(source.targets(), ({ proxy, target, counters, gauges }) => [
    { proxy, target },
    { counters, gauges },
  ]);
}

function addEndpointMetrics(registry: Registry, series: Series<EndpointCounters>): void {
  const labels = ['proxy', 'endpoint'];
  for (const each of ENDPOINT_GAUGES) addGauge(registry, each, labels, series);
  for (const each of ENDPOINT_COUNTERS) addCounter(registry, each, labels, series);
  for (const each of ENDPOINT_LATENCIES) addLatency(registry, each, labels, series);
  for (const each of ENDPOINT_REASONS) addReasons(registry, each, labels, series);
}

function addTargetMetrics(registry: Registry, series: Series<TargetReadings>): void {
  const labels = ['proxy', 'target'];
  const gauges = picked(series, (of) => of.gauges);
  const counters = picked(series, (of) => of.counters);
  for (const each of TARGET_GAUGES) addGauge(registry, each, labels, gauges);
  for (const each of TARGET_COUNTERS) addCounter(registry, each, labels, counters);
  for (const each of TARGET_LATENCIES) addLatency(registry, each, labels, counters);
  for (const each of TARGET_REASONS) addReasons(registry, each, labels, counters);
}

function picked<From, Part>(series: Series<From>, pick: (from: From) => Part): Series<Part> {
  return () => series().map(([labels, from]) => [labels, pick(from)]);
}

function addGauge<From>(
  registry: Registry,
  { name, help, read }: Reading<From>,
  labelNames: readonly string[],
  series: Series<From>,
): void {
  new Gauge({
    name,
    help,
    labelNames: [...labelNames],
    registers: [registry],
    collect() {
      // Proxies, endpoints and targets come and go: what is not in the source is not told.
      this.reset();
      for (const [labels, from] of series()) this.set(labels, read(from));
    },
  });
}

function addCounter<From>(
  registry: Registry,
  { name, help, read }: Reading<From>,
  labelNames: readonly string[],
  series: Series<From>,
): void {
  new Counter({
    name,
    help,
    labelNames: [...labelNames],
    registers: [registry],
    collect() {
      this.reset();
      for (const [labels, from] of series()) this.inc(labels, read(from));
    },
  });
}

function addReasons<From>(
  registry: Registry,
  { name, help, read }: ReasonReading<From>,
  labelNames: readonly string[],
  series: Series<From>,
): void {
  new Counter({
    name,
    help,
    labelNames: [...labelNames, 'reason'],
    registers: [registry],
    collect() {
      this.reset();
      for (const [labels, from] of series()) {
        for (const [reason, value] of Object.entries(read(from))) {
          this.inc({ ...labels, reason }, value);
        }
      }
    },
  });
}

function addLatency<From>(
  registry: Registry,
  { name, help, sumMicros, count }: LatencyReading<From>,
  labelNames: readonly string[],
  series: Series<From>,
): void {
  const collect = () =>
    series().flatMap(([labels, from]) => [
      { metricName: `${name}_sum`, labels, value: sumMicros(from) },
      { metricName: `${name}_count`, labels, value: count(from) },
    ]);
  registry.registerMetric(new SumAndCount({ name, help, labelNames: [...labelNames] }, collect));
}

type SummaryValue = MetricValueWithName<string>;

/** A summary that was summed up elsewhere. */
class SumAndCount extends Summary {
  private readonly collectValues: () => SummaryValue[];

  constructor(
    configuration: { name: string; help: string; labelNames: string[] },
    collectValues: () => SummaryValue[],
  ) {
    super({ ...configuration, percentiles: [], registers: [] });
    this.collectValues = collectValues;
  }

  override async get(): Promise<MetricObjectWithValues<SummaryValue>> {
    return { ...(await super.get()), values: this.collectValues() };
  }
}

function addProcessMetrics(registry: Registry, version: string): void {
  const all = new Registry();
  collectDefaultMetrics({ register: all, eventLoopMonitoringPrecision: EVENT_LOOP_SAMPLE_MS });
  for (const name of PROCESS_METRICS) {
    const metric = all.getSingleMetric(name);
    // Which of them there are depends on the operating system.
    if (metric !== undefined) registry.registerMetric(metric);
  }
  const info = new Gauge({
    name: 'berth_build_info',
    help: 'Always 1; its label says which version runs.',
    labelNames: ['version'],
    registers: [registry],
  });
  info.set({ version }, 1);
}
