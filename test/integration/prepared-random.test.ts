/**
 * PG-50 to PG-59 at random, from seeds: a few clients, fifty statements that they share, four
 * connections. They prepare, run, close, fail, pipeline, deallocate, open transactions and vanish; each
 * knows what a server of its own would answer, and must get exactly that.
 */

import { expect, setDefaultTimeout, test } from 'bun:test';
import { errorFields, sqlStates, textRows } from '../harness/backend-messages.ts';
import { useBerth } from '../harness/berth.ts';
import * as frontend from '../harness/frontend-messages.ts';
import { usePostgres } from '../harness/postgres.ts';
import type { RawClient } from '../harness/raw-client.ts';
import { Random } from '../soak/random.ts';
import { untilAllReturned } from './side-by-side.ts';

setDefaultTimeout(60_000);

const { bind, close, describe: describeMessage, execute, parse, query, sync } = frontend;

const database = usePostgres();
const berth = useBerth(() => ({ database: database(), pool: { MaxConnections: 4 } }));

const TEXTS = 50;
const NAMES = 80;
const ROUNDS = 250;

/** What a batch is to be answered with, and what is true afterwards. */
interface Batch {
  readonly messages: Buffer[];
  readonly rows: string[][];
  sqlState: string | undefined;
}

class Actor {
  readonly #random: Random;
  #client: RawClient;
  /** What a server of its own would have: name to text. */
  #names = new Map<string, number>();

  private constructor(random: Random, client: RawClient) {
    this.#random = random;
    this.#client = client;
  }

  static async start(random: Random): Promise<Actor> {
    return new Actor(random, await berth().login());
  }

  async round(): Promise<void> {
    const pick = this.#random.between(0, 99);
    if (pick < 70) await this.#play(this.#random.between(1, 4));
    else if (pick < 80) await this.#transaction();
    else if (pick < 87) await this.#deallocate();
    else if (pick < 90) await this.#deallocateAll();
    else if (pick < 93) await this.#vanish();
    else await this.#executeInSql();
  }

  async end(): Promise<void> {
    await this.#client.end();
  }

