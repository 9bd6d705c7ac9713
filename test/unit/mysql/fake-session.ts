/** A client session and the connections that its pool opens, on sockets that the test plays. */

import { nextClientConnectionId } from '../../../src/base/ids.ts';
import { TimerWheel } from '../../../src/base/timer-wheel.ts';
import { ClientSession } from '../../../src/engine/mysql/client-session.ts';
import { DatabaseConnection } from '../../../src/engine/mysql/database-connection.ts';
import { SessionSettings } from '../../../src/engine/mysql/settings.ts';
import { StatementRegistry } from '../../../src/engine/mysql/statement/registry.ts';
import { UserPool } from '../../../src/engine/mysql/user-pool.ts';
import { EndpointCounters } from '../../../src/observe/counters.ts';
import type { Event } from '../../../src/observe/events.ts';
import type { ClientCloseReason } from '../../../src/observe/reasons.ts';
import { ConnectionBudget } from '../../../src/pool/budget.ts';
import { PoolGroup } from '../../../src/pool/pool-group.ts';
import { SETTINGS as POOL_SETTINGS } from '../pool/fake-database.ts';
import { FAKE_LIMITS, FakeSocket } from '../postgres/fake-session.ts';
import { fakeTarget, NOTHING, SERVER, TODAY } from './fake-connection.ts';

export interface FakeSession {
  readonly client: FakeSocket;
  /** Every socket to the database, in the order in which they were opened. */
  readonly databases: readonly FakeSocket[];
  readonly session: ClientSession;
  readonly events: readonly Event[];
  /** Why the session ended; `undefined` while it lives. */
  closedBy(): ClientCloseReason | undefined;
}

interface FakeSessionOptions {
  /** How many bytes each socket to the database takes before it is full. */
  readonly roomOf?: (index: number) => number;
}

/** A session whose pool has one connection, idle, and may have more. */
export async function startFakeSession({
  roomOf = () => Number.POSITIVE_INFINITY,
}: FakeSessionOptions = {}): Promise<FakeSession> {
  const wheel = new TimerWheel(0);
  const events: Event[] = [];
  const target = fakeTarget(wheel);
  const databases: FakeSocket[] = [];
  const facts = { threadId: 7, capabilities: TODAY, server: SERVER, initQuery: undefined };
  // The place of one that is lost is free only when the server has forgotten it.
  const limits = { maxConnections: 3, limitedBy: 'MaxConnections', maxIdleConnections: 3 } as const;
  const group = new PoolGroup<DatabaseConnection>({
    target: target.target,
    budget: new ConnectionBudget(limits),
    wheel,
    settings: POOL_SETTINGS,
    counters: target.counters,
    random: () => 0.5,
    doubted: () => undefined,
    connectorFor: (_key, pool) => ({
      open(opened) {
        const socket = new FakeSocket();
        socket.room = roomOf(databases.length);
        databases.push(socket);
        const connection = new DatabaseConnection(socket.stream, target, pool, facts);
        queueMicrotask(() => opened(connection));
        return { abandon() {} };
      },
    }),
  });
  const pool = group.join({ user: 'app', database: '' });
  const connection = await new Promise<DatabaseConnection>((granted, refused) => {
    pool.wait({ granted, refused, stillWaiting() {} }, 0);
  });
  pool.release(connection, 'clean');
  const client = new FakeSocket();
  let closedBy: ClientCloseReason | undefined;
  const session = new ClientSession({
    id: nextClientConnectionId(),
    endpoint: {
      proxy: 'orders',
      name: 'default',
      wheel,
      observer: { emit: (event: Event) => void events.push(event) },
      counters: new EndpointCounters(),
      limits: FAKE_LIMITS,
      statements: new StatementRegistry(),
      sessionClosed: (_session, reason) => {
        closedBy = reason;
      },
      changePool: (userPool) => userPool,
      changeUser: () => {
        throw new Error('there are no other users');
      },
      sessionFor: () => undefined,
    },
    stream: client.stream,
    threadId: 1,
    userPool: new UserPool(pool, wheel, false),
    capabilities: TODAY,
    mariadbCapabilities: 0,
    collation: 45,
    state: {
      settings: SessionSettings.NONE,
      schema: '',
      allowsMultiStatements: true,
      status: 2,
      tracking: NOTHING,
      syntax: {
        isMariaDb: true,
        version: 101_100,
        charset: 'safe',
        ansiQuotes: false,
        noBackslashEscapes: false,
        bracketQuotes: false,
      },
    },
    applicationName: '',
    priority: 0,
  });
  client.stream.handler = session;
  return { client, databases, session, events, closedBy: () => closedBy };
}
