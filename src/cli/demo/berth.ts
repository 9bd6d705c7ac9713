/**
 * The Berth of the demo: the same data plane and management API that `berth serve` runs, on free
 * ports of the loopback address, with the configuration made here instead of read from a file.
 */

import { PRIVATE_RANGES } from '../../base/source-ranges.ts';
import { dataPlane, managementApi } from '../../compose.ts';
import { type HttpServer, serveHttp } from '../../control/http/server.ts';
import { Secret } from '../../credential/secret.ts';
import type { EndpointCounters, TargetCounters, TargetGauges } from '../../observe/counters.ts';
import type { Event, Observer } from '../../observe/events.ts';
import { levelOf, textOf } from '../../observe/log-text.ts';
import type { ProxyRegistry } from '../../proxy/registry.ts';
import type { Snapshot } from '../../proxy/snapshot.ts';
import type { DemoDatabase } from './database.ts';
import { BANK, LIMITS } from './plan.ts';

const HOST = '127.0.0.1';
const ANY_PORT = 0;
/** When more goes wrong, the first of it tells why. */
const COMPLAINTS_MAX = 10;

export interface Reading {
  readonly endpoint: EndpointCounters;
  readonly target: TargetCounters;
  readonly gauges: TargetGauges;
}

export class DemoBerth implements AsyncDisposable {
  readonly journal: Journal;
  private readonly registry: ProxyRegistry;
  private readonly stopWheel: () => void;
  private readonly http: HttpServer;

  private constructor(snapshot: Snapshot, version: string) {
    this.journal = new Journal();
    const { registry, wheel } = dataPlane(this.journal);
    this.registry = registry;
    this.stopWheel = () => wheel.stop();
    registry.reconcile(snapshot, 0);
    const api = { registry, observer: this.journal, version, allowAnonymous: true, aws: undefined };
    this.http = serveHttp(managementApi(api), { host: HOST, port: ANY_PORT });
  }

  static start(database: DemoDatabase, password: string, version: string): DemoBerth {
    return new DemoBerth(snapshotFor(database, password), version);
  }

  /** Where clients connect. */
  get port(): number {
    const [proxy] = this.registry.all;
    const [open] = proxy?.addresses ?? [];
    if (open === undefined || 'socketPath' in open.address) {
      throw new Error('the proxy has no endpoint with a port');
    }
    return open.address.port;
  }

  get apiUrl(): string {
    const { host, port } = this.http.address;
    return `http://${host}:${port}`;
  }

  /** The counters themselves, which go on counting. */
  read(): Reading {
    const [endpoint] = this.registry.endpoints();
    const [target] = this.registry.targets();
    if (endpoint === undefined || target === undefined) throw new Error('there is no proxy');
    return { endpoint: endpoint.counters, target: target.counters, gauges: target.gauges };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.registry.stop();
    await this.http.stop();
    this.stopWheel();
  }
}

/** Keeps what a person must know, until somebody reads the log instead. */
export class Journal implements Observer {
  /** Errors, and warnings that are not about a pin, in the log's own words. */
  readonly complaints: string[] = [];
  private reader: Observer | undefined = undefined;

  emit(event: Event): void {
    if (this.reader !== undefined) {
      this.reader.emit(event);
      return;
    }
    const level = levelOf(event);
    const isExpected = event.event === 'session.pinned' || (level !== 'error' && level !== 'warn');
    if (!isExpected && this.complaints.length < COMPLAINTS_MAX) this.complaints.push(textOf(event));
  }

  follow(reader: Observer): void {
    this.reader = reader;
  }
}

/** The demo's database has none. */
const NO_TLS = {
  Mode: 'disable',
  CA: undefined,
  Certificate: undefined,
  PrivateKey: undefined,
  MinProtocolVersion: 'TLSv1.2',
} as const;

/** What a configuration file with one proxy, one secret and one target would give. */
function snapshotFor({ dialect, port }: DemoDatabase, password: string): Snapshot {
  return {
    Owner: { region: 'us-east-1', accountId: '000000000000' },
    AccessKeys: [],
    Tls: undefined,
    PasswordKey: undefined,
    Secrets: [{ Name: 'app', username: BANK.user, password: new Secret(password) }],
    DBProxies: [
      {
        DBProxyName: 'demo',
        DBProxyId: 'prx-demo',
        DebugLoggingUntil: undefined,
        DefaultAuthScheme: 'NONE',
        EngineFamily: dialect.proxy.family,
        ServerVersion: undefined,
        RequireTLS: false,
        IdleClientTimeout: 1800,
        MaxClientConnections: 10_000,
        Replication: 'passthrough',
        NotificationFanOut: true,
        Auth: [
          {
            AuthScheme: 'SECRETS',
            SecretArn: 'app',
            IAMAuth: 'DISABLED',
            ClientPasswordAuthType: dialect.proxy.password,
          },
        ],
        Target: {
          DBClusterIdentifier: undefined,
          Members: [
            {
              DBInstanceIdentifier: 'bank-db',
              Engine: dialect.engine,
              Endpoint: { Address: HOST, Port: port },
              Tls: NO_TLS,
            },
          ],
        },
        ConnectionPoolConfig: {
          MaxConnectionsPercent: 100,
          MaxConnections: LIMITS.poolConnections,
          MaxIdleConnectionsPercent: 50,
          ConnectionBorrowTimeout: 30,
          BorrowedIdleTimeout: 300,
          DatabaseConnectionIdleTimeout: 1800,
          PoolMode: 'TRANSACTION',
          SessionPinningFilters: [],
          InitQuery: undefined,
          Priorities: [],
        },
        Endpoints: [
          {
            DBProxyEndpointName: 'default',
            Listen: { host: HOST, port: ANY_PORT },
            HostName: 'localhost',
            AllowedSources: PRIVATE_RANGES,
            Readers: undefined,
          },
        ],
        Tls: undefined,
      },
    ],
  };
}
