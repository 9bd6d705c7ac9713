/**
 * A client session and a pool of one database connection, on sockets that the test plays: bytes go in
 * where and how the test wants, and everything that comes out is kept.
 */

import type { Socket } from 'bun';
import { nextClientConnectionId } from '../../../src/base/ids.ts';
import { TimerWheel } from '../../../src/base/timer-wheel.ts';
import type { EngineSettings } from '../../../src/engine/contract.ts';
import { Canceller } from '../../../src/engine/postgres/cancel.ts';
import { ClientSession } from '../../../src/engine/postgres/client-session.ts';
import { DatabaseConnection } from '../../../src/engine/postgres/database-connection.ts';
import { ServerProtocol } from '../../../src/engine/postgres/login/server-protocol.ts';
import { ReportedParameters } from '../../../src/engine/postgres/parameters.ts';
import { SessionSettings } from '../../../src/engine/postgres/settings.ts';
import { StatementRegistry } from '../../../src/engine/postgres/statement/registry.ts';
import type { TargetContext } from '../../../src/engine/postgres/target-context.ts';
import { UserPool } from '../../../src/engine/postgres/user-pool.ts';
import { Stream } from '../../../src/net/stream.ts';
import { EndpointCounters, TargetCounters } from '../../../src/observe/counters.ts';
import type { Event } from '../../../src/observe/events.ts';
import type { ClientCloseReason } from '../../../src/observe/reasons.ts';
import { ConnectionBudget } from '../../../src/pool/budget.ts';
import type { Pool } from '../../../src/pool/pool.ts';
import { PoolGroup } from '../../../src/pool/pool-group.ts';
import { NO_TOKENS } from '../../harness/tokens.ts';
import { SETTINGS as POOL_SETTINGS } from '../pool/fake-database.ts';

const HOUR = 3_600_000;

/** What the database reports at its login. */
const PARAMETERS = ReportedParameters.NONE.with('TimeZone', 'UTC');

/** The other end of a stream. */
export class FakeSocket {
  readonly stream: Stream;
  /** Bytes that it takes before it is full. */
  room = Number.POSITIVE_INFINITY;
  isPaused = false;
  isOpen = true;
  private readonly written: Buffer[] = [];

  constructor() {
    // A stream calls the few functions below; nothing else of a socket is there.
    this.stream = new Stream(this as unknown as Socket<Stream>);
  }

  write(bytes: Uint8Array): number {
    const taken = Math.min(this.room, bytes.length);
    this.room -= taken;
    if (taken > 0) this.written.push(Buffer.from(bytes.subarray(0, taken)));
    return taken;
  }

  pause(): void {
    this.isPaused = true;
  }

  resume(): void {
    this.isPaused = false;
  }

  shutdown(): void {
    this.isOpen = false;
  }

  terminate(): void {
    this.isOpen = false;
  }

  /** What the other end has sent arrives, in a buffer of its own. */
  arrives(bytes: Uint8Array): void {
    this.stream.handler.received(Buffer.from(bytes));
  }

  /** The same, in chunks that end at each of these places. */
  arrivesCut(bytes: Uint8Array, cuts: readonly number[]): void {
    let from = 0;
    for (const cut of [...cuts, bytes.length]) {
      if (cut > from) this.arrives(bytes.subarray(from, cut));
      from = Math.max(from, cut);
    }
  }

  /** Room for everything again. */
  drains(): void {
    this.room = Number.POSITIVE_INFINITY;
    this.stream.onDrain();
  }

  /** Everything written since this was last asked. */
  taken(): Buffer {
    return Buffer.concat(this.written.splice(0));
  }
}

export interface FakeSession {
  readonly client: FakeSocket;
  readonly database: FakeSocket;
  readonly connection: DatabaseConnection;
  /** Every socket to the database, in the order in which they were opened. */
  readonly databases: readonly FakeSocket[];
  readonly session: ClientSession;
  readonly counters: EndpointCounters;
  readonly events: readonly Event[];
  /** Why the session ended; `undefined` while it lives. */
  closedBy(): ClientCloseReason | undefined;
}

