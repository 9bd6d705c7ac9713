/** A database connection that is lost at moments that a real one does not hit on demand. */

import { describe, expect, test } from 'bun:test';
import { transactionVerb } from '../../../src/sql/postgres/transaction-verb.ts';
import * as frontend from '../../harness/frontend-messages.ts';
import { type FakeSession, startFakeSession } from './fake-session.ts';

const { bind, cString, execute, message, parse, query, sync } = frontend;

const ready = (status = 'I') => message('Z', Buffer.from(status));
const complete = (tag: string) => message('C', cString(tag));
const savepointError = message('E', ...['SERROR', 'VERROR', 'C3B001'].map(cString), Buffer.of(0));
const fatal = message('E', ...['SFATAL', 'VFATAL', 'C57P01', 'Mgone'].map(cString), Buffer.of(0));
const prepared = [parse('', 'select $1'), bind({ parameters: ['x'] }), execute(), sync()];

const EMPTY = Buffer.alloc(0);

/** What the client gets, as the types of the messages with the status of ReadyForQuery. */
function told({ client }: FakeSession): string {
  const bytes = client.taken();
  let types = '';
  for (let at = 0; at < bytes.length; at += 1 + bytes.readInt32BE(at + 1)) {
    types += String.fromCharCode(bytes[at] ?? 0);
    if (bytes[at] === 0x5a) types += String.fromCharCode(bytes[at + 5] ?? 0).toLowerCase();
  }
  return types;
}

/** The pool opens another connection, later. */
async function another(fake: FakeSession, index = 1) {
  await Promise.resolve();
  await Promise.resolve();
  const socket = fake.databases[index];
  if (socket === undefined) throw new Error('no connection was opened');
  return socket;
}

function interruptions({ events }: FakeSession): string[] {
  return events.flatMap((each) => (each.event === 'session.interrupted' ? [each.reason] : []));
}

describe('PG-75 a request of which no byte was sent', () => {
  test.each([
    ['a simple query', [query('insert into t values (1)')], EMPTY],
    ['an extended query', prepared, EMPTY],
    [
      'with the beginning of another',
      [query('1'), query('2').subarray(0, 6)],
      query('2').subarray(6),
    ],
  ])('%s: goes to another connection', async (_what, messages, rest) => {
    const fake = await startFakeSession();
    fake.database.room = 0;
    const asked = Buffer.concat(messages);
    fake.client.arrives(asked);
    fake.database.stream.onClose();
    const socket = await another(fake);
    fake.client.arrives(rest);
    expect(socket.taken()).toEqual(Buffer.concat([asked, rest]));
    expect(told(fake)).toBe('');
    expect(interruptions(fake)).toEqual(['sent_again']);
    expect(fake.closedBy()).toBeUndefined();
  });

  test('is not the same as one of which a byte was', async () => {
    const fake = await startFakeSession();
    fake.database.room = 1;
    fake.client.arrives(query('insert into t values (1)'));
    fake.database.stream.onClose();
    expect(told(fake)).toBe('EZi');
    expect(fake.databases).toHaveLength(1);
    expect(interruptions(fake)).toEqual(['request_lost']);
  });

  test('finds the statements as they were', async () => {
    const fake = await startFakeSession();
    fake.client.arrives(Buffer.concat([parse('', 'select 1'), sync()]));
    fake.database.arrives(Buffer.concat([message('1'), ready()]));
    fake.client.taken();
    fake.database.room = 0;
    const asked = [bind(), execute(), parse('', 'select 2'), parse('named', 'select 3'), sync()];
    fake.client.arrives(Buffer.concat(asked));
    fake.database.stream.onClose();
    const sent = (await another(fake)).taken().toString('latin1');
    expect(sent.indexOf('select 1')).toBeGreaterThan(-1);
    expect(sent.indexOf('select 1')).toBeLessThan(sent.indexOf('select 2'));
    expect(sent).toContain('select 3');
    expect(fake.closedBy()).toBeUndefined();
  });

  test('is given up when connections are lost time and again', async () => {
    const fake = await startFakeSession();
    fake.database.room = 0;
    fake.client.arrives(query('select 1'));
    fake.database.stream.onClose();
    for (const index of [1, 2]) {
      const socket = await another(fake, index);
      const taken = socket.taken();
      expect(taken).toEqual(query('select 1'));
      // It was sent by now, but for the sake of the count it was not.
      fake.databases[index]?.stream.onClose();
      if (index === 1) expect(told(fake)).toBe('EZi');
      fake.client.arrives(query('select 1'));
    }
    expect(fake.closedBy()).toBeUndefined();
  });
});

