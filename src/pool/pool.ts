/**
 * The database connections of one user to one database on one target.
 *
 * Every connection is on exactly one list, and `placement` names it: the idle ones are a stack (the
 * most recently used is lent first), of the others only the number is kept. `members` knows them
 * all. Every connection and every attempt to open one holds a permit of the budget until its socket
 * is gone.
 *
 * `borrow` and `release` are the hot path: no allocation, no look-up, no closure. Everything that
 * needs more than a comparison is behind one of the three that `mustLook` makes.
 *
 * The pool calls borrowers back only after its own state is complete, so they may call it in turn.
 */

import { BerthError } from '../base/errors.ts';
import type { TimerWheel } from '../base/timer-wheel.ts';
import type { TargetCounters } from '../observe/counters.ts';
import type { DatabaseCloseReason } from '../observe/reasons.ts';
import { Backoff } from './backoff.ts';
import type { Census, ConnectionBudget } from './budget.ts';
import type {
  Borrower,
  Connector,
  Keeper,
  OpenFailure,
  OpeningHandle,
  PooledConnection,
  Verdict,
  Waiter,
} from './contract.ts';
import { IdleStack } from './idle-stack.ts';
import type { PoolHost, PoolKey, PoolStats } from './pool-host.ts';
import { Place, WaitQueue } from './wait-queue.ts';

/** One connection being opened. */
class Attempt {
  readonly generation: number;
  readonly startedAt: number;
  handle: OpeningHandle | undefined = undefined;

  constructor(generation: number, startedAt: number) {
    this.generation = generation;
    this.startedAt = startedAt;
  }
}

/** `expiresAt` of a connection that is closed as soon as it is not borrowed. */
const EXPIRED = Number.NEGATIVE_INFINITY;

export class Pool<C extends PooledConnection> {
  readonly key: PoolKey;
  readonly backoff = new Backoff();
  /** Sessions that hold this pool. Written by the group. */
  users = 0;
  /** On the group's list of pools with waiters. Written by the group. */
  isEnlisted = false;
  /** Wheel time since when nothing is here. Written by the group. */
  emptySince: number | undefined = undefined;
  private readonly host: PoolHost;
  private readonly budget: ConnectionBudget;
  private readonly wheel: TimerWheel;
  private readonly counters: TargetCounters;
  /** See `ALONE_BORROW_TIMEOUT_MIN_MS`. */
  private readonly borrowTimeoutMinMs: number;
  private readonly newConnector: () => Connector<C>;
  private connector: Connector<C>;
  /** Connections of an older generation are closed when they next pass through. */
  private generation = 0;
  /** Those of before this generation go because the group was held. */
  private heldGeneration = 0;
  private isClosed = false;
  private closedBy: DatabaseCloseReason = 'shutdown';

  /** Every connection, with the generation it was opened in. */
  private readonly members = new Map<C, number>();
  private readonly attempts = new Set<Attempt>();
  private readonly idle: IdleStack<C>;
  private borrowed = 0;
  private pinned = 0;
  private resetting = 0;
  private closing = 0;
  /** Those of the resetting ones that are only being proven alive. */
  private readonly probing = new Set<C>();
  /** Waiters rely on probes until one fails. */
  private areProbesTrusted = true;

  /** Of borrowed connections, the oldest first. */
  private readonly keepers = new Set<Keeper>();
  private readonly recallSoon = () => this.recall();

  private readonly queue = new WaitQueue<Borrower<C>>();
  private isServing = false;
  private readonly serveSoon = () => this.serve();

  constructor(
    key: PoolKey,
    host: PoolHost,
    connectorFor: (pool: Pool<C>) => Connector<C>,
    borrowTimeoutMinMs = 0,
  ) {
    this.key = key;
    this.host = host;
    this.budget = host.budget;
    this.idle = new IdleStack<C>(host.budget);
    this.wheel = host.wheel;
    this.counters = host.counters;
    this.borrowTimeoutMinMs = borrowTimeoutMinMs;
    this.newConnector = () => connectorFor(this);
    this.connector = this.newConnector();
  }

  // Borrowing.

