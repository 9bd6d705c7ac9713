/** Who waits moves from one target to another, and what the old one had is cut off. */

import { expect, test } from 'bun:test';
import { Role } from '../../../src/engine/role.ts';
import type { Pool } from '../../../src/pool/pool.ts';
import { type Client, DOWN, type FakeConnection, Fixture } from './fake-database.ts';

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

function makeRole() {
  const lobby = new Fixture({ limit: 0 });
  const [a, b] = [new Fixture({ limit: 2 }), new Fixture({ limit: 2 })];
  const role = new Role<FakeConnection, UserPool>({
    lobby: lobby.group,
    newUserPool: (pool) => new UserPool(pool),
  });
  const pass = (ms: number) => {
    for (const each of [lobby, a, b]) each.pass(ms);
  };
  return { lobby, a, b, role, pass };
}

const APP = { user: 'app', database: 'orders' };

test('who waits is served in the order of priorities and of coming, also among those who are there', () => {
  const [from, to] = [new Fixture(), new Fixture({ limit: 1 })];
  const [holder] = to.borrowed(1);
  const clients: Client[] = [];
  const ask = (fixture: Fixture, priority = 0) => {
    from.group.sever('writer_changed');
    clients.push(fixture.client().ask(priority));
    for (const each of [from, to]) each.pass(200);
  };
  ask(from);
  ask(to);
  ask(from);
  ask(from, 5);
  ask(to);
  from.pool.handWaitersTo(to.pool);
  expect([from.pool.waiting, to.pool.waiting]).toEqual([0, 5]);
  const served: number[] = [];
  for (const [index, client] of clients.entries()) client.onGranted = () => served.push(index);
  holder?.give();
  for (let turn = 1; turn < clients.length; turn++) {
    const loan = clients[served.at(-1) ?? 0]?.loan;
    if (loan !== undefined) to.pool.release(loan, 'clean');
  }
  expect(served).toEqual([3, 0, 1, 2, 4]);
  to.audit();
});

test('who has moved waits no longer in all than before, and may leave', () => {
  const [from, to] = [new Fixture({ limit: 0 }), new Fixture({ limit: 0 })];
  const [patient, leaving] = [from.client().ask(), from.client().ask()];
  for (const each of [from, to]) each.pass(100_000);
  from.pool.handWaitersTo(to.pool);
  leaving.waiter?.abandon();
  expect(to.pool.waiting).toBe(1);
  for (const each of [from, to]) each.pass(19_000);
  expect(patient.error).toBeUndefined();
  for (const each of [from, to]) each.pass(1_200);
  expect(patient.error?.code).toBe('borrow_timeout');
  expect(leaving.error).toBeUndefined();
});

test('everything is cut off, whatever it is at, and every permit comes back', () => {
  const fixture = new Fixture({ limit: 6 });
  const [pinned, borrowed, cleaning, , closing] = fixture.borrowed(5);
  fixture.idle(1);
  fixture.pool.pin(pinned?.loan ?? fixture.database.open());
  cleaning?.give('cleanable');
  closing?.give('destroy');
  const connections = [...fixture.database.connections];
  expect(connections).toHaveLength(6);
  fixture.group.sever('writer_changed');
  expect(connections.map(({ isSocketOpen }) => isSocketOpen)).toEqual(Array(6).fill(false));
  expect(fixture.budget.inUse).toBe(0);
  fixture.audit();
  // Whoever gives back what is gone does no harm.
  borrowed?.give();
  fixture.audit();
});

test('an attempt to connect is given up, and those who come later get a new one', () => {
  const fixture = new Fixture({ limit: 1 });
  const client = fixture.client().ask();
  expect(fixture.database.openings).toHaveLength(1);
  const [attempt] = fixture.database.openings;
  fixture.group.sever('writer_changed');
  fixture.pass(100);
  expect(fixture.database.openings).not.toContain(attempt);
  fixture.database.open();
  expect(client.loan.placement).toBe('borrowed');
  fixture.audit();
});

test('a role: in the lobby until somebody has it, then there, then at whoever has it next', () => {
  const { lobby, a, b, role } = makeRole();
  const userPool = role.join(APP, 0);
  const early = lobby.client(userPool.pool).ask();
  role.give(a.group);
  a.database.open();
  expect(early.loan.pool).toBe(userPool.pool);
  const waiting = a.client(userPool.pool).ask();
  a.database.fail(DOWN);
  role.give(undefined);
  a.group.sever('writer_changed');
  expect([a.budget.inUse, lobby.group.all === undefined]).toEqual([0, false]);
  role.give(b.group);
  // Not after the delays that the failures at the old one have earned.
  b.database.open();
  expect(waiting.loan.pool).toBe(userPool.pool);
  expect(userPool.forgotten).toBe(1);
  for (const each of [lobby, a, b]) each.audit();
  role.leave(userPool);
  expect(userPool.pool.users).toBe(0);
});

test('a role that comes back to where it was has forgotten nothing in between', () => {
  const { a, role } = makeRole();
  role.give(a.group);
  const userPool = role.join(APP, 0);
  role.give(undefined);
  role.give(a.group);
  expect(userPool.forgotten).toBe(0);
  role.leave(userPool);
  // Known for as long as its pool is kept.
  expect(role.join(APP, 0)).toBe(userPool);
});

test('100 changes in a row leave no permit, no user and no waiter behind', () => {
  const { lobby, a, b, role, pass } = makeRole();
  const userPool = role.join(APP, 0);
  const client = lobby.client(userPool.pool).ask();
  for (let change = 0; change < 100; change++) {
    const [to, from] = change % 2 === 0 ? [a, b] : [b, a];
    role.give(to.group);
    from.group.sever('writer_changed');
    pass(100);
    for (const each of [lobby, a, b]) each.audit();
    expect(from.budget.inUse).toBe(0);
    expect(to.database.openings).toHaveLength(1);
  }
  b.database.open();
  expect(client.loan.pool).toBe(userPool.pool);
  expect([lobby, a, b].map(({ group }) => group.waiting)).toEqual([0, 0, 0]);
});
