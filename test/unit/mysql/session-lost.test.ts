/** A database connection that is lost at moments that a real one does not hit on demand. */

import { describe, expect, test } from 'bun:test';
import { okPacket } from '../../../src/engine/mysql/wire/replies.ts';
import { staysInTransaction } from '../../../src/sql/mysql/stays-in-transaction.ts';
import * as commands from '../../harness/mysql/commands.ts';
import { COMMAND } from '../../harness/mysql/constants.ts';
import { frames } from '../../harness/mysql/raw-client.ts';
import { TODAY } from './fake-connection.ts';
import { type FakeSession, startFakeSession } from './fake-session.ts';

const IN_TRANSACTION = 3;
const query = (sql: string) => frames(commands.query(sql), 0);
const ok = (status = 2) => okPacket(1, TODAY, { status });
/** The answer to a COM_STMT_PREPARE: id 41, no columns, one parameter, which is described. */
const prepared = Buffer.concat([
  frames(Buffer.from([0, 41, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0]), 1),
  frames(Buffer.alloc(30), 2),
]);

/** The numbers and errno of the errors that the client got. */
function errorsOf({ client }: FakeSession): (readonly [sequence: number, errno: number])[] {
  const bytes = client.taken();
  const errors = [];
  for (let at = 0; at < bytes.length; at += 4 + bytes.readUIntLE(at, 3)) {
    if (bytes[at + 4] === 0xff)
      errors.push([bytes[at + 3] ?? 0, bytes.readUInt16LE(at + 5)] as const);
  }
  return errors;
}

/** A connection that the pool opens, later. */
async function opened({ databases }: FakeSession, index = 1) {
  await Promise.resolve();
  await Promise.resolve();
  const socket = databases[index];
  if (socket === undefined) throw new Error('no connection was opened');
  return socket;
}

describe('MY-48 a command of which no byte was sent', () => {
  test('goes to another connection', async () => {
    const fake = await startFakeSession();
    const [database] = fake.databases;
    if (database === undefined) throw new Error('no database');
    database.room = 0;
    const asked = [query('insert into t values (1)'), query('select 2')];
    fake.client.arrives(Buffer.concat(asked).subarray(0, -3));
    database.stream.onClose();
    const socket = await opened(fake);
    fake.client.arrives(Buffer.concat(asked).subarray(-3));
    expect(socket.taken()).toEqual(Buffer.concat(asked));
    expect(errorsOf(fake)).toEqual([]);
    expect(fake.events.map(({ event }) => event)).toContain('session.interrupted');
    expect(fake.closedBy()).toBeUndefined();
  });

  test('is not one of which a byte was', async () => {
    const fake = await startFakeSession();
    const [database] = fake.databases;
    if (database === undefined) throw new Error('no database');
    database.room = 1;
    fake.client.arrives(query('insert into t values (1)'));
    database.stream.onClose();
    expect(errorsOf(fake)).toEqual([[1, 1105]]);
    expect(fake.databases).toHaveLength(1);
  });

  test('executes the statement by the id that the next connection knows it by', async () => {
    const fake = await startFakeSession();
    const [database] = fake.databases;
    if (database === undefined) throw new Error('no database');
    fake.client.arrives(frames(commands.command(COMMAND.STMT_PREPARE, 'select ?'), 0));
    database.arrives(prepared);
    const id = fake.client.taken().readUInt32LE(5);
    database.taken();
    database.room = 0;
    const execution = frames(commands.execute(id, [7], { capabilities: TODAY }), 0);
    fake.client.arrives(execution);
    database.stream.onClose();
    const socket = await opened(fake);
    expect(socket.taken().toString('latin1')).toContain('select ?');
    socket.arrives(prepared);
    const sent = socket.taken();
    expect(sent.readUInt32LE(5)).toBe(41);
    expect(sent.subarray(9)).toEqual(execution.subarray(9));
    expect(errorsOf(fake)).toEqual([]);
  });

  test('is executed once, also when it was not the command but its preparation that was not sent', async () => {
    const fake = await startFakeSession({
      roomOf: (index) => (index === 1 ? 0 : Number.POSITIVE_INFINITY),
    });
    const [database] = fake.databases;
    if (database === undefined) throw new Error('no database');
    fake.client.arrives(frames(commands.command(COMMAND.STMT_PREPARE, 'select ?'), 0));
    database.arrives(prepared);
    const id = fake.client.taken().readUInt32LE(5);
    const execution = frames(commands.execute(id, [7], { capabilities: TODAY }), 0);
    fake.client.arrives(execution);
    database.arrives(ok());
    database.stream.onClose();
    fake.client.taken();
    fake.client.arrives(execution);
    const full = await opened(fake);
    full.stream.onClose();
    const socket = await opened(fake, 2);
    socket.taken();
    socket.arrives(prepared);
    expect(socket.taken()).toHaveLength(execution.length);
    socket.arrives(ok());
    expect(socket.taken()).toHaveLength(0);
    expect(fake.client.taken()).toEqual(ok());
  });
});

