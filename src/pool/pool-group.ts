/**
 * All pools of one proxy on one target. They share the budget of permits, the backoff after failed
 * attempts, and the number of connections that may be opening at once; so whatever concerns more
 * than one pool is decided here: who may open next, whose idle connection makes room, and when a
 * returned connection has to make room for somebody who has waited for too long elsewhere.
 *
 * Two timers of the wheel drive it: `tick` while somebody waits (deadlines, notices, retries), and
 * `sweep` once a second (idle and too old connections, unused pools, the audit).
 */

import { BerthError, type ErrorCode } from '../base/errors.ts';
import { TICK_MS, Timer, type TimerWheel } from '../base/timer-wheel.ts';
import type { PoolGauges, TargetCounters } from '../observe/counters.ts';
import type { DatabaseCloseReason } from '../observe/reasons.ts';
import { Backoff } from './backoff.ts';
import type { ConnectionBudget } from './budget.ts';
import type {
  Borrower,
  Connector,
  OpenFailure,
  PooledConnection,
  PoolSettings,
} from './contract.ts';
import { Pool } from './pool.ts';
import type { AnyPool, PoolHost, PoolKey } from './pool-host.ts';
import type { Place } from './wait-queue.ts';

const SWEEP_MS = 1_000;
/** A pool without users and connections is forgotten after this long. */
const EMPTY_POOL_KEPT_MS = 60_000;
/**
 * A pool that is one client's alone never has a connection that is free at once, so a `borrowTimeoutMs`
 * of less than it takes to open one would refuse everybody.
 */
const ALONE_BORROW_TIMEOUT_MIN_MS = 2_000;

export interface PoolGroupOptions<C extends PooledConnection> {
  /** The target's name, for the text that a refused client reads. */
  readonly target: string;
  /** This group's alone; it sets `onChange`. */
  readonly budget: ConnectionBudget;
  readonly wheel: TimerWheel;
  readonly settings: PoolSettings;
  readonly counters: TargetCounters;
  /** From 0 (inclusive) to 1, like Math.random. */
  readonly random: () => number;
  /** Called when a connection was lost or could not be opened: does the target still answer? */
  readonly doubted: () => void;
  /** Called when a pool is made, and again when its configuration has changed. */
  readonly connectorFor: (key: PoolKey, pool: Pool<C>) => Connector<C>;
  /** Why there is nothing to wait for but that it changes; absent: clients wait for a connection. */
  readonly obstacle?: () => string | undefined;
  /** What everybody is refused with at once who would wait; absent: nobody is. */
  readonly refusal?: ErrorCode;
}

interface Hold {
  /** Wheel time. */
  readonly since: number;
  /** A permit has come back. */
  readonly progressed: () => void;
}

export class PoolGroup<C extends PooledConnection> implements PoolHost {
  readonly target: string;
  readonly budget: ConnectionBudget;
  readonly wheel: TimerWheel;
  readonly counters: TargetCounters;
  readonly random: () => number;
  refusal: ErrorCode | undefined;
  settings: PoolSettings;
  /** A lower bound, made exact by `mustYield`; so a release costs one comparison until then. */
  starvationAt = Number.POSITIVE_INFINITY;
  private readonly connectorFor: PoolGroupOptions<C>['connectorFor'];
  private readonly doubted: () => void;
  private readonly obstacle: () => string | undefined;
  /** Those that can be joined, by the name of their key. */
  private readonly shared = new Map<string, Pool<C>>();
  private readonly pools = new Set<AnyPool>();
  /** Pools with waiters, and for up to a tick those that had some. */
  private enlisted: AnyPool[] = [];
  private readonly backoff = new Backoff();
  /** After a failure one at a time, then doubled by each success. */
  private concurrency = Number.POSITIVE_INFINITY;
  private isClosed = false;
  private closedBy: DatabaseCloseReason = 'shutdown';
  private hold: Hold | undefined = undefined;
  private readonly whenDrained = Promise.withResolvers<void>();
  private readonly tickTimer = new Timer(() => this.tick());
  private readonly sweepTimer = new Timer(() => this.sweep());