  /**
   * Lends an idle connection, or returns undefined, and then the caller may `wait`. Never overtakes
   * somebody who waits.
   */
  borrow(): C | undefined {
    if (this.queue.length > 0) return undefined;
    const connection = this.takeIdle();
    if (connection !== undefined) this.lend(connection);
    return connection;
  }

  /**
   * Lends this very connection if it is idle, for who has left something on it that only he will ask for.
   * Never overtakes somebody who waits.
   */
  borrowAgain(connection: C): boolean {
    if (this.queue.length > 0 || connection.placement !== 'idle') return false;
    const { now } = this.wheel;
    const isOld = now - connection.placedAt > this.host.settings.probeAfterMs;
    if (isOld || connection.expiresAt <= now || !this.members.has(connection)) return false;
    this.idle.remove(connection);
    this.lend(connection);
    return true;
  }

  /** `keeper` could give its connection back, and does when somebody else waits for one. */
  keep(keeper: Keeper): void {
    this.keepers.add(keeper);
  }

  /** It needs its connection again, or has given it back. */
  unkeep(keeper: Keeper): void {
    this.keepers.delete(keeper);
  }

  /** Whoever could give his connection back should. */
  get isWanted(): boolean {
    return this.queue.length > 0 || this.host.isHeld;
  }

  private recall(): void {
    for (const keeper of this.keepers) {
      if (!this.isWanted) return;
      this.keepers.delete(keeper);
      keeper.recalled();
    }
  }

  /**
   * Queues the borrower; opens connections when that helps. The borrower is never called before
   * this has returned: what can be answered at once is answered in a microtask.
   */
  wait(borrower: Borrower<C>, priority: number): Waiter {
    const place = new Place(this.queue, borrower, priority, this.wheel.now);
    const refusal = this.isClosed ? 'shutting_down' : this.host.refusal;
    if (refusal !== undefined) {
      queueMicrotask(() => this.refuse(place, new BerthError(refusal)));
      return place;
    }
    this.queue.push(place);
    this.host.enlist(this);
    if (this.keepers.size > 0) queueMicrotask(this.recallSoon);
    if (this.idle.size > 0) queueMicrotask(this.serveSoon);
    if (this.shortfall > 0) {
      this.host.openWhereWanted();
      if (this.shortfall > 0 && this.budget.available === 0) {
        this.counters.connectionPoolFullCount++;
      }
    }
    if (this.borrowTimeoutMs === 0) {
      // After `serveSoon`. An attempt that was started goes on, for those who come later.
      queueMicrotask(() => this.timeOut(place));
    }
    return place;
  }

  /**
   * Takes a loan back: the only function that does. A connection that was lost while it was
   * borrowed is already gone, and releasing it does nothing.
   */
  release(connection: C, verdict: Verdict, reason: DatabaseCloseReason = 'internal_error'): void {
    if (connection.placement === 'borrowed') this.borrowed--;
    else if (connection.placement === 'pinned') this.pinned--;
    else if (connection.placement === 'closing') return;
    else throw new Error(`pool: release of a connection that is ${connection.placement}`);
    if (verdict === 'clean') this.settle(connection);
    else if (verdict === 'cleanable') this.startCleaning(connection);
    else this.end(connection, reason);
  }

  /** The session keeps its connection after the transaction. */
  pin(connection: C): void {
    if (connection.placement === 'closing') return;
    if (connection.placement !== 'borrowed') {
      throw new Error(`pool: pin of a connection that is ${connection.placement}`);
    }
    this.borrowed--;
    this.pinned++;
    connection.placement = 'pinned';
  }

  /** The reason for the pin is gone; the connection is still borrowed. */
  unpin(connection: C): void {
    if (connection.placement === 'closing') return;
    if (connection.placement !== 'pinned') {
      throw new Error(`pool: unpin of a connection that is ${connection.placement}`);
    }
    this.pinned--;
    this.borrowed++;
    connection.placement = 'borrowed';
  }

  // What connections report.

  /** A cleaning or a probe has ended well. */
  cleaned(connection: C): void {
    if (connection.placement === 'closing') return;
    if (connection.placement !== 'resetting') {
      throw new Error(`pool: a connection was cleaned that is ${connection.placement}`);
    }
    this.resetting--;
    if (this.probing.delete(connection)) this.areProbesTrusted = true;
    this.settle(connection);
    // If it was closed instead, whoever relied on it needs another.
    this.serve();
    // It may be idle now while another pool's waiters lack a permit.
    this.host.openWhereWanted();
  }

