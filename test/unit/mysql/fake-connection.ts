/** A database connection and a holder of it, on a socket that the test plays. */

import { TimerWheel } from '../../../src/base/timer-wheel.ts';
import { BaseSettings } from '../../../src/engine/mysql/base-settings.ts';
import { Canceller } from '../../../src/engine/mysql/cancel.ts';
import {
  type ConnectionHolder,
  DatabaseConnection,
} from '../../../src/engine/mysql/database-connection.ts';
import { KnownServer, type ServerFacts } from '../../../src/engine/mysql/login/server-facts.ts';
import type { TargetContext } from '../../../src/engine/mysql/target-context.ts';
import { Tracking } from '../../../src/engine/mysql/tracking.ts';
import {
  CLIENT_DEPRECATE_EOF,
  CLIENT_PROTOCOL_41,
  CLIENT_SESSION_TRACK,
} from '../../../src/engine/mysql/wire/capabilities.ts';
import { TargetCounters } from '../../../src/observe/counters.ts';
import { ConnectionBudget } from '../../../src/pool/budget.ts';
import { PoolGroup } from '../../../src/pool/pool-group.ts';
import { SETTINGS as POOL_SETTINGS } from '../pool/fake-database.ts';
import { FakeSocket } from '../postgres/fake-session.ts';

export const TODAY = CLIENT_PROTOCOL_41 | CLIENT_DEPRECATE_EOF | CLIENT_SESSION_TRACK;
export const OLD = CLIENT_PROTOCOL_41;

export const SERVER: ServerFacts = {
  flavour: 'mariadb',
  version: '10.11.0-MariaDB',
  versionNumber: 101_100,
  capabilities: TODAY,
  mariadbCapabilities: 0,
  collation: 45,
  status: 2,
  plugin: 'mysql_native_password',
};

export const NOTHING = new Tracking({
  systemVariables: '',
  schema: 'OFF',
  stateChange: 'OFF',
  transactionInfo: 'OFF',
  flavour: 'mariadb',
});

export class FakeHolder implements ConnectionHolder {
  readonly tracking = NOTHING;
  readonly capabilities: number;
  readonly delivered: Buffer[] = [];
  failures = 0;
  resets = 0;
  readonly replays: (string | undefined)[] = [];

  constructor(capabilities: number) {
    this.capabilities = capabilities;
  }

  get bytes(): Buffer {
    return Buffer.concat(this.delivered);
  }

  deliver(bytes: Uint8Array): void {
    this.delivered.push(Buffer.from(bytes));
  }

  deliverChunk(bytes: Buffer): void {
    this.deliver(bytes);
  }

  requestFailed(): void {
    this.failures++;
  }

  replayed(error: Uint8Array | undefined): void {
    this.replays.push(error === undefined ? undefined : Buffer.from(error).toString('latin1'));
  }

  runAgain(): boolean {
    return false;
  }

  wasReset(): void {
    this.resets++;
  }

  answered(): void {}
  replied(): void {}
  connectionCongested(): void {}

  connectionDrained(): void {}
  connectionLost(): void {}
}

export interface FakeConnection {
  readonly connection: DatabaseConnection;
  readonly database: FakeSocket;
  readonly holder: FakeHolder;
}

export const NO_TLS = { connect: undefined, isRequired: false } as const;

/** What everything that talks to a target shares. */
export function fakeTarget(wheel: TimerWheel): TargetContext {
  const place = {
    address: { socketPath: '/nonexistent' },
    wheel,
    server: new KnownServer(),
    databaseTls: NO_TLS,
  };
  return {
    ...place,
    proxy: 'orders',
    target: 'orders-db',
    observer: { emit() {} },
    counters: new TargetCounters(),
    doubted: () => undefined,
    canceller: new Canceller(place, () => undefined),
    baseSettings: new BaseSettings(),
  };
}

/** A connection that a client of `capabilities` holds, to a server with `server`. */
export function fakeConnection(capabilities: number, server = TODAY): FakeConnection {
  const wheel = new TimerWheel(0);
  const target = fakeTarget(wheel);
  const limits = { maxConnections: 1, limitedBy: 'MaxConnections', maxIdleConnections: 1 } as const;
  const group = new PoolGroup<DatabaseConnection>({
    target: target.target,
    budget: new ConnectionBudget(limits),
    wheel,
    settings: POOL_SETTINGS,
    counters: target.counters,
    random: () => 0.5,
    doubted: () => undefined,
    connectorFor: () => ({ open: () => ({ abandon() {} }) }),
  });
  const pool = group.join({ user: 'app', database: '' });
  const database = new FakeSocket();
  const facts = { threadId: 7, capabilities: server, server: SERVER, initQuery: undefined };
  const connection = new DatabaseConnection(database.stream, target, pool, facts);
  const holder = new FakeHolder(capabilities);
  connection.lentTo(holder);
  return { connection, database, holder };
}
