/** Packets, lenenc values, replies: what is made is read back, and no cut of a stream changes what is read. */

import { describe, expect, test } from 'bun:test';
import fc from 'fast-check';
import { BerthError, ERRORS, type ErrorCode } from '../../../src/base/errors.ts';
import * as numbers from '../../../src/engine/mysql/wire/capabilities.ts';
import { queryMessage, queryTextAt } from '../../../src/engine/mysql/wire/commands.ts';
import {
  int16,
  int32,
  int32At,
  lenenc,
  lenencAt,
  lenencBytes,
  lenencString,
  PAYLOAD_MAX,
  PacketAssembler,
  PayloadReader,
  packet,
  payloadLengthAt,
  type Received,
  sequenceAfter,
  sequenceAt,
} from '../../../src/engine/mysql/wire/packets.ts';
import {
  eofPacket,
  eofStatus,
  errorPacket,
  okLastInsertIdAt,
  okPacket,
  okStateAt,
  okStatusAt,
  readError,
  readOk,
  readSessionState,
  readStateText,
  readSystemVariables,
  serverErrorPacket,
  sessionState,
} from '../../../src/engine/mysql/wire/replies.ts';

const { CLIENT_SESSION_TRACK, SERVER_SESSION_STATE_CHANGED, SERVER_STATUS_AUTOCOMMIT } = numbers;

describe('packets', () => {
  test('the header is a length of three bytes and the sequence number', () => {
    expect([...packet(7, Buffer.from('abc'))]).toEqual([3, 0, 0, 7, 0x61, 0x62, 0x63]);
    expect(payloadLengthAt(Buffer.of(0x56, 0x34, 0x12), 0)).toBe(0x123456);
    expect(sequenceAfter(255)).toBe(0);
  });

  test('MY-20 a payload of exactly 0xffffff bytes is followed by an empty packet', () => {
    const bytes = packet(255, Buffer.alloc(PAYLOAD_MAX, 1));
    expect(bytes.length).toBe(4 + PAYLOAD_MAX + 4);
    expect(sequenceAt(bytes, 0)).toBe(255);
    expect([...bytes.subarray(4 + PAYLOAD_MAX)]).toEqual([0, 0, 0, 0]);
  });

  test.each([PAYLOAD_MAX - 1, PAYLOAD_MAX, PAYLOAD_MAX + 1, 2 * PAYLOAD_MAX])(
    'MY-20 a payload of %d bytes is put together again',
    (length) => {
      const payload = Buffer.alloc(length, 'x');
      payload.write('end', length - 3);
      const assembler = new PacketAssembler(length, 3);
      assembler.push(packet(3, payload));
      const received = assembler.next() as Received;
      expect(received.payload.equals(payload)).toBe(true);
      expect(received.sequence).toBe(3 + Math.floor(length / PAYLOAD_MAX));
      expect(assembler.isEmpty).toBe(true);
    },
  );

  test('MY-08 however the stream is cut, the same payloads come out, over 255 and on', () => {
    const payloads = ['', 'a', 'bcd', 'x'.repeat(300)].map((text) => Buffer.from(text));
    const bytes = Buffer.concat(payloads.map((payload, i) => packet((254 + i) & 0xff, payload)));
    for (let cut = 0; cut <= bytes.length; cut++) {
      const assembler = new PacketAssembler(300, 254);
      const seen: Received[] = [];
      for (const chunk of [bytes.subarray(0, cut), bytes.subarray(cut)]) {
        if (chunk.length > 0) assembler.push(chunk);
        for (let next = assembler.next(); next !== undefined; next = assembler.next()) {
          seen.push(next as Received);
        }
      }
      expect(seen.map(({ sequence }) => sequence)).toEqual([254, 255, 0, 1]);
      expect(seen.map(({ payload }) => String(payload))).toEqual(payloads.map(String));
    }
  });

  test('MY-08 a wrong sequence number and a payload over the limit are refused by their header', () => {
    const wrong = new PacketAssembler(10, 1);
    wrong.push(packet(2, Buffer.from('abc')).subarray(0, 4));
    expect(wrong.next()).toBe('out_of_order');
    const large = new PacketAssembler(2, 1);
    large.push(packet(1, Buffer.from('abc')).subarray(0, 4));
    expect(large.next()).toBe('too_large');
  });

  test('what comes behind a payload stays until it is taken', () => {
    const assembler = new PacketAssembler(10);
    assembler.push(Buffer.concat([packet(0, Buffer.from('a')), Buffer.from('rest')]));
    expect(assembler.next()).toMatchObject({ sequence: 0 });
    expect(assembler.isEmpty).toBe(false);
    expect(String(assembler.takeRest())).toBe('rest');
    expect(assembler.isEmpty).toBe(true);
  });
});

