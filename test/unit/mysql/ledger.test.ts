/** What comes of the answers of a database, however they are cut, for clients of today and for old ones. */

import { describe, expect, test } from 'bun:test';
import fc from 'fast-check';
import {
  LedgerViolation,
  MAY_READ_FILE,
  OURS,
  OWES_FIELDS,
  OWES_OK,
  OWES_RESULT,
  OWES_ROWS,
  OWES_STATEMENT,
  OWES_TEXT,
  REPLAYS,
  RESETS,
  ReplyLedger,
} from '../../../src/engine/mysql/ledger.ts';
import {
  EOF_HEADER,
  SERVER_MORE_RESULTS_EXISTS,
  SERVER_STATUS_AUTOCOMMIT,
  SERVER_STATUS_CURSOR_EXISTS,
  SERVER_STATUS_IN_TRANS,
} from '../../../src/engine/mysql/wire/capabilities.ts';
import {
  int16,
  int32,
  lenencString,
  PAYLOAD_MAX,
  packet,
} from '../../../src/engine/mysql/wire/packets.ts';
import {
  eofPacket,
  okPacket,
  serverErrorPacket,
  sessionState,
} from '../../../src/engine/mysql/wire/replies.ts';
import { fakeConnection, OLD, TODAY } from './fake-connection.ts';

/** One answer: what it owes, what the database sends, and what clients of both kinds get of it. */
interface Answer {
  readonly owes: number;
  readonly sent: Buffer;
  readonly today: Buffer;
  readonly old: Buffer;
  readonly status: number | undefined;
}

const AUTOCOMMIT = SERVER_STATUS_AUTOCOMMIT;
const OPEN = AUTOCOMMIT | SERVER_STATUS_IN_TRANS;
const DEFINITION = Buffer.from('def');
const NOTHING = Buffer.alloc(0);

function same(owes: number, sent: Buffer, status: number | undefined): Answer {
  return { owes, sent, today: sent, old: sent, status };
}

function ok(status: number, state?: Uint8Array): Answer {
  // The id is of a row that got -1.
  const counts = Buffer.from('03feffffffffffffffff', 'hex');
  const sent = okPacket(1, TODAY, { status, counts, ...(state && { state }) });
  const plain = okPacket(1, TODAY, { status, counts });
  return { owes: OWES_RESULT, sent, today: plain, old: plain, status };
}

function failed(owes = OWES_RESULT): Answer {
  const error = { errno: 1064, sqlState: '42000', text: 'no' };
  return same(owes, serverErrorPacket(1, error), undefined);
}

/** Result sets, one behind the other, that begin with the sequence number `first`. */
function results(columns: number, rows: readonly Buffer[], status: number, count = 1): Answer {
  const sent: Buffer[] = [];
  const old: Buffer[] = [];
  let sequence = 1;
  let shift = 0;
  for (let result = 1; result <= count; result++) {
    const flags = result < count ? status | SERVER_MORE_RESULTS_EXISTS : status;
    const put = (payload: Buffer) => {
      sent.push(packet(sequence, payload));
      old.push(packet((sequence + shift) & 0xff, payload));
      sequence = (sequence + 1) & 0xff;
    };
    put(Buffer.of(columns));
    for (let column = 0; column < columns; column++) put(DEFINITION);
    old.push(eofPacket((sequence + shift) & 0xff, flags));
    shift++;
    for (const row of rows) put(row);
    sent.push(okPacket(sequence, TODAY, { header: EOF_HEADER, status: flags }));
    old.push(eofPacket((sequence + shift) & 0xff, flags));
    sequence = (sequence + 1) & 0xff;
  }
  const today = Buffer.concat(sent);
  return { owes: OWES_RESULT, sent: today, today, old: Buffer.concat(old), status };
}

function prepared(parameters: number, columns: number): Answer {
  const head = Buffer.concat([
    Buffer.of(0),
    int32(1),
    int16(columns),
    int16(parameters),
    Buffer.of(0),
    int16(0),
  ]);
  const sent = [packet(1, head)];
  const old = [packet(1, head)];
  let sequence = 2;
  let shift = 0;
  for (const count of [parameters, columns]) {
    for (let i = 0; i < count; i++) {
      sent.push(packet(sequence, DEFINITION));
      old.push(packet(sequence + shift, DEFINITION));
      sequence++;
    }
    if (count > 0) old.push(eofPacket(sequence + shift++, AUTOCOMMIT));
  }
  const today = Buffer.concat(sent);
  const status = undefined;
  return { owes: OWES_STATEMENT, sent: today, today, old: Buffer.concat(old), status };
}

