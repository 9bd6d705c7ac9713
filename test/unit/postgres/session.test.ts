/**
 * A session and its database connection on played sockets: the same bytes whatever the chunks they come
 * in, and nothing but a protocol violation for bytes that are not the protocol.
 */

import { describe, expect, test } from 'bun:test';
import fc from 'fast-check';
import * as frontend from '../../harness/frontend-messages.ts';
import { type FakeSession, startFakeSession } from './fake-session.ts';

const { bind, close, copyData, copyDone, describe: describeMessage } = frontend;
const { execute, flush, functionCall, message, parse, query, sync } = frontend;

// --- What a database says

const ready = (status = 'I') => message('Z', Buffer.from(status));
const complete = (tag: string) => message('C', frontend.cString(tag));
const row = (text: string) =>
  message('D', frontend.int16(1), frontend.int32(text.length), Buffer.from(text));
const rowDescription = message('T', frontend.int16(1), frontend.cString('n'), Buffer.alloc(18));
const error = message(
  'E',
  ...['SERROR', 'VERROR', 'C42601', 'Mwrong'].map(frontend.cString),
  Buffer.alloc(1),
);
const notice = message(
  'N',
  ...['SNOTICE', 'VNOTICE', 'C00000', 'Mhello'].map(frontend.cString),
  Buffer.alloc(1),
);
const parameter = message('S', frontend.cString('TimeZone'), frontend.cString('UTC'));
const copyIn = message('G', Buffer.from([0, 0, 1, 0, 0]));

/** Bytes of the client, then the bytes that answer them; and again. */
type Dialogue = readonly (readonly [asked: readonly Buffer[], answered: readonly Buffer[]])[];

const DIALOGUES: readonly [name: string, dialogue: Dialogue][] = [
  [
    'a simple query',
    [[[query('select 1')], [rowDescription, row('1'), complete('SELECT 1'), ready()]]],
  ],
  [
    'an extended query',
    [
      [
        [
          parse('', 'select $1', [25]),
          bind({ parameters: ['x'] }),
          describeMessage('portal'),
          execute(),
          sync(),
        ],
        [message('1'), message('2'), rowDescription, row('x'), complete('SELECT 1'), ready()],
      ],
    ],
  ],
  [
    'a pipeline with everything between',
    [
      [
        [
          query('insert into t values (1)'),
          ...[parse('', 'select 2'), bind(), execute(), close('portal'), flush(), sync()],
          functionCall(1, ['2']),
        ],
        [
          notice,
          complete('A'),
          ready(),
          parameter,
          message('1'),
          message('2'),
          row('b'.repeat(300)),
          notice,
          complete('B'),
          message('3'),
          ready(),
          message('V', frontend.int32(-1)),
          ready(),
        ],
      ],
    ],
  ],
  [
    'a transaction with an error',
    [
      [[query('begin')], [complete('BEGIN'), ready('T')]],
      [
        [parse('', 'select wrong'), bind(), sync()],
        [error, ready('E')],
      ],
      [[query('rollback')], [complete('ROLLBACK'), ready()]],
    ],
  ],
  [
    'COPY in and out',
    [
      [[query('copy t from stdin')], [copyIn]],
      [
        [copyData('1\n'), copyData('2\n'), copyDone()],
        [complete('COPY 2'), ready()],
      ],
      [
        [query('copy t to stdout')],
        [
          message('H', Buffer.from([0, 0, 1, 0, 0])),
          copyData('1\n'),
          copyDone(),
          complete('COPY 1'),
          ready(),
        ],
      ],
    ],
  ],
];

function allOf(dialogue: Dialogue, side: 0 | 1): Buffer {
  return Buffer.concat(dialogue.flatMap((step) => step[side]));
}

/** Plays a dialogue, with the bytes of both sides cut by `cut`, and checks what each side gets. */
function play(
  fake: FakeSession,
  dialogue: Dialogue,
  cut: (bytes: Buffer) => readonly number[],
): void {
  for (const [asked, answered] of dialogue) {
    const question = Buffer.concat(asked);
    fake.client.arrivesCut(question, cut(question));
    expect(fake.database.taken()).toEqual(question);
    const answer = Buffer.concat(answered);
    fake.database.arrivesCut(answer, cut(answer));
    expect(fake.client.taken()).toEqual(answer);
  }
  expect(fake.connection.ledger.isSettled).toBe(true);
  expect(fake.connection.placement).toBe('idle');
  expect(fake.closedBy()).toBeUndefined();
}