  /**
   * The connection is of no use any more. Its permit stays with it until `closed`, because the database
   * still has it. Idempotent.
   */
  retire(connection: C, reason: DatabaseCloseReason): void {
    if (connection.placement === 'closing' || !this.members.has(connection)) return;
    this.takeOffList(connection);
    this.toClosing(connection, reason);
    if (reason === 'probe_failed') this.doubtIdle();
    this.host.connectionLost();
    // Whoever relied on its probe needs another.
    if (this.queue.length > 0) this.serve();
  }

  /** The connection has ended by itself and its socket is gone. Idempotent. */
  lost(connection: C, reason: DatabaseCloseReason): void {
    this.retire(connection, reason);
    this.closed(connection);
  }

  /** The socket of a closing connection is gone. Idempotent. */
  closed(connection: C): void {
    if (!this.members.has(connection)) return;
    if (connection.placement !== 'closing') {
      this.lost(connection, 'database_closed');
      return;
    }
    this.members.delete(connection);
    this.closing--;
    this.budget.closing--;
    this.budget.returnFromPool();
  }

  // What the group asks and orders.

  get stats(): PoolStats {
    return {
      connecting: this.attempts.size,
      idle: this.idle.size,
      borrowed: this.borrowed,
      pinned: this.pinned,
      resetting: this.resetting,
      closing: this.closing,
      waiting: this.queue.length,
    };
  }

  /** Some connection is lent. */
  get isBusy(): boolean {
    return this.borrowed + this.pinned > 0;
  }

  get connections(): IterableIterator<C> {
    return this.members.keys();
  }

  get waiting(): number {
    return this.queue.length;
  }

  /** Open or opening. */
  get size(): number {
    return this.members.size + this.attempts.size;
  }

  /** One at least, open or opening. */
  get hasConnections(): boolean {
    return this.size > 0;
  }

  get isEmpty(): boolean {
    return !this.hasConnections && this.queue.length === 0;
  }

  /** Whose turn it is. */
  get head(): Place<Borrower<C>> | undefined {
    return this.queue.head;
  }

  get oldestWaitSince(): number {
    return this.queue.oldestSince;
  }

  /** Waiters for whom nothing is under way. */
  get shortfall(): number {
    const promised = this.areProbesTrusted ? this.probing.size : 0;
    return this.queue.length - this.attempts.size - this.idle.size - promised;
  }

  /** Wheel time at which the least recently used idle connection came back; Infinity without one. */
  get oldestIdleSince(): number {
    return this.idle.oldestSince;
  }

  /** How many idle connections were last used at `since` or before. */
  countIdleSince(since: number): number {
    return this.idle.countSince(since);
  }

  closeOldestIdle(reason: DatabaseCloseReason): void {
    const connection = this.idle.shift();
    if (connection !== undefined) this.end(connection, reason);
  }

  /** Starts one attempt. The group has taken a permit for it. */
  open(): void {
    const attempt = new Attempt(this.generation, this.wheel.now);
    this.attempts.add(attempt);
    this.budget.connecting++;
    this.counters.databaseConnectionRequests++;
    attempt.handle = this.connector.open(
      (connection) => this.opened(attempt, connection),
      (failure) => this.failed(attempt, failure),
    );
  }

  /** Refuses whoever has waited too long and notifies whoever has waited long. */
  tick(): void {
    const now = this.wheel.now;
    const { borrowTimeoutMs } = this;
    const { borrowNoticeMs } = this.host.settings;
    const oldest = this.queue.oldestSince;
    if (oldest <= now - borrowTimeoutMs) {
      const overdue: Place<Borrower<C>>[] = [];
      this.queue.visitSince(now - borrowTimeoutMs, (place) => overdue.push(place));
      for (const place of overdue) this.timeOut(place);
    }
    if (oldest <= now - borrowNoticeMs) this.notifyWaiting(now, borrowNoticeMs);
  }

