/**
 * The flow of messages through the proxy, against the same on a direct connection: pipelines, errors in
 * every position, implicit transactions, function calls, and the unnamed statement that must follow its
 * client from connection to connection.
 */

import { describe, expect, setDefaultTimeout, test } from 'bun:test';
import { formatMessage, sqlStates, textRows } from '../harness/backend-messages.ts';
import { useBerth } from '../harness/berth.ts';
import * as frontend from '../harness/frontend-messages.ts';
import { untilMetric } from '../harness/polling.ts';
import { adminQuery, usePostgres } from '../harness/postgres.ts';
import type { RawClient } from '../harness/raw-client.ts';
import { compare, loginDirectly, type Step, untilAllReturned } from './side-by-side.ts';

setDefaultTimeout(20_000);

const { bind, close, describe: describeMessage, execute, flush, parse, query, sync } = frontend;

const database = usePostgres();
const one = useBerth(() => ({ database: database(), pool: { MaxConnections: 1 } }));
const four = useBerth(() => ({ database: database(), pool: { MaxConnections: 4 } }));

/** Parse, Bind and Execute of the unnamed statement. */
function run(sql: string): Buffer[] {
  return [parse('', sql), bind(), execute()];
}

/** Fails when it is parsed. */
const WRONG = 'select * from nowhere';

/** The types of some messages, as one string. */
function types(messages: readonly { readonly type: string }[]): string {
  return messages.map(({ type }) => type).join('');
}

const SIZES = [
  ['a pool of 1', one],
  ['a pool of 4', four],
] as const;