describe('both sides get the same bytes', () => {
  test.each([...DIALOGUES])('%s: whole, and byte by byte', async (_name, dialogue) => {
    const fake = await startFakeSession();
    play(fake, dialogue, () => []);
    play(fake, dialogue, (bytes) => [...bytes.keys()]);
  });

  test.each([...DIALOGUES])('%s: cut at every byte', async (_name, dialogue) => {
    const fake = await startFakeSession();
    const longest = Math.max(allOf(dialogue, 0).length, allOf(dialogue, 1).length);
    for (let at = 1; at < longest; at++) play(fake, dialogue, () => [at]);
  });

  test('cut anywhere, in any number of places', async () => {
    const fake = await startFakeSession();
    const cuts = fc.array(fc.nat(600), { maxLength: 12 });
    fc.assert(
      fc.property(cuts, fc.constantFrom(...DIALOGUES), (places, [, dialogue]) => {
        const sorted = places.toSorted((a, b) => a - b);
        play(fake, dialogue, () => sorted);
      }),
      { numRuns: 500 },
    );
  });

  test('messages larger than what is kept', async () => {
    const fake = await startFakeSession();
    const large = 'x'.repeat(700_000);
    const dialogue: Dialogue = [
      [
        [query(`select '${large}'`)],
        [rowDescription, row(large), row(large), complete('SELECT 2'), ready()],
      ],
      [
        [parse('', 'select $1'), bind({ parameters: [large] }), execute(), sync()],
        [message('1'), message('2'), row(large), complete('SELECT 1'), ready()],
      ],
      [[query('copy t from stdin')], [copyIn]],
      [
        [copyData(large), copyDone()],
        [complete('COPY 1'), ready()],
      ],
    ];
    for (const size of [1_000_000, 65_536, 9_973]) {
      play(fake, dialogue, (bytes) =>
        Array.from({ length: Math.ceil(bytes.length / size) }, (_, n) => (n + 1) * size),
      );
    }
    for (const at of [1, 4, 5, 6, 7, 8, 262_143, 262_144, 262_145])
      play(fake, dialogue, () => [at]);
  });
});

test('PG-29 half a message is not passed on', async () => {
  const fake = await startFakeSession();
  const whole = Buffer.concat([query('select 1'), query('select 2')]);
  const first = query('select 1').length;
  for (let length = 1; length < whole.length; length++) {
    fake.client.arrives(whole.subarray(0, length));
    expect(fake.database.taken()).toHaveLength(length < first ? 0 : first);
    fake.client.arrives(whole.subarray(length));
    fake.database.taken();
    fake.database.arrives(Buffer.concat([complete('A'), ready(), complete('B'), ready()]));
    expect(fake.connection.placement).toBe('idle');
  }
});

describe('PG-30 flow control', () => {
  test('a client that takes nothing stops the database, and only then', async () => {
    const fake = await startFakeSession();
    fake.client.arrives(query('select'));
    fake.database.arrives(row('a'));
    expect(fake.database.isPaused).toBe(false);
    fake.client.taken();
    fake.client.room = 3;
    fake.database.arrives(row('b'));
    expect(fake.database.isPaused).toBe(true);
    expect(fake.client.isPaused).toBe(true);
    fake.client.drains();
    expect(fake.database.isPaused).toBe(false);
    expect(fake.client.isPaused).toBe(false);
    expect(fake.client.taken()).toEqual(row('b'));
  });

  test('the connection goes back with the last answer; what waits of it waits for its client alone', async () => {
    const fake = await startFakeSession();
    fake.client.room = 3;
    const answer = Buffer.concat([row('a'), complete('A'), ready()]);
    fake.client.arrives(query('select'));
    fake.database.taken();
    fake.database.arrives(answer);
    expect(fake.connection.placement).toBe('idle');
    // Nobody's reading is held up any more, but that of the client that does not take its answer.
    expect([fake.database.isPaused, fake.client.isPaused]).toEqual([false, true]);
    fake.client.drains();
    expect(fake.client.taken()).toEqual(answer);
    expect(fake.client.isPaused).toBe(false);
    fake.client.arrives(query('again'));
    expect(fake.database.taken()).toEqual(query('again'));
  });

  test('a database that takes nothing stops the client', async () => {
    const fake = await startFakeSession();
    fake.database.room = 2;
    fake.client.arrives(query('select'));
    expect(fake.client.isPaused).toBe(true);
    fake.database.drains();
    expect(fake.client.isPaused).toBe(false);
    expect(fake.database.taken()).toEqual(query('select'));
  });

  test('a pipeline deeper than the ledger keeps waits in the socket', async () => {
    const fake = await startFakeSession();
    const count = 40_000;
    fake.client.arrives(Buffer.concat(Array.from({ length: count }, () => sync())));
    expect(fake.client.isPaused).toBe(true);
    fake.database.arrives(Buffer.concat(Array.from({ length: count }, () => ready())));
    expect(fake.client.isPaused).toBe(false);
    expect(fake.connection.placement).toBe('idle');
  });
});

