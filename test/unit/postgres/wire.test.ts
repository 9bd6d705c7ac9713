/** The codec: against an encoder written apart from it, and against bytes that mean nothing. */

import { describe, expect, test } from 'bun:test';
import fc from 'fast-check';
import { BerthError } from '../../../src/base/errors.ts';
import * as backend from '../../../src/engine/postgres/wire/backend.ts';
import * as wire from '../../../src/engine/postgres/wire/frontend.ts';
import {
  HEADER_BYTES,
  int32At,
  LARGE_MESSAGE_MAX,
  lengthAt,
  message,
  SMALL_MESSAGE_MAX,
  terminatorAt,
} from '../../../src/engine/postgres/wire/messages.ts';
import {
  errorFields,
  formatMessage,
  parameterStatus,
  readyStatus,
} from '../../harness/backend-messages.ts';
import * as frontend from '../../harness/frontend-messages.ts';

/** A message as the harness, which was written apart, takes it to pieces. */
function taken(bytes: Uint8Array): { type: string; body: Buffer } {
  const whole = Buffer.from(bytes);
  expect(whole.readInt32BE(1)).toBe(whole.length - 1);
  return { type: whole.toString('latin1', 0, 1), body: whole.subarray(HEADER_BYTES) };
}

const text = fc
  .string({ unit: 'grapheme', maxLength: 40 })
  .filter((value) => !value.includes('\0'));
const latin1 = fc
  .array(fc.integer({ min: 1, max: 255 }), { maxLength: 40 })
  .map((codes) => String.fromCharCode(...codes));

describe('what the proxy sends to databases', () => {
  test('fixed messages', () => {
    expect(wire.SYNC_MESSAGE).toEqual(frontend.sync());
    expect(wire.CLOSE_UNNAMED_MESSAGE).toEqual(frontend.close('statement'));
    expect(wire.TERMINATE_MESSAGE).toEqual(frontend.terminate());
    expect(wire.SSL_REQUEST_MESSAGE.equals(frontend.sslRequest())).toBe(true);
  });

  test('messages with content', () => {
    fc.assert(
      fc.property(text, fc.uint8Array({ maxLength: 300 }), fc.integer(), (value, bytes, id) => {
        expect(wire.queryMessage(value)).toEqual(frontend.query(value));
        expect(wire.copyFailMessage(value)).toEqual(frontend.copyFail(value));
        expect(wire.passwordMessage(bytes)).toEqual(frontend.message('p', bytes));
        expect(wire.cancelRequestMessage(id, bytes)).toEqual(frontend.cancelRequest(id, bytes));
        const parameters = { user: value, x: 'y' };
        const startup = Object.entries(parameters).map(
          ([name, text]) => [name, Buffer.from(text).toString('latin1')] as const,
        );
        expect(wire.startupMessage(wire.PROTOCOL_3_0, startup)).toEqual(
          frontend.startup(parameters),
        );
      }),
    );
  });
});

describe('what the proxy sends to clients', () => {
  test('ReadyForQuery, BackendKeyData, ParameterStatus, NegotiateProtocolVersion', () => {
    expect(readyStatus(taken(backend.READY_IDLE))).toBe('I');
    const key = taken(backend.backendKeyData(77, Buffer.from([1, 2, 3, 4])));
    expect([key.type, key.body.readInt32BE(0), key.body.subarray(4)]).toEqual([
      'K',
      77,
      Buffer.from([1, 2, 3, 4]),
    ]);
    expect(parameterStatus(taken(backend.parameterStatus('TimeZone', 'UTC')))).toEqual([
      'TimeZone',
      'UTC',
    ]);
    const negotiated = taken(backend.negotiateProtocolVersion(0, ['_pq_.one', '_pq_.two']));
    expect(negotiated.body.toString('latin1')).toBe('\0\0\0\0\0\0\0\x02_pq_.one\0_pq_.two\0');
  });

  test('errors have the fields that a server always sends', () => {
    const error = new BerthError('connection_lost', { detail: 'a detail' });
    const fields = errorFields(taken(backend.errorResponse('FATAL', error)));
    expect(Object.fromEntries(fields)).toEqual({
      S: 'FATAL',
      V: 'FATAL',
      C: '08006',
      M: error.message,
      D: 'a detail',
    });
    const notice = taken(backend.noticeResponse('a notice'));
    expect(formatMessage(notice)).toBe(
      'NoticeResponse S="NOTICE" V="NOTICE" C="01000" M="a notice"',
    );
  });

  test("the database's own error goes out as it came", () => {
    const databaseMessage = backend.errorFromFields('ERROR', new Map([['M', 'as it came']]));
    const error = new BerthError('internal', { databaseMessage });
    expect(backend.errorResponse('FATAL', error)).toBe(databaseMessage);
    const told = errorFields(
      taken(
        backend.errorFromFields(
          'FATAL',
          new Map([
            ['S', 'X'],
            ['C', '1'],
            ['Q', 'kept'],
          ]),
        ),
      ),
    );
    expect(Object.fromEntries(told)).toEqual({ S: 'FATAL', C: '1', Q: 'kept', V: 'FATAL' });
  });
});

