/**
 * What a session says by itself, to its database and to its client: between the messages of others,
 * nothing that was owed for is left out, and nobody waits for what nobody will say.
 */

import { expect, test } from 'bun:test';
import * as frontend from '../../harness/frontend-messages.ts';
import { startFakeSession } from './fake-session.ts';

const { close, copyData, cString, message, parse, query, sync } = frontend;

const ready = message('Z', Buffer.from('I'));
const copyIn = message('G', Buffer.from([0, 0, 1, 0, 0]));
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