  constructor(options: PoolGroupOptions<C>) {
    this.target = options.target;
    this.budget = options.budget;
    this.wheel = options.wheel;
    this.counters = options.counters;
    this.random = options.random;
    this.refusal = options.refusal;
    this.settings = options.settings;
    this.connectorFor = options.connectorFor;
    this.doubted = options.doubted;
    this.obstacle = options.obstacle ?? (() => undefined);
    this.budget.onChange = () => this.budgetChanged();
    this.wheel.arm(this.sweepTimer, SWEEP_MS);
  }

  // Sessions.

  /** The pool for `key`, made on demand, for so many users. It is kept at least until they have left. */
  join(key: PoolKey, users = 1): Pool<C> {
    const name = nameOf(key);
    let pool = this.shared.get(name);
    if (pool === undefined) {
      pool = this.add(new Pool(key, this, (own) => this.connectorFor(key, own)));
      this.shared.set(name, pool);
    }
    pool.users += users;
    return pool;
  }

  /**
   * A pool that nobody else joins, for who needs a connection to himself: he waits in line for a permit
   * like everybody, and what he gets is never lent to another. Also kept until `leave`.
   */
  joinAlone<D extends PooledConnection>(
    key: PoolKey,
    connectorFor: (pool: Pool<D>) => Connector<D>,
  ): Pool<D> {
    const pool = this.add(new Pool<D>(key, this, connectorFor, ALONE_BORROW_TIMEOUT_MIN_MS));
    pool.users++;
    return pool;
  }

  private add<D extends PooledConnection>(pool: Pool<D>): Pool<D> {
    if (this.isClosed) pool.close(this.closedBy);
    this.pools.add(pool);
    return pool;
  }

  leave(pool: AnyPool, users = 1): void {
    if (pool.users < users) throw new Error('pool group: a pool was left more often than joined');
    pool.users -= users;
  }

  // The proxy.

  get all(): Iterable<AnyPool> {
    return this.pools;
  }

  /** Takes effect at once, also for those who wait; a changed lifetime only for new connections. */
  configure(settings: PoolSettings): void {
    this.settings = settings;
    // Waiters may starve sooner now; `mustYield` finds out when exactly.
    if (this.enlisted.length > 0) this.starvationAt = this.wheel.now;
    this.openWhereWanted();
  }

  /** Replaces the connections of the pools that `isConcerned`: idle ones now, others as they return. */
  configurationChanged(isConcerned: (key: PoolKey) => boolean): void {
    for (const pool of this.pools) {
      if (isConcerned(pool.key)) pool.configurationChanged();
    }
    // It may have been what the last attempts failed for.
    this.backoff.succeeded();
    this.openWhereWanted();
  }

  /** The target serves again, as far as is known: whatever failed before, the next attempts go out now. */
  recovered(): void {
    this.concurrency = Number.POSITIVE_INFINITY;
    this.backoff.succeeded();
    this.mended(() => true);
  }

  /**
   * Cuts off every connection, also those that are lent: nothing more reaches the database on them. Who
   * waits for a connection of his own is refused; others have been moved elsewhere before, or wait on.
   */
  sever(reason: DatabaseCloseReason): void {
    const shared = new Set<AnyPool>(this.shared.values());
    for (const pool of this.pools) {
      if (!shared.has(pool)) pool.refuseAll(new BerthError('connection_lost'));
      pool.sever(reason);
    }
  }

  /** What the last attempts of these pools failed for is mended: who waits there need not any more. */
  mended(isConcerned: (key: PoolKey) => boolean): void {
    for (const pool of this.pools) if (isConcerned(pool.key)) pool.backoff.succeeded();
    this.openWhereWanted();
  }

  get isHeld(): boolean {
    return this.hold !== undefined;
  }

  /** Wheel time; undefined while it is not held. */
  get heldSince(): number | undefined {
    return this.hold?.since;
  }

  /**
   * Lends and opens nothing until `letGo`, and closes what is not borrowed now, the rest as it returns.
   * Whoever waits or comes keeps his place in the queue and his deadline. `progressed` is called after each
   * permit that comes back, and once in any case, not before this returns: the budget says what is left.
   */
  holdBack(progressed: () => void): void {
    this.hold = { since: this.hold?.since ?? this.wheel.now, progressed };
    for (const pool of this.pools) pool.hold();
    queueMicrotask(() => this.tellProgress());
  }

  /** Lends again. The first attempts to open a connection go out at once, as many as may at a time. */
  letGo(): void {
    if (this.hold === undefined) return;
    this.hold = undefined;
    this.recovered();
  }