describe('what the proxy reads', () => {
  test('lengths, as signed numbers', () => {
    fc.assert(
      fc.property(fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }), (length) => {
        const bytes = Buffer.concat([Buffer.from('xQ'), frontend.int32(length)]);
        expect(lengthAt(bytes, 1)).toBe(length);
        expect(int32At(bytes, 2)).toBe(length);
      }),
    );
  });

  test('terminators, only before the end', () => {
    const bytes = Buffer.from('ab\0cd\0');
    expect(terminatorAt(bytes, 0, 6)).toBe(2);
    expect(terminatorAt(bytes, 3, 6)).toBe(5);
    expect(terminatorAt(bytes, 3, 5)).toBe(-1);
    expect(terminatorAt(bytes, 6, 6)).toBe(-1);
  });

  test('the longest message of each type is what a server takes', () => {
    const large = 'QPBFd';
    const small = 'EDCSHXcf';
    for (let type = 0; type < 256; type++) {
      const letter = String.fromCharCode(type);
      const max = large.includes(letter)
        ? LARGE_MESSAGE_MAX
        : small.includes(letter)
          ? SMALL_MESSAGE_MAX
          : 0;
      expect(wire.lengthMaxOf(type)).toBe(max);
    }
  });

  test('start-up packets: every pair, byte for byte, the last value of a name', () => {
    const pairs = fc.array(
      fc.tuple(
        latin1.filter((name) => name !== ''),
        latin1,
      ),
      { maxLength: 8 },
    );
    fc.assert(
      fc.property(pairs, (list) => {
        const body = Buffer.concat([
          frontend.int32(wire.PROTOCOL_3_0),
          Buffer.from(list.map(([name, value]) => `${name}\0${value}\0`).join(''), 'latin1'),
          Buffer.alloc(1),
        ]);
        const packet = wire.readStartup(body);
        if (typeof packet === 'string') throw new Error(packet);
        expect(packet.protocol).toBe(wire.PROTOCOL_3_0);
        expect([...packet.parameters]).toEqual([...new Map(list)]);
      }),
    );
  });

  test('a start-up packet that is cut anywhere is refused, not misread', () => {
    const whole = frontend.startup({ user: 'app', database: 'db', options: '-c a=b' }).subarray(4);
    for (let length = 5; length < whole.length; length++) {
      const packet = wire.readStartup(whole.subarray(0, length));
      // Cut after a whole pair it lacks the terminator; everywhere else, more.
      expect(typeof packet).toBe('string');
    }
    expect(typeof wire.readStartup(whole)).toBe('object');
    expect(typeof wire.readStartup(Buffer.concat([whole, Buffer.from('x')]))).toBe('string');
  });

  test('error fields and parameters', () => {
    fc.assert(
      fc.property(fc.dictionary(fc.constantFrom('S', 'V', 'C', 'M', 'D', 'x'), text), (fields) => {
        const whole = backend.errorFromFields('ERROR', new Map(Object.entries(fields)));
        expect(backend.readFields(whole)).toEqual(
          new Map([...Object.entries(fields), ['S', 'ERROR'], ['V', 'ERROR']]),
        );
      }),
    );
    fc.assert(
      fc.property(latin1, latin1, (name, value) => {
        expect(backend.readParameterStatus(backend.parameterStatus(name, value))).toEqual([
          name,
          value,
        ]);
      }),
    );
  });

  test('PG-14 bytes that mean nothing are read without an exception', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        const whole = message(0x45, bytes);
        backend.readFields(whole);
        backend.readFields(bytes);
        backend.readParameterStatus(whole);
        if (bytes.length >= 4) wire.readStartup(bytes);
        return true;
      }),
    );
    expect(backend.readFields(message(0x45))).toEqual(new Map());
    expect(backend.readParameterStatus(message(0x53, Buffer.from('no value\0')))).toBeUndefined();
  });
});
