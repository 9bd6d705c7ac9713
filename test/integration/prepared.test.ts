/**
 * PG-50 to PG-61: prepared statements with a name, against the same on a direct connection. No client
 * is pinned by them (a pin that a test did not announce fails the file), and none can tell that the
 * connection under its statements is another one.
 */

import { beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test';
import { testUndisturbed } from '../harness/adversary.ts';
import { formatMessage, sqlStates, textRows } from '../harness/backend-messages.ts';
import { Berth, useBerth } from '../harness/berth.ts';
import * as frontend from '../harness/frontend-messages.ts';
import { untilMetric } from '../harness/polling.ts';
import { adminQuery, START_DEADLINE_MS, usePostgres } from '../harness/postgres.ts';
import type { RawClient } from '../harness/raw-client.ts';
import { Jostler, loginDirectly, type Step, untilAllReturned } from './side-by-side.ts';

setDefaultTimeout(20_000);

const { bind, close, describe: describeMessage, execute, flush, parse, query, sync } = frontend;

const database = usePostgres();
const one = useBerth(() => ({
  database: database(),
  pool: { MaxConnections: 1 },
  expect: [(line) => line.event === 'session.pinned' && line.reason === 'large_statement'],
}));
const four = useBerth(() => ({ database: database(), pool: { MaxConnections: 4 } }));

const INT4 = 23;
const TEXT = 25;
const NUMERIC = 1700;

beforeAll(async () => {
  await adminQuery(
    database(),
    `create schema left_side; create schema right_side;
     create table left_side.item (id int, side text); insert into left_side.item values (1, 'left');
     create table right_side.item (id text, side int, more text default 'more');
     insert into right_side.item values ('1', 2);
     create table lines (n int, t text);
     grant usage, create on schema left_side, right_side, public to app;
     grant all on all tables in schema left_side, right_side, public to app;
     alter table lines owner to app`,
  );
}, START_DEADLINE_MS);

/** Bind and Execute of a named statement. */
function run(statement: string, ...parameters: readonly frontend.Parameter[]): Buffer[] {
  return [bind({ statement, parameters }), execute()];
}

async function answer(client: RawClient, ...messages: readonly Buffer[]): Promise<string[]> {
  client.send(...messages);
  return (await client.untilReady()).map(formatMessage);
}

async function rows(client: RawClient, ...messages: readonly Buffer[]) {
  client.send(...messages, sync());
  return textRows(await client.untilReady());
}

/**
 * In a transaction that has failed a Parse of the proxy's own is refused where the client's Bind would
 * be: with the same words, from another line of the server's source.
 */
const ABORTED = /( C="25P02" .*) L="\d+" R="\w+"/;

/** Plays steps; before each, `between` may see to it that the next connection is another one. */
async function play(client: RawClient, steps: readonly Step[], between?: () => Promise<void>) {
  const lines: string[] = [];
  for (const [messages, wait] of steps) {
    await between?.();
    client.send(...messages);
    if (wait === '') continue;
    const [, count, type = ''] = /^(\d*)(.)$/.exec(wait) ?? [];
    const answers = await client.until(type, Number(count) || 1);
    lines.push(...answers.map((each) => formatMessage(each).replace(ABORTED, '$1')));
  }
  return lines;
}

/**
 * The steps on a direct connection and through the proxy, in equal words: on connections that know
 * nothing yet, on connections that know it all, and with a connection that changes at every step.
 */
async function same(berth: Berth, steps: readonly Step[], size: number): Promise<string[]> {
  using direct = await loginDirectly(database());
  const expected = await play(direct, steps);
  await direct.end();
  for (let round = 0; round < 3; round++) {
    using client = await berth.login();
    expect(await play(client, steps)).toEqual(expected);
    await client.end();
  }
  if (size > 1) {
    using jostler = await Jostler.start(berth, size - 1);
    for (let round = 0; round < 3; round++) {
      using client = await berth.login();
      expect(await play(client, steps, () => jostler.push())).toEqual(expected);
      await client.end();
    }
    await jostler.end();
  }
  await untilAllReturned(berth);
  return expected;
}

const S1 = parse('s', 'select 1 as one');
const WRONG = parse('s', 'select * from nowhere');

/** What must be answered as on a direct connection, wherever the client's requests go. */
const CASES: readonly [name: string, steps: readonly Step[]][] = [
  [
    'PG-50 parameter types belong to the statement',
    [
      [[parse('i', 'select $1 as p', [INT4]), describeMessage('statement', 'i'), sync()], 'Z'],
      [[parse('t', 'select $1 as p', [TEXT]), describeMessage('statement', 't'), sync()], 'Z'],
      [[parse('n', 'select $1 as p', [NUMERIC]), ...run('n', '1.50'), sync()], 'Z'],
      [[parse('u', 'select $1 as p'), describeMessage('statement', 'u'), sync()], 'Z'],
      [[...run('i', '007'), ...run('t', '007'), ...run('n', '007'), ...run('u', '007')], ''],
      [[sync()], 'Z'],
    ],
  ],
  [
    'PG-50 one text, several names',
    [
      [[parse('a', 'select 5'), parse('b', 'select 5'), parse('c', 'select 5'), sync()], 'Z'],
      [[...run('c'), ...run('a'), ...run('b'), sync()], 'Z'],
      [[parse('b', 'select 5'), sync()], 'Z'],
      [[parse('c', 'select 6'), sync()], 'Z'],
      [[bind({ statement: 'b', parameters: ['1'] }), sync()], 'Z'],
      [[close('statement', 'a'), ...run('b'), sync()], 'Z'],
      [[...run('a'), sync()], 'Z'],
      [[parse('a', 'select 5'), ...run('a'), sync()], 'Z'],
    ],
  ],
  [
    'PG-51 a name that is taken',
    [
      [[S1, sync()], 'Z'],
      [[parse('s', 'select 2'), sync()], 'Z'],
      [[S1, ...run('s'), sync()], 'Z'],
      [[...run('s'), sync()], 'Z'],
      [[parse('s', 'select wrong'), sync()], 'Z'],
      [[parse('s', 'select from where'), sync()], 'Z'],
      [[query('begin')], 'Z'],
      [[S1, sync()], 'Z'],
      [[S1, sync()], 'Z'],
      [[query('rollback')], 'Z'],
      [[...run('s'), sync()], 'Z'],
    ],
  ],
  [
    'PG-51 names of all kinds',
    ['a"b', 'ä ö', "it's", '%s', '\\', 'x'.repeat(60), '"berth_1"', 'berth_', 'S'].flatMap(
      (name): Step[] => [
        [[...run(name), sync()], 'Z'],
        [[parse(name, 'select 3'), parse(name, 'select 4'), sync()], 'Z'],
        [[bind({ statement: name, parameters: ['1', '2'] }), sync()], 'Z'],
        [[...run(name), close('statement', name), ...run(name), sync()], 'Z'],
      ],
    ),
  ],
  [
    'PG-51 the unnamed statement beside them',
    [
      [[S1, parse('', 'select 2'), parse('', 'select 3'), sync()], 'Z'],
      [[...run('s'), bind(), execute(), sync()], 'Z'],
      [[query('select 4')], 'Z'],
      [[bind(), sync()], 'Z'],
      [[...run('s'), close('statement', ''), ...run('s'), sync()], 'Z'],
    ],
  ],
  [
    'PG-52 a Parse that fails leaves the name free',
    [
      [[WRONG, sync()], 'Z'],
      [[...run('s'), sync()], 'Z'],
      [[parse('s', 'select from where'), ...run('s'), sync()], 'Z'],
      [[S1, ...run('s'), sync()], 'Z'],
      [[close('statement', 's'), WRONG, sync()], 'Z'],
      [[...run('s'), sync()], 'Z'],
    ],
  ],
  [
    'PG-52 and what is skipped after an error has not happened',
    [
      [[S1, sync()], 'Z'],
      [[...run('nobody'), close('statement', 's'), parse('s', 'select 2'), sync()], 'Z'],
      [[...run('s'), sync()], 'Z'],
      [[...run('nobody'), parse('t', 'select 3'), sync()], 'Z'],
      [[...run('t'), sync()], 'Z'],
      [[parse('t', 'select 3'), ...run('t'), sync()], 'Z'],
    ],
  ],
  [
    'PG-52 also when the next batches are already on their way',
    [
      [[WRONG, sync(), ...run('s'), sync(), S1, sync(), ...run('s'), sync()], '4Z'],
      [
        [
          ...[...run('nobody'), close('statement', 's'), parse('s', 'select 2'), sync()],
          ...[...run('s'), sync()],
          ...[...run('nobody'), ...run('s'), parse('t', 'select 3'), sync()],
          ...[...run('s'), sync()],
          ...[...run('t'), sync()],
          ...[parse('t', 'select 4'), sync()],
          ...[...run('t'), sync()],
        ],
        '7Z',
      ],
      [[...run('t'), ...run('s'), sync()], 'Z'],
    ],
  ],
  [
    'PG-52 an error names the statement as the client does, whatever became of it since',
    [
      [
        [
          ...[parse('s', 'select $1::int'), sync()],
          ...[bind({ statement: 's' }), sync(), close('statement', 's'), sync()],
          ...[bind({ statement: 's' }), sync()],
        ],
        '4Z',
      ],
    ],
  ],
  [
    'PG-55 ParseComplete and CloseComplete in every position',
    [
      [[S1, ...run('s'), describeMessage('statement', 's'), sync()], 'Z'],
      [[close('statement', 's'), S1, describeMessage('statement', 's'), sync()], 'Z'],
      [[...run('s'), close('statement', 's'), S1, ...run('s'), sync()], 'Z'],
      [
        [parse('t', "set application_name = 'x'".replace('set ', 'show ').split(' =')[0] ?? '')],
        '',
      ],
      [[describeMessage('statement', 't'), ...run('t'), close('statement', 't'), sync()], 'Z'],
      [[parse('e', ''), describeMessage('statement', 'e'), ...run('e'), sync()], 'Z'],
      [[parse('a', 'select 1'), parse('b', 'select 2'), parse('c', 'select 3'), sync()], 'Z'],
      [[close('statement', 'a'), parse('a', 'select 1'), ...run('nobody'), sync()], 'Z'],
      [
        [close('statement', 'b'), parse('d', 'select 3'), WRONG, parse('f', 'select 1'), sync()],
        'Z',
      ],
      [[...run('b'), sync()], 'Z'],
      [[...run('d'), sync()], 'Z'],
    ],
  ],
  [
    'PG-55 not in the middle of large rows',
    [
      [[parse('big', "select repeat('x', 3000000) from generate_series(1, 3)"), sync()], 'Z'],
      [
        [
          ...run('big'),
          ...[S1, parse('t', 'select 1 as one'), close('statement', 't'), ...run('s')],
          ...run('big'),
          ...[close('statement', 's'), S1, sync()],
        ],
        'Z',
      ],
    ],
  ],
  [
    'PG-55 not in the middle of a wide description',
    [
      [[parse('wide', wideQuery()), sync()], 'Z'],
      [
        [
          ...[describeMessage('statement', 'wide'), S1, close('statement', 's'), S1],
          ...[bind({ statement: 'wide' }), describeMessage('portal'), close('statement', 's')],
          ...[S1, describeMessage('portal'), ...run('s'), sync()],
        ],
        'Z',
      ],
    ],
  ],
  [
    'PG-56 what does not exist',
    [
      [[describeMessage('statement', 'nobody'), sync()], 'Z'],
      [[bind({ statement: 'nobody' }), sync()], 'Z'],
      [[execute('nobody'), sync()], 'Z'],
      [[describeMessage('portal', 'nobody'), sync()], 'Z'],
      [[close('statement', 'nobody'), close('portal', 'nobody'), sync()], 'Z'],
      [[close('statement', 'nobody'), ...run('nobody'), parse('t', 'select 1'), sync()], 'Z'],
      [[parse('t', 'select 1'), ...run('t'), sync()], 'Z'],
      [[S1, describeMessage('statement', 'S'), sync()], 'Z'],
      [[...run('s'), sync()], 'Z'],
    ],
  ],
  [
    'PG-56 names that look like ours',
    [1, 2, 3, 4, 5, 6, 7, 8, 9].map(
      (n): Step => [
        [
          ...[bind({ statement: `berth_${n}` }), execute(), sync()],
          ...[describeMessage('statement', `berth_${n}`), sync()],
          ...[close('statement', `berth_${n}`), sync()],
          ...[parse(`berth_${n}`, `select ${-n}`), ...run(`berth_${n}`), sync()],
          ...[parse(`berth_${n}`, `select ${-n}`), sync()],
          ...[...run(`berth_${n}`), sync()],
        ],
        '6Z',
      ],
    ),
  ],
  [
    'PG-24 Flush, as asyncpg and postgres.js use it',
    [
      [[parse('s', 'select $1::int as n'), describeMessage('statement', 's'), flush()], 'T'],
      [[bind({ statement: 's', parameters: ['1'] }), execute(), flush()], 'C'],
      [[bind({ statement: 's', parameters: ['2'] }), execute(), flush()], 'C'],
      [[sync()], 'Z'],
      [[describeMessage('statement', 's'), flush()], 'T'],
      [[close('statement', 's'), flush()], '3'],
      [[parse('s', 'select 1 as n'), flush()], '1'],
      [[...run('s'), flush()], 'C'],
      [[...run('s'), sync()], 'Z'],
      [[parse('e', 'select 1/0'), flush()], '1'],
      [[...run('e'), flush()], 'E'],
      [[...run('s'), parse('f', 'select 1'), flush()], ''],
      [[sync(), ...run('f'), sync()], '2Z'],
      [[parse('f', 'select 1'), ...run('f'), sync()], 'Z'],
    ],
  ],
  [
    'PG-57 DEALLOCATE, one by one',
    [
      [
        [parse('one', 'select 1'), parse('Two', 'select 2'), parse('three', 'select 3'), sync()],
        'Z',
      ],
      [[query('deallocate one')], 'Z'],
      [[query('DEALLOCATE PREPARE ONE;')], 'Z'],
      [[query('deallocate prepare "Two"')], 'Z'],
      [[query('deallocate nobody')], 'Z'],
      [[...run('one'), sync()], 'Z'],
      [[...run('Two'), sync()], 'Z'],
      [[parse('one', 'select 11'), ...run('one'), ...run('three'), sync()], 'Z'],
    ],
  ],
  [
    'PG-57 DEALLOCATE in transactions that commit, roll back, or have failed',
    [
      [[parse('a', 'select 1'), parse('b', 'select 2'), parse('c', 'select 3'), sync()], 'Z'],
      [[query('begin')], 'Z'],
      [[query('deallocate a')], 'Z'],
      [[...run('a'), sync()], 'Z'],
      [[query('deallocate b')], 'Z'],
      [[query('deallocate all')], 'Z'],
      [[query('rollback')], 'Z'],
      [[...run('a'), sync()], 'Z'],
      [[...run('b'), sync()], 'Z'],
      [[query('begin')], 'Z'],
      [[query('deallocate all')], 'Z'],
      [[query('commit')], 'Z'],
      [[...run('c'), sync()], 'Z'],
    ],
  ],
  [
    'PG-57 DEALLOCATE in a pipeline',
    [
      [[parse('a', 'select 1'), parse('b', 'select 2'), sync()], 'Z'],
      [
        [
          ...[query('deallocate a'), ...run('a'), sync()],
          ...[parse('a', 'select 11'), ...run('a'), sync(), query('select 5')],
          ...[query('deallocate all'), ...run('b'), sync()],
          ...[parse('b', 'select 22'), ...run('b'), sync(), query('deallocate b')],
        ],
        '8Z',
      ],
      [[...run('a'), sync(), ...run('b'), sync()], '2Z'],
    ],
  ],
  [
    'PG-57 a simple query ends the batch before it and takes the unnamed statement',
    [
      [[query('truncate lines'), parse('a', "insert into lines values (1, 'x')"), sync()], '2Z'],
      [[parse('', 'select 7'), ...run('a'), query('deallocate a')], 'Z'],
      [[query('rollback')], 'Z'],
      [[query('select count(*) from lines')], 'Z'],
      [[parse('', 'select 7'), sync()], 'Z'],
      [[parse('a', 'select 8'), sync(), query('deallocate a')], '2Z'],
      [[bind(), sync()], 'Z'],
      [[parse('a', 'select 8'), ...run('nobody'), query('deallocate a'), sync()], 'Z'],
      [[parse('a', 'select 8'), ...run('a'), sync()], 'Z'],
    ],
  ],
  [
    'PG-57 DEALLOCATE as a statement with a name takes effect each time it is executed',
    [
      [[parse('x', 'select 1'), parse('d', 'deallocate x'), sync()], 'Z'],
      [[describeMessage('statement', 'd'), ...run('x'), sync()], 'Z'],
      [[...run('d'), sync()], 'Z'],
      [[...run('x'), sync()], 'Z'],
      [[...run('d'), sync()], 'Z'],
      [[parse('x', 'select 2'), ...run('x'), ...run('d'), sync()], 'Z'],
      [[parse('x', 'select 3'), ...run('x'), sync()], 'Z'],
      [
        [
          ...[...run('d'), sync(), ...run('d'), sync(), ...run('x'), sync()],
          ...[parse('x', 'select 4'), ...run('d'), parse('x', 'select 5'), ...run('x'), sync()],
          ...[...run('x'), ...run('nobody'), ...run('d'), sync(), ...run('x'), sync()],
          ...[query('deallocate x'), ...run('d'), sync(), ...run('x'), sync()],
        ],
        '9Z',
      ],
      [[parse('self', 'deallocate prepare self'), ...run('self'), ...run('self'), sync()], 'Z'],
      [[close('statement', 'd'), ...run('d'), sync()], 'Z'],
    ],
  ],
  [
    'PG-57 DEALLOCATE as a statement without a name',
    [
      [[parse('x', 'select 1'), parse('', 'DEALLOCATE X'), ...run('x'), sync()], 'Z'],
      [[...run('x'), sync()], 'Z'],
      [[...run(''), sync()], 'Z'],
      [[...run(''), sync()], 'Z'],
      [[parse('x', 'select 2'), ...run('x'), ...run(''), sync()], 'Z'],
      [[parse('', 'deallocate y'), parse('y', 'select 3'), ...run(''), ...run('y'), sync()], 'Z'],
      [[parse('', 'deallocate nobody'), ...run(''), sync()], 'Z'],
      [[parse('y', 'select 4'), parse('', 'deallocate /* the */ y -- now'), ...run('')], ''],
      [[...run('y'), sync()], 'Z'],
    ],
  ],
  [
    'PG-57 DEALLOCATE in portals of all kinds',
    [
      [[parse('x', 'select 1'), parse('y', 'select 2'), parse('d', 'deallocate x')], ''],
      [[bind({ portal: 'p', statement: 'd' }), ...run('y'), execute('p'), execute('p')], ''],
      [[sync(), ...run('x'), sync()], '2Z'],
      [[parse('x', 'select 1'), bind({ statement: 'd' }), sync(), execute(), sync()], '2Z'],
      [[...run('x'), sync()], 'Z'],
      [[bind({ portal: 'p', statement: 'd' }), bind({ statement: 'y' }), execute(), sync()], 'Z'],
      [[bind({ portal: 'p', statement: 'd' }), close('portal', 'p'), execute('p'), sync()], 'Z'],
      [[...run('x'), sync(), query('begin')], '2Z'],
      [[bind({ portal: 'p', statement: 'd' }), sync(), execute('p'), sync(), ...run('x')], '2Z'],
      [[sync(), query('rollback'), ...run('x'), sync()], '3Z'],
      [[parse('x', 'select 5'), ...run('x'), describeMessage('portal', ''), sync()], 'Z'],
      [[bind({ statement: 'd', parameters: ['1'] }), execute(), sync(), ...run('x'), sync()], '2Z'],
    ],
  ],
  [
    'PG-57 DEALLOCATE, executed in a transaction that commits, rolls back, or has failed',
    [
      [[parse('x', 'select 1'), parse('d', 'deallocate x'), sync(), query('begin')], '2Z'],
      [[...run('d'), sync(), query('rollback'), ...run('x'), sync()], '3Z'],
      [[parse('x', 'select 2'), sync(), query('begin'), query('select 1/0')], '3Z'],
      [[...run('d'), sync(), query('rollback'), ...run('x'), sync()], '3Z'],
    ],
  ],
  [
    'PG-57 DEALLOCATE of names that look like ours',
    [1, 2, 3, 10].flatMap((n): Step[] => [
      [[parse('d', `deallocate "berth_${n}"`), ...run('d'), sync()], 'Z'],
      [[parse('', `deallocate berth_${n}`), ...run(''), sync()], 'Z'],
      [[parse(`berth_${n}`, `select ${n}`), ...run(`berth_${n}`), sync()], 'Z'],
      [[...run('d'), ...run(`berth_${n}`), sync()], 'Z'],
      [[parse(`berth_${n}`, `select ${n}`), sync(), ...run(''), sync()], '2Z'],
      [[parse('', `deallocate berth_${n}`), ...run(''), ...run(''), sync()], 'Z'],
      [[close('statement', 'd'), close('statement', `berth_${n}`), sync()], 'Z'],
    ]),
  ],
  [
    'PG-57 DEALLOCATE ALL and DISCARD ALL as statements',
    [
      [[parse('a', 'select 1'), parse('all', 'deallocate all'), ...run('a'), sync()], 'Z'],
      [[...run('all'), parse('b', 'select 2'), ...run('b'), sync()], 'Z'],
      [[...run('a'), sync(), ...run('all'), sync(), ...run('b'), sync()], '3Z'],
      [[parse('', 'deallocate prepare all'), ...run('b'), sync()], 'Z'],
      [[...run(''), parse('a', 'select 3'), ...run('a'), sync(), ...run('b'), sync()], '2Z'],
      [[parse('', 'discard all'), parse('all', 'discard all'), ...run('a'), sync()], 'Z'],
      [[...run('all'), sync()], 'Z'],
      [[...run('a'), sync(), ...run('all'), sync(), ...run(''), sync()], '3Z'],
      [[parse('a', 'select 4'), sync(), parse('', 'discard all'), ...run(''), sync()], '2Z'],
      [[parse('a', 'select 5'), ...run('a'), sync(), query('begin')], '2Z'],
      [
        [parse('', 'discard all'), ...run(''), sync(), query('rollback'), ...run('a'), sync()],
        '3Z',
      ],
    ],
  ],
  [
    'PG-57 DISCARD ALL',
    [
      [[parse('a', 'select 1'), parse('', 'select 2'), sync()], 'Z'],
      [[query('discard all')], 'Z'],
      [[...run('a'), sync(), bind(), sync()], '2Z'],
      [[parse('a', 'select 3'), ...run('a'), sync()], 'Z'],
      [[query('begin')], 'Z'],
      [[query('discard all')], 'Z'],
      [[query('rollback')], 'Z'],
      [[...run('a'), sync()], 'Z'],
    ],
  ],
  [
    'PG-57 EXECUTE in SQL of what the protocol prepared',
    [
      [[parse('p', 'select $1::int + $2::int as sum'), parse('Q', 'select 2'), sync()], 'Z'],
      [[query('execute p(1, 2)')], 'Z'],
      [[query('EXECUTE P (40, 2);')], 'Z'],
      [[query('execute "Q"')], 'Z'],
      [[query('begin'), query('execute "Q"'), query('select 1/0'), query('execute "Q"')], '4Z'],
      [[query('rollback'), query('execute "Q"')], '2Z'],
    ],
  ],
  [
    'PG-25 named portals of named statements',
    [
      [[parse('s', 'select n from generate_series(1, 10) n'), query('begin')], 'Z'],
      [[bind({ portal: 'p', statement: 's' }), bind({ portal: 'q', statement: 's' }), sync()], 'Z'],
      [[execute('p', 2), execute('q', 3), execute('p', 2), sync()], 'Z'],
      [[close('statement', 's'), parse('s', 'select 1'), sync()], 'Z'],
      [[execute('p', 1), ...run('s'), execute('q', 0), sync()], 'Z'],
      [[close('portal', 'p'), describeMessage('portal', 'q'), execute('p'), sync()], 'Z'],
      [[query('commit')], 'Z'],
    ],
  ],
  [
    'PG-22 in a failed transaction',
    [
      [[parse('s', 'select 1'), parse('r', 'rollback'), sync(), query('begin')], '2Z'],
      [[query('select 1/0')], 'Z'],
      [[...run('s'), sync()], 'Z'],
      [[parse('s', 'select 1'), sync()], 'Z'],
      [[parse('t', 'select 1'), sync()], 'Z'],
      [[describeMessage('statement', 's'), sync()], 'Z'],
      [[close('statement', 's'), sync()], 'Z'],
      [[...run('r'), sync()], 'Z'],
      [[...run('s'), sync()], 'Z'],
      [[parse('s', 'select 2'), ...run('s'), sync()], 'Z'],
    ],
  ],
  [
    'PG-28 COPY as a named statement',
    [
      [[query('truncate lines'), parse('c', 'copy lines from stdin'), sync()], '2Z'],
      [[...run('c'), sync()], 'G'],
      [[frontend.copyData('1\tone\n'), frontend.copyDone(), sync()], 'Z'],
      [[...run('c'), frontend.copyData('2\ttwo\n'), frontend.copyDone(), sync()], 'Z'],
      [[parse('o', 'copy lines to stdout'), ...run('o'), sync()], 'Z'],
    ],
  ],
  [
    'PG-60 a large Bind finds its statement',
    [
      [[parse('s', 'select length($1::text), length($2)'), sync()], 'Z'],
      [[...run('s', 'x'.repeat(1_000_000), 'y'), sync()], 'Z'],
      [
        [...run('s', 'x', 'y'.repeat(20_000_000)), parse('t', 'select 1'), ...run('t'), sync()],
        'Z',
      ],
      [[bind({ portal: 'p', statement: 's', parameters: ['x'.repeat(300_000), null] })], ''],
      [[execute('p'), sync()], 'Z'],
    ],
  ],
];

/** A row description of more than a hundred kilobytes. */
function wideQuery(): string {
  const columns = Array.from({ length: 1_600 }, (_, n) => `1 as ${'c'.repeat(50)}_${n}`);
  return `select ${columns.join(', ')}`;
}

describe.each([
  [1, one],
  [4, four],
] as const)('a pool of %d', (size, berth) => {
  test.each([...CASES])('%s', async (_name, steps) => {
    await same(berth(), steps, size);
  });

  test('PG-50 one name, another text for each client', async () => {
    const clients = await Promise.all(Array.from({ length: 5 }, () => berth().login()));
    for (const [n, client] of clients.entries()) {
      expect(await rows(client, parse('s', `select ${n}`), ...run('s'))).toEqual([[`${n}`]]);
    }
    for (let round = 0; round < 3; round++) {
      for (const [n, client] of clients.entries()) {
        expect(await rows(client, ...run('s'))).toEqual([[`${n}`]]);
      }
    }
    await Promise.all(
      clients.map(async (client, n) => {
        for (let round = 0; round < 20; round++) {
          expect(await rows(client, ...run('s'))).toEqual([[`${n}`]]);
        }
      }),
    );
    for (const client of clients) await client.end();
    await untilAllReturned(berth());
  });

  test('PG-53 a client that leaves between Parse and Sync takes nothing with it', async () => {
    for (let round = 0; round < 5; round++) {
      const text = `select 'left ${round}'`;
      const leaver = await berth().login();
      leaver.send(parse('s', text), flush());
      await leaver.until('1');
      leaver.send(parse('t', `${text}, 2`), ...run('s'));
      leaver.reset();
      await untilAllReturned(berth());
      using client = await berth().login();
      expect(await rows(client, ...run('s'))).toEqual([]);
      expect(await rows(client, parse('s', text), ...run('s'))).toEqual([[`left ${round}`]]);
      expect(await rows(client, parse('t', `${text}, 2`), ...run('t'))).toEqual([
        [`left ${round}`, '2'],
      ]);
      await client.end();
    }
  });

  test('PG-54 more statements than a connection keeps', async () => {
    using client = await berth().login();
    for (let n = 0; n < 450; n++) {
      expect(await rows(client, parse(`s${n}`, `select ${n}`), ...run(`s${n}`))).toEqual([
        [`${n}`],
      ]);
    }
    for (let n = 0; n < 450; n += 7)
      expect(await rows(client, ...run(`s${n}`))).toEqual([[`${n}`]]);
    const held = await rows(
      client,
      parse('', "select count(*) from pg_prepared_statements where name ~ '^berth_[1-9]'"),
      ...run(''),
    );
    expect(Number(held[0]?.[0])).toBeLessThanOrEqual(200);
    await client.end();
  });

  test('PG-54 in one batch, in the order of their use, and with an error in the middle', async () => {
    const numbers = Array.from({ length: 300 }, (_, n) => n);
    const parses = (from: number, to: number) =>
      numbers.slice(from, to).map((n) => parse(`s${n}`, `select 'batch ${n}'`));
    const uses = numbers.flatMap((n) => run(`s${n}`));
    const expected = numbers.map((n) => [`batch ${n}`]);
    using client = await berth().login();
    expect(await rows(client, ...parses(0, 300), ...uses, ...uses)).toEqual([
      ...expected,
      ...expected,
    ]);
    await client.end();
    using other = await berth().login();
    client.destroy();
    other.send(...parses(0, 250), ...run('nobody'), ...parses(250, 300), ...uses, sync());
    expect(sqlStates(await other.untilReady())).toEqual(['26000']);
    other.send(...uses.slice(0, 500), sync(), ...parses(250, 300), ...uses, sync());
    expect(textRows(await other.untilReady())).toEqual(expected.slice(0, 250));
    expect(textRows(await other.untilReady())).toEqual(expected);
    await other.end();
    await untilAllReturned(berth());
  });

  test('PG-54 a portal outlives the place of its statement', async () => {
    using client = await berth().login();
    client.send(parse('s', 'select n from generate_series(1, 5) n'), query('begin'));
    await client.untilReady();
    client.send(bind({ portal: 'p', statement: 's' }), execute('p', 2), sync());
    expect(textRows(await client.untilReady())).toEqual([['1'], ['2']]);
    for (let n = 0; n < 250; n++) {
      await rows(client, parse(`x${n}`, `select ${n} as x`), ...run(`x${n}`));
    }
    client.send(execute('p', 0), ...run('s'), sync());
    expect(textRows(await client.untilReady())).toHaveLength(8);
    await client.query('commit');
    await client.end();
  });

  test('PG-54 COPY goes on when there are more statements than are kept', async () => {
    using client = await berth().login();
    await client.query('truncate lines');
    await answer(client, parse('c', 'copy lines from stdin'), sync());
    for (let n = 0; n < 5; n++) {
      const many = Array.from({ length: 210 }, (_, k) => parse(`${n}_${k}`, `select ${n}, ${k}`));
      client.send(...many, ...run('c'), sync());
      await client.until('G');
      client.send(frontend.copyData(`${n}\tx\n`), frontend.copyDone(), sync());
      expect(sqlStates(await client.untilReady())).toEqual([]);
    }
    expect(textRows(await client.query('select count(*) from lines'))).toEqual([['5']]);
    await client.end();
  });

  testUndisturbed('PG-59 what another client has is out of reach, whatever its name', async () => {
    using owner = await berth().login();
    const names = Array.from({ length: 30 }, (_, n) => `secret${n}`);
    await answer(owner, ...names.map((name, n) => parse(name, `select 'secret ${n}'`)), sync());
    using thief = await berth().login();
    const known = await thief.query(
      "select name from pg_prepared_statements where statement ~ 'secret'",
    );
    expect(known.filter(({ type }) => type === 'D').length).toBeGreaterThan(0);
    for (const [name] of textRows(known)) {
      const statement = name ?? '';
      thief.send(...run(statement), sync(), describeMessage('statement', statement), sync());
      const answers = await thief.untilReady(2);
      expect(sqlStates(answers)).toEqual(['26000', '26000']);
      expect(answers.map(formatMessage).join()).toContain(`\\"${statement}\\" does not exist`);
      await answer(thief, close('statement', statement), sync());
    }
    for (const [n, name] of names.entries()) {
      expect(await rows(owner, ...run(name))).toEqual([[`secret ${n}`]]);
    }
    await owner.end();
    await thief.end();
  });

  test('no name of ours is ever seen in an error', async () => {
    using client = await berth().login();
    const answers = [
      await answer(client, parse('a', 'select $1::int'), parse('b', 'select $1::int'), sync()),
      await answer(client, parse('a', 'select 1'), sync()),
      await answer(client, parse('b', 'select 1'), sync()),
      await answer(client, bind({ statement: 'b' }), sync()),
      await answer(client, bind({ statement: 'c' }), sync()),
      await answer(client, bind({ statement: 'b', parameters: ['x'] }), sync()),
    ];
    expect(answers.flat().join('\n')).not.toContain('berth');
    await client.end();
  });
});

// --- What decides the meaning of a text beside the text

describe('PG-50 the same text means something else', () => {
  const options = (value: string) => ({ parameters: { options: `-c ${value}` } });

  async function alternate(text: string, variants: readonly (readonly [string, string])[]) {
    const clients = await Promise.all(
      variants.map(([parameter]) => one().login(options(parameter))),
    );
    for (const client of clients) {
      expect((await answer(client, parse('s', text), sync())).join()).not.toContain('Error');
    }
    for (let round = 0; round < 3; round++) {
      for (const [at, client] of clients.entries()) {
        expect(await rows(client, ...run('s'))).toEqual([[variants[at]?.[1] ?? '']]);
      }
    }
    for (const client of clients) await client.end();
    await untilAllReturned(one());
  }

  test('under another search_path', async () => {
    await alternate('select item::text from item', [
      ['search_path=left_side', '(1,left)'],
      ['search_path=right_side', '(1,2,more)'],
    ]);
  });

  test('in another time zone and another order of day and month', async () => {
    await alternate("select extract(epoch from '2020-01-01 00:00'::timestamptz)", [
      ['timezone=UTC', '1577836800.000000'],
      ['timezone=Asia/Tokyo', '1577804400.000000'],
    ]);
    await alternate("select to_char('01/02/2020'::date, 'Mon')", [
      ['datestyle=mdy', 'Jan'],
      ['datestyle=dmy', 'Feb'],
    ]);
    await alternate("select extract(epoch from '-1 2:00'::interval)", [
      ['intervalstyle=postgres', '-79200.000000'],
      ['intervalstyle=sql_standard', '-93600.000000'],
    ]);
  });

  test('in another encoding', async () => {
    const text = Buffer.concat([
      Buffer.from("select ascii('"),
      Buffer.of(0xe9),
      Buffer.from("')\0"),
    ]);
    const message = frontend.message('P', frontend.cString('s'), text, frontend.int16(0));
    const variants = [
      ['LATIN1', '233'],
      ['WIN1251', '1081'],
    ] as const;
    const clients = await Promise.all(
      variants.map(([client_encoding]) => one().login({ parameters: { client_encoding } })),
    );
    for (const client of clients) await answer(client, message, sync());
    for (const [at, client] of clients.entries()) {
      expect(await rows(client, ...run('s'))).toEqual([[variants[at]?.[1] ?? '']]);
    }
    for (const client of clients) await client.end();
  });

  const LOCAL: readonly [how: string, sql: (path: string) => Buffer[]][] = [
    ['SET LOCAL', (path) => [query(`set local search_path = ${path}`)]],
    ['set_config', (path) => [query(`select set_config('search_path', '${path}', true)`)]],
    [
      'SET LOCAL in the same batch',
      (path) => [parse('', `set local search_path = ${path}`), bind(), execute()],
    ],
  ];
  test.each([...LOCAL])('in a transaction with %s', async (_how, set) => {
    const text = parse('s', 'select item::text from item');
    const expected: Readonly<Record<string, string>> = {
      left_side: '(1,left)',
      right_side: '(1,2,more)',
    };
    for (let round = 0; round < 3; round++) {
      for (const [path, row] of Object.entries(expected)) {
        using client = await one().login();
        client.send(query('begin'), ...set(path), text, ...run('s'), sync());
        expect((await client.until('Z', 2)).map(formatMessage).join()).not.toContain('Error');
        const last = client.unread.length > 0 ? await client.untilReady() : [];
        expect(sqlStates(last)).toEqual([]);
        const again = await rows(client, ...run('s'));
        expect(again).toEqual([[row]]);
        await client.query('rollback');
        await client.end();
      }
    }
  });

  test('and a literal that was read under SET LOCAL is nobody else’s', async () => {
    const text = parse('s', "select extract(epoch from '2020-01-01 00:00'::timestamptz)");
    using first = await one().login();
    await answer(first, text, sync());
    using second = await one().login({ parameters: { timezone: 'UTC' } });
    await answer(second, query('begin'));
    await second.query("set local timezone = 'Asia/Tokyo'");
    expect(await rows(second, text, ...run('s'))).toEqual([['1577804400.000000']]);
    await second.query('commit');
    using third = await one().login({ parameters: { timezone: 'UTC' } });
    expect(await rows(third, text, ...run('s'))).toEqual([['1577836800.000000']]);
    for (const client of [first, second, third]) await client.end();
  });

  test('with a temporary table that its transaction drops', async () => {
    await adminQuery(
      database(),
      'drop table if exists thing; create table thing (a int); grant all on thing to app',
    );
    for (let round = 0; round < 3; round++) {
      using client = await one().login();
      await client.query('begin; create temp table thing (b text, c text) on commit drop');
      const described = await answer(
        client,
        parse('s', 'select * from thing'),
        describeMessage('statement', 's'),
        sync(),
      );
      expect(described.join()).toContain('"c":');
      await client.query('commit');
      await client.end();
      using other = await one().login();
      const plain = await answer(
        other,
        parse('s', 'select * from thing'),
        describeMessage('statement', 's'),
        ...run('s'),
        sync(),
      );
      expect(plain.join()).not.toContain('Error');
      expect(plain.join()).not.toContain('"c":');
      await other.end();
    }
  });
});

// --- DDL

describe('PG-58 the schema changes', () => {
  const TABLE =
    'drop table if exists shape; create table shape (a int); insert into shape values (1)';
  const WIDEN = "alter table shape add b text default 'b'";
  const SELECT = parse('s', 'select * from shape');

  testUndisturbed(
    'between Parse and Bind, on a pool of 1: 0A000, as on a direct connection',
    async () => {
      using direct = await loginDirectly(database());
      using client = await one().login();
      const steps: readonly Step[] = [
        [[query(TABLE)], 'Z'],
        [[SELECT, ...run('s'), sync()], 'Z'],
        [[query(WIDEN)], 'Z'],
        [[...run('s'), sync()], 'Z'],
      ];
      const expected = await play(direct, steps);
      expect(expected.join()).toContain('0A000');
      // The table of the first run is dropped: a notice less, or more.
      await adminQuery(database(), 'drop table shape');
      expect(await play(client, steps)).toEqual(expected);
      client.send(...run('s'), sync(), close('statement', 's'), SELECT, ...run('s'), sync());
      expect(sqlStates(await client.untilReady())).toEqual(['0A000']);
      expect(textRows(await client.untilReady())).toEqual([['1', 'b']]);
      await direct.end();
      await client.end();
    },
  );

  test.each([
    ['one', one],
    ['four', four],
  ] as const)(
    'a Parse after it is of the new schema, on any connection of %s',
    async (_n, berth) => {
      await adminQuery(database(), 'drop table if exists shape');
      using owner = await berth().login();
      const clients = await Promise.all(Array.from({ length: 4 }, () => berth().login()));
      await owner.query(TABLE);
      const ask = () =>
        Promise.all(
          clients.map((client) => rows(client, SELECT, ...run('s'), close('statement', 's'))),
        );
      for (let round = 0; round < 5; round++) expect(await ask()).toEqual(Array(4).fill([['1']]));
      await owner.query(WIDEN);
      for (let round = 0; round < 5; round++) {
        expect(await ask()).toEqual(Array(4).fill([['1', 'b']]));
      }
      await owner.query(`begin; alter table shape add c int default 3`);
      expect(await rows(owner, SELECT, ...run('s'))).toEqual([['1', 'b', '3']]);
      await owner.query('rollback');
      for (let round = 0; round < 5; round++) {
        expect(await ask()).toEqual(Array(4).fill([['1', 'b']]));
      }
      for (const client of [owner, ...clients]) await client.end();
    },
  );

  testUndisturbed(
    'by somebody past the proxy, on a pool of 1: one 0A000, and it is known',
    async () => {
      using client = await one().login();
      await client.query('drop table if exists shape');
      await client.query(TABLE);
      // Twice: the first may find that the statement of an earlier table is another.
      for (let round = 0; round < 2; round++) {
        expect(await rows(client, SELECT, ...run('s'), close('statement', 's'))).toEqual([['1']]);
      }
      await adminQuery(database(), WIDEN);
      client.send(SELECT, ...run('s'), sync());
      expect(sqlStates(await client.untilReady())).toEqual(['0A000']);
      expect(await rows(client, close('statement', 's'), SELECT, ...run('s'))).toEqual([
        ['1', 'b'],
      ]);
      await client.end();
    },
  );

  testUndisturbed(
    'by somebody past the proxy: one 0A000 at most, and everybody knows',
    async () => {
      using client = await four().login();
      await client.query('drop table if exists shape');
      await client.query(TABLE);
      using jostler = await Jostler.start(four(), 3);
      for (let round = 0; round < 8; round++) {
        expect(await rows(client, SELECT, ...run('s'), close('statement', 's'))).toEqual([['1']]);
        await jostler.push();
      }
      await jostler.end();
      await adminQuery(database(), WIDEN);
      client.send(SELECT, ...run('s'), sync());
      const first = await client.untilReady();
      // It may be a connection that has not had the statement yet.
      if (sqlStates(first).length === 0) expect(textRows(first)).toEqual([['1', 'b']]);
      else expect(sqlStates(first)).toEqual(['0A000']);
      using second = await Jostler.start(four(), 3);
      for (let round = 0; round < 8; round++) {
        const answers = await rows(client, close('statement', 's'), SELECT, ...run('s'));
        expect(answers).toEqual([['1', 'b']]);
        await second.push();
      }
      await second.end();
      await client.end();
    },
  );

  test('a table that is gone: its statement fails and can be made again', async () => {
    using client = await one().login();
    await client.query('drop table if exists shape');
    await client.query(TABLE);
    await rows(client, SELECT, ...run('s'));
    await client.query('drop table shape');
    client.send(...run('s'), sync());
    expect(sqlStates(await client.untilReady())).toEqual(['42P01']);
    await client.query(TABLE);
    expect(await rows(client, ...run('s'))).toEqual([['1']]);
    await client.end();
  });
});

// --- Limits

describe('PG-60, PG-61 limits', () => {
  test('names and texts of any size', async () => {
    await using berth = await Berth.start({
      database: database(),
      pool: { MaxConnections: 1 },
      expect: ['session.pinned'],
    });
    for (const length of [1_000, 9_000, 300_000]) {
      const name = 'n'.repeat(length);
      using direct = await loginDirectly(database());
      using client = await berth.login();
      const steps: readonly Step[] = [
        [[parse(name, 'select 1'), ...run(name), sync()], 'Z'],
        [[...run(name), sync()], 'Z'],
      ];
      expect(await play(client, steps)).toEqual(await play(direct, steps));
    }
    for (const length of [100_000, 260_000, 3_000_000]) {
      const text = `select length('${'t'.repeat(length)}')`;
      using direct = await loginDirectly(database());
      using client = await berth.login();
      const steps: readonly Step[] = [
        [[parse('a', 'select 1'), parse('big', text), sync()], 'Z'],
        [[...run('big'), ...run('a'), sync()], 'Z'],
        [[close('statement', 'a'), parse('a', 'select 2'), ...run('a'), sync()], 'Z'],
        [[close('statement', 'big'), ...run('big'), sync()], 'Z'],
        [[...run('big'), sync()], 'Z'],
        [[parse('big', 'select 3'), ...run('big'), sync()], 'Z'],
        [[parse('a', text), sync()], 'Z'],
        [[...run('a'), sync()], 'Z'],
        [[parse('berth_1', text), ...run('berth_1'), sync()], 'Z'],
        [[query('deallocate all'), ...run('a'), sync()], '2Z'],
        [[parse('a', 'select 4'), ...run('a'), sync()], 'Z'],
      ];
      expect(await play(client, steps)).toEqual(await play(direct, steps));
    }
  });

  test('65,535 parameters', async () => {
    await using berth = await Berth.start({
      database: database(),
      pool: { MaxConnections: 1 },
      // The text is larger than what is kept.
      expect: ['session.pinned'],
    });
    using client = await berth.login();
    const list = Array.from({ length: 65_535 }, (_, n) => `$${n + 1}`).join();
    const types = Array.from({ length: 65_535 }, () => INT4);
    const parameters = types.map((_, n) => `${n}`);
    client.send(
      parse('many', `select cardinality(array[${list}])`, types),
      ...run('many', ...parameters),
      sync(),
    );
    const answers = await client.untilReady();
    expect([sqlStates(answers), textRows(answers)]).toEqual([[], [['65535']]]);
    await client.end();
  }, 30_000);

  // Undisturbed until the PG-29 of test/unit/postgres/session-own-words.test.ts is met.
  test('a client has 10,000 statements and no more', async () => {
    await using berth = await Berth.start({
      database: database(),
      pool: { MaxConnections: 1 },
      expect: [
        /more than 10000 prepared statements/,
        ({ reason }) => reason === 'protocol_violation',
      ],
    });
    using client = await berth.login();
    const many = Array.from({ length: 10_000 }, (_, n) => parse(`s${n}`, `select ${n % 10}`));
    client.send(...many, sync());
    const answers = await client.untilReady();
    expect(answers.filter(({ type }) => type === '1')).toHaveLength(10_000);
    expect(await rows(client, ...run('s9999'))).toEqual([['9']]);
    client.send(close('statement', 's0'), parse('s0', 'select 0'), sync());
    expect(sqlStates(await client.untilReady())).toEqual([]);
    client.send(parse('one more', 'select 1'), ...run('one more'), sync(), query('select 1'));
    const last = await client.untilClosed();
    expect(last.map(formatMessage).join()).toContain('more than 10000 prepared statements');
    await untilMetric(berth, 'database_connections_currently_borrowed', 0);
    using other = await berth.login();
    expect(textRows(await other.query('select 1'))).toEqual([['1']]);
    await other.end();
  });
});
