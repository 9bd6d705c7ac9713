/**
 * A database whose every step a test decides: connections open, fail, become clean and close only
 * when told to. Also a fixture with a group of pools on a wheel that only the test turns.
 */

import { BerthError } from '../../../src/base/errors.ts';
import { nextDatabaseConnectionId } from '../../../src/base/ids.ts';
import { TimerWheel } from '../../../src/base/timer-wheel.ts';
import { TargetCounters } from '../../../src/observe/counters.ts';
import type { DatabaseCloseReason } from '../../../src/observe/reasons.ts';
import { ConnectionBudget } from '../../../src/pool/budget.ts';
import type {
  Borrower,
  Connector,
  OpenFailure,
  Placement,
  PooledConnection,
  PoolSettings,
  Waiter,
} from '../../../src/pool/contract.ts';
import type { Pool } from '../../../src/pool/pool.ts';
import { PoolGroup } from '../../../src/pool/pool-group.ts';

export class FakeConnection implements PooledConnection {
  readonly id = nextDatabaseConnectionId();
  placement: Placement = 'connecting';
  placedAt = 0;
  expiresAt = 0;
  isInTransaction = false;
  isEncrypted = false;
  /** What the pool has asked for. */
  asked: 'nothing' | 'clean' | 'probe' = 'nothing';
  closeReason: DatabaseCloseReason | undefined;
  isSocketOpen = true;
  readonly pool: Pool<FakeConnection>;

  constructor(pool: Pool<FakeConnection>) {
    this.pool = pool;
  }

  clean(_deadlineMs: number): void {
    this.asked = 'clean';
  }

  probe(_deadlineMs: number): void {
    this.asked = 'probe';
  }

  close(reason: DatabaseCloseReason): void {
    if (this.closeReason !== undefined) throw new Error('closed twice');
    this.closeReason = reason;
  }

  sever(reason: DatabaseCloseReason): void {
    this.closeReason ??= reason;
    this.isSocketOpen = false;
    this.pool.closed(this);
  }

  /** The cleaning or the probe ends well. */
  succeed(): void {
    if (this.asked === 'nothing') throw new Error('nothing was asked');
    this.asked = 'nothing';
    this.pool.cleaned(this);
  }

  /** The socket that the pool has closed is gone. */
  finishClosing(): void {
    this.isSocketOpen = false;
    this.pool.closed(this);
  }

  /** The database still has it, but it is of no use. */
  spoil(): void {
    this.pool.retire(this, 'reset_failed');
    this.closeReason ??= 'reset_failed';
  }

  die(reason: DatabaseCloseReason = 'database_closed'): void {
    this.isSocketOpen = false;
    this.pool.lost(this, reason);
  }
}

export class FakeOpening {
  readonly pool: Pool<FakeConnection>;
  readonly user: string;
  /** Which of the connectors that were ever made; counted from 1. */
  readonly connector: number;
  private readonly opened: (connection: FakeConnection) => void;
  private readonly failed: (failure: OpenFailure) => void;
  private readonly database: FakeDatabase;

  constructor(
    pool: Pool<FakeConnection>,
    database: FakeDatabase,
    connector: number,
    opened: (connection: FakeConnection) => void,
    failed: (failure: OpenFailure) => void,
  ) {
    this.pool = pool;
    this.user = pool.key.user;
    this.connector = connector;
    this.database = database;
    this.opened = opened;
    this.failed = failed;
  }

  succeed(): FakeConnection {
    this.database.forget(this);
    const connection = new FakeConnection(this.pool);
    this.database.connections.push(connection);
    this.opened(connection);
    return connection;
  }

  fail(failure: OpenFailure): void {
    this.database.forget(this);
    this.failed(failure);
  }
}

export class FakeDatabase {
  openings: FakeOpening[] = [];
  connections: FakeConnection[] = [];
  openingsMax = 0;
  socketsMax = 0;
  attempts = 0;
  connectors = 0;

  connector(pool: Pool<FakeConnection>): Connector<FakeConnection> {
    const connector = ++this.connectors;
    return {
      open: (opened, failed) => {
        const opening = new FakeOpening(pool, this, connector, opened, failed);
        this.openings.push(opening);
        this.attempts++;
        this.openingsMax = Math.max(this.openingsMax, this.openings.length);
        this.socketsMax = Math.max(this.socketsMax, this.sockets);
        return { abandon: () => this.forget(opening) };
      },
    };
  }

  forget(opening: FakeOpening): void {
    if (!this.openings.includes(opening)) throw new Error('the attempt has ended already');
    this.openings = this.openings.filter((each) => each !== opening);
  }

  /** What the database's own count would be. */
  get sockets(): number {
    this.connections = this.connections.filter((connection) => connection.isSocketOpen);
    return this.connections.length + this.openings.length;
  }

  /** Lets the oldest attempt succeed. */
  open(): FakeConnection {
    const [opening] = this.openings;
    if (opening === undefined) throw new Error('nothing is being opened');
    return opening.succeed();
  }

  fail(failure: OpenFailure): void {
    const [opening] = this.openings;
    if (opening === undefined) throw new Error('nothing is being opened');
    opening.fail(failure);
  }

  get closing(): FakeConnection[] {
    return this.connections.filter((each) => each.isSocketOpen && each.closeReason !== undefined);
  }

  finishClosing(): void {
    for (const connection of this.closing) connection.finishClosing();
  }
}

export const DOWN: OpenFailure = {
  isTemporary: true,
  detail: 'connect to 127.0.0.1:5432: refused',
  error: new BerthError('connection_refused'),
};

