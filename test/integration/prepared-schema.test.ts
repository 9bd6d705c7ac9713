/**
 * PG-58: the schema changes under a prepared statement, through the proxy or past it. Whoever prepared
 * the statement before is told so until it is prepared again, on whichever connection it runs; whoever
 * prepares it afterwards has it as it is then. All against the same on a direct connection.
 */

import { describe, expect, setDefaultTimeout, test } from 'bun:test';
import postgres from 'postgres';
import {
  type BackendMessage,
  errorFields,
  formatMessage,
  sqlStates,
  textRows,
} from '../harness/backend-messages.ts';
import { type Berth, useBerth } from '../harness/berth.ts';
import * as frontend from '../harness/frontend-messages.ts';
import { adminQuery, usePostgres } from '../harness/postgres.ts';
import type { RawClient } from '../harness/raw-client.ts';
import { Jostler, loginDirectly, untilAllReturned } from './side-by-side.ts';

setDefaultTimeout(20_000);

const { bind, close, describe: describeMessage, execute, flush, parse, query, sync } = frontend;

const database = usePostgres();
const one = useBerth(() => ({ database: database(), pool: { MaxConnections: 1 } }));
const four = useBerth(() => ({ database: database(), pool: { MaxConnections: 4 } }));

const CREATE = `drop table if exists shape, other; create table shape (a int, k int);
  insert into shape values (1, 7); create table other (a int, k int); insert into other values (5, 7);
  alter table shape owner to app; alter table other owner to app`;
const WIDEN = "alter table shape add b text default 'b'";
const NARROW = 'alter table shape drop b';
const SELECT = 'select * from shape';

/** One step of a story: messages and what is waited for, or a change of the schema. */
type Scene =
  | { readonly send: readonly Buffer[]; readonly wait?: string }
  | { readonly change: string };

function run(statement: string, ...parameters: readonly frontend.Parameter[]): Buffer[] {
  return [bind({ statement, parameters }), execute()];
}

function change(sql: string): Scene {
  return { change: sql };
}

function send(...messages: readonly Buffer[]): Scene {
  return { send: messages };
}

/**
 * Tables have new numbers each time. Of the place in the server's source the line is not told, and the
 * function is another where the proxy's Parse is refused instead of the client's Bind.
 */
