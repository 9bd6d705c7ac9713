/**
 * Connections that are reset at any byte of a conversation, on either side of the proxy. Whatever was
 * under way, afterwards nothing is leaked, no transaction is open, nothing is half committed, and the
 * pool serves. The positions come from a fixed seed.
 */

import { describe, expect, setDefaultTimeout, test } from 'bun:test';
import { type BackendMessage, sqlStates, textRows } from '../harness/backend-messages.ts';
import { type Berth, useBerth } from '../harness/berth.ts';
import * as frontend from '../harness/frontend-messages.ts';
import { eventually, untilMetric } from '../harness/polling.ts';
import { adminQuery, usePostgres } from '../harness/postgres.ts';
import { LoginError, RawClient } from '../harness/raw-client.ts';
import { openTransactions, pooledConnections, reachedAt } from './activity.ts';
import { type Direction, HostileNetwork, type Link, useNetwork } from './hostile-network.ts';

setDefaultTimeout(25_000);

const SEED = 20_260_401;
const DIRECTIONS: readonly Direction[] = ['toServer', 'toClient'];

/** mulberry32: a small generator of numbers from 0 to 1. */
function randomNumbers(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

/** What a client is told of a connection that was lost, if it goes on. */
const LOST = ['08006', '57P01'];

class Interrupted extends Error {}

/** One client's requests and how many of their ends it has not read. */
class Conversation {
  readonly #client: RawClient;
  #owed = 0;

  constructor(client: RawClient) {
    this.#client = client;
  }

  /** A little of everything; what it commits always sums up to nothing. */
  async hold(): Promise<void> {
    const client = this.#client;
    await this.#ask(frontend.query('begin; insert into sums values (7)'));
    await this.#ask(frontend.query('savepoint s'));
    await this.#ask(frontend.query('select 1/0'));
    await this.#ask(frontend.query('rollback to s'));
    await this.#ask(frontend.query('insert into sums values (-7)'));
    await this.#ask(frontend.query('commit'));
    const batch = [
      frontend.parse('', "select repeat('x', 3000), $1::text"),
      frontend.bind({ parameters: ['y'] }),
    ];
    await this.#ask(...batch, frontend.describe('portal'), frontend.execute(), frontend.sync());
    this.#send(frontend.query('copy sums from stdin'));
    for (let type = ''; type !== 'G'; ) {
      const message = await client.next();
      check([message]);
      ({ type } = message);
    }
    client.send(frontend.copyData('100\n'), frontend.copyData('-100\n'), frontend.copyDone());
    await this.#answer();
    await this.#ask(frontend.query('copy (select generate_series(1, 300)) to stdout'));
    this.#send(...batch, frontend.execute(), frontend.sync());
    await this.#ask(frontend.query('insert into sums values (1), (-1)'));
    await this.#answer();
  }

  /** Ends what it was in, and is served, however often the connection is lost once more. */
  async recover(): Promise<void> {
    while (this.#owed > 0) await this.#answer().catch(onlyInterruption);
    for (let isServed = false; !isServed; ) {
      await this.#ask(frontend.query('rollback')).catch(onlyInterruption);
      this.#send(frontend.query("select 'goes on'"));
      isServed = await this.#answer().then(
        (answer) => textRows(answer)[0]?.[0] === 'goes on',
        onlyInterruption,
      );
    }
  }

  /** One request. */
  #send(...messages: readonly Uint8Array[]): void {
    this.#client.send(...messages);
    this.#owed++;
  }

  async #answer(): Promise<BackendMessage[]> {
    const messages = await this.#client.untilReady();
    this.#owed--;
    check(messages);
    return messages;
  }

  async #ask(...messages: readonly Uint8Array[]): Promise<void> {
    this.#send(...messages);
    await this.#answer();
  }
}

function check(messages: readonly BackendMessage[]): void {
  if (sqlStates(messages).some((state) => LOST.includes(state))) throw new Interrupted();
}

function onlyInterruption(error: unknown): false {
  if (error instanceof Interrupted) return false;
  throw error;
}

async function converse(client: RawClient): Promise<void> {
  await new Conversation(client).hold();
}

const database = usePostgres();
const back = useNetwork(() => database().port);
const berth = useBerth(() => ({
  database: database(),
  file: reachedAt(back().port),
  pool: { MaxConnections: 2 },
  expect: [
    'connection.closed',
    'connection.open_failed',
    'client.closed',
    'session.interrupted',
    'target.health_changed',
    (line) => line.event === 'session.pinned',
  ],
}));

