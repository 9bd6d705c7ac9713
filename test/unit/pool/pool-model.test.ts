/**
 * Random lives of a group of pools. After every step: permits equal the sockets that the database
 * sees, lists and counts agree, nobody waits while what they wait for is there; at the end
 * everybody who waited was served or refused.
 *
 * That nobody is granted twice, or granted a closed connection, is checked by the fake client.
 */

import { expect, test } from 'bun:test';
import fc from 'fast-check';
import { Client, DOWN, type FakeConnection, Fixture, WRONG_PASSWORD } from './fake-database.ts';

const STEPS = [
  'ask',
  'ask',
  'ask',
  'wait',
  'abandon',
  'clean',
  'clean',
  'clean',
  'cleanable',
  'destroy',
  'pin',
  'unpin',
  'opened',
  'opened',
  'opened',
  'down',
  'permanent',
  'succeed',
  'succeed',
  'die',
  'probe_failed',
  'spoil',
  'spoil',
  'closed',
  'closed',
  'tick',
  'time',
  'limit',
  'settings',
  'configuration',
  'acquire',
  'release',
  'hold',
  'let_go',
  'let_go',
] as const;

interface Step {
  readonly kind: (typeof STEPS)[number];
  readonly pick: number;
  readonly number: number;
}

class Model {
  readonly fixture: Fixture;
  readonly clients: Client[] = [];
  private readonly pools;
  private reentrant = 0;
  /** What was in use when whoever holds the group was told last. */
  private toldInUse: number | undefined = undefined;

  constructor(random: () => number) {
    this.fixture = new Fixture({
      limit: 3,
      maxIdle: 2,
      random,
      settings: {
        borrowTimeoutMs: 20_000,
        idleAgeMs: 10_000,
        idleTimeoutMs: 60_000,
        lifetimeMs: 120_000,
        probeAfterMs: 3_000,
        maxConnecting: 2,
      },
    });
    this.pools = ['app', 'a', 'b'].map((user) => this.fixture.poolOf(user));
  }

  step({ kind, pick, number }: Step): void {
    const { fixture } = this;
    const { database } = fixture;
    switch (kind) {
      case 'ask':
        this.newClient(pick, number).ask(number % 3);
        return;
      case 'wait': {
        const client = this.newClient(pick, number);
        client.waiter = client.pool.wait(client, number % 3);
        return;
      }
      case 'abandon': {
        const client = choose(this.waiting, pick);
        client?.waiter?.abandon();
        if (client !== undefined) this.forget(client);
        return;
      }
      case 'clean':
      case 'cleanable':
      case 'destroy': {
        const client = choose(this.holding, pick);
        client?.give(kind);
        if (client !== undefined) this.forget(client);
        return;
      }
      case 'pin':
      case 'unpin': {
        const wanted = kind === 'pin' ? 'borrowed' : 'pinned';
        const loans = this.holding.filter((each) => each.loan.placement === wanted);
        const client = choose(loans, pick);
        if (client !== undefined) client.pool[kind](client.loan);
        return;
      }
      case 'opened':
        choose(database.openings, pick)?.succeed();
        return;
      case 'down':
        choose(database.openings, pick)?.fail(DOWN);
        return;
      case 'permanent':
        choose(database.openings, pick)?.fail(WRONG_PASSWORD);
        return;
      case 'succeed':
        choose(this.resetting, pick)?.succeed();
        return;
      case 'die':
        choose(database.connections, pick)?.die();
        return;
      case 'probe_failed':
        choose(
          this.resetting.filter((each) => each.asked === 'probe'),
          pick,
        )?.die('probe_failed');
        return;
      case 'spoil':
        choose(
          this.resetting.filter((each) => each.asked === 'clean'),
          pick,
        )?.spoil();
        return;
      case 'closed':
        choose(database.closing, pick)?.finishClosing();
        return;
      case 'tick':
        fixture.pass(100 * (1 + (number % 5)));
        return;
      case 'time':
        fixture.pass(number * 100);
        return;
      case 'limit':
        fixture.limit(number % 6);
        return;
      case 'settings':
        fixture.configure({
          borrowTimeoutMs: number % 4 === 0 ? 0 : number * 200,
          starvationMs: 100 + number * 10,
          maxConnecting: 1 + (number % 3),
          probeAfterMs: (number % 5) * 1_000,
        });
        return;
      case 'configuration':
        fixture.group.configurationChanged((key) => key.user === this.pools[pick % 3]?.key.user);
        return;
      case 'acquire':
        fixture.budget.tryAcquire();
        return;
      case 'release':
        if (fixture.budget.lent > 0) fixture.budget.release();
        return;
      case 'hold':
        if (fixture.group.isHeld) return;
        this.toldInUse = undefined;
        fixture.group.holdBack(() => {
          this.toldInUse = fixture.budget.inUse;
        });
        return;
      case 'let_go':
        fixture.group.letGo();
        return;
    }
  }

