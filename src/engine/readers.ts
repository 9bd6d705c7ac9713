/**
 * Where the clients of a `READ_ONLY` endpoint borrow: at the readers of a cluster.
 *
 * Who came to the same reader is a cohort, and a cohort is a role of its own. It stays with its reader while
 * that can be used, and moves as a whole when it cannot; but never back in time: only to a reader that has
 * replayed at least as much as the one that the cohort has read from. Until there is one, it waits.
 * https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/rds-proxy-endpoints.html
 */

import type { PooledConnection } from '../pool/contract.ts';
import type { PoolGroup } from '../pool/pool-group.ts';
import type { ReaderRules, ReaderStanding, ReaderView, Standpoint } from './contract.ts';
import type { PoolOfUser, Role } from './role.ts';

interface Cohort<M, R> {
  readonly role: R;
  /** Where it reads; undefined: it waits. */
  member: M | undefined;
  /** How far the log had been replayed where it has read; it does not go back behind that. */
  position: number;
}

/** It has read nothing yet. */
const ANYWHERE = Number.NEGATIVE_INFINITY;

export interface ReadersOptions<C extends PooledConnection, M, R> {
  /** Those in force. */
  readonly rules: () => ReaderRules;
  readonly newRole: () => R;
  /** How many clients read from `member`, of all endpoints. */
  readonly clientsOf: (member: M) => number;
  /** Where cohorts wait for a reader. */
  readonly lobby: PoolGroup<C>;
  /** Where everybody is told that there is none to wait for. */
  readonly deadEnd: PoolGroup<C>;
}

export class Readers<
  C extends PooledConnection,
  P extends PoolOfUser<C>,
  M extends { readonly group: PoolGroup<C> },
> {
  private readonly options: ReadersOptions<C, M, Role<C, P>>;
  private readonly cohorts = new Set<Cohort<M, Role<C, P>>>();
  private view: ReaderView<M>;

  constructor(view: ReaderView<M>, options: ReadersOptions<C, M, Role<C, P>>) {
    this.view = view;
    this.options = options;
  }

  /** The role for a client that comes now: at the reader with the fewest clients for its size. */
  enter(): Role<C, P> {
    const place = this.placeFor(ANYWHERE);
    const { role } = this.cohortAt(place?.member) ?? this.begin(place);
    return role;
  }

  /** The reader for who has a connection to himself; undefined when there is none now. */
  choose(): M | undefined {
    return this.placeFor(ANYWHERE)?.member;
  }

  clientsOf(member: M): number {
    let clients = 0;
    for (const cohort of this.cohorts) {
      if (cohort.member === member) clients += cohort.role.users;
    }
    return clients;
  }

  /** One that a new client can join without waiting for longer than it would alone. */
  private cohortAt(member: M | undefined): Cohort<M, Role<C, P>> | undefined {
    for (const cohort of this.cohorts) {
      if (cohort.member !== member) continue;
      if (member !== undefined || cohort.position === ANYWHERE) return cohort;
    }
    return undefined;
  }

  private begin(place: Standpoint<M> | undefined): Cohort<M, Role<C, P>> {
    const cohort = { role: this.options.newRole(), member: undefined, position: ANYWHERE };
    this.cohorts.add(cohort);
    this.settle(cohort, place);
    return cohort;
  }

  /** Moves every cohort that can stay no longer where it is, or has waited for what there is now. */
  follow(view: ReaderView<M>): void {
    this.view = view;
    for (const cohort of [...this.cohorts]) {
      const here = this.usable.find(({ member }) => member === cohort.member);
      if (here !== undefined) cohort.position = further(cohort.position, here.position);
      else if (cohort.role.users === 0) this.cohorts.delete(cohort);
      else this.settle(cohort, this.placeFor(cohort.position));
    }
  }

  private settle(cohort: Cohort<M, Role<C, P>>, place: Standpoint<M> | undefined): void {
    const { deadEnd, lobby } = this.options;
    cohort.member = place?.member;
    cohort.position = further(cohort.position, place?.position);
    cohort.role.give(place?.member.group ?? (this.view.hasReaders ? lobby : deadEnd));
  }

  private get usable(): readonly ReaderStanding<M>[] {
    const { maxLagMs } = this.options.rules();
    if (maxLagMs === undefined) return this.view.readers;
    return this.view.readers.filter(({ lagMs }) => lagMs !== undefined && lagMs <= maxLagMs);
  }

  /** For who has read up to `position`; undefined when nothing that can be used is as far. */
  private placeFor(position: number): Standpoint<M> | undefined {
    let best: ReaderStanding<M> | undefined;
    let bestLoad = Number.POSITIVE_INFINITY;
    for (const reader of this.usable) {
      if (reader.position !== undefined && reader.position < position) continue;
      const load = this.options.clientsOf(reader.member) / reader.maxConnections;
      if (load >= bestLoad) continue;
      best = reader;
      bestLoad = load;
    }
    if (best !== undefined) return best;
    return this.options.rules().hasWriterFallback ? this.view.writer : undefined;
  }
}

function further(position: number, other: number | undefined): number {
  return other === undefined ? position : Math.max(position, other);
}