const APP = { user: 'app', password: 'app-password', database: 'app' };

async function settled(proxy: Berth): Promise<void> {
  await untilMetric(proxy, 'client_connections', 0);
  await untilMetric(proxy, 'berth_borrow_queue_depth', 0);
  await untilMetric(proxy, 'database_connections_currently_borrowed', 0);
  await untilMetric(proxy, 'database_connections_currently_in_transaction', 0);
  await eventually(async () => {
    const known = await proxy.metric('database_connections');
    return known === (await pooledConnections(database())) ? true : undefined;
  }, 'permits that equal the connections of the database');
  expect(await openTransactions(database())).toBe(0);
  const [sum] = await adminQuery(database(), 'select coalesce(sum(a), 0) as sum from sums');
  expect(sum?.sum).toBe('0');
  using client = await proxy.login();
  expect(textRows(await client.query("select 'serves'"))).toEqual([['serves']]);
}

/** What of the client's messages can say that it was cut. Anything else is a bug of the test or worse. */
function isCut(error: unknown): boolean {
  if (error instanceof LoginError) return ['08006', '57P01', '08000'].includes(error.sqlState);
  return error instanceof Error && /closed while waiting|ECONNRESET|EPIPE/.test(String(error));
}

/** Bytes of an undisturbed conversation, on each side of the proxy. */
async function lengths(front: HostileNetwork): Promise<Record<'front' | 'back', Link>> {
  await adminQuery(database(), 'create table if not exists sums (a int); grant all on sums to app');
  for (const link of back().open) link.reset();
  const before = back().attempts;
  const client = await RawClient.login({ port: front.port }, APP);
  await converse(client);
  const used = busiestOf(back().links.all.slice(before));
  const link = busiestOf(front.links.all);
  await client.end();
  return { front: link, back: used };
}

/** Among the others are the monitor's, cancels, and those whose first bytes have not come. */
function busiestOf(links: readonly Link[]): Link {
  const [busiest] = [...links].sort((a, b) => bytesOf(b) - bytesOf(a));
  if (busiest === undefined) throw new Error('no connection went through');
  return busiest;
}

function bytesOf({ passed }: Link): number {
  return passed.toServer + passed.toClient;
}

describe.each(DIRECTIONS)('on the way %s', (direction) => {
  test('the client’s connection is reset at 100 positions', async () => {
    await using front = await HostileNetwork.start(berth().port);
    const length = (await lengths(front)).front.passed[direction];
    expect(length).toBeGreaterThan(400);
    const random = randomNumbers(SEED + direction.length);
    let cuts = 0;
    for (let round = 0; round < 100; round++) {
      const afterBytes = Math.floor(random() * length);
      front.plan = () => ({ cut: { direction, afterBytes, how: 'reset' } });
      await RawClient.login({ port: front.port }, APP)
        .then(converse)
        .catch((error: unknown) => {
          if (!isCut(error)) throw error;
          cuts++;
        });
      for (const link of front.open) link.reset();
      if (round % 10 === 9) await settled(berth());
    }
    // The last bytes of all are a goodbye, which a cut may as well replace.
    expect(cuts).toBeGreaterThanOrEqual(95);
  });

  test('the database’s connection is reset at 60 positions, and clients go on', async () => {
    await using front = await HostileNetwork.start(berth().port);
    const length = (await lengths(front)).back.passed[direction];
    expect(length).toBeGreaterThan(400);
    const random = randomNumbers(SEED - direction.length);
    back().plan = () => ({
      cut: { direction, afterBytes: Math.floor(random() * length), how: 'reset' },
    });
    const before = back().links.all.length;
    for (const link of back().open) link.reset();
    let cuts = 0;
    let goingOn = 0;
    try {
      while (cuts < 60) {
        const client = await berth().login();
        const conversation = new Conversation(client);
        try {
          await conversation.hold().catch((error: unknown) => {
            if (!(error instanceof Interrupted)) throw error;
            return conversation.recover().then(() => goingOn++);
          });
        } catch (error) {
          if (!isCut(error)) throw error;
        }
        const fatal = client.received.filter(
          (message) => message.type === 'E' && message.body.includes('FATAL'),
        );
        expect(sqlStates(fatal).length).toBeLessThanOrEqual(1);
        client.destroy();
        // Those cut at their login count too: nobody sees them but the waiting clients.
        cuts = back().links.all.length - before;
      }
      expect(goingOn).toBeGreaterThan(0);
    } finally {
      back().plan = () => ({});
      for (const link of back().open) link.reset();
    }
    await settled(berth());
  });
});