  /** Closes idle connections that were unused for too long or are too old. */
  sweep(): void {
    const now = this.wheel.now;
    for (const connection of this.idle.takeExpired(now)) {
      this.end(connection, this.reasonOfExpiry(connection));
    }
    for (const connection of this.idle.takeSince(now - this.host.settings.idleTimeoutMs)) {
      this.end(connection, 'idle_timeout');
    }
  }

  /**
   * What connections are opened with has changed: those that exist are closed, idle ones now and
   * others as they return; new ones come from a new connector.
   */
  configurationChanged(): void {
    this.connector = this.newConnector();
    this.generation++;
    this.backoff.succeeded();
    for (const connection of this.members.keys()) connection.expiresAt = EXPIRED;
    this.sweep();
  }

  /**
   * Gives attempts up, closes what is not borrowed, and the rest as it returns. Whoever waits goes on
   * waiting: the group, which is held, opens nothing for him.
   */
  hold(): void {
    this.heldGeneration = ++this.generation;
    this.empty('paused');
    this.recall();
  }

  /** Refuses waiters, gives attempts up, closes what is not borrowed, and the rest as it returns. */
  close(reason: DatabaseCloseReason): void {
    if (this.isClosed) return;
    this.isClosed = true;
    this.closedBy = reason;
    this.empty(reason);
    this.refuseWaiting();
  }

  refuseWaiting(): void {
    this.refuseAll(new BerthError('shutting_down'));
  }

  private empty(reason: DatabaseCloseReason): void {
    for (const [connection] of this.members) {
      connection.expiresAt = EXPIRED;
      if (connection.placement !== 'idle' && connection.placement !== 'resetting') continue;
      this.takeOffList(connection);
      this.end(connection, reason);
    }
    this.abandonAttempts();
  }

  private abandonAttempts(): void {
    const attempts = [...this.attempts];
    this.attempts.clear();
    this.budget.connecting -= attempts.length;
    for (const { handle } of attempts) handle?.abandon();
    // Others may begin with each permit that comes back.
    for (const _ of attempts) this.budget.returnFromPool();
  }

  /**
   * Whoever waits here goes on waiting at `other`, in the same order and for no longer. What is being
   * opened for them here goes on, for those who come later.
   */
  handWaitersTo(other: Pool<C>): void {
    if (this.queue.length === 0) return;
    other.queue.takeOver(this.queue);
    other.joined();
  }

  /** Others wait here now who have waited elsewhere before. */
  private joined(): void {
    const { refusal } = this.host;
    if (refusal !== undefined) {
      this.refuseAll(new BerthError(refusal));
      return;
    }
    this.host.enlist(this);
    if (this.keepers.size > 0) queueMicrotask(this.recallSoon);
    this.serve();
  }

  /** Cuts off every connection, also those that are lent, and gives attempts up. Waiters stay. */
  sever(reason: DatabaseCloseReason): void {
    this.generation++;
    this.abandonAttempts();
    // Who is told may borrow again at once; nothing is left here by then that could be lent.
    const all = [...this.members.keys()];
    for (const connection of all) connection.expiresAt = EXPIRED;
    for (const connection of all) {
      if (connection.placement !== 'closing') {
        this.takeOffList(connection);
        this.toClosing(connection, reason);
      }
      connection.sever(reason);
    }
  }

  /** Throws when lists and counts disagree; adds what it found to the census. */
  audit(): Census {
    const found = { idle: 0, borrowed: 0, pinned: 0, resetting: 0, closing: 0, connecting: 0 };
    for (const connection of this.members.keys()) found[connection.placement]++;
    const idle = new Set(this.idle);
    this.check('idle', found.idle, this.idle.size);
    this.check('idle, each once', idle.size, this.idle.size);
    this.check('borrowed', found.borrowed, this.borrowed);
    this.check('pinned', found.pinned, this.pinned);
    this.check('resetting', found.resetting, this.resetting);
    this.check('closing', found.closing, this.closing);
    this.check('connecting, as members', found.connecting, 0);
    for (const connection of idle) {
      const isListed = this.members.has(connection) && connection.placement === 'idle';
      this.check('idle members', isListed ? 1 : 0, 1);
    }
    for (const connection of this.probing) {
      const isListed = this.members.has(connection) && connection.placement === 'resetting';
      this.check('probing members', isListed ? 1 : 0, 1);
    }
    this.queue.audit();
    return {
      live: this.members.size + this.attempts.size,
      connecting: this.attempts.size,
      idle: this.idle.size,
      closing: this.closing,
    };
  }