const NO_TLS = { connect: undefined, isRequired: false } as const;

/** The settings of an endpoint on which nothing happens by itself. */
export const FAKE_LIMITS: EngineSettings = {
  idleClientTimeoutMs: HOUR,
  borrowedIdleTimeoutMs: HOUR,
  clientLifetimeMs: 24 * HOUR,
  loginTimeoutMs: HOUR,
  maxClientConnections: 1,
  isReplicationRefused: false,
  readOnlyEndpoints: new Map(),
  hasNotificationFanOut: false,
  isSessionMode: false,
  isDebugLogging: false,
  areVariableSetsExcluded: false,
  initQuery: undefined,
  serverVersion: undefined,
  passwordKey: undefined,
  tokens: NO_TOKENS,
  priorityOf: () => 0,
  pool: POOL_SETTINGS,
  clientTls: { accept: undefined, isRequired: false, isCertificateRequired: false },
};

/** A session whose pool has one connection, idle. `settings`: of the client's start-up packet. */
export async function startFakeSession(settings = SessionSettings.NONE): Promise<FakeSession> {
  const wheel = new TimerWheel(0);
  const events: Event[] = [];
  const observer = { emit: (event: Event) => void events.push(event) };
  const target: TargetContext = {
    proxy: 'orders',
    target: 'orders-db',
    address: { socketPath: '/nonexistent' },
    wheel,
    observer,
    counters: new TargetCounters(),
    doubted: () => undefined,
    canceller: new Canceller({
      address: { socketPath: '/nonexistent' },
      wheel,
      databaseTls: NO_TLS,
    }),
    databaseTls: NO_TLS,
    schema: { generation: 0 },
    protocol: new ServerProtocol(),
  };
  const databases: FakeSocket[] = [];
  const facts = { parameters: PARAMETERS, cancelKey: undefined, initQuery: undefined };
  const group = new PoolGroup<DatabaseConnection>({
    target: target.target,
    budget: new ConnectionBudget({
      maxConnections: 1,
      limitedBy: 'MaxConnections',
      maxIdleConnections: 1,
    }),
    wheel,
    settings: POOL_SETTINGS,
    counters: target.counters,
    random: () => 0.5,
    doubted: () => undefined,
    connectorFor: (_key, pool) => ({
      open(opened) {
        const socket = new FakeSocket();
        databases.push(socket);
        const connection = new DatabaseConnection(socket.stream, target, pool, facts);
        queueMicrotask(() => opened(connection));
        return { abandon() {} };
      },
    }),
  });
  const pool = group.join({ user: 'app', database: 'app' });
  const connection = await warm(pool);
  const [database = new FakeSocket()] = databases;
  const client = new FakeSocket();
  const counters = new EndpointCounters();
  let closedBy: ClientCloseReason | undefined;
  const session = new ClientSession({
    id: nextClientConnectionId(),
    endpoint: {
      proxy: 'orders',
      name: 'default',
      wheel,
      observer,
      counters,
      isReadOnly: false,
      limits: FAKE_LIMITS,
      hubFor: () => {
        throw new Error('there is no hub');
      },
      sessionClosed: (_session, reason) => {
        closedBy = reason;
      },
    },
    stream: client.stream,
    userPool: new UserPool(pool),
    settings,
    statements: new StatementRegistry(),
    parameters: PARAMETERS,
    priority: 0,
    cancelKey: 'key',
  });
  client.stream.handler = session;
  return {
    client,
    database,
    databases,
    connection,
    session,
    counters,
    events,
    closedBy: () => closedBy,
  };
}

async function warm(pool: Pool<DatabaseConnection>): Promise<DatabaseConnection> {
  const connection = await new Promise<DatabaseConnection>((granted, refused) => {
    pool.wait({ granted, refused, stillWaiting() {} }, 0);
  });
  pool.release(connection, 'clean');
  return connection;
}