describe('MY-48 a connection that is lost', () => {
  test('in a transaction, with a statement that waits in a pipeline', async () => {
    const fake = await startFakeSession();
    const [database] = fake.databases;
    fake.client.arrives(query('begin'));
    database?.arrives(ok(IN_TRANSACTION));
    fake.client.arrives(Buffer.concat([query('insert into t values (1)'), query('select 2')]));
    database?.stream.onClose();
    expect(errorsOf(fake)).toEqual([
      [1, 1213],
      [1, 1213],
    ]);
  });

  test('in a transaction, with a ping on its way', async () => {
    const fake = await startFakeSession();
    const [database] = fake.databases;
    fake.client.arrives(query('begin'));
    database?.arrives(ok(IN_TRANSACTION));
    fake.client.arrives(frames(commands.command(COMMAND.PING), 0));
    database?.stream.onClose();
    expect(errorsOf(fake)).toEqual([[1, 1213]]);
  });

  test('in a transaction, with a COMMIT behind others', async () => {
    const fake = await startFakeSession();
    const [database] = fake.databases;
    fake.client.arrives(query('begin'));
    database?.arrives(ok(IN_TRANSACTION));
    fake.client.arrives(Buffer.concat([query('insert into t values (1)'), query('commit')]));
    database?.stream.onClose();
    expect(errorsOf(fake)).toEqual([
      [1, 1105],
      [1, 1105],
    ]);
  });

  test('while the rows come: the error has the next number', async () => {
    const fake = await startFakeSession();
    const [database] = fake.databases;
    fake.client.arrives(query('select a from t'));
    const column = frames(Buffer.alloc(30, 1), 2);
    const row = frames(Buffer.from([1, 0x78]), 3);
    database?.arrives(Buffer.concat([frames(Buffer.of(1), 1), column, row, row.subarray(0, 3)]));
    database?.stream.onClose();
    expect(errorsOf(fake)).toEqual([[4, 1105]]);
    expect(fake.closedBy()).toBeUndefined();
  });

  test.each([
    [
      'columns are described',
      Buffer.concat([frames(Buffer.of(2), 1), frames(Buffer.alloc(9, 1), 2)]),
    ],
    [
      'half a row has come',
      Buffer.concat([
        frames(Buffer.of(1), 1),
        frames(Buffer.alloc(9, 1), 2),
        Buffer.of(9, 0, 0, 3, 1),
      ]),
    ],
  ])('while %s: nothing more can be said', async (_what, answer) => {
    const fake = await startFakeSession();
    const [database] = fake.databases;
    fake.client.arrives(query('select a from t'));
    database?.arrives(answer);
    database?.stream.onClose();
    expect(errorsOf(fake)).toEqual([]);
    expect(fake.closedBy()).toBe('database_lost');
  });
});

test('statements that leave their transaction open', () => {
  const stays = (sql: string, mayBeSeveral = true) => {
    const text = Buffer.from(`??${sql}??`);
    return staysInTransaction(text, 2, text.length - 2, mayBeSeveral);
  };
  expect(stays('select 1')).toBe(true);
  expect(stays(' /* app */ -- more\n INSERT into t values (1) ; ')).toBe(true);
  expect(stays('insert into t values (1); commit')).toBe(false);
  expect(stays("insert into t values ('a;b')")).toBe(false);
  expect(stays("insert into t values ('a;b')", false)).toBe(true);
  expect(stays('/*!50000 commit */')).toBe(false);
  for (const sql of [
    'commit',
    'create table t (a int)',
    'call p()',
    'set autocommit = 1',
    'selected',
  ])
    expect(stays(sql)).toBe(false);
});