  /** How many wait, for any connection. */
  get waiting(): number {
    let waiting = 0;
    for (const pool of this.pools) waiting += pool.waiting;
    return waiting;
  }

  /** Of a group that is held: whoever waits, or comes to wait, would wait for nothing. */
  refuseWaiting(): void {
    this.refusal = 'shutting_down';
    for (const pool of [...this.pools]) pool.refuseWaiting();
  }

  /**
   * Refuses who waits and who comes, closes what is not borrowed, and the rest as it returns.
   * Resolves when the last socket is gone; the caller has a deadline for that.
   */
  close(reason: DatabaseCloseReason = 'shutdown'): Promise<void> {
    if (!this.isClosed) {
      this.isClosed = true;
      this.closedBy = reason;
      this.wheel.disarm(this.tickTimer);
      this.wheel.disarm(this.sweepTimer);
      for (const pool of this.pools) pool.close(reason);
      this.budgetChanged();
    }
    return this.whenDrained.promise;
  }

  /**
   * Closes an idle connection so that somebody outside the pools gets a permit soon. Returns false
   * when there is none to close because all are in use.
   */
  makeRoomForOne(): boolean {
    const pool = this.leastRecentlyUsed(() => true);
    pool?.closeOldestIdle('evicted');
    return pool !== undefined || this.budget.connecting + this.budget.closing > 0;
  }

  /** Some connection is lent. */
  get isBusy(): boolean {
    for (const pool of this.pools) if (pool.isBusy) return true;
    return false;
  }

  gauges(isAvailable: boolean): PoolGauges {
    let connections = 0;
    let encrypted = 0;
    let inTransaction = 0;
    let borrowed = 0;
    let pinned = 0;
    let queueDepth = 0;
    for (const pool of this.pools) {
      const stats = pool.stats;
      borrowed += stats.borrowed + stats.pinned;
      pinned += stats.pinned;
      queueDepth += stats.waiting;
      for (const connection of pool.connections) {
        connections++;
        if (connection.isEncrypted) encrypted++;
        if (connection.isInTransaction) inTransaction++;
      }
    }
    return {
      databaseConnections: connections,
      databaseConnectionsWithTls: encrypted,
      databaseConnectionsCurrentlyBorrowed: borrowed,
      databaseConnectionsCurrentlyInTransaction: inTransaction,
      databaseConnectionsCurrentlySessionPinned: pinned,
      maxDatabaseConnectionsAllowed: this.budget.limit,
      queueDepth,
      isAvailable,
      isHeld: this.isHeld,
    };
  }

  /** Throws when lists, permits and counters disagree. Called by the sweep, once a second. */
  audit(): void {
    let live = 0;
    let connecting = 0;
    let idle = 0;
    let closing = 0;
    for (const pool of this.pools) {
      const found = pool.audit();
      live += found.live;
      connecting += found.connecting;
      idle += found.idle;
      closing += found.closing;
      if (pool.waiting > 0 && !(pool.isEnlisted && this.tickTimer.isArmed)) {
        throw new Error('pool group: somebody waits whose deadline nobody watches');
      }
    }
    this.budget.audit({ live, connecting, idle, closing });
  }

  /** The last attempts failed, and it is too early for the next one. */
  get isBackingOff(): boolean {
    return this.backoff.retryAt > this.wheel.now;
  }

  // What the pools call.

  enlist(pool: AnyPool): void {
    if (!pool.isEnlisted) {
      pool.isEnlisted = true;
      this.enlisted.push(pool);
    }
    if (this.starvationAt === Number.POSITIVE_INFINITY) {
      this.starvationAt = this.wheel.now + this.settings.starvationMs;
    }
    if (!this.tickTimer.isArmed) this.wheel.arm(this.tickTimer, TICK_MS);
  }

  openWhereWanted(): void {
    if (this.isClosed || this.isHeld || this.enlisted.length === 0) return;
    while (this.budget.connecting < this.connectingMax) {
      // The usual case under load, and then a waiter costs no search.
      if (this.budget.available === 0 && this.budget.idle === 0) return;
      if (this.isBackingOff) return;
      const pool = this.neediest();
      if (pool === undefined) return;
      if (!this.budget.takeForPool()) {
        this.makeRoom();
        return;
      }
      pool.open();
    }
  }

