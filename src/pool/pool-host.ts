/**
 * What a pool needs from the group of pools that it is in, and the few values that both exchange.
 * A pool decides about its own connections; everything that concerns other pools it asks its host.
 */

import type { ErrorCode } from '../base/errors.ts';
import type { TimerWheel } from '../base/timer-wheel.ts';
import type { TargetCounters } from '../observe/counters.ts';
import type { ConnectionBudget } from './budget.ts';
import type { OpenFailure, PooledConnection, PoolSettings } from './contract.ts';
import type { Pool } from './pool.ts';

export interface PoolKey {
  readonly user: string;
  readonly database: string;
  /** Whatever else must match at start-up. */
  readonly variant?: string;
  /** Which role its clients have joined: who waits in a pool moves on together. Absent: none. */
  readonly role?: number;
}

/** A pool, whatever its connections are. */
export type AnyPool = Pool<PooledConnection>;

/** What the pools of one target share; see `PoolGroup`. */
export interface PoolHost {
  readonly budget: ConnectionBudget;
  readonly wheel: TimerWheel;
  readonly counters: TargetCounters;
  readonly random: () => number;
  readonly settings: PoolSettings;
  /** Wheel time before which no waiter of any pool starves; never too late. */
  readonly starvationAt: number;
  /** Nothing is lent or opened, and what there is goes. */
  readonly isHeld: boolean;
  /** What everybody is refused with at once who would wait; undefined: nobody is. */
  readonly refusal: ErrorCode | undefined;
  /** The pool has waiters from now on. */
  enlist(pool: AnyPool): void;
  /** Opens connections where waiters lack them, as far as limits and backoff permit. Calls no borrower. */
  openWhereWanted(): void;
  /** A waiter of another pool has a better claim to a permit than anything of this pool. */
  mustYield(pool: AnyPool): boolean;
  /** An attempt to open a connection ended. */
  attemptSucceeded(): void;
  attemptFailed(failure: OpenFailure, startedAt: number): void;
  /** A connection ended that nobody here had told to. */
  connectionLost(): void;
  /** Which limit applies and how long it was, in one sentence. */
  describeWait(pool: AnyPool, waitedMs: number): string;
}

/** A reading of one pool. */
export interface PoolStats {
  readonly connecting: number;
  readonly idle: number;
  readonly borrowed: number;
  readonly pinned: number;
  readonly resetting: number;
  readonly closing: number;
  readonly waiting: number;
}