describe('lenenc', () => {
  test.each([0, 0xfa, 0xfb, 0xffff, 0x1_0000, 0xff_ffff, 0x100_0000, 2 ** 32, 2 ** 53])(
    '%d is read back',
    (value) => {
      const bytes = Buffer.concat([Buffer.of(9), lenenc(value)]);
      expect(lenencAt(bytes, 1)).toBe(value);
      expect(lenencBytes(bytes[1])).toBe(bytes.length - 1);
    },
  );

  test('0xfb and 0xff begin no integer', () => {
    expect(lenencBytes(0xfb)).toBe(0);
    expect(lenencBytes(0xff)).toBe(0);
  });

  test('whatever is read back is what was written; cut anywhere, the reader says so', () => {
    const value = fc.uint8Array({ maxLength: 400 });
    fc.assert(
      fc.property(value, fc.nat(), fc.nat(0xffff), (bytes, number, short) => {
        const whole = Buffer.concat([
          lenencString(bytes),
          lenenc(number),
          int16(short),
          int32(number),
        ]);
        const read = (payload: Uint8Array) => {
          const reader = new PayloadReader(payload);
          const values = [reader.lenencBytes(), reader.lenenc(), reader.int16(), reader.int32()];
          return { values, reader };
        };
        const { values, reader } = read(whole);
        expect(values.slice(1)).toEqual([number, short, number]);
        expect(Buffer.compare(values[0] as Buffer, bytes)).toBe(0);
        expect(reader.isBroken).toBe(false);
        expect(reader.left).toBe(0);
        for (let cut = 0; cut < whole.length; cut++) {
          expect(read(whole.subarray(0, cut)).reader.isBroken).toBe(true);
        }
      }),
      { numRuns: 50 },
    );
  });

  test('a text without its NUL is broken', () => {
    const reader = new PayloadReader(Buffer.from('abc\0def'));
    expect(String(reader.cBytes())).toBe('abc');
    expect(reader.isBroken).toBe(false);
    expect(String(reader.cBytes())).toBe('def');
    expect(reader.isBroken).toBe(true);
  });

  test('numbers of 32 bits are unsigned', () => {
    expect(int32At(int32(0xffff_fffe), 0)).toBe(0xffff_fffe);
  });
});

describe('flags', () => {
  test.each(['CLIENT_', 'MARIADB_CLIENT_', 'SERVER_'])(
    'each flag %s* is a bit of its own',
    (of) => {
      const flags = Object.entries(numbers).flatMap(([name, value]) =>
        name.startsWith(of) && typeof value === 'number' ? [value] : [],
      );
      expect(flags.length).toBeGreaterThan(5);
      expect(new Set(flags).size).toBe(flags.length);
      for (const flag of flags) expect(Math.log2(flag) % 1).toBe(0);
    },
  );

  test('each command has a number of its own', () => {
    const commands = Object.entries(numbers).filter(([name]) => name.startsWith('COM_'));
    expect(new Set(commands.map(([, value]) => value)).size).toBe(commands.length);
  });
});

/** As lenenc integers, of all widths. */
const COUNTS = ['00', 'fa', 'fc2c01', 'fd701101', 'fe0100000000002000', 'feffffffffffffffff'].map(
  (hex) => Buffer.from(hex, 'hex'),
);

const okFields = fc.record({
  counts: fc
    .tuple(fc.constantFrom(...COUNTS), fc.constantFrom(...COUNTS))
    .map((pair) => Buffer.concat(pair)),
  status: fc.nat(0xffff).map((status) => status & ~SERVER_SESSION_STATE_CHANGED),
  warnings: fc.nat(0xffff),
  info: fc.string({ maxLength: 40 }),
  state: fc
    .array(fc.record({ type: fc.nat(5), data: fc.uint8Array({ maxLength: 300 }) }), {
      maxLength: 4,
    })
    .map((entries) =>
      sessionState(entries.map(({ type, data }) => ({ type, data: Buffer.from(data) }))),
    ),
});