  private get borrowTimeoutMs(): number {
    return Math.max(this.host.settings.borrowTimeoutMs, this.borrowTimeoutMinMs);
  }

  private check(what: string, found: number, counted: number): void {
    if (found !== counted) {
      throw new Error(`pool: ${what}: ${found} found, ${counted} counted`);
    }
  }

  // Inside.

  /** The most recently used idle connection that may be lent; it is on no list until `lend`. */
  private takeIdle(): C | undefined {
    const now = this.wheel.now;
    for (;;) {
      const connection = this.idle.pop();
      if (connection === undefined) return undefined;
      if (connection.expiresAt <= now) {
        this.end(connection, this.reasonOfExpiry(connection));
      } else if (now - connection.placedAt > this.host.settings.probeAfterMs) {
        // All below it have been idle for longer still. One probe per borrower is enough: probing
        // them all would keep every one of them young, and the pool would never shrink.
        this.startProbing(connection);
        return undefined;
      } else {
        return connection;
      }
    }
  }

  private lend(connection: C): void {
    connection.placement = 'borrowed';
    connection.placedAt = this.wheel.now;
    this.borrowed++;
    this.counters.connectionsBorrowed++;
  }

  /** Whatever comes here is on no list, clean, and proven alive just now. */
  private settle(connection: C): void {
    const now = this.wheel.now;
    if (this.mustLook(connection, now)) {
      const reason = this.reasonToEnd(connection, now);
      if (reason !== undefined) {
        this.end(connection, reason);
        return;
      }
    }
    connection.placement = 'idle';
    connection.placedAt = now;
    this.idle.push(connection);
    if (this.queue.length > 0) this.serve();
  }

  private mustLook(connection: C, now: number): boolean {
    return connection.expiresAt <= now || this.budget.isOver || this.host.starvationAt <= now;
  }

  private reasonToEnd(connection: C, now: number): DatabaseCloseReason | undefined {
    if (connection.expiresAt <= now) return this.reasonOfExpiry(connection);
    if (this.budget.isOver) return this.budget.isClaimed ? 'evicted' : 'limit_lowered';
    if (this.host.starvationAt <= now && this.host.mustYield(this)) return 'evicted';
    return undefined;
  }

  private reasonOfExpiry(connection: C): DatabaseCloseReason {
    if (this.isClosed) return this.closedBy;
    const generation = this.members.get(connection) ?? this.generation;
    if (generation === this.generation) return 'lifetime';
    return generation < this.heldGeneration ? 'paused' : 'configuration_changed';
  }

  /** Somebody waits, and an idle connection can be lent, or proven for one who has no probe yet. */
  private get mayServe(): boolean {
    if (this.queue.length === 0 || this.idle.size === 0) return false;
    if (this.probing.size < this.queue.length) return true;
    return this.wheel.now - this.idle.newestSince <= this.host.settings.probeAfterMs;
  }

  /**
   * Hands idle connections to waiters. Borrowers that come back at once do not recurse: the outer
   * call goes on with what they have returned.
   */
  private serve(): void {
    if (this.isServing) return;
    this.isServing = true;
    try {
      while (this.mayServe) {
        const connection = this.takeIdle();
        if (connection === undefined) continue;
        const borrower = this.queue.shift();
        this.lend(connection);
        borrower?.granted(connection);
      }
    } finally {
      this.isServing = false;
    }
    if (this.shortfall > 0) this.host.openWhereWanted();
  }

  private startCleaning(connection: C): void {
    const now = this.wheel.now;
    if (connection.expiresAt <= now || this.budget.isOver) {
      const isExpired = connection.expiresAt <= now;
      this.end(connection, isExpired ? this.reasonOfExpiry(connection) : 'limit_lowered');
      return;
    }
    this.resetting++;
    connection.placement = 'resetting';
    connection.placedAt = now;
    connection.clean(this.host.settings.resetTimeoutMs);
  }