const state = sessionState([{ type: 2, data: Buffer.from('\u00011') }]);
const row = fc
  .uint8Array({ minLength: 1, maxLength: 40 })
  // A row begins with a length or NULL; the ends and errors do not.
  .map((bytes) => Buffer.concat([Buffer.of(0xfb), bytes]));
const anAnswer: fc.Arbitrary<Answer> = fc.oneof(
  fc.constantFrom(ok(AUTOCOMMIT), ok(OPEN), ok(AUTOCOMMIT, state)),
  fc.constant(failed()),
  fc.constant(same(OWES_TEXT, packet(1, Buffer.from('Uptime: 1')), undefined)),
  fc
    .tuple(
      fc.integer({ min: 1, max: 4 }),
      fc.array(row, { maxLength: 5 }),
      fc.integer({ min: 1, max: 3 }),
    )
    .map(([columns, rows, count]) => results(columns, rows, AUTOCOMMIT, count)),
  fc
    .tuple(fc.integer({ min: 0, max: 3 }), fc.integer({ min: 0, max: 3 }))
    .map(([parameters, columns]) => prepared(parameters, columns)),
);
/** The proxy's own, of which the client gets nothing. */
const anOwnAnswer = anAnswer
  .filter(({ owes }) => owes === OWES_RESULT)
  .map(
    (answer): Answer => ({
      ...answer,
      owes: answer.owes | OURS | REPLAYS,
      today: NOTHING,
      old: NOTHING,
    }),
  );
const transcript = fc.array(fc.oneof(anAnswer, anOwnAnswer), { minLength: 1, maxLength: 6 });

describe('any cut of any transcript gives the same', () => {
  for (const client of ['today', 'old'] as const) {
    test(`MY-21 for a client ${client === 'old' ? 'without' : 'with'} DEPRECATE_EOF and SESSION_TRACK`, () => {
      fc.assert(
        fc.property(transcript, fc.array(fc.nat(400), { maxLength: 20 }), (answers, cuts) => {
          const { connection, database, holder } = fakeConnection(client === 'old' ? OLD : TODAY);
          for (const { owes } of answers) connection.ledger.owe(owes);
          const sent = Buffer.concat(answers.map((answer) => answer.sent));
          const sorted = cuts.filter((cut) => cut < sent.length).sort((a, b) => a - b);
          database.arrivesCut(sent, sorted);
          expect(packetsOf(holder.bytes)).toEqual(
            packetsOf(Buffer.concat(answers.map((answer) => answer[client]))),
          );
          expect(connection.ledger.isEmpty).toBe(true);
        }),
        { numRuns: 400 },
      );
    });
  }

  test('one byte at a time', () => {
    const answer = results(3, [Buffer.from('\u0001a\u0001b\u0001c')], AUTOCOMMIT, 2);
    for (const [capabilities, expected] of [
      [TODAY, answer.today],
      [OLD, answer.old],
    ] as const) {
      const { connection, database, holder } = fakeConnection(capabilities);
      connection.ledger.owe(OWES_RESULT);
      for (const byte of answer.sent) database.arrives(Buffer.of(byte));
      expect(packetsOf(holder.bytes)).toEqual(packetsOf(expected));
    }
  });
});

/** But for the status of EOF packets behind column definitions, which depends on what has come already. */
function packetsOf(bytes: Buffer): string[] {
  const packets: string[] = [];
  for (let at = 0; at < bytes.length; ) {
    const length = bytes.readUIntLE(at, 3);
    const payload = bytes.subarray(at + 4, at + 4 + length);
    const isEof = length === 5 && payload[0] === EOF_HEADER;
    packets.push(`${bytes[at + 3]} ${isEof ? 'EOF' : payload.toString('hex')}`);
    at += 4 + length;
  }
  return packets;
}