describe('OK', () => {
  test('MY-22 what is made is read back, with and without session tracking', () => {
    fc.assert(
      fc.property(okFields, fc.constantFrom(0, CLIENT_SESSION_TRACK), (fields, capabilities) => {
        const payload = okPacket(1, capabilities, fields).subarray(4);
        const isTracking = capabilities !== 0;
        const ok = readOk(payload, capabilities);
        expect(ok?.warnings).toBe(fields.warnings);
        expect(String(ok?.counts)).toBe(String(fields.counts));
        expect(String(ok?.info)).toBe(fields.info);
        expect(ok?.state.length).toBe(isTracking ? fields.state.length : 0);
      }),
    );
  });

  test('MY-22 the places of the hot path are those that the reader finds', () => {
    fc.assert(
      fc.property(okFields, fc.nat(9), (fields, shift) => {
        const packetBytes = okPacket(1, CLIENT_SESSION_TRACK, fields);
        const bytes = Buffer.concat([Buffer.alloc(shift, 0xff), packetBytes]);
        const at = shift + 4;
        const ok = readOk(packetBytes.subarray(4), CLIENT_SESSION_TRACK);
        const status = okStatusAt(bytes, at, bytes.length);
        expect(bytes.readUInt16LE(status)).toBe(ok?.status ?? -1);
        expect(bytes.readUInt16LE(status + 2)).toBe(fields.warnings);
        const lastInsertId = okLastInsertIdAt(bytes, at, bytes.length);
        expect(bytes.subarray(at + 1, status)).toEqual(fields.counts);
        expect(lenencBytes(bytes[lastInsertId])).toBe(status - lastInsertId);
        const state = okStateAt(bytes, at, bytes.length);
        expect(state < 0 ? 0 : bytes.length - state).toBe(fields.state.length);
      }),
    );
  });

  test('of a packet that is cut nothing is found beyond the cut', () => {
    const state = sessionState([{ type: 1, data: lenencString('orders') }]);
    const fields = { counts: Buffer.concat(COUNTS.slice(2, 4)), info: 'text', state };
    const payload = okPacket(1, CLIENT_SESSION_TRACK, fields).subarray(4);
    const statusAt = okStatusAt(payload, 0, payload.length);
    for (let cut = 0; cut < payload.length; cut++) {
      const part = payload.subarray(0, cut);
      expect(okStatusAt(part, 0, cut)).toBe(cut < statusAt + 4 ? -1 : statusAt);
      expect(readOk(part, CLIENT_SESSION_TRACK)).toBeUndefined();
      // Never a place outside, whatever the bytes say.
      expect(okStateAt(part, 0, cut)).toBeLessThanOrEqual(cut);
    }
  });

  test('a server with nothing to say leaves the lengths out', () => {
    const bare = Buffer.of(0, 0, 0, 2, 0, 0, 0);
    expect(okPacket(1, CLIENT_SESSION_TRACK).subarray(4)).toEqual(bare);
    expect(readOk(bare, CLIENT_SESSION_TRACK)).toMatchObject({ status: SERVER_STATUS_AUTOCOMMIT });
    expect(okStateAt(bare, 0, bare.length)).toBe(-1);
  });

  test('a client that does not track gets the text without the state, and no flag that says otherwise', () => {
    const state = sessionState([{ type: 2, data: Buffer.from('\u00011') }]);
    const payload = okPacket(1, 0, { info: 'text', state, status: 0xffff }).subarray(4);
    expect(String(payload.subarray(7))).toBe('\u0004text');
    expect(payload.readUInt16LE(3) & SERVER_SESSION_STATE_CHANGED).toBe(0);
  });
});

describe('session state', () => {
  test('MY-22 system variables come one to an entry, or several in one', () => {
    const pair = (name: string, value: string) =>
      Buffer.concat([lenencString(name), lenencString(value)]);
    const entries = readSessionState(
      sessionState([
        {
          type: 0,
          data: Buffer.concat([pair('autocommit', 'OFF'), pair('time_zone', 'SYSTEM')]),
        },
        { type: 0, data: pair('sql_mode', '') },
        { type: 1, data: lenencString('orders') },
      ]),
    );
    const texts = entries?.slice(0, 2).map(({ data }) => readSystemVariables(data)?.map(String));
    expect(texts).toEqual([['autocommit,OFF', 'time_zone,SYSTEM'], ['sql_mode,']]);
    expect(String(readStateText(entries?.[2]?.data ?? Buffer.alloc(0)))).toBe('orders');
  });

  test('what is cut is not read', () => {
    const state = sessionState([{ type: 0, data: lenencString('abc') }]);
    for (let cut = 1; cut < state.length; cut++) {
      expect(readSessionState(state.subarray(0, cut))).toBeUndefined();
    }
    expect(readSystemVariables(lenencString('a'))).toBeUndefined();
    expect(readStateText(Buffer.of(3, 1))).toBeUndefined();
  });
});

