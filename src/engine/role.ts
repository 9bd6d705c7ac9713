/**
 * A role that DB instances of a target take over from each other: the writer. Clients join the role, not an
 * instance: each user has one user pool here, and where it borrows is changed for all of its sessions at
 * once when another instance has the role. So a session asks nothing and compares nothing when it borrows.
 *
 * While nobody has the role, they borrow from the lobby: a group of pools without any permits, where they
 * wait as long as they would for a connection, and from where they move on in the same order.
 */

import type { PooledConnection } from '../pool/contract.ts';
import type { Pool } from '../pool/pool.ts';
import { nameOf, type PoolGroup } from '../pool/pool-group.ts';
import type { PoolKey } from '../pool/pool-host.ts';

/** The pool of one user in a role, with what the engine has learnt of the database there. */
export interface PoolOfUser<C extends PooledConnection> {
  /** Where to borrow now. A connection is given back to its own pool. Written by the role. */
  pool: Pool<C>;
  /** What was learnt in an earlier generation is not known any more. */
  useGeneration(generation: number): void;
  /** It was learnt of another database than the one that is asked from now on. */
  forget(): void;
}

export interface RoleOptions<C extends PooledConnection, P extends PoolOfUser<C>> {
  readonly lobby: PoolGroup<C>;
  readonly newUserPool: (pool: Pool<C>) => P;
}

/** Roles have pools of their own in each group, so that who waits there moves on with his role alone. */
let nextRole = 1;

interface Seat<P> {
  readonly userPool: P;
  users: number;
}

export class Role<C extends PooledConnection, P extends PoolOfUser<C>> {
  private readonly id = nextRole++;
  /** How many have joined and not left. */
  users = 0;
  private readonly lobby: PoolGroup<C>;
  private readonly newUserPool: (pool: Pool<C>) => P;
  private group: PoolGroup<C>;
  /** Of whom the user pools have learnt what they know; undefined before anybody had the role. */
  private last: PoolGroup<C> | undefined = undefined;
  /** User pools that somebody has joined, by the name of their key. */
  private readonly seats = new Map<string, Seat<P>>();
  /** Also those that nobody uses now, for as long as their pool is kept. */
  private known = new WeakMap<Pool<C>, P>();

  constructor({ lobby, newUserPool }: RoleOptions<C, P>) {
    this.lobby = lobby;
    this.group = lobby;
    this.newUserPool = newUserPool;
  }

  /** Kept at least until the matching `leave`. */
  join(asked: PoolKey, generation: number): P {
    const key = { ...asked, role: this.id };
    const name = nameOf(key);
    let seat = this.seats.get(name);
    if (seat === undefined) {
      seat = { userPool: this.userPoolOf(this.group.join(key, 0)), users: 0 };
      this.seats.set(name, seat);
    }
    const { userPool } = seat;
    this.users++;
    seat.users++;
    userPool.pool.users++;
    userPool.useGeneration(generation);
    return userPool;
  }

  leave({ pool }: P): void {
    const name = nameOf(pool.key);
    const seat = this.seats.get(name);
    if (seat === undefined) throw new Error('role: a user pool was left more often than joined');
    this.users--;
    seat.users--;
    pool.users--;
    if (seat.users === 0) this.seats.delete(name);
  }

  private userPoolOf(pool: Pool<C>): P {
    let userPool = this.known.get(pool);
    if (userPool === undefined) {
      userPool = this.newUserPool(pool);
      this.known.set(pool, userPool);
    }
    // It may have moved on while it was used.
    userPool.pool = pool;
    return userPool;
  }

  /** From now on `group` is where to borrow; undefined: nobody has the role. Who waits, waits there. */
  give(group: PoolGroup<C> | undefined): void {
    const next = group ?? this.lobby;
    if (next === this.group) return;
    this.group = next;
    const isAnother = group !== undefined && this.last !== undefined && this.last !== group;
    this.last = group ?? this.last;
    // What nobody uses now is made anew where it is needed.
    if (isAnother) this.known = new WeakMap();
    // Attempts that failed when the group was last used say nothing of now.
    next.recovered();
    for (const { userPool, users } of [...this.seats.values()]) {
      const { pool: from } = userPool;
      const to = next.join(from.key, users);
      userPool.pool = to;
      this.known.set(to, userPool);
      from.users -= users;
      if (isAnother) userPool.forget();
      from.handWaitersTo(to);
    }
    next.openWhereWanted();
  }
}