describe('the ledger', () => {
  const reply = (ledger: ReplyLedger, bytes: Buffer) =>
    ledger.replied(bytes, 4, bytes.readUIntLE(0, 3));

  test('MY-23 a transaction is open as the status of the last packet says', () => {
    const ledger = new ReplyLedger(true);
    ledger.owe(OWES_RESULT);
    reply(ledger, okPacket(1, TODAY, { status: OPEN | SERVER_MORE_RESULTS_EXISTS }));
    expect(ledger.isEmpty).toBe(false);
    reply(ledger, okPacket(2, TODAY, { status: OPEN }));
    expect(ledger.isQuiet).toBe(true);
    expect(ledger.isSettled).toBe(false);
    ledger.owe(OWES_OK);
    reply(ledger, okPacket(1, TODAY, { status: AUTOCOMMIT }));
    expect(ledger.isSettled).toBe(true);
  });

  test('MY-23 an error leaves it open whether a transaction is', () => {
    const ledger = new ReplyLedger(true);
    ledger.owe(OWES_RESULT);
    reply(ledger, failed().sent);
    expect(ledger.isQuiet).toBe(true);
    expect(ledger.isSettled).toBe(false);
    ledger.owe(OWES_OK | OURS);
    reply(ledger, okPacket(1, TODAY, { status: AUTOCOMMIT }));
    expect(ledger.isSettled).toBe(true);
  });

  test('MY-28 a file is read until the client says that it is over, whenever the answer comes', () => {
    const ledger = new ReplyLedger(true);
    ledger.owe(OWES_RESULT | MAY_READ_FILE);
    reply(ledger, packet(1, Buffer.from('\xfb/etc/passwd', 'latin1')));
    expect(ledger.isReadingFile).toBe(true);
    expect(ledger.isFileUnasked).toBe(false);
    reply(ledger, failed().sent);
    expect(ledger.isEmpty).toBe(true);
    expect(ledger.isQuiet).toBe(false);
    ledger.fileEnded();
    expect(ledger.isQuiet).toBe(true);
  });

  test('MY-28 a database that asks for a file nobody offered is not believed', () => {
    const { connection, database, holder } = fakeConnection(TODAY);
    connection.ledger.owe(OWES_RESULT);
    database.arrives(packet(1, Buffer.from('\xfb/etc/passwd', 'latin1')));
    expect(holder.bytes.length).toBe(0);
    expect(database.isOpen).toBe(false);
  });

  test('MY-45 a cursor has no rows yet, with an EOF packet or without', () => {
    const status = AUTOCOMMIT | SERVER_STATUS_CURSOR_EXISTS;
    const modern = new ReplyLedger(true);
    modern.owe(OWES_RESULT);
    for (const bytes of [
      packet(1, Buffer.of(1)),
      packet(2, DEFINITION),
      okPacket(3, TODAY, { header: EOF_HEADER, status }),
    ])
      reply(modern, bytes);
    expect(modern.isEmpty).toBe(true);
    const former = new ReplyLedger(false);
    former.owe(OWES_RESULT);
    for (const bytes of [packet(1, Buffer.of(1)), packet(2, DEFINITION), eofPacket(3, status)])
      reply(former, bytes);
    expect(former.isEmpty).toBe(true);
  });

  test('MY-21 a row of more than 16 MiB that begins like an EOF packet is a row', () => {
    const ledger = new ReplyLedger(true);
    ledger.owe(OWES_ROWS);
    expect(ledger.isDeciding(EOF_HEADER, PAYLOAD_MAX)).toBe(false);
    expect(ledger.isDeciding(EOF_HEADER, 7)).toBe(true);
    ledger.replied(Buffer.of(EOF_HEADER), 0, PAYLOAD_MAX);
    expect(ledger.isEmpty).toBe(false);
  });

  test('MY-30 the columns of a table end with EOF, and fetched rows too', () => {
    for (const owes of [OWES_FIELDS, OWES_ROWS]) {
      const ledger = new ReplyLedger(true);
      ledger.owe(owes);
      reply(ledger, packet(1, lenencString('a')));
      reply(ledger, okPacket(2, TODAY, { header: EOF_HEADER, status: AUTOCOMMIT }));
      expect(ledger.isSettled).toBe(true);
    }
  });

  test('more answers than the ring has room for', () => {
    const ledger = new ReplyLedger(true);
    for (let i = 0; i < 100; i++) ledger.owe(i % 2 === 0 ? OWES_OK : OWES_TEXT);
    for (let i = 0; i < 100; i++) {
      expect(ledger.depth).toBe(100 - i);
      reply(ledger, i % 2 === 0 ? okPacket(1, TODAY) : packet(1, Buffer.from('Uptime')));
    }
    expect(ledger.isSettled).toBe(true);
  });

  test('what nothing can explain is a violation', () => {
    const ledger = new ReplyLedger(true);
    expect(() => reply(ledger, okPacket(1, TODAY))).toThrow(LedgerViolation);
    ledger.owe(OWES_OK);
    expect(() => reply(ledger, packet(1, Buffer.of(7)))).toThrow(LedgerViolation);
  });
});

test("MY-26 a client's COM_RESET_CONNECTION leaves nothing of its variables", () => {
  const { connection, database, holder } = fakeConnection(TODAY);
  connection.state.settings = connection.state.settings.with('sql_mode', '');
  connection.ledger.owe(OWES_OK | RESETS);
  database.arrives(okPacket(1, TODAY));
  expect(holder.resets).toBe(1);
  expect(connection.state.settings.get('sql_mode')).toBeUndefined();
});
