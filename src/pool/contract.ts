/**
 * What the pool asks of an engine's database connections, and what it promises to those who borrow.
 * The pool knows no protocol: it sees connections that open, can be proven alive, can be made clean,
 * and end.
 *
 * A database connection is on exactly one list: connecting, idle, borrowed, pinned, resetting (being
 * cleaned or probed) or closing. `Pool.release` is the only function that takes a loan back.
 */

import type { BerthError } from '../base/errors.ts';
import type { DatabaseConnectionId } from '../base/ids.ts';
import type { DatabaseCloseReason } from '../observe/reasons.ts';

export type Placement = 'connecting' | 'idle' | 'borrowed' | 'pinned' | 'resetting' | 'closing';

/**
 * What the returning session knows. `clean`: as good as new, lend it again. `cleanable`: the
 * connection can make itself clean within the reset deadline. `destroy`: everything else.
 */
export type Verdict = 'clean' | 'cleanable' | 'destroy';

/** A database connection, as the pool sees it. The pool owns the fields, the engine the methods. */
export interface PooledConnection {
  readonly id: DatabaseConnectionId;
  /** Written by the pool only. */
  placement: Placement;
  /** Wheel time at which it came to its present list. Written by the pool only. */
  placedAt: number;
  /** Wheel time after which it is not lent again. Written by the pool only. */
  expiresAt: number;
  /** Not idle in the protocol's own words; read at scrape time. */
  readonly isInTransaction: boolean;
  readonly isEncrypted: boolean;
  /** Makes itself clean and calls `Pool.cleaned`, or ends and calls `Pool.lost` or `retire`; within `deadlineMs`. */
  clean(deadlineMs: number): void;
  /** Proves that the database still answers, then calls `Pool.cleaned`, or ends and calls `Pool.lost`. */
  probe(deadlineMs: number): void;
  /** Ends the connection; idempotent. Calls `Pool.closed` once the database has it no more, never before it returns. */
  close(reason: DatabaseCloseReason): void;
  /** Cuts the connection off, whatever runs there: nothing more is sent. Tells its borrower, and calls `Pool.closed`, before it returns. */
  sever(reason: DatabaseCloseReason): void;
}

/** Why a connection could not be opened. */
export interface OpenFailure {
  /** Waiting clients go on waiting and the pool tries again; otherwise they all get `error`. */
  readonly isTemporary: boolean;
  /** Only the user of the pool is concerned: who waits for connections of others need not. */
  readonly isOfUser?: boolean;
  /** What the operator reads. */
  readonly detail: string;
  readonly error: BerthError;
}

/** Opens connections for one pool. */
export interface Connector<C extends PooledConnection> {
  /** Calls exactly one of the two, later, within its own connect and login deadlines. */
  open(opened: (connection: C) => void, failed: (failure: OpenFailure) => void): OpeningHandle;
}

export interface OpeningHandle {
  /** Gives the attempt up; neither callback is called any more. */
  abandon(): void;
}

/** Somebody who waits for a connection. */
export interface Borrower<C extends PooledConnection> {
  /** The connection is the borrower's from here on. May be called from inside any other pool call. */
  granted(connection: C): void;
  refused(error: BerthError): void;
  /**
   * Called after `borrowNoticeMs` of waiting, and whenever the wait has doubled since. To be told is
   * also how a client whose socket is not read, because it has sent too much, is found to be gone.
   */
  stillWaiting(waitedMs: number, position: number): void;
}

/** Somebody who holds on to a connection that he may not need any more. */
export interface Keeper {
  /** Somebody else waits for a connection: give it back soon. Called once, after `Pool.keep`. */
  recalled(): void;
}

/** A place in the queue. */
export interface Waiter {
  /** Leaves the queue in O(1). After it neither `granted` nor `refused` is called. Idempotent. */
  abandon(): void;
}

/** Durations are milliseconds. */
export interface PoolSettings {
  /** Wait for a connection. 0: fail when nothing is free now, even if the pool could grow. */
  readonly borrowTimeoutMs: number;
  /** A waiter is told that it waits after this long, and again after twice that, and so on. */
  readonly borrowNoticeMs: number;
  /** An idle connection unused this long is closed. */
  readonly idleTimeoutMs: number;
  /** Connections unused for `idleAgeMs` count against `maxIdleConnections`. */
  readonly idleAgeMs: number;
  /** Replaced at this age, give or take `lifetimeJitter` (a share, 0.2 = 20 %). */
  readonly lifetimeMs: number;
  readonly lifetimeJitter: number;
  /** Not proven alive for this long: probed before it is lent. */
  readonly probeAfterMs: number;
  readonly probeTimeoutMs: number;
  readonly resetTimeoutMs: number;
  /** Connections that may be opening at once, over all pools of the target. */
  readonly maxConnecting: number;
  /** After a failed attempt to open: first delay, and the most it grows to; doubled each time, jittered. */
  readonly backoffFirstMs: number;
  readonly backoffMaxMs: number;
  /** A waiter of another pool of the same target that has waited this long gets a returned connection's permit. */
  readonly starvationMs: number;
}