export const WRONG_PASSWORD: OpenFailure = {
  isTemporary: false,
  detail: 'password authentication failed',
  error: new BerthError('database_login_failed', { params: { user: 'app' } }),
};

/** Somebody who wants a connection and remembers what became of it. */
export class Client implements Borrower<FakeConnection> {
  readonly pool: Pool<FakeConnection>;
  connection: FakeConnection | undefined;
  error: BerthError | undefined;
  notice: { waitedMs: number; position: number } | undefined;
  waiter: Waiter | undefined;
  onGranted: ((connection: FakeConnection) => void) | undefined;

  constructor(pool: Pool<FakeConnection>) {
    this.pool = pool;
  }

  /** As a session does it: borrow, else wait. */
  ask(priority = 0): this {
    this.connection = this.pool.borrow();
    if (this.connection === undefined) this.waiter = this.pool.wait(this, priority);
    return this;
  }

  granted(connection: FakeConnection): void {
    if (this.connection !== undefined) throw new Error('granted twice');
    if (connection.closeReason !== undefined || !connection.isSocketOpen) {
      throw new Error('granted a closed connection');
    }
    if (connection.placement !== 'borrowed') throw new Error('granted, but not borrowed');
    this.connection = connection;
    this.onGranted?.(connection);
  }

  refused(error: BerthError): void {
    if (this.error !== undefined || this.connection !== undefined)
      throw new Error('already served');
    this.error = error;
  }

  stillWaiting(waitedMs: number, position: number): void {
    const last = this.notice?.waitedMs ?? 0;
    if (waitedMs < 2 * last) throw new Error(`notified after ${last} ms and ${waitedMs} ms`);
    this.notice = { waitedMs, position };
  }

  get loan(): FakeConnection {
    if (this.connection === undefined) throw new Error('nothing is borrowed');
    return this.connection;
  }

  give(verdict: 'clean' | 'cleanable' | 'destroy' = 'clean'): FakeConnection {
    const { loan } = this;
    this.connection = undefined;
    this.pool.release(loan, verdict);
    return loan;
  }
}

export const SETTINGS: PoolSettings = {
  borrowTimeoutMs: 120_000,
  borrowNoticeMs: 5_000,
  idleTimeoutMs: 1_800_000,
  idleAgeMs: 300_000,
  lifetimeMs: 86_400_000,
  lifetimeJitter: 0.2,
  probeAfterMs: 3_600_000,
  probeTimeoutMs: 2_000,
  resetTimeoutMs: 5_000,
  maxConnecting: 4,
  backoffFirstMs: 200,
  backoffMaxMs: 5_000,
  starvationMs: 1_000,
};

export interface FixtureOptions {
  readonly limit?: number;
  readonly maxIdle?: number;
  readonly settings?: Partial<PoolSettings>;
  readonly random?: () => number;
}

export class Fixture {
  readonly wheel = new TimerWheel(0);
  readonly database = new FakeDatabase();
  readonly counters = new TargetCounters();
  /** How often the group doubted that the target answers. */
  doubts = 0;
  readonly budget: ConnectionBudget;
  readonly group: PoolGroup<FakeConnection>;
  readonly pool: Pool<FakeConnection>;

  constructor({
    limit = 4,
    maxIdle = 100,
    settings = {},
    random = () => 0.5,
  }: FixtureOptions = {}) {
    this.budget = new ConnectionBudget({
      maxConnections: limit,
      limitedBy: 'MaxConnections',
      maxIdleConnections: maxIdle,
    });
    this.group = new PoolGroup<FakeConnection>({
      target: 'orders-db',
      budget: this.budget,
      wheel: this.wheel,
      settings: { ...SETTINGS, ...settings },
      counters: this.counters,
      random,
      doubted: () => this.doubts++,
      connectorFor: (_key, pool) => this.database.connector(pool),
    });
    this.pool = this.group.join({ user: 'app', database: 'orders' });
  }

  poolOf(user: string): Pool<FakeConnection> {
    return this.group.join({ user, database: 'orders' });
  }

  /** A pool like the first, but for one client. */
  alone(): Pool<FakeConnection> {
    return this.group.joinAlone<FakeConnection>(this.pool.key, (pool) =>
      this.database.connector(pool),
    );
  }

  client(pool = this.pool): Client {
    return new Client(pool);
  }

  configure(settings: Partial<PoolSettings>): void {
    this.group.configure({ ...this.group.settings, ...settings });
  }

  limit(maxConnections: number): void {
    this.budget.configure({ ...this.budget.limits, maxConnections });
  }

  /** Clients that hold a connection each. */
  borrowed(count: number, pool = this.pool): Client[] {
    const clients = Array.from({ length: count }, () => this.client(pool).ask());
    while (this.database.openings.length > 0) this.database.open();
    for (const client of clients) client.loan;
    return clients;
  }

  /** Leaves `count` connections idle, the first one least recently used. */
  idle(count: number, pool = this.pool): FakeConnection[] {
    return this.borrowed(count, pool).map((client) => client.give());
  }

  /** Turns the wheel tick by tick. */
  pass(ms: number): void {
    const end = this.wheel.now + ms;
    while (this.wheel.now < end) this.wheel.advance(Math.min(end, this.wheel.now + 100));
  }

  /** Microtasks, and then everything must add up. */
  async settle(): Promise<void> {
    await Promise.resolve();
    this.audit();
  }

  audit(): void {
    this.group.audit();
    if (this.budget.inUse !== this.database.sockets + this.budget.lent) {
      throw new Error(`${this.budget.inUse} permits, ${this.database.sockets} sockets`);
    }
  }
}