describe.each([...SIZES])('%s', (_name, berth) => {
  async function same(...steps: readonly Step[]): Promise<string[]> {
    const answers = await compare(database(), berth(), steps);
    await untilAllReturned(berth());
    return answers;
  }

  describe('PG-21: Syncs', () => {
    test('alone, and several in one segment', async () => {
      expect(await same([[sync()], 'Z'])).toEqual(['ReadyForQuery I']);
      expect(await same([[sync(), sync(), sync(), sync(), sync()], '5Z'])).toHaveLength(5);
    });

    test('one for many statements, and one for each', async () => {
      await same([[...run('select 1'), ...run('select 2'), ...run('select 3'), sync()], 'Z']);
      const each = [1, 2, 3, 4].flatMap((n) => [...run(`select ${n}`), sync()]);
      await same([each, '4Z']);
    });

    test('split from their batch', async () => {
      await same([[...run('select 1'), flush()], 'C'], [[sync()], 'Z']);
      await same([run('select 1'), ''], [[sync()], 'Z']);
    });

    test('between simple queries', async () => {
      await same([
        [query('select 1'), sync(), query('select 2'), ...run('select 3'), sync()],
        '4Z',
      ]);
    });
  });

  test('PG-21: a pipeline 2,000 deep, every answer in its place', async () => {
    using client = await berth().login();
    const numbers = Array.from({ length: 2_000 }, (_, n) => n);
    client.send(
      ...numbers.flatMap((n) =>
        n % 3 === 0 ? [query(`select ${n}`)] : [...run(`select ${n}`), sync()],
      ),
    );
    const answers = await client.untilReady(numbers.length);
    expect(textRows(answers).map(([value]) => Number(value))).toEqual(numbers);
    await untilAllReturned(berth());
  });

  test('PG-21: a client that writes its whole pipeline before it reads does not lock up', async () => {
    using client = await berth().login();
    const text = 'x'.repeat(9_000);
    client.pause();
    // 18 MB each way: more than every buffer on the way.
    const batch = [...run(`select '${text}'`), sync()];
    for (let n = 0; n < 2_000; n++) client.send(...batch);
    client.resume();
    const answers = await client.untilReady(2_000);
    expect(answers.filter(({ type }) => type === 'D')).toHaveLength(2_000);
    await untilAllReturned(berth());
  });

  test('PG-21: a batch with more messages than are kept count of, with one Sync at its end', async () => {
    using client = await berth().login();
    client.send(parse('', 'select 1'));
    for (let n = 0; n < 60_000; n++) client.send(bind(), execute());
    client.send(sync());
    const answers = await client.untilReady();
    expect(answers.filter(({ type }) => type === 'D')).toHaveLength(60_000);
    await untilAllReturned(berth());
  });

  describe('PG-22: an error in every position of a batch', () => {
    const good = [
      parse('', 'select $1::int', [23]),
      describeMessage('statement'),
      bind({ parameters: ['7'] }),
      describeMessage('portal'),
      execute(),
      close('portal'),
    ];
    const bad = [
      ['Parse', parse('', WRONG)],
      ['Bind', bind({ statement: 'nowhere' })],
      ['Describe', describeMessage('portal', 'nowhere')],
      ['Execute', execute('nowhere')],
    ] as const;
    for (const [name, wrong] of bad) {
      test(`${name} fails`, async () => {
        for (let at = 0; at <= good.length; at++) {
          const batch = good.toSpliced(at, 0, wrong);
          const answers = await same([[...batch, sync(), ...run("select 'after'"), sync()], '2Z']);
          expect(answers).toContain('DataRow "after"');
        }
      });
    }

    test('at run time, in the middle of rows', async () => {
      const sql = 'select 1 / (3 - n) from generate_series(1, 5) n';
      await same([[...run(sql), ...run('select 1'), sync(), query('select 2')], '2Z']);
      await same([[query(sql), query('select 2')], '2Z']);
    });

    test('when the Sync commits', async () => {
      await adminQuery(
        database(),
        `drop table if exists late; create table late (id int, unique (id) deferrable initially deferred);
         alter table late owner to app`,
      );
      const insert = run('insert into late values (1), (1)');
      const answers = await same([[...insert, sync(), query('select count(*) from late')], '2Z']);
      expect(answers).toContain('DataRow "0"');
    });

    test('a simple query inside the failed batch gets no answer', async () => {
      const batch = [parse('', WRONG), query("select 'never'"), ...run("select 'no'"), sync()];
      const answers = await same([[...batch, query("select 'after'")], '2Z']);
      expect(answers.filter((line) => line.startsWith('DataRow'))).toEqual(['DataRow "after"']);
    });

    test('a function call inside the failed batch gets no answer', async () => {
      const call = frontend.functionCall(1598, []);
      await same([[parse('', WRONG), call, sync(), query('select 1')], '2Z']);
    });
  });

  describe('PG-23: the Sync comes long after the error', () => {
    test('alone', async () => {
      await same([[parse('', WRONG)], 'E'], [[sync()], 'Z']);
    });

    test('after more that is discarded', async () => {
      await same(
        [[parse('', WRONG), flush()], 'E'],
        [[...run("select 'never'"), query("select 'never'"), flush()], ''],
        [[bind(), execute(), sync(), query("select 'after'")], '2Z'],
      );
    });
  });

  test('PG-24: Flush in place of Sync keeps the transaction and the connection', async () => {
    await same(
      [[parse('', 'select $1::int4', [23]), describeMessage('statement'), flush()], 'T'],
      [[bind({ parameters: ['5'] }), execute(), flush()], 'C'],
      [[sync()], 'Z'],
    );
    await adminQuery(database(), 'drop table if exists flushed; create table flushed (id int)');
    await adminQuery(database(), 'alter table flushed owner to app');
    using client = await berth().login();
    client.send(...run('insert into flushed values (1)'), flush());
    await client.until('C');
    const seen = await adminQuery(database(), 'select count(*) as count from flushed');
    expect(seen).toEqual([{ count: '0' }]);
    await untilMetric(berth(), 'database_connections_currently_borrowed', 1);
    client.send(sync());
    await client.untilReady();
    expect(await adminQuery(database(), 'select count(*) as count from flushed')).toEqual([
      { count: '1' },
    ]);
  });

  test('PG-25: a portal that is read in parts', async () => {
    await same(
      [[query('begin')], 'Z'],
      [[parse('', 'select generate_series(1, 5)'), bind({ portal: 'p' }), execute('p', 2)], ''],
      [[sync()], 'Z'],
      [[execute('p', 2), sync()], 'Z'],
      [[execute('p', 2), close('portal', 'p'), sync()], 'Z'],
      [[query('commit')], 'Z'],
    );
  });

  describe('PG-26: implicit transactions', () => {
    test.each([
      'select 1; select 2; select 3',
      'create table implicit (id int); select 1 / 0',
      'begin; select 1; commit',
      'select 1; commit',
      'begin; select 1 / 0; select 2',
      '',
      ';',
      ';;;',
      '-- nothing',
      '/* nothing /* at all */ */',
      'select 1;',
      'rollback',
      'commit; select 1',
    ])('%p', async (sql) => {
      await same([[query(sql)], 'Z'], [[query('rollback')], 'Z'], [run(sql), ''], [[sync()], 'Z']);
    });

    test('what failed is undone as a whole', async () => {
      using client = await berth().login();
      const sql = 'create table undone (id int); insert into undone values (1); select 1 / 0';
      expect(sqlStates(await client.query(sql))).toEqual(['22012']);
      expect(textRows(await client.query("select to_regclass('undone')"))).toEqual([[null]]);
    });
  });

  describe('PG-20: the connection is held while a transaction is open', () => {
    test('also a failed one, until it is rolled back', async () => {
      using client = await berth().login();
      await client.query('begin; select 1 / 0');
      await untilMetric(berth(), 'database_connections_currently_borrowed', 1);
      expect(sqlStates(await client.query('select 1'))).toEqual(['25P02']);
      await client.query('rollback');
      await untilAllReturned(berth());
    });

    test('with savepoints and COMMIT AND CHAIN', async () => {
      await same(
        [[query('begin'), query('savepoint a'), query('select 1 / 0')], '3Z'],
        [[query('rollback to a'), query('select 1'), query('commit and chain')], '3Z'],
        [[query('select 2'), query('rollback and chain'), query('commit')], '3Z'],
      );
    });
  });

  describe('PG-27: function calls', () => {
    test('answered, refused, and in a transaction', async () => {
      const abs = frontend.functionCall(1397, ['-42']);
      await same([[abs], 'Z'], [[frontend.functionCall(1, []), abs, query('select 1')], '3Z']);
      await same([[query('begin'), abs, abs, query('commit')], '4Z']);
      await same([[query('begin; select 1 / 0')], 'Z'], [[abs, query('rollback')], '2Z']);
    });

    test('a large object is streamed out of lo_read', async () => {
      const bytes = 12_000_000;
      const [made] = await adminQuery(
        database(),
        `with made as (select lo_from_bytea(0, convert_to(repeat('0123456789abcdef', ${bytes / 16}), 'utf8')) as id)
         select id from made`,
      );
      const id = made?.id ?? '';
      await adminQuery(database(), `grant select on large object ${id} to app`);
      const open = frontend.functionCall(952, [id, '262144']);
      const read = frontend.functionCall(954, ['0', String(bytes)]);
      const answers = await same(
        [[query('begin')], 'Z'],
        [[open, read, frontend.functionCall(953, ['0'])], '3Z'],
        [[query('commit')], 'Z'],
      );
      // bytea in text: two characters for each byte, and the prefix.
      expect(answers.join('\n')).toContain(`FunctionCallResponse <${2 * bytes + 2 + 4} bytes`);
    });
  });

  test('PG-33: notices and changed parameters in the middle of everything', async () => {
    const notice = "do $$ begin raise notice 'one'; raise warning 'two'; end $$";
    await same([[query(notice), ...run(notice), sync()], '2Z']);
    const inTransaction = "begin; set local application_name = 'mid'; select 1; commit";
    await same([[query(inTransaction)], 'Z']);
  });

  test('requests that arrive byte by byte', async () => {
    using client = await berth().login();
    const batch = Buffer.concat([...run("select 'cut'"), sync(), query('select 2'), sync()]);
    await client.sendSplit(batch, 1);
    const answers = await client.untilReady(3);
    expect(types(answers)).toBe('12DCZTDCZZ');
    expect(textRows(answers)).toEqual([['cut'], ['2']]);
  });
});