  /** Some batches in one write; answers are awaited after all of them. */
  async #play(count: number, ...first: readonly Buffer[]): Promise<void> {
    const batches = Array.from({ length: count }, () => this.#batch());
    this.#client.send(...first, ...batches.flatMap(({ messages }) => messages));
    if (first.length > 0)
      expect(sqlStates(await this.#client.untilReady(first.length))).toEqual([]);
    for (const batch of batches) {
      const answers = await this.#client.untilReady();
      const found = answers.filter(({ type }) => type === 'E').map((each) => errorFields(each));
      expect({ rows: textRows(answers), errors: found.map((each) => each.get('C')) }).toEqual({
        rows: batch.rows,
        errors: batch.sqlState === undefined ? [] : [batch.sqlState],
      });
      expect(found.map((each) => each.get('M')).join()).not.toContain('berth');
    }
  }

  #batch(): Batch {
    const batch: Batch = { messages: [], rows: [], sqlState: undefined };
    for (let n = this.#random.between(1, 6); n > 0; n--) this.#step(batch);
    batch.messages.push(sync());
    return batch;
  }

  /** One request, and its outcome unless an error has come before it. */
  #step(batch: Batch): void {
    const name = `n${this.#random.between(0, NAMES - 1)}`;
    const isSkipped = batch.sqlState !== undefined;
    const text = this.#names.get(name);
    const pick = this.#random.between(0, 99);
    if (pick < 35) {
      const number = this.#random.between(0, TEXTS - 1);
      const isWrong = this.#random.between(0, 9) === 0;
      const isTyped = this.#random.between(0, 1) === 0;
      batch.messages.push(
        isWrong
          ? parse(name, 'select * from nowhere')
          : parse(name, sqlOf(number), isTyped ? [23] : []),
      );
      if (isSkipped) return;
      if (isWrong) batch.sqlState = '42P01';
      else if (text !== undefined) batch.sqlState = '42P05';
      else this.#names.set(name, number);
    } else if (pick < 80) {
      const parameter = this.#random.between(-2, 9);
      const bindMessage = bind({ statement: name, parameters: [String(parameter)] });
      batch.messages.push(bindMessage, execute());
      if (isSkipped) return;
      if (text === undefined) batch.sqlState = '26000';
      else if (parameter === 0) batch.sqlState = '22012';
      else batch.rows.push([`text ${text}`, String(Math.trunc(100 / parameter))]);
    } else if (pick < 92) {
      batch.messages.push(close('statement', name));
      if (!isSkipped) this.#names.delete(name);
    } else {
      batch.messages.push(describeMessage('statement', name));
      if (!isSkipped && text === undefined) batch.sqlState = '26000';
    }
  }

  async #transaction(): Promise<void> {
    await this.#client.query('begin');
    const isFailing = this.#random.between(0, 2) === 0;
    if (!isFailing) {
      const [name, text] = this.#any();
      if (name !== undefined) await this.#expectRow(name, text);
    } else {
      await this.#client.query('select 1/0');
      this.#client.send(parse('n0', sqlOf(0)), sync());
      expect(sqlStates(await this.#client.untilReady())).toEqual(['25P02']);
      this.#client.send(bind({ statement: 'n1', parameters: ['1'] }), sync());
      const isThere = this.#names.has('n1');
      expect(sqlStates(await this.#client.untilReady())).toEqual([isThere ? '25P02' : '26000']);
      const [name] = this.#any();
      if (name !== undefined) {
        expect(sqlStates(await this.#client.query(`deallocate ${name}`))).toEqual(['25P02']);
        this.#client.send(close('statement', name), sync());
        expect(sqlStates(await this.#client.untilReady())).toEqual([]);
        this.#names.delete(name);
      }
    }
    await this.#client.query(this.#random.between(0, 1) === 0 ? 'commit' : 'rollback');
  }

  #any(): [name: string | undefined, text: number] {
    const all = [...this.#names];
    const [name, text] = all[this.#random.between(0, Math.max(all.length - 1, 0))] ?? [];
    return [name, text ?? 0];
  }

  async #expectRow(name: string, text: number): Promise<void> {
    this.#client.send(bind({ statement: name, parameters: ['4'] }), execute(), sync());
    expect(textRows(await this.#client.untilReady())).toEqual([[`text ${text}`, '25']]);
  }

  async #deallocate(): Promise<void> {
    const [name] = this.#any();
    if (name === undefined) return;
    this.#client.send(query(`deallocate ${name}`), bind({ statement: name }), sync());
    expect(sqlStates(await this.#client.untilReady(2))).toEqual(['26000']);
    this.#names.delete(name);
  }

  async #deallocateAll(): Promise<void> {
    this.#names.clear();
    await this.#play(2, query('deallocate all'));
  }

  async #vanish(): Promise<void> {
    const { messages } = this.#batch();
    this.#client.send(...messages.slice(0, -1));
    this.#client.reset();
    this.#client = await berth().login();
    this.#names.clear();
  }

  async #executeInSql(): Promise<void> {
    const [name, text] = this.#any();
    if (name === undefined) return;
    const answers = await this.#client.query(`execute ${name}(-1)`);
    expect(textRows(answers)).toEqual([[`text ${text}`, '-100']]);
  }
}

function sqlOf(number: number): string {
  return `select 'text ${number}', 100 / $1::int`;
}

test.each([1, 2, 3, 4, 5, 6])('seed %d', async (seed) => {
  const actors = await Promise.all([1, 2, 3, 4, 5, 6].map((n) => Actor.start(new Random(seed, n))));
  await Promise.all(
    actors.map(async (actor) => {
      for (let n = 0; n < ROUNDS; n++) await actor.round();
    }),
  );
  for (const actor of actors) await actor.end();
  await untilAllReturned(berth());
  expect(await berth().metric('berth_session_pins_total')).toBe(0);
});
