/** COPY in and out, simple and extended, well and badly, against the same on a direct connection. */

import { beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test';
import { sqlStates, textRows } from '../harness/backend-messages.ts';
import { useBerth } from '../harness/berth.ts';
import * as frontend from '../harness/frontend-messages.ts';
import { adminQuery, START_DEADLINE_MS, usePostgres } from '../harness/postgres.ts';
import type { RawClient } from '../harness/raw-client.ts';
import { compare, type Step, untilAllReturned } from './side-by-side.ts';

setDefaultTimeout(20_000);

const { bind, copyData, copyDone, copyFail, describe: describeMessage } = frontend;
const { execute, flush, parse, query, sync } = frontend;

const database = usePostgres();
const one = useBerth(() => ({ database: database(), pool: { MaxConnections: 1 } }));
const four = useBerth(() => ({ database: database(), pool: { MaxConnections: 4 } }));

const COPY = 'copy goods from stdin';
const EXTENDED = [parse('', COPY), bind(), describeMessage('portal'), execute()];
const GOOD = copyData('1\tone\n2\ttwo\n');
const BAD = copyData('not a number\tbad\n');
const COUNT = query('select count(*) from goods');
const EMPTY = query('truncate goods');

beforeAll(async () => {
  await adminQuery(
    database(),
    `create table goods (id int, name text);
     create table guarded (id int);
     create function refuse() returns trigger language plpgsql as $$
       begin raise exception 'no COPY into this'; end $$;
     create trigger refuse before insert on guarded for each statement execute function refuse();
     alter table goods owner to app; alter table guarded owner to app`,
  );
}, START_DEADLINE_MS);

const SIZES = [
  ['a pool of 1', one],
  ['a pool of 4', four],
] as const;

const CASES: readonly [name: string, steps: readonly Step[]][] = [
  [
    'simple',
    [
      [[query(COPY)], 'G'],
      [[GOOD, GOOD], ''],
      [[copyDone()], 'Z'],
    ],
  ],
  [
    'simple, without data',
    [
      [[query(COPY)], 'G'],
      [[copyDone()], 'Z'],
    ],
  ],
  ['simple, everything in one write', [[[query(COPY), GOOD, copyDone()], 'Z']]],
  ['simple, with the next query behind it', [[[query(COPY), GOOD, copyDone(), COUNT], '2Z']]],
  [
    'two in one query',
    [[[query(`${COPY}; ${COPY}; select 1`), GOOD, copyDone(), GOOD, copyDone()], 'Z']],
  ],
  [
    'simple, given up',
    [
      [[query(COPY)], 'G'],
      [[GOOD, copyFail('enough')], 'Z'],
    ],
  ],
  [
    'simple, bad data',
    [
      [[query(COPY)], 'G'],
      [[GOOD, BAD, GOOD, copyDone()], 'Z'],
    ],
  ],
  [
    'simple, bad data, everything in one write',
    [[[query(COPY), BAD, GOOD, copyDone(), COUNT], '2Z']],
  ],
  ['simple, refused', [[[query('copy nowhere from stdin'), GOOD, copyDone(), COUNT], '2Z']]],
  [
    'simple, refused after it began',
    [[[query('copy guarded from stdin'), GOOD, copyDone(), COUNT], '2Z']],
  ],
  [
    'extended',
    [
      [EXTENDED, 'G'],
      [[GOOD, copyDone(), sync()], 'Z'],
    ],
  ],
  ['extended, everything in one write', [[[...EXTENDED, GOOD, copyDone(), sync(), COUNT], '2Z']]],
  [
    'extended, given up',
    [
      [EXTENDED, 'G'],
      [[GOOD, copyFail('enough'), sync()], 'Z'],
    ],
  ],
  [
    'extended, bad data',
    [
      [EXTENDED, 'G'],
      [[BAD, GOOD, copyDone(), sync()], 'Z'],
    ],
  ],
  [
    'extended, refused',
    [[[parse('', 'copy nowhere from stdin'), ...EXTENDED.slice(1), GOOD, copyDone(), sync()], 'Z']],
  ],
  [
    'with the Sync right after Execute',
    [
      [[...EXTENDED, sync()], 'G'],
      [[GOOD, copyDone(), sync()], 'Z'],
    ],
  ],
  [
    'with the Sync right after Execute, bad data',
    [
      [[...EXTENDED, sync()], 'G'],
      [[BAD, copyDone(), sync()], 'Z'],
    ],
  ],
  [
    'with the Sync right after Execute, given up',
    [
      [[...EXTENDED, sync()], 'G'],
      [[copyFail('no'), sync()], 'Z'],
    ],
  ],
  [
    'refused after it began, with the Sync right after Execute',
    [
      [
        [
          parse('', 'copy guarded from stdin'),
          ...EXTENDED.slice(1),
          sync(),
          GOOD,
          copyDone(),
          sync(),
        ],
        '2Z',
      ],
    ],
  ],
  [
    'refused after it began, with the Sync right after Execute, and the next query behind it',
    [[[query('copy guarded from stdin'), sync(), GOOD, copyDone(), COUNT], '3Z']],
  ],
  [
    'Sync and Flush during COPY IN',
    [
      [[query(COPY)], 'G'],
      [[sync(), GOOD, flush(), sync(), GOOD, copyDone()], 'Z'],
    ],
  ],
  [
    'in a transaction',
    [
      [[query('begin'), query(COPY)], 'G'],
      [[GOOD, copyDone()], 'Z'],
      [[query(COPY)], 'G'],
      [[BAD, copyDone()], 'Z'],
      [[query('select 1'), query('rollback')], '2Z'],
    ],
  ],
  [
    'the late rest of a COPY that failed',
    [
      [[query(COPY), BAD], 'Z'],
      [[GOOD, GOOD, copyDone(), COUNT], 'Z'],
    ],
  ],
  [
    'the late CopyFail of a COPY that failed',
    [
      [[query(COPY), BAD], 'Z'],
      [[copyFail('late'), COUNT], 'Z'],
    ],
  ],
  [
    'the late rest of a COPY that failed, before another COPY',
    [
      [[query(COPY), BAD], 'Z'],
      [[GOOD, copyDone(), query(COPY), GOOD], 'G'],
      [[GOOD, copyDone(), COUNT], '2Z'],
    ],
  ],
  ['COPY messages out of nowhere', [[[GOOD, copyDone(), copyFail('what'), flush(), COUNT], 'Z']]],
  [
    'COPY messages in a batch',
    [[[parse('', 'select 1'), copyDone(), bind(), GOOD, execute(), sync(), COUNT], '2Z']],
  ],
  ['out, simple', [[[query('copy (select generate_series(1, 1000)) to stdout')], 'Z']]],
  [
    'out, extended',
    [
      [
        [parse('', 'copy (select generate_series(1, 1000)) to stdout'), bind(), execute(), sync()],
        'Z',
      ],
    ],
  ],
  [
    'out, failing',
    [
      [
        [query('copy (select 1 / (500 - n) from generate_series(1, 1000) n) to stdout'), COUNT],
        '2Z',
      ],
    ],
  ],
  [
    'in and out in one query',
    [
      [[query(`${COPY}; copy goods to stdout`)], 'G'],
      [[GOOD, copyDone()], 'Z'],
    ],
  ],
];

describe.each([...SIZES])('PG-28 COPY through %s', (_name, berth) => {
  test.each([...CASES])('%s', async (_case, steps) => {
    await adminQuery(database(), 'truncate goods');
    const { length: before } = berth().logged('connection.closed');
    const answers = await compare(database(), berth(), [...steps, [[COUNT], 'Z'], [[EMPTY], 'Z']]);
    expect(answers.at(-1)).toBe('ReadyForQuery I');
    await untilAllReturned(berth());
    // None of this is a reason to lose a connection.
    expect(berth().logged('connection.closed')).toHaveLength(before);
  });
});

describe("PG-28 what comes late is not the next client's", () => {
  async function countThrough(client: RawClient): Promise<string | null | undefined> {
    return textRows(await client.query('select count(*) from goods'))[0]?.[0];
  }

  test('the rest of a failed COPY, while another client runs its own on the connection', async () => {
    await adminQuery(database(), 'truncate goods');
    using late = await one().login();
    using other = await one().login();
    late.send(query(COPY), BAD);
    expect(sqlStates(await late.untilReady())).toEqual(['22P02']);
    other.send(query(COPY));
    await other.until('G');
    late.send(GOOD, GOOD, copyDone(), query('select 1'));
    other.send(copyData('7\tseven\n'), copyDone());
    expect(sqlStates(await other.untilReady())).toEqual([]);
    expect(textRows(await late.untilReady())).toEqual([['1']]);
    expect(await countThrough(other)).toBe('1');
  });

  test('half of a late CopyData, its rest much later', async () => {
    await adminQuery(database(), 'truncate goods');
    using late = await one().login();
    using other = await one().login();
    late.send(query(COPY), BAD);
    await late.untilReady();
    const data = copyData('8\teight\n'.repeat(50_000));
    late.send(data.subarray(0, 100_000));
    other.send(query(COPY), GOOD, copyDone());
    await other.untilReady();
    late.send(data.subarray(100_000), copyDone(), query('select 1'));
    expect(textRows(await late.untilReady())).toEqual([['1']]);
    expect(await countThrough(other)).toBe('2');
  });
});

test('PG-28 data that arrives byte by byte, in messages large and small', async () => {
  await adminQuery(database(), 'truncate goods');
  using client = await one().login();
  client.send(query(COPY));
  await client.until('G');
  await client.sendSplit(Buffer.concat([GOOD, GOOD]), 1);
  const large = copyData('9\tnine\n'.repeat(300_000));
  await client.sendSplit(large, 3, 70_000);
  await client.sendSplit(Buffer.concat([copyDone(), sync(), COUNT]), 1);
  expect(textRows(await client.untilReady(3))).toEqual([['300004']]);
});

test('PG-28 COPY OUT to a reader that stops for a while', async () => {
  using client = await one().login();
  const rows = 200_000;
  client.send(query(`copy (select repeat('x', 100) from generate_series(1, ${rows})) to stdout`));
  await client.until('H');
  client.pause();
  using other = await four().login();
  expect(textRows(await other.query("select 'others go on'"))).toEqual([['others go on']]);
  client.resume();
  const answers = await client.untilReady();
  expect(answers.filter(({ type }) => type === 'd')).toHaveLength(rows);
  await untilAllReturned(one());
});

test('PG-28 a client that is idle after a COPY with an early Sync failed holds no connection', async () => {
  using idle = await one().login();
  idle.send(...EXTENDED, sync());
  await idle.until('G');
  idle.send(BAD, copyDone(), sync());
  expect(sqlStates(await idle.untilReady())).toEqual(['22P02']);
  using other = await one().login();
  expect(textRows(await other.query("select 'served'"))).toEqual([['served']]);
  await untilAllReturned(one());
});