describe('COM_QUERY', () => {
  const WITH = numbers.CLIENT_QUERY_ATTRIBUTES;
  const text = 'SELECT 1';
  const textOf = (payload: Buffer, capabilities = WITH) => {
    const at = queryTextAt(payload, 0, payload.length, capabilities);
    return at < 0 ? undefined : payload.toString('latin1', at);
  };

  test('MY-30 the text is behind the attributes, if these were agreed on', () => {
    for (const capabilities of [0, WITH]) {
      expect(textOf(queryMessage(text, capabilities).subarray(4), capabilities)).toBe(text);
    }
  });

  /** One attribute of each kind of value, and one without. */
  const values: readonly [type: number, value: Buffer | undefined][] = [
    [1, Buffer.alloc(1)],
    [2, Buffer.alloc(2)],
    [8, Buffer.alloc(8)],
    [5, Buffer.alloc(8)],
    [253, lenencString('a text')],
    [12, Buffer.concat([Buffer.of(7), Buffer.alloc(7)])],
    [3, undefined],
    [254, lenencString('x'.repeat(300))],
    [6, Buffer.alloc(0)],
  ];
  const attributed = Buffer.concat([
    Buffer.of(numbers.COM_QUERY, values.length, 1),
    Buffer.of(1 << 6, 0, 1),
    ...values.flatMap(([type], index) => [int16(type), lenencString(`name ${index}`)]),
    ...values.flatMap(([, value]) => value ?? []),
  ]);

  test('MY-30 attributes of every kind are skipped', () => {
    expect(textOf(Buffer.concat([attributed, Buffer.from(text)]))).toBe(text);
  });

  test('MY-30 attributes that are cut, or have no types, have no text behind them', () => {
    for (let cut = 1; cut < attributed.length; cut++) {
      expect(textOf(attributed.subarray(0, cut))).toBeUndefined();
    }
    const untyped = Buffer.from(attributed);
    untyped[5] = 0;
    expect(textOf(untyped)).toBeUndefined();
    expect(
      textOf(Buffer.from('\x03\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01', 'latin1')),
    ).toBeUndefined();
  });
});

describe('EOF and ERR', () => {
  test('MY-21 an EOF is five bytes long; what is longer is none', () => {
    const payload = eofPacket(5, 0x22, 3).subarray(4);
    expect([...payload]).toEqual([0xfe, 3, 0, 0x22, 0]);
    expect(eofStatus(payload)).toBe(0x22);
    expect(eofStatus(Buffer.concat([payload, Buffer.of(0)]))).toBeUndefined();
  });

  test('MY-06 an error of before the log-in has no SQLSTATE', () => {
    const bare = Buffer.concat([Buffer.of(0xff, 0x10, 0x04), Buffer.from('Too many connections')]);
    const error = { errno: 1040, sqlState: 'HY000', text: 'Too many connections' };
    expect(readError(bare)).toEqual(error);
    expect(readError(serverErrorPacket(0, error).subarray(4))).toEqual(error);
    expect(readError(Buffer.of(0xff, 1))).toBeUndefined();
    expect(readError(Buffer.of(0))).toBeUndefined();
  });

  test('an error of the table has its number, its SQLSTATE, its text and its detail', () => {
    const error = new BerthError('password_wrong', { params: { user: 'app', using: 'YES' } });
    expect(readError(errorPacket(2, error).subarray(4))).toEqual({
      errno: 1045,
      sqlState: '28000',
      text: "Access denied for user 'app'@'%' (using password: YES)",
    });
    const late = new BerthError('borrow_timeout', { detail: '16 of 16 are in use' });
    expect(readError(errorPacket(2, late).subarray(4))?.text).toBe(
      'Timed-out waiting to acquire database connection (16 of 16 are in use)',
    );
  });

  test('what the database said is told as it is', () => {
    const databaseMessage = serverErrorPacket(9, {
      errno: 1049,
      sqlState: '42000',
      text: "Unknown database 'x'",
    }).subarray(4);
    const told = errorPacket(3, new BerthError('connection_refused', { databaseMessage }));
    expect(sequenceAt(told, 0)).toBe(3);
    expect(told.subarray(4).equals(databaseMessage)).toBe(true);
  });

  test('every SQLSTATE of the table has five characters', () => {
    const codes = Object.keys(ERRORS) as ErrorCode[];
    for (const code of codes) {
      expect(new BerthError(code).forMySql.sqlState).toMatch(/^[0-9A-Z]{5}$/);
    }
  });
});