describe('PG-31 a connection that is lost', () => {
  test('while an answer is complete but for its end: one error', async () => {
    const fake = await startFakeSession();
    fake.client.arrives(query('insert into t values (1)'));
    fake.database.arrives(complete('INSERT 0 1'));
    fake.database.stream.onClose();
    expect(told(fake)).toBe('CEZi');
  });

  test('after an error of the request: no other error', async () => {
    for (const asked of [[query('wrong')], prepared]) {
      const fake = await startFakeSession();
      fake.client.arrives(Buffer.concat(asked));
      fake.database.arrives(savepointError);
      fake.database.stream.onClose();
      expect(told(fake)).toBe('EZi');
    }
  });

  test('after an error in a batch that has no end yet: nothing up to its end', async () => {
    const fake = await startFakeSession();
    fake.client.arrives(parse('', 'wrong'));
    fake.database.arrives(savepointError);
    fake.database.stream.onClose();
    expect(told(fake)).toBe('E');
    fake.client.arrives(Buffer.concat([bind(), execute(), sync()]));
    expect(told(fake)).toBe('Zi');
    expect(fake.databases).toHaveLength(1);
  });

  test('in a transaction: nothing is sent before the transaction is a failed one', async () => {
    const fake = await startFakeSession();
    fake.client.arrives(query('begin'));
    fake.database.arrives(Buffer.concat([complete('BEGIN'), ready('T')]));
    fake.database.arrives(fatal);
    fake.client.taken();
    fake.database.stream.onClose();
    expect(told(fake)).toBe('');
    fake.client.arrives(Buffer.concat([query('select 1'), query('insert into t values (1)')]));
    expect(told(fake)).toBe('EZe');
    const socket = await another(fake);
    expect(socket.taken().toString()).toContain('ROLLBACK TO SAVEPOINT');
    socket.arrives(savepointError);
    expect(socket.taken()).toHaveLength(0);
    socket.arrives(ready('E'));
    expect(socket.taken()).toEqual(query('insert into t values (1)'));
    expect(told(fake)).toBe('');
  });

  test('and again, before the transaction is a failed one: it is made on a third', async () => {
    const fake = await startFakeSession();
    fake.client.arrives(query('begin'));
    fake.database.arrives(Buffer.concat([complete('BEGIN'), ready('T')]));
    fake.client.taken();
    fake.database.stream.onClose();
    fake.client.arrives(query('rollback'));
    (await another(fake)).stream.onClose();
    const socket = await another(fake, 2);
    expect(socket.taken().toString()).toContain('ROLLBACK TO SAVEPOINT');
    socket.arrives(Buffer.concat([savepointError, ready('E')]));
    expect(socket.taken()).toEqual(query('rollback'));
    expect(told(fake)).toBe('');
    expect(fake.closedBy()).toBeUndefined();
  });

  test('and what was to fail did not: the client is closed', async () => {
    const fake = await startFakeSession();
    fake.client.arrives(query('begin'));
    fake.database.arrives(Buffer.concat([complete('BEGIN'), ready('T')]));
    fake.database.stream.onClose();
    fake.client.arrives(query('rollback'));
    (await another(fake)).arrives(Buffer.concat([savepointError, ready('I')]));
    expect(fake.closedBy()).toBe('internal_error');
  });

  test.each([
    ['BEGIN alone', [query('begin')], 'EZi'],
    ['BEGIN with more behind it', [query('begin'), query('insert')], 'EZeEZe'],
    ['a whole transaction', [query('begin'), query('insert'), query('commit')], 'EZiEZiEZi'],
    [
      'a batch that begins one',
      [parse('', 'BEGIN'), bind(), execute(), parse('', 'insert'), bind(), execute(), sync()],
      'EZe',
    ],
    [
      'a batch that only prepares the end of one',
      [query('begin'), query('insert'), parse('end', 'COMMIT'), sync()],
      'EZeEZeEZe',
    ],
  ] as const)('of which nothing was answered: %s', async (_what, messages, answer) => {
    const fake = await startFakeSession();
    fake.client.arrives(Buffer.concat(messages));
    fake.database.stream.onClose();
    expect(told(fake)).toBe(answer);
  });

  test('with pipelined requests, of which one has left what the client was told of', async () => {
    const fake = await startFakeSession();
    fake.client.arrives(Buffer.concat([query("set work_mem = '5MB'"), query('begin')]));
    fake.database.arrives(Buffer.concat([complete('SET'), ready()]));
    fake.database.stream.onClose();
    expect(fake.closedBy()).toBe('database_lost');
  });
});

test('texts that begin and end a transaction', () => {
  expect(transactionVerb(' BEGIN;')).toBe('begin');
  expect(transactionVerb('START TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ ONLY')).toBe(
    'begin',
  );
  expect(transactionVerb('begin; select 1')).toBeUndefined();
  expect(transactionVerb('commit /* trace */ ;')).toBe('commit');
  expect(transactionVerb('END TRANSACTION')).toBe('commit');
  expect(transactionVerb('COMMIT AND CHAIN')).toBeUndefined();
  expect(transactionVerb("COMMIT PREPARED 'x'")).toBeUndefined();
  expect(transactionVerb('Rollback\n Work')).toBe('rollback');
  expect(transactionVerb('ABORT')).toBe('rollback');
  expect(transactionVerb('rollback to savepoint s')).toBeUndefined();
});