test('PG-31 a database that goes in the middle of a row leaves the client with just that', async () => {
  const fake = await startFakeSession();
  fake.client.arrives(query('select'));
  const half = row('a long row').subarray(0, 12);
  fake.database.arrives(half);
  fake.database.stream.onClose();
  expect(fake.client.taken()).toEqual(half);
  expect(fake.closedBy()).toBe('database_lost');
});

test('PG-28 late COPY messages never reach a database', async () => {
  const fake = await startFakeSession();
  fake.client.arrives(
    Buffer.concat([copyData('x'.repeat(100_000)), copyDone(), frontend.copyFail('no'), flush()]),
  );
  expect(fake.database.taken()).toHaveLength(0);
  expect(fake.connection.placement).toBe('idle');
});

// --- What is not the protocol

/** Valid bytes with some of them changed, removed or added. */
const mutation = fc.record({
  at: fc.nat(2_000),
  remove: fc.nat(3),
  insert: fc.uint8Array({ maxLength: 4 }),
});

function mutated(
  bytes: Buffer,
  changes: readonly { at: number; remove: number; insert: Uint8Array }[],
): Buffer {
  let result = bytes;
  for (const { at, remove, insert } of changes) {
    const from = at % (result.length + 1);
    result = Buffer.concat([result.subarray(0, from), insert, result.subarray(from + remove)]);
  }
  return result;
}

const chunks = fc
  .array(fc.nat(600), { maxLength: 5 })
  .map((list) => list.toSorted((a, b) => a - b));

function expectNoInternalError(fake: FakeSession): void {
  expect(fake.events.filter(({ event }) => event === 'internal.failed')).toEqual([]);
}

test('a client that does not speak the protocol is told so, whatever it sends', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...DIALOGUES),
      fc.array(mutation, { minLength: 1, maxLength: 4 }),
      chunks,
      async ([, dialogue], changes, cuts) => {
        const fake = await startFakeSession();
        fake.client.arrivesCut(mutated(allOf(dialogue, 0), changes), cuts);
        expectNoInternalError(fake);
        const reasons = [undefined, 'protocol_violation', 'client_request'];
        expect(reasons).toContain(fake.closedBy());
        if (fake.closedBy() === 'protocol_violation') {
          expect(fake.client.taken().toString('latin1')).toContain('C08P01');
        }
      },
    ),
    { numRuns: 1_500 },
  );
});

test('PG-60 lengths that lie are refused before anything is kept', async () => {
  for (const type of 'QPBFdEDCSHXcfR') {
    for (const length of [-(2 ** 31), -1, 0, 3, 0x3fffffff, 2 ** 31 - 1]) {
      const fake = await startFakeSession();
      fake.client.arrives(
        Buffer.concat([Buffer.from(type), frontend.int32(length), Buffer.alloc(8)]),
      );
      expect(fake.closedBy()).toBe('protocol_violation');
      expect(fake.database.taken()).toHaveLength(0);
    }
  }
});

test('a database that does not speak the protocol loses its connection, and nothing else happens', async () => {
  let violations = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...DIALOGUES),
      fc.array(mutation, { minLength: 1, maxLength: 4 }),
      chunks,
      async ([, dialogue], changes, cuts) => {
        const fake = await startFakeSession();
        fake.client.arrives(allOf(dialogue, 0));
        fake.database.arrivesCut(mutated(allOf(dialogue, 1), changes), cuts);
        expectNoInternalError(fake);
        const reasons = [undefined, 'database_lost'];
        expect(reasons).toContain(fake.closedBy());
        const ends = fake.events.filter(({ event }) => event === 'connection.closed');
        if (fake.closedBy() !== undefined) {
          violations++;
          expect(ends).toMatchObject([{ reason: 'protocol_violation' }]);
        }
      },
    ),
    { numRuns: 1_500 },
  );
  expect(violations).toBeGreaterThan(100);
});

test('what the client is given is always a beginning of what the database sent', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(mutation, { maxLength: 3 }), chunks, async (changes, cuts) => {
      const [, dialogue] = DIALOGUES[2] ?? ['', []];
      const fake = await startFakeSession();
      fake.client.arrives(allOf(dialogue, 0));
      const answer = mutated(allOf(dialogue, 1), changes);
      fake.database.arrivesCut(answer, cuts);
      const given = fake.client.taken();
      const isLost = fake.closedBy() !== undefined;
      const ours = given.lastIndexOf(Buffer.from('SFATAL\0'));
      const passedOn = isLost && ours >= 0 ? given.subarray(0, ours - 5) : given;
      expect(answer.subarray(0, passedOn.length)).toEqual(passedOn);
    }),
    { numRuns: 500 },
  );
});