function inWords(answers: readonly BackendMessage[]): string[] {
  return answers.map((each) =>
    formatMessage(each)
      .replace(/ L="\d+"/, '')
      .replace(/R="exec_(?:bind|parse)_message"/, 'R="exec_..._message"')
      .replace(/":\d{5,}\./g, '":table.'),
  );
}

async function play(
  client: RawClient,
  scenes: readonly Scene[],
  alter: (sql: string) => Promise<unknown>,
  between?: () => Promise<void>,
): Promise<string[]> {
  const lines: string[] = [];
  for (const scene of scenes) {
    await between?.();
    if ('change' in scene) {
      await alter(scene.change);
      continue;
    }
    client.send(...scene.send);
    const [, count, type = ''] = /^(\d*)(.)$/.exec(scene.wait ?? 'Z') ?? [];
    lines.push(...inWords(await client.until(type, Number(count) || 1)));
  }
  return lines;
}

/** Tables as they are at first, and the proxy knows that something has happened. */
async function begin(berth: Berth): Promise<void> {
  await adminQuery(database(), CREATE);
  using client = await berth.login();
  expect(sqlStates(await client.query('create table passing (); drop table passing'))).toEqual([]);
  await client.end();
}

type Way = 'through the proxy' | 'past the proxy';

async function through(
  berth: Berth,
  scenes: readonly Scene[],
  way: Way,
  jostler?: Jostler,
): Promise<string[]> {
  await begin(berth);
  using client = await berth.login();
  using owner = await berth.login();
  const alter = async (sql: string) => {
    if (way === 'past the proxy') await adminQuery(database(), sql);
    else expect(sqlStates(await owner.query(sql))).toEqual([]);
  };
  const lines = await play(client, scenes, alter, jostler && (() => jostler.push()));
  await client.end();
  await owner.end();
  return lines;
}

async function directly(scenes: readonly Scene[]): Promise<string[]> {
  await adminQuery(database(), CREATE);
  using client = await loginDirectly(database());
  const lines = await play(client, scenes, (sql) => adminQuery(database(), sql));
  await client.end();
  return lines;
}

const PREPARE = send(parse('s', SELECT), describeMessage('statement', 's'), ...run('s'), sync());

const STORIES: readonly [name: string, scenes: readonly Scene[], contains: string][] = [
  [
    'more columns: 0A000 until it is prepared again',
    [
      PREPARE,
      change(WIDEN),
      send(...run('s'), sync()),
      send(...run('s'), sync()),
      send(describeMessage('statement', 's'), sync()),
      send(close('statement', 's'), parse('s', SELECT), ...run('s'), sync()),
      send(describeMessage('statement', 's'), ...run('s'), sync()),
    ],
    '0A000',
  ],
  [
    'another type of a column',
    [
      PREPARE,
      change('alter table shape alter a type text'),
      send(...run('s'), sync()),
      send(query('deallocate s')),
      send(parse('s', SELECT), ...run('s'), sync()),
    ],
    '0A000',
  ],
  [
    'another name of a column',
    [PREPARE, change('alter table shape rename a to z'), send(...run('s'), sync())],
    '0A000',
  ],
  [
    'there and back again',
    [
      PREPARE,
      change(WIDEN),
      send(...run('s'), sync()),
      change(NARROW),
      send(...run('s'), sync()),
      send(describeMessage('statement', 's'), ...run('s'), sync()),
    ],
    '0A000',
  ],
  [
    'a table that was made anew is the same',
    [
      send(parse('s', 'select a from shape'), ...run('s'), sync()),
      change('drop table shape; create table shape (a int); insert into shape values (3)'),
      change('grant all on shape to app'),
      send(...run('s'), sync()),
      change('drop table shape'),
      send(...run('s'), sync()),
      change("create table shape (a text); insert into shape values ('x')"),
      change('grant all on shape to app'),
      send(...run('s'), sync()),
      send(close('statement', 's'), parse('s', 'select a from shape'), ...run('s'), sync()),
    ],
    '0A000',
  ],
  [
    'parameters keep their types',
    [
      send(parse('s', 'select 1 as one from shape where a = $1'), ...run('s', '1'), sync()),
      send(parse('i', 'insert into shape (a) values ($1)'), ...run('i', '2'), sync()),
      change('alter table shape alter a type text'),
      send(...run('s', '1'), sync()),
      send(...run('i', '3'), sync()),
      send(describeMessage('statement', 'i'), sync()),
      send(parse('t', 'select 1 as one from shape where a = $1'), ...run('t', '1'), sync()),
      send(query('select a from shape order by a')),
    ],
    '42883',
  ],
  [
    'nothing of the statement has happened',
    [
      send(parse('r', 'insert into shape (a) values (2) returning *'), ...run('r'), sync()),
      change(WIDEN),
      send(...run('r'), sync()),
      send(query('select count(*) from shape')),
      send(parse('x', 'insert into other values (1, 1)'), ...run('x'), ...run('r'), sync()),
      send(query('select count(*) from other')),
      send(...run('x'), sync()),
      send(query('select count(*) from other')),
    ],
    '0A000',
  ],
  [
    'in a transaction, which has failed then',
    [
      PREPARE,
      change(WIDEN),
      send(query('begin')),
      send(query('insert into other values (10, 10)')),
      send(...run('s'), sync()),
      send(...run('s'), sync()),
      send(query('select 1')),
      send(query('savepoint x')),
      send(query('rollback')),
      send(query('begin')),
      send(query('savepoint x')),
      send(describeMessage('statement', 's'), sync()),
      send(query('rollback to x')),
      send(close('statement', 's'), parse('s', SELECT), ...run('s'), sync()),
      send(query('commit')),
      send(query('select a from other order by a')),
    ],
    '25P02',
  ],
  [
    'in a pipeline, of which the other batches go on',
    [
      PREPARE,
      send(parse('o', 'select * from other'), ...run('o'), sync()),
      change(WIDEN),
      {
        send: [
          ...[...run('o'), ...run('s'), ...run('o'), sync()],
          ...[...run('o'), sync()],
          ...[...run('s'), close('statement', 's'), sync(), query('select 1')],
          ...[...run('s'), sync()],
          ...[close('statement', 's'), parse('s', SELECT), ...run('s'), sync()],
          ...[...run('s'), ...run('o'), sync()],
        ],
        wait: '7Z',
      },
    ],
    '0A000',
  ],
  [
    'with Flush, as asyncpg and postgres.js use it',
    [
      PREPARE,
      change(WIDEN),
      { send: [bind({ statement: 's' }), execute(), flush()], wait: 'E' },
      { send: [close('statement', 's'), flush(), sync()], wait: 'Z' },
      { send: [describeMessage('statement', 's'), flush()], wait: 'E' },
      send(sync()),
      { send: [close('statement', 's'), flush()], wait: '3' },
      { send: [parse('s', SELECT), describeMessage('statement', 's'), flush()], wait: 'T' },
      { send: [bind({ statement: 's' }), execute(), flush()], wait: 'C' },
      send(sync()),
    ],
    '0A000',
  ],
  [
    'large parameters',
    [
      send(parse('s', 'select *, length($1) from shape'), ...run('s', 'x'), sync()),
      send(...run('s', 'x'.repeat(400_000)), sync()),
      change(WIDEN),
      send(...run('s', 'x'.repeat(400_000)), sync(), ...run('s', 'x'.repeat(9_000_000)), sync()),
      send(query('select 1')),
    ],
    '0A000',
  ],
  [
    'a statement without rows does not mind',
    [
      send(parse('u', 'update shape set a = a + $1'), ...run('u', '1'), sync()),
      change(WIDEN),
      send(...run('u', '1'), sync()),
      send(describeMessage('statement', 'u'), sync()),
      send(query('select a from shape')),
    ],
    'UPDATE 1',
  ],
  [
    'several names of one text, each prepared at its own time',
    [
      PREPARE,
      change(WIDEN),
      send(parse('t', SELECT), describeMessage('statement', 't'), ...run('t'), sync()),
      send(...run('s'), sync()),
      send(...run('t'), sync()),
      change('alter table shape add c int default 3'),
      send(parse('u', SELECT), ...run('u'), sync()),
      send(...run('t'), sync()),
      send(...run('s'), sync()),
      send(...run('u'), sync()),
      change('alter table shape drop c'),
      send(...run('u'), sync()),
      send(...run('t'), sync()),
      change(NARROW),
      send(...run('s'), sync()),
      send(...run('t'), sync()),
    ],
    '0A000',
  ],
];

const waited = (scenes: readonly Scene[]): Scene[] =>
  // A step of several simple queries waits for all of them.
  scenes
    .filter((scene) => 'change' in scene || scene.send.length > 0)
    .map((scene) => {
      if ('change' in scene || scene.wait !== undefined) return scene;
      const count = scene.send.filter((each) => 'QS'.includes(String.fromCharCode(each[0] ?? 0)));
      return { ...scene, wait: `${count.length}Z` };
    });

describe.each([
  [1, one],
  [4, four],
] as const)('PG-58 a pool of %d', (size, berth) => {
  for (const [name, scenes, contains] of STORIES) {
    test(name, async () => {
      const steps = waited(scenes);
      const expected = await directly(steps);
      expect(expected.join('\n')).toContain(contains);
      for (const way of ['through the proxy', 'past the proxy'] as const) {
        expect(await through(berth(), steps, way)).toEqual(expected);
        if (size === 1) continue;
        // The owner and the client need two; all others are taken in turn.
        using jostler = await Jostler.start(berth(), size - 1);
        expect(await through(berth(), steps, way, jostler)).toEqual(expected);
        await jostler.end();
      }
      await untilAllReturned(berth());
    });
  }

  test('another client prepares it anew, and the first one is still told', async () => {
    for (const way of ['through the proxy', 'past the proxy'] as const) {
      await begin(berth());
      using first = await berth().login();
      using second = await berth().login();
      using third = await berth().login();
      const prepared = [parse('s', SELECT), describeMessage('statement', 's'), ...run('s'), sync()];
      first.send(...prepared);
      expect(textRows(await first.untilReady())).toEqual([['1', '7']]);
      if (way === 'past the proxy') await adminQuery(database(), WIDEN);
      else await third.query(WIDEN);
      for (const client of [second, third]) {
        client.send(...prepared);
        const answers = await client.untilReady();
        // What was done past the proxy is known when somebody has run into it.
        if (way === 'past the proxy' && sqlStates(answers).length > 0) {
          expect(sqlStates(answers)).toEqual(['0A000']);
          client.send(close('statement', 's'), ...prepared);
          expect(textRows(await client.untilReady())).toEqual([['1', '7', 'b']]);
        } else {
          expect(textRows(answers)).toEqual([['1', '7', 'b']]);
        }
      }
      for (let round = 0; round < 6; round++) {
        first.send(...run('s'), sync());
        second.send(...run('s'), sync());
        third.send(...run('s'), sync(), describeMessage('statement', 's'), sync());
        const [refused] = await first.untilReady();
        expect(refused && Object.fromEntries(errorFields(refused))).toMatchObject({
          S: 'ERROR',
          V: 'ERROR',
          C: '0A000',
          M: 'cached plan must not change result type',
          F: 'plancache.c',
          R: 'RevalidateCachedQuery',
        });
        expect(textRows(await second.untilReady())).toEqual([['1', '7', 'b']]);
        expect(textRows(await third.untilReady(2))).toEqual([['1', '7', 'b']]);
      }
      for (const client of [first, second, third]) await client.end();
    }
  });

  test('a change that is rolled back was never there', async () => {
    await begin(berth());
    using owner = await berth().login();
    using client = await berth().login();
    const prepared = [parse('s', SELECT), ...run('s'), sync()];
    client.send(...prepared);
    await client.untilReady();
    for (let round = 0; round < 3; round++) {
      await owner.query('begin');
      await owner.query(WIDEN);
      owner.send(...prepared);
      expect(textRows(await owner.untilReady())).toEqual([['1', '7', 'b']]);
      await owner.query('rollback');
      owner.send(...run('s'), sync());
      expect(sqlStates(await owner.untilReady())).toEqual(['0A000']);
      owner.send(close('statement', 's'), sync());
      await owner.untilReady();
      client.send(...run('s'), sync());
      expect(textRows(await client.untilReady())).toEqual([['1', '7']]);
    }
    await owner.end();
    await client.end();
  });

  test('a temporary table in its place is one session’s alone', async () => {
    await begin(berth());
    using client = await berth().login();
    client.send(parse('s', SELECT), ...run('s'), sync());
    await client.untilReady();
    for (let round = 0; round < 3; round++) {
      using other = await berth().login();
      await other.query("begin; create temp table shape on commit drop as select 'temp' as t");
      other.send(parse('s', SELECT), ...run('s'), sync());
      expect(textRows(await other.untilReady())).toEqual([['temp']]);
      await other.query('commit');
      other.send(...run('s'), sync());
      expect(sqlStates(await other.untilReady())).toEqual(['0A000']);
      other.send(close('statement', 's'), parse('s', SELECT), ...run('s'), sync());
      expect(textRows(await other.untilReady())).toEqual([['1', '7']]);
      client.send(...run('s'), sync());
      expect(textRows(await client.untilReady())).toEqual([['1', '7']]);
      await other.end();
    }
    await client.end();
  });
});

test('PG-58 postgres.js prepares again by itself, as on a direct connection', async () => {
  const options = { host: '127.0.0.1', user: 'app', password: 'app-password', database: 'app' };
  const story = async (port: number) => {
    await adminQuery(database(), CREATE);
    const sql = postgres({ ...options, port, max: 1 });
    const owner = postgres({ ...options, port, max: 1 });
    const found: unknown[] = [];
    const ask = async () => void found.push(...(await sql`select * from shape where a = ${1}`));
    for (const change of [WIDEN, NARROW, WIDEN]) {
      await ask();
      await ask();
      await owner.unsafe(change);
    }
    await ask();
    await sql.end();
    await owner.end();
    return found;
  };
  const expected = await story(database().port);
  expect(expected).toContainEqual({ a: 1, k: 7, b: 'b' });
  for (const berth of [one(), four()]) expect(await story(berth.port)).toEqual(expected);
});