  attemptSucceeded(): void {
    this.backoff.succeeded();
    this.concurrency *= 2;
    if (this.concurrency >= this.settings.maxConnecting) {
      this.concurrency = Number.POSITIVE_INFINITY;
    }
  }

  attemptFailed(failure: OpenFailure, startedAt: number): void {
    this.concurrency = 1;
    const times = { startedAt, now: this.wheel.now };
    this.backoff.failed(failure, times, this.settings, this.random);
    this.doubted();
  }

  connectionLost(): void {
    this.doubted();
  }

  /**
   * One at a time: while a permit is already on its way to a waiter nobody else has to yield, and
   * when one can be had from an idle connection, that one goes first (at the next tick).
   */
  mustYield(own: AnyPool): boolean {
    if (this.enlisted.length === 1 && this.enlisted[0] === own) return false;
    const ownHead = own.head;
    let isClaimed = false;
    let earliest = Number.POSITIVE_INFINITY;
    for (const pool of this.enlisted) {
      earliest = Math.min(earliest, pool.oldestWaitSince + this.settings.starvationMs);
      if (pool !== own && !isClaimed) isClaimed = this.hasBetterClaim(pool, ownHead);
    }
    this.starvationAt = earliest;
    return (
      isClaimed &&
      this.budget.coming === 0 &&
      this.budget.idle === 0 &&
      this.budget.connecting < this.connectingMax &&
      !this.isBackingOff
    );
  }

  describeWait(pool: AnyPool, waitedMs: number): string {
    const seconds = (waitedMs / 1000).toFixed(1);
    if (this.isHeld) {
      return `Waited ${seconds} s for a connection to target ${this.target}, while the proxy is paused.`;
    }
    const obstacle = this.obstacle();
    if (obstacle !== undefined) {
      return `Waited ${seconds} s for a connection to target ${this.target}: ${obstacle}`;
    }
    const failure = pool.backoff.lastFailure ?? this.backoff.lastFailure;
    if (failure !== undefined) {
      const why = failure.error.detail ?? failure.error.message;
      return `Waited ${seconds} s for a connection to target ${this.target}, which cannot be opened: ${why}`;
    }
    let borrowed = 0;
    let pinned = 0;
    let waiting = 0;
    for (const each of this.pools) {
      const stats = each.stats;
      borrowed += stats.borrowed;
      pinned += stats.pinned;
      waiting += stats.waiting;
    }
    const { maxConnections, limitedBy } = this.budget.limits;
    return (
      `Waited ${seconds} s for one of ${count(maxConnections, 'connection')} to target ${this.target} (${limitedBy}); ` +
      `${borrowed} ${borrowed === 1 ? 'is' : 'are'} borrowed, ${pinned} pinned, ` +
      `${count(waiting, 'client')} ${waiting === 1 ? 'is' : 'are'} waiting.`
    );
  }

  // Inside.

  private get connectingMax(): number {
    return Math.min(this.concurrency, this.settings.maxConnecting);
  }

  /** Whose waiter gets the next permit; undefined when nobody lacks one, or all such pools back off. */
  private neediest(): AnyPool | undefined {
    let best: AnyPool | undefined;
    for (const pool of this.enlisted) {
      if (!this.mayOpen(pool)) continue;
      if (best === undefined || comesBefore(pool, best)) best = pool;
    }
    return best;
  }

  private mayOpen(pool: AnyPool): boolean {
    return pool.shortfall > 0 && pool.backoff.retryAt <= this.wheel.now;
  }

  /** Closes idle connections of pools where nobody waits, one for each waiter who lacks a permit. */
  private makeRoom(): void {
    let lacking = 0;
    for (const pool of this.enlisted) {
      if (this.mayOpen(pool)) lacking += pool.shortfall;
    }
    const startable = Math.min(lacking, this.connectingMax - this.budget.connecting);
    for (let wanted = startable - this.budget.coming; wanted > 0; wanted--) {
      const pool = this.leastRecentlyUsed((each) => each.waiting === 0);
      if (pool === undefined) return;
      pool.closeOldestIdle('evicted');
    }
  }