  /** Whoever holds the group has been told when nothing is left, and nothing is opened for anybody. */
  private checkHeld(): void {
    const { budget, database } = this.fixture;
    if (budget.idle > 0 || database.openings.length > 0) throw new Error('lends while it is held');
    // Afterwards somebody outside the pools may have taken a permit again.
    if (budget.inUse === 0 && this.toldInUse !== 0) throw new Error('unused, and nobody was told');
  }

  private checkServed(): void {
    const { budget, group, wheel } = this.fixture;
    for (const pool of this.pools) {
      // Whatever is idle has been offered: it is left only if it must be proven first.
      const { idle, resetting, waiting } = pool.stats;
      if (waiting > resetting && idle > 0) throw new Error('somebody waits beside an idle one');
      const mayOpen =
        pool.shortfall > 0 &&
        budget.available > 0 &&
        budget.connecting === 0 &&
        pool.backoff.retryAt <= wheel.now &&
        !group.isBackingOff;
      if (mayOpen) throw new Error('somebody waits beside a free permit');
    }
  }

  async check(): Promise<void> {
    this.fixture.audit();
    await this.fixture.settle();
    this.fixture.audit();
    const { budget, group } = this.fixture;
    if (group.isHeld) this.checkHeld();
    else this.checkServed();
    if (budget.connecting > Math.max(group.settings.maxConnecting, 3)) {
      throw new Error('too many are opening');
    }
  }

  /** The world goes well from now on, and every client returns what it has. */
  async end(): Promise<void> {
    const { fixture } = this;
    fixture.group.letGo();
    fixture.configure({ borrowTimeoutMs: 60_000 });
    fixture.limit(2);
    while (fixture.budget.lent > 0) fixture.budget.release();
    for (let round = 0; round < 400 && this.clients.length > 0; round++) {
      for (const client of this.clients.filter((each) => each.error !== undefined)) {
        this.forget(client);
      }
      for (const client of this.holding) {
        client.give();
        this.forget(client);
      }
      for (const opening of fixture.database.openings) opening.succeed();
      for (const connection of this.resetting) connection.succeed();
      fixture.database.finishClosing();
      fixture.pass(100);
      await this.check();
    }
    expect(this.clients.length).toBe(0);
    const drained = fixture.group.close();
    fixture.database.finishClosing();
    await drained;
    expect(fixture.database.sockets).toBe(0);
    expect(fixture.budget.inUse).toBe(0);
    fixture.audit();
  }

  /** Some give back, die or ask again from inside `granted`. */
  private newClient(pick: number, number: number): Client {
    const pool = this.pools[pick % 3];
    if (pool === undefined) throw new Error('no such pool');
    const client = new Client(pool);
    this.clients.push(client);
    if (number % 5 === 0) {
      client.onGranted = (connection) => {
        if (number % 2 === 0) connection.die();
        client.give(number % 3 === 0 ? 'cleanable' : 'clean');
        this.forget(client);
        if (this.reentrant++ < 20) this.newClient(pick + 1, number + 1).ask();
      };
    }
    return client;
  }

  private forget(client: Client): void {
    this.clients.splice(this.clients.indexOf(client), 1);
  }

  private get waiting(): Client[] {
    return this.clients.filter((each) => each.connection === undefined && each.error === undefined);
  }

  private get holding(): Client[] {
    return this.clients.filter((each) => each.connection !== undefined);
  }

  private get resetting(): FakeConnection[] {
    return this.fixture.database.connections.filter((each) => each.placement === 'resetting');
  }
}

function choose<T>(from: readonly T[], pick: number): T | undefined {
  return from[pick % Math.max(1, from.length)];
}

test('permits equal live connections and nobody is forgotten, whatever happens', async () => {
  const step = fc.record<Step>({
    kind: fc.constantFrom(...STEPS),
    pick: fc.nat(50),
    number: fc.nat(100),
  });
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { maxLength: 300, size: 'max' }),
      fc.nat(99),
      async (steps, seed) => {
        let state = seed;
        const model = new Model(() => {
          state = (state * 37 + 11) % 100;
          return state / 100;
        });
        for (const each of steps) {
          model.step(each);
          await model.check();
        }
        await model.end();
      },
    ),
    { numRuns: Number(process.env.BERTH_MODEL_RUNS ?? 300) },
  );
}, 60_000);
