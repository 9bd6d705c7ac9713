/**
 * Where clients of READ_ONLY endpoints read: with whom a new one begins, who moves when a reader goes, and that
 * nobody goes back in time. Pools and roles are real; the databases behind them are not asked anything.
 */

import { describe, expect, test } from 'bun:test';
import type { ReaderRules, ReaderStanding, ReaderView } from '../../../src/engine/contract.ts';
import { Readers } from '../../../src/engine/readers.ts';
import { Role } from '../../../src/engine/role.ts';
import type { Pool } from '../../../src/pool/pool.ts';
import type { PoolGroup } from '../../../src/pool/pool-group.ts';
import { type FakeConnection, Fixture } from '../pool/fake-database.ts';

const KEY = { user: 'app', database: 'orders' };

interface Reader {
  readonly name: string;
  readonly group: PoolGroup<FakeConnection>;
}

/** The pool of a user as an engine has it, as far as a role is concerned. */
class UserPool {
  pool: Pool<FakeConnection>;
  forgotten = 0;

  constructor(pool: Pool<FakeConnection>) {
    this.pool = pool;
  }

  useGeneration(): void {}

  forget(): void {
    this.forgotten++;
  }
}

class Cluster {
  readonly lobby = new Fixture({ limit: 0 }).group;
  readonly deadEnd = new Fixture({ limit: 0 }).group;
  readonly members = ['a', 'b', 'c', 'writer'].map(
    (name): Reader => ({ name, group: new Fixture().group }),
  );
  rules: ReaderRules = { maxLagMs: undefined, hasWriterFallback: false };
  readonly readers: Readers<FakeConnection, UserPool, Reader>;

  constructor(view: ReaderView<Reader>) {
    this.readers = new Readers<FakeConnection, UserPool, Reader>(view, {
      rules: () => this.rules,
      newRole: () =>
        new Role<FakeConnection, UserPool>({
          lobby: this.lobby,
          newUserPool: (pool) => new UserPool(pool),
        }),
      clientsOf: (member) => this.readers.clientsOf(member),
      lobby: this.lobby,
      deadEnd: this.deadEnd,
    });
  }

  member(name: string): Reader {
    const member = this.members.find((each) => each.name === name);
    if (member === undefined) throw new Error(`there is no ${name}`);
    return member;
  }

  standing(name: string, more: Partial<ReaderStanding<Reader>> = {}): ReaderStanding<Reader> {
    const member = this.member(name);
    return { member, position: 100, lagMs: 0, maxConnections: 100, ...more };
  }

  follow(readers: readonly ReaderStanding<Reader>[], hasReaders = true): void {
    this.readers.follow({ readers, writer: this.standing('writer'), hasReaders });
  }

  /** A client comes, and stays. */
  client(): UserPool {
    return this.readers.enter().join(KEY, 0);
  }

  /** Where a client borrows. */
  where({ pool }: UserPool): string {
    const groups = [
      ...this.members.map(({ name, group }) => ({ name, group })),
      { name: 'lobby', group: this.lobby },
      { name: 'dead end', group: this.deadEnd },
    ];
    return groups.find(({ group }) => [...group.all].includes(pool))?.name ?? 'nowhere';
  }
}

function clusterOf(...readers: readonly (readonly [string, Partial<ReaderStanding<Reader>>])[]) {
  const cluster = new Cluster({ readers: [], writer: undefined, hasReaders: true });
  cluster.follow(readers.map(([name, more]) => cluster.standing(name, more)));
  return cluster;
}

describe('a new client', () => {
  test('goes to the reader with the fewest clients, by what each allows', () => {
    const cluster = clusterOf(
      ['a', { maxConnections: 500 }],
      ['b', { maxConnections: 500 }],
      ['c', { maxConnections: 1_000 }],
    );
    const places = Array.from({ length: 40 }, () => cluster.where(cluster.client()));
    const count = (name: string) => places.filter((place) => place === name).length;
    expect({ a: count('a'), b: count('b'), c: count('c') }).toEqual({ a: 10, b: 10, c: 20 });
  });

  test('waits when the readers are down, and goes to the first that comes', () => {
    const cluster = clusterOf();
    const client = cluster.client();
    expect(cluster.where(client)).toBe('lobby');
    cluster.follow([cluster.standing('b')]);
    expect(cluster.where(client)).toBe('b');
  });

  test('is told at once when there is no reader to wait for', () => {
    const cluster = clusterOf();
    cluster.follow([], false);
    expect(cluster.where(cluster.client())).toBe('dead end');
  });

  test('gets no reader that is too far behind, or does not tell', () => {
    const cluster = clusterOf(['a', { lagMs: 2_001 }], ['b', { lagMs: undefined }]);
    cluster.rules = { maxLagMs: 2_000, hasWriterFallback: false };
    const client = cluster.client();
    expect(cluster.where(client)).toBe('lobby');
    cluster.follow([cluster.standing('a', { lagMs: 2_000 })]);
    expect(cluster.where(client)).toBe('a');
  });
});

describe('clients of a reader that goes', () => {
  test('move to another, and stay there when it is back', () => {
    const cluster = clusterOf(['a', {}]);
    const [first, second] = [cluster.client(), cluster.client()];
    cluster.follow([cluster.standing('b')]);
    expect([cluster.where(first), cluster.where(second)]).toEqual(['b', 'b']);
    expect(first.forgotten).toBeGreaterThan(0);
    cluster.follow([cluster.standing('a'), cluster.standing('b')]);
    expect(cluster.where(first)).toBe('b');
    expect(cluster.where(cluster.client())).toBe('a');
  });

  test('do not go back in time: they wait until one has replayed as much', () => {
    const cluster = clusterOf(['a', { position: 500 }]);
    const client = cluster.client();
    cluster.follow([cluster.standing('a', { position: 900 }), cluster.standing('b')]);
    cluster.follow([cluster.standing('b', { position: 899 })]);
    expect(cluster.where(client)).toBe('lobby');
    cluster.follow([cluster.standing('b', { position: 900 })]);
    expect(cluster.where(client)).toBe('b');
  });

  test('do not keep newcomers from the reader that is too far behind for them', () => {
    const cluster = clusterOf(['a', { position: 900 }]);
    const early = cluster.client();
    cluster.follow([cluster.standing('b', { position: 100 })]);
    expect([cluster.where(early), cluster.where(cluster.client())]).toEqual(['lobby', 'b']);
  });

  test('read from the writer where that is wanted, and from a reader again when it has as much', () => {
    const cluster = clusterOf(['a', {}]);
    cluster.rules = { maxLagMs: undefined, hasWriterFallback: true };
    const client = cluster.client();
    cluster.follow([]);
    expect(cluster.where(client)).toBe('writer');
    cluster.follow([cluster.standing('b', { position: 99 })]);
    expect(cluster.where(client)).toBe('writer');
    cluster.follow([cluster.standing('b')]);
    expect(cluster.where(client)).toBe('b');
  });

  test('take with them who waits for a connection', () => {
    const cluster = clusterOf(['a', {}]);
    const client = cluster.client();
    const other = cluster.member('a').group.join(KEY);
    const borrower = { granted() {}, refused() {}, stillWaiting() {} };
    client.pool.wait(borrower, 0);
    other.wait(borrower, 0);
    cluster.follow([cluster.standing('b')]);
    expect(client.pool.waiting).toBe(1);
    expect(other.waiting).toBe(1);
  });
});