  private leastRecentlyUsed(isCandidate: (pool: AnyPool) => boolean): AnyPool | undefined {
    let oldest: AnyPool | undefined;
    let oldestSince = Number.POSITIVE_INFINITY;
    for (const pool of this.pools) {
      const since = pool.oldestIdleSince;
      if (since >= oldestSince || !isCandidate(pool)) continue;
      oldest = pool;
      oldestSince = since;
    }
    return oldest;
  }

  /** `ownHead` is the waiter who would get the connection that is to be closed, if there is one. */
  private hasBetterClaim(
    pool: AnyPool,
    ownHead: Place<Borrower<PooledConnection>> | undefined,
  ): boolean {
    const head = pool.head;
    if (head === undefined || !this.mayOpen(pool)) return false;
    const { starvationMs } = this.settings;
    if (head.since + starvationMs > this.wheel.now) return false;
    if (ownHead === undefined || head.priority !== ownHead.priority) {
      return ownHead === undefined || head.priority > ownHead.priority;
    }
    // Relative to each other: under lasting overload everybody waits longer than `starvationMs`.
    return head.since + starvationMs <= ownHead.since;
  }

  private budgetChanged(): void {
    while (this.budget.isOver) {
      const pool = this.leastRecentlyUsed(() => true);
      if (pool === undefined) break;
      pool.closeOldestIdle(this.budget.isClaimed ? 'evicted' : 'limit_lowered');
    }
    this.openWhereWanted();
    if (this.isClosed && this.budget.pooled === 0) this.whenDrained.resolve();
    if (this.isHeld) queueMicrotask(() => this.tellProgress());
  }

  private tellProgress(): void {
    this.hold?.progressed();
  }

  private tick(): void {
    this.wheel.arm(this.tickTimer, TICK_MS);
    // A copy: whoever is refused may come again, to any pool.
    for (const pool of [...this.enlisted]) pool.tick();
    this.enlisted = this.enlisted.filter((pool) => {
      pool.isEnlisted = pool.waiting > 0;
      return pool.isEnlisted;
    });
    if (this.enlisted.length === 0) {
      this.starvationAt = Number.POSITIVE_INFINITY;
      this.wheel.disarm(this.tickTimer);
      return;
    }
    this.openWhereWanted();
  }

  private sweep(): void {
    this.wheel.arm(this.sweepTimer, SWEEP_MS);
    for (const pool of this.pools) pool.sweep();
    this.enforceIdleCeiling();
    this.dropEmptyPools();
    this.audit();
    this.openWhereWanted();
  }

  private enforceIdleCeiling(): void {
    const agedSince = this.wheel.now - this.settings.idleAgeMs;
    let aged = 0;
    for (const pool of this.pools) aged += pool.countIdleSince(agedSince);
    for (let over = aged - this.budget.limits.maxIdleConnections; over > 0; over--) {
      this.leastRecentlyUsed(() => true)?.closeOldestIdle('idle_ceiling');
    }
  }

  private dropEmptyPools(): void {
    const now = this.wheel.now;
    for (const pool of this.pools) {
      const name = nameOf(pool.key);
      const isShared = this.shared.get(name) === pool;
      if (pool.users > 0 || !pool.isEmpty || pool.isEnlisted) pool.emptySince = undefined;
      else if (!isShared) this.pools.delete(pool);
      else if (pool.emptySince === undefined) pool.emptySince = now;
      else if (now - pool.emptySince >= EMPTY_POOL_KEPT_MS) {
        this.pools.delete(pool);
        this.shared.delete(name);
      }
    }
  }
}

/** The order in which pools open connections. */
function comesBefore(pool: AnyPool, other: AnyPool): boolean {
  // First where attempts succeed: a user whose logins fail must not hold up the others.
  if (pool.backoff.failures !== other.backoff.failures) {
    return pool.backoff.failures < other.backoff.failures;
  }
  const priority = pool.head?.priority ?? 0;
  const otherPriority = other.head?.priority ?? 0;
  if (priority !== otherPriority) return priority > otherPriority;
  // A user without any connection gets a first one before others get more.
  if (pool.hasConnections !== other.hasConnections) return other.hasConnections;
  return pool.oldestWaitSince < other.oldestWaitSince;
}

export function nameOf(key: PoolKey): string {
  return JSON.stringify([key.user, key.database, key.variant ?? '', key.role ?? 0]);
}

function count(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? '' : 's'}`;
}
