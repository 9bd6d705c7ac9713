/** Gives sessions of any engine another connection than the one they had. */

import { ConnectionBudget } from '../../src/pool/budget.ts';
import type { Borrower, PooledConnection } from '../../src/pool/contract.ts';
import type { Pool } from '../../src/pool/pool.ts';
import type { Tally } from './tally.ts';

/** How long a session waits for another connection before it may have its last one again: when one is coming ... */
const COMING_MS = 3_000;
/** ... and when others have to return it. */
const BORROWED_MS = 20;

export interface Movable<C extends PooledConnection> extends Borrower<C> {
  readonly userPool: { readonly pool: Pool<C> };
}

/** Gives a session another connection than the one it had. */
export class Mover<S extends Movable<C>, C extends PooledConnection> {
  private readonly tally: Tally;
  private readonly putBack: (pool: Pool<C>, connection: C) => void;
  private readonly last = new WeakMap<S, C>();
  /** Their last connections, kept from sessions that wait. */
  private readonly kept = new WeakMap<S, () => void>();
  /** They have been kept waiting for another once. */
  private readonly patient = new WeakSet<S>();
  private session: S | undefined = undefined;

  constructor(tally: Tally, putBack: (pool: Pool<C>, connection: C) => void) {
    this.tally = tally;
    this.putBack = putBack;
  }

  arrived(session: S, connection: C): void {
    const last = this.last.get(session);
    if (last === connection) this.tally.same++;
    else if (last !== undefined) this.tally.moved++;
    this.last.set(session, connection);
    this.patient.delete(session);
  }

  /** What is borrowed while `acquire` runs is for `session`. */
  asking(session: S, acquire: () => boolean): boolean {
    this.session = session;
    try {
      return acquire();
    } finally {
      this.session = undefined;
    }
  }

  choose(pool: Pool<C>, borrow: () => C | undefined): C | undefined {
    const { session } = this;
    this.session = undefined;
    const first = borrow();
    if (session === undefined || first === undefined || this.last.get(session) !== first) {
      return first;
    }
    const second = borrow();
    if (second !== undefined) {
      this.putBack(pool, first);
      return second;
    }
    const waitMs = timeUntilAnother(pool);
    if (waitMs === 0) return first;
    this.keep(session, first, { pool, waitMs });
    return undefined;
  }

  /**
   * A session that waited is granted its last connection: perhaps another is idle by now. `undefined`:
   * it waits on.
   */
  exchange(session: S, connection: C): C | undefined {
    this.kept.get(session)?.();
    if (this.last.get(session) !== connection) return connection;
    const { pool } = session.userPool;
    const other = pool.borrow();
    if (other !== undefined) {
      this.putBack(pool, connection);
      return other;
    }
    const waitMs = timeUntilAnother(pool);
    if (waitMs === 0 || this.patient.has(session)) return connection;
    this.patient.add(session);
    this.keep(session, connection, { pool, waitMs });
    // It is what the session leaves the queue with when its client goes.
    Reflect.set(session, 'waiter', pool.wait(session, 0));
    return undefined;
  }

  private keep(
    session: S,
    connection: C,
    { pool, waitMs }: { readonly pool: Pool<C>; readonly waitMs: number },
  ): void {
    const giveBack = () => {
      clearTimeout(timer);
      if (this.kept.get(session) === giveBack) this.kept.delete(session);
      if (connection.placement === 'borrowed') this.putBack(pool, connection);
    };
    const timer = setTimeout(giveBack, waitMs);
    this.kept.set(session, giveBack);
  }
}

/** How long to wait for another connection than the one just borrowed; 0: there is no other. */
function timeUntilAnother<C extends PooledConnection>(pool: Pool<C>): number {
  const { borrowed, connecting, resetting } = pool.stats;
  const budget: unknown = Reflect.get(pool, 'budget');
  if (!(budget instanceof ConnectionBudget)) throw new Error('a pool without a budget');
  if (connecting + resetting + budget.available > 0) return COMING_MS;
  for (const each of pool.connections) if (inSpoilersHands.has(each)) return COMING_MS;
  return borrowed > 1 ? BORROWED_MS : 0;
}

/** Borrowed by nobody. */
export const inSpoilersHands = new WeakSet<PooledConnection>();