  private startProbing(connection: C): void {
    this.resetting++;
    this.probing.add(connection);
    connection.placement = 'resetting';
    connection.placedAt = this.wheel.now;
    connection.probe(this.host.settings.probeTimeoutMs);
  }

  /** One connection did not survive its rest; when clients wait, find out about all others at once. */
  private doubtIdle(): void {
    this.areProbesTrusted = this.queue.length === 0;
    if (this.areProbesTrusted) return;
    const restedSince = this.wheel.now - this.host.settings.probeAfterMs;
    for (const connection of this.idle.takeSince(restedSince)) this.startProbing(connection);
  }

  /** The connection is on no list when it comes here. */
  private end(connection: C, reason: DatabaseCloseReason): void {
    this.toClosing(connection, reason);
    connection.close(reason);
  }

  private toClosing(connection: C, reason: DatabaseCloseReason): void {
    connection.placement = 'closing';
    connection.placedAt = this.wheel.now;
    this.closing++;
    this.budget.closing++;
    this.counters.closes[reason]++;
  }

  private takeOffList(connection: C): void {
    switch (connection.placement) {
      case 'idle':
        this.idle.remove(connection);
        break;
      case 'borrowed':
        this.borrowed--;
        break;
      case 'pinned':
        this.pinned--;
        break;
      case 'resetting':
        this.resetting--;
        this.probing.delete(connection);
        break;
      case 'connecting':
      case 'closing':
        throw new Error(`pool: a member is ${connection.placement}`);
    }
  }

  private opened(attempt: Attempt, connection: C): void {
    if (!this.attempts.delete(attempt)) throw new Error('pool: an attempt ended twice');
    this.budget.connecting--;
    this.members.set(connection, attempt.generation);
    const { lifetimeMs, lifetimeJitter } = this.host.settings;
    const share = 1 + lifetimeJitter * (2 * this.host.random() - 1);
    connection.expiresAt =
      attempt.generation === this.generation ? this.wheel.now + lifetimeMs * share : EXPIRED;
    this.counters.databaseConnectionsSetupSucceeded++;
    this.areProbesTrusted = true;
    this.backoff.succeeded();
    this.host.attemptSucceeded();
    this.settle(connection);
    this.host.openWhereWanted();
  }

  private failed(attempt: Attempt, failure: OpenFailure): void {
    if (!this.attempts.delete(attempt)) throw new Error('pool: an attempt ended twice');
    this.budget.connecting--;
    this.counters.databaseConnectionsSetupFailed++;
    this.counters.closes.connect_failed++;
    if (failure.isTemporary) {
      const times = { startedAt: attempt.startedAt, now: this.wheel.now };
      this.backoff.failed(failure, times, this.host.settings, this.host.random);
      if (failure.isOfUser !== true) this.host.attemptFailed(failure, attempt.startedAt);
    } else {
      this.refuseAll(failure.error);
    }
    this.budget.returnFromPool();
  }

  refuseAll(error: BerthError): void {
    const places: Place<Borrower<C>>[] = [];
    this.queue.visitSince(Number.POSITIVE_INFINITY, (place) => places.push(place));
    for (const place of places) this.refuse(place, error);
  }

  private timeOut(place: Place<Borrower<C>>): void {
    if (place.occupant === undefined) return;
    const detail = this.host.describeWait(this, this.wheel.now - place.since);
    this.counters.borrowTimeouts++;
    this.refuse(place, new BerthError('borrow_timeout', { detail }));
  }

  /** Does nothing when the waiter has left in the meantime. */
  private refuse(place: Place<Borrower<C>>, error: BerthError): void {
    const borrower = place.occupant;
    if (borrower === undefined) return;
    place.abandon();
    borrower.refused(error);
  }

  private notifyWaiting(now: number, borrowNoticeMs: number): void {
    const due: { place: Place<Borrower<C>>; position: number }[] = [];
    this.queue.visitSince(now - borrowNoticeMs, (place, position) => {
      if (now - place.since >= 2 * place.toldAfterMs) due.push({ place, position });
    });
    for (const { place, position } of due) {
      const waitedMs = now - place.since;
      place.toldAfterMs = waitedMs;
      place.occupant?.stillWaiting(waitedMs, position);
    }
  }
}
