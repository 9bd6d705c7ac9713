/**
 * What a session says by itself, to its database and to its client: between the messages of others,
 * nothing that was owed for is left out, and nobody waits for what nobody will say.
 */

import { expect, test } from 'bun:test';
import { SessionSettings } from '../../../src/engine/postgres/settings.ts';
import * as frontend from '../../harness/frontend-messages.ts';
import { startFakeSession } from './fake-session.ts';

const { close, copyData, cString, message, parse, query, sync } = frontend;

const ready = message('Z', Buffer.from('I'));
const copyIn = message('G', Buffer.from([0, 0, 1, 0, 0]));
const canceled = message('E', ...['SERROR', 'C57014', 'Mcanceled'].map(cString), Buffer.alloc(1));
const refusal = message('E', ...['SERROR', 'C42601', 'Mwrong'].map(cString), Buffer.alloc(1));
/** No client ever sends it. */
const UNKNOWN_MESSAGE = Buffer.from([0x21, 0, 0, 0, 4]);

/**
 * A COPY IN that failed while a Sync was on its way leaves a doubt, which an empty query of the
 * session's own ends; not in the middle of a CopyData.
 */
test('PG-28 nothing is asked in the middle of the late data of a COPY that failed', async () => {
  const { client, database } = await startFakeSession();
  client.arrives(query('copy t from stdin'));
  database.arrives(copyIn);
  const data = copyData('1\n2\n3\n');
  client.arrives(Buffer.concat([sync(), data.subarray(0, 7)]));
  database.taken();
  database.arrives(Buffer.concat([refusal, ready]));
  expect(database.taken()).toEqual(Buffer.alloc(0));
  client.arrives(data.subarray(7));
  expect(database.taken().subarray(0, data.length - 7)).toEqual(data.subarray(7));
});

/** Otherwise the reset would wait in vain for the replies. */
test('PG-29 what is owed for has been sent, also when the session ends at the next message', async () => {
  const { client, database, connection, closedBy } = await startFakeSession();
  client.arrives(Buffer.concat([query('select 1'), UNKNOWN_MESSAGE]));
  expect(closedBy()).toBe('protocol_violation');
  const isSent = database.taken().includes(query('select 1'));
  expect({ isSent, owed: connection.ledger.depth }).toEqual({ isSent, owed: isSent ? 1 : 0 });
});

/**
 * After a `PREPARE` in SQL each message about a name waits until everything before it is answered. The
 * answer to the first Close is the proxy's own.
 */
test('PG-57 a session that has prepared in SQL closes two statements in one batch', async () => {
  const { client, database } = await startFakeSession();
  client.arrives(query('prepare mine as select 1'));
  database.arrives(Buffer.concat([message('C', cString('PREPARE')), ready]));
  // The database is asked what is left: nothing, it says, but the session stays wary.
  database.arrives(Buffer.concat([message('C', cString('SELECT 0')), ready]));
  for (const name of ['one', 'two']) {
    client.arrives(Buffer.concat([parse(name, `select '${name}'`), sync()]));
    // A statement is described where it is prepared.
    const described = [message('t', Buffer.alloc(2)), message('n')];
    database.arrives(Buffer.concat([message('1'), ...described, ready]));
  }
  client.taken();
  database.taken();
  client.arrives(Buffer.concat([close('statement', 'one'), close('statement', 'two'), sync()]));
  expect(database.taken().subarray(-sync().length)).toEqual(sync());
  database.arrives(ready);
  expect(client.taken()).toEqual(Buffer.concat([message('3'), message('3'), ready]));
});

test('PG-31 a connection that is lost while the database is asked what is left pins nobody', async () => {
  const { client, database, events, closedBy } = await startFakeSession();
  client.arrives(query("set work_mem = '5MB'"));
  database.arrives(Buffer.concat([message('C', cString('SET')), ready]));
  expect(database.taken().toString()).toContain('pg_catalog.pg_settings');
  database.stream.handler.closed();
  expect(closedBy()).toBe('database_lost');
  expect(events.map(({ event }) => event)).not.toContain('session.pinned');
});

/**
 * A session that keeps its connection sets what it asked for in its start-up packet again. A cancel that came
 * too late for the client's statement must not hit that; and what the client sends next comes after it.
 */
test('PG-70 a late cancel does not hit what a pinned session sets again', async () => {
  const settings = new SessionSettings([['datestyle', 'German']]);
  const { client, connection, database, session, closedBy } = await startFakeSession(settings);
  const done = (tag: string) => [message('C', cString(tag)), ready];
  client.arrives(query("load 'anything'"));
  database.arrives(Buffer.concat([...done('SELECT 1'), ...done('LOAD')]));
  expect(session.isPinned).toBe(true);
  client.arrives(query('discard all'));
  connection.cancelsInFlight = 1;
  client.taken();
  database.taken();
  database.arrives(Buffer.concat(done('DISCARD ALL')));
  client.arrives(query('select 1'));
  client.arrives(query('select 2'));
  expect(database.taken().toString()).toBe('');
  connection.cancelsInFlight = 0;
  connection.cancelEnded();
  const sent = database.taken().toString();
  expect(sent).toMatch(/set_config.*datestyle.*German.*select 1.*select 2/s);
  database.arrives(Buffer.concat([...done('SELECT 1'), ...done('SELECT 2'), ...done('SELECT 3')]));
  const told = [...done('DISCARD ALL'), ...done('SELECT 2'), ...done('SELECT 3')];
  expect(client.taken()).toEqual(Buffer.concat(told));
  expect(closedBy()).toBeUndefined();
});

test('PG-28 PG-70 nor is it of any consequence when it hits what ends a doubt', async () => {
  const { client, connection, database, closedBy } = await startFakeSession();
  client.arrives(query('copy t from stdin'));
  database.arrives(copyIn);
  client.arrives(sync());
  database.arrives(Buffer.concat([refusal, ready]));
  expect(connection.ledger.isDoubtful).toBe(true);
  expect(database.taken().subarray(-query('').length)).toEqual(query(''));
  database.arrives(Buffer.concat([canceled, ready]));
  expect(closedBy()).toBeUndefined();
  expect(connection.placement).toBe('idle');
  expect(client.taken()).toEqual(Buffer.concat([copyIn, refusal, ready]));
});

test('what trickles in from a client that waits is kept in few pieces', async () => {
  const { client, connection, database, session } = await startFakeSession();
  // Nobody else can have it; the client waits.
  expect(connection.pool.borrow()).toBe(connection);
  const asked = query(`select '${'x'.repeat(20_000)}'`);
  for (const byte of asked) client.arrives(Buffer.of(byte));
  for (const byte of asked) client.arrives(Buffer.of(byte));
  expect(Reflect.get(session, 'held').length).toBeLessThanOrEqual(64);
  connection.pool.release(connection, 'clean');
  expect(database.taken()).toEqual(Buffer.concat([asked, asked]));
  database.arrives(Buffer.concat([message('C', cString('SELECT 1')), ready]));
  database.arrives(Buffer.concat([message('C', cString('SELECT 1')), ready]));
  expect(connection.placement).toBe('idle');
});
