/** A request that Berth refuses, in one packet with others that it has accepted. */

import { expect, setDefaultTimeout, test } from 'bun:test';
import { sqlStates, textRows } from '../harness/backend-messages.ts';
import { useBerth } from '../harness/berth.ts';
import * as frontend from '../harness/frontend-messages.ts';
import { usePostgres } from '../harness/postgres.ts';

setDefaultTimeout(30_000);

const database = usePostgres();
const berth = useBerth(() => ({
  database: database(),
  pool: { MaxConnections: 1 },
  expect: [({ reason }) => reason === 'protocol_violation'],
}));

/** No client ever sends it. */
const UNKNOWN_MESSAGE = Buffer.from([0x21, 0, 0, 0, 4]);

/**
 * The accepted ones are in the ledger when the refusal comes, and are never written: `Relay.process`
 * returns without `flush`. The reset then waits 10 s for replies to what the database has not seen,
 * with its connection taken from everybody, and closes it. The same when the connection was borrowed
 * for the refused request itself and had a replay of settings before it, and in `Relay.parseNamed`
 * for one statement too many.
 */
test.todo('PG-29 the database connection is not lost with it', async () => {
  using client = await berth().login();
  const before = textRows(await client.query('select pg_backend_pid()'));
  client.send(Buffer.concat([frontend.query('select 1'), UNKNOWN_MESSAGE]));
  expect(sqlStates(await client.untilClosed()).at(-1)).toBe('08P01');
  using other = await berth().login();
  expect(textRows(await other.query('select pg_backend_pid()'))).toEqual(before);
  await other.end();
});