describe('the unnamed statement follows its client', () => {
  const use = [bind(), execute(), sync()];

  async function twoClients(): Promise<[RawClient, RawClient]> {
    return [await one().login(), await one().login()];
  }

  async function answer(client: RawClient, ...messages: readonly Uint8Array[]): Promise<string[]> {
    client.send(...messages);
    return (await client.untilReady()).map(formatMessage);
  }

  const RAN = ['BindComplete', 'CommandComplete SELECT 1', 'ReadyForQuery I'];

  test('to a connection that somebody else has used', async () => {
    const [a, b] = await twoClients();
    await answer(a, parse('', "select 'a' || $1::int4", [23]), sync());
    for (let round = 0; round < 20; round++) {
      await answer(b, parse('', `select 'b${round}'`), sync());
      const value = String(round);
      const forA = await answer(a, bind({ parameters: [value] }), execute(), sync());
      expect(forA).toEqual([RAN[0] ?? '', `DataRow "a${value}"`, ...RAN.slice(1)]);
      const forB = await answer(b, ...use);
      expect(forB).toEqual([RAN[0] ?? '', `DataRow "b${round}"`, ...RAN.slice(1)]);
    }
    a.destroy();
    b.destroy();
  });

  test('described on another connection, it is the same', async () => {
    const [a, b] = await twoClients();
    await answer(a, parse('', 'select $1::int4 as mine', [23]), sync());
    await answer(b, ...run("select 'theirs' as theirs"), sync());
    const described = await answer(a, describeMessage('statement'), sync());
    expect(described).toEqual([
      'ParameterDescription 23',
      'RowDescription "mine":0.0:23/4/-1:text',
      'ReadyForQuery I',
    ]);
    a.destroy();
    b.destroy();
  });

  test('out of a chunk that held much more', async () => {
    const [a, b] = await twoClients();
    const much = Array.from({ length: 500 }, (_, n) => [...run(`select ${n}`), sync()]).flat();
    a.send(...much, parse('', "select 'last'"), sync());
    await a.untilReady(501);
    await answer(b, ...run('select 1'), sync());
    expect(await answer(a, ...use)).toContain('DataRow "last"');
    a.destroy();
    b.destroy();
  });

  /** What leaves a client without an unnamed statement, while another's may lie on the connection. */
  const GONE: readonly [name: string, steps: readonly Step[]][] = [
    ['there never was one', []],
    [
      'after a simple query',
      [
        [[parse('', 'select 1'), sync()], 'Z'],
        [[query('select 2')], 'Z'],
      ],
    ],
    ['after an empty query', [[[parse('', 'select 1'), sync(), query('')], '2Z']]],
    [
      'after Close',
      [
        [[parse('', 'select 1'), sync()], 'Z'],
        [[close('statement'), sync()], 'Z'],
      ],
    ],
    [
      'after a Parse that failed',
      [[[parse('', 'select 1'), sync(), parse('', WRONG), sync()], '2Z']],
    ],
    [
      'after a Parse that was skipped',
      [[[execute('nowhere'), parse('', 'select 1'), sync()], 'Z']],
    ],
    [
      'after a Parse that came after the error',
      [
        [[execute('nowhere'), flush()], 'E'],
        [[parse('', 'select 1'), sync()], 'Z'],
      ],
    ],
    ['after a query that was skipped', [[[execute('nowhere'), query('select 1'), sync()], 'Z']]],
    ['after a Close that was skipped', [[[execute('nowhere'), close('statement'), sync()], 'Z']]],
    [
      'after a Bind that was skipped',
      [
        [[execute('nowhere'), flush()], 'E'],
        [[bind(), execute(), describeMessage('statement'), sync()], 'Z'],
      ],
    ],
  ];
  test.each([...GONE])('26000 when it is gone: %s', async (_name, steps) => {
    using other = await one().login();
    await answer(other, parse('', "select 'of another client'"), sync());
    using client = await one().login();
    using direct = await loginDirectly(database());
    for (const each of [direct, client]) {
      for (const [messages, wait] of steps) {
        each.send(...messages);
        await each.until(wait.slice(-1), Number.parseInt(wait, 10) || 1);
      }
      each.send(...use);
      expect(sqlStates(await each.untilReady())).toEqual(['26000']);
      each.send(describeMessage('statement'), sync());
      expect(sqlStates(await each.untilReady())).toEqual(['26000']);
    }
    // And it was not taken from the other.
    expect(await answer(other, ...use)).toContain('DataRow "of another client"');
  });

  /** What keeps a client's unnamed statement. */
  const KEPT: readonly [name: string, steps: readonly Step[]][] = [
    [
      'an error before it',
      [[[parse('', WRONG), sync(), parse('', "select 'kept'"), sync()], '2Z']],
    ],
    ['an error after it', [[[parse('', "select 'kept'"), execute('nowhere'), sync()], 'Z']]],
    [
      'a named Parse that failed',
      [[[parse('', "select 'kept'"), sync(), parse('named', WRONG), sync()], '2Z']],
    ],
    [
      'a Parse that came after an error',
      [
        [[parse('', "select 'kept'"), sync()], 'Z'],
        [[execute('nowhere'), flush()], 'E'],
        [[parse('', "select 'never'"), query('select 1'), close('statement'), sync()], 'Z'],
      ],
    ],
    [
      'a Bind that was skipped',
      [
        [[parse('', "select 'kept'"), sync()], 'Z'],
        [[execute('nowhere'), bind(), execute(), sync()], 'Z'],
      ],
    ],
  ];
  test.each([...KEPT])('it stays: %s', async (_name, steps) => {
    using direct = await loginDirectly(database());
    using client = await one().login();
    for (const each of [direct, client]) {
      let lastWait = 'Z';
      for (const [messages, wait] of steps) {
        // Between two batches the connection is somebody else's.
        if (each === client && lastWait.endsWith('Z')) {
          using other = await one().login();
          await answer(other, parse('', "select 'of another client'"), sync());
        }
        each.send(...messages);
        await each.until(wait.slice(-1), Number.parseInt(wait, 10) || 1);
        lastWait = wait;
      }
      expect(await answer(each, ...use)).toContain('DataRow "kept"');
    }
  });

  test('what it needs was dropped in between', async () => {
    await adminQuery(database(), 'create table dropped (id int); alter table dropped owner to app');
    const [a, b] = await twoClients();
    await answer(a, parse('', 'select * from dropped'), sync());
    await answer(b, ...run('drop table dropped'), sync());
    a.send(...use);
    expect(sqlStates(await a.untilReady())).toEqual(['42P01']);
    expect(await answer(a, ...run("select 'on'"), sync())).toContain('DataRow "on"');
    a.destroy();
    b.destroy();
  });
});

describe('the proxy counts latency from each request', () => {
  /**
   * How much of one request it counts, and how long it can have been at it; in microseconds. It counts when
   * it has written the answer, which may be a while after the client has read it, but not after it tells.
   */
  async function latencyOf(client: RawClient, sql: string) {
    const before = await one().metric('query_response_latency_sum');
    const askedAt = performance.now();
    await client.query(sql);
    const counted = (await one().metric('query_response_latency_sum')) - before;
    return { counted, atMost: (performance.now() - askedAt) * 1000 };
  }

  test('of a pinned session', async () => {
    using client = await one().login();
    one().expectLog(/"reason":"sql_prepare"/);
    await client.query('prepare pinned as select 1');
    const { atMost, counted } = await latencyOf(client, 'select 1');
    expect(counted).toBeGreaterThan(0);
    expect(counted).toBeLessThanOrEqual(atMost);
  });

  test('of a transaction', async () => {
    using client = await one().login();
    await client.query('begin; select pg_sleep(0.1)');
    const { atMost, counted } = await latencyOf(client, 'select 1');
    expect(counted).toBeGreaterThan(0);
    expect(counted).toBeLessThanOrEqual(atMost);
  });
});
