/** The raw client against a real database: the tool must be right before it judges anything. */

import { expect, test } from 'bun:test';
import { formatMessage, sqlStates, textRows } from '../../harness/backend-messages.ts';
import * as frontend from '../../harness/frontend-messages.ts';
import { usePostgres } from '../../harness/postgres.ts';
import { RawClient } from '../../harness/raw-client.ts';

const database = usePostgres();

function login(): Promise<RawClient> {
  const options = { user: 'app', password: 'app-password', database: 'app' };
  return RawClient.login({ port: database().port }, options);
}

test('every message is kept and can be shown', async () => {
  using client = await login();
  client.send(
    frontend.parse('', 'select $1::int4 + 1 as sum, $2::text as text', [23, 25]),
    frontend.describe('statement'),
    frontend.bind({ parameters: ['41', null] }),
    frontend.execute(),
    frontend.sync(),
  );
  expect((await client.untilReady()).map(formatMessage)).toEqual([
    'ParseComplete',
    'ParameterDescription 23 25',
    'RowDescription "sum":0.0:23/4/-1:text "text":0.0:25/-1/-1:text',
    'BindComplete',
    'DataRow "42" NULL',
    'CommandComplete SELECT 1',
    'ReadyForQuery I',
  ]);
});

test('bytes can be cut anywhere', async () => {
  using client = await login();
  await client.sendSplit(frontend.query("select 'cut'"), 1);
  expect(textRows(await client.untilReady())).toEqual([['cut']]);
  await client.sendSplit(Buffer.concat([frontend.query('select 2'), frontend.sync()]), 5, 3, 100);
  expect((await client.untilReady(2)).map(({ type }) => type).join('')).toBe('TDCZZ');
});

test('large answers arrive whole', async () => {
  using client = await login();
  const rows = textRows(await client.query("select repeat('x', 20000000), repeat('y', 3)"));
  expect(rows.map((row) => row.map((value) => value?.length))).toEqual([[20_000_000, 3]]);
});

test('a statement can be cancelled', async () => {
  using client = await login();
  client.send(frontend.query("do $$ begin raise notice 'runs'; perform pg_sleep(60); end $$"));
  await client.until('N');
  await client.cancel();
  expect(sqlStates(await client.untilReady())).toEqual(['57014']);
});

test('encryption is asked for with one byte, before the start-up packet', async () => {
  using client = await RawClient.connect({ port: database().port });
  expect(await client.requestEncryption(frontend.gssEncRequest())).toBe('N');
  expect(await client.requestEncryption(frontend.sslRequest())).toBe('N');
  await client.logIn({ user: 'app', password: 'app-password', database: 'app' });
  expect(client.parameters.get('server_encoding')).toBe('UTF8');
  expect(client.backendSecret.length).toBe(4);
});

test('a wait that fails says what was there', async () => {
  using client = await login();
  client.send(frontend.query('select 1'));
  await expect(client.until('t', 1, 100)).rejects.toThrow(
    /not within 100 ms: 1 message\(s\) t\n.*\n.*\n.*DataRow "1"/,
  );
});

test('a closed connection ends every wait', async () => {
  using client = await login();
  client.send(frontend.terminate());
  await expect(client.next()).rejects.toThrow('closed while waiting');
  await client.untilClosed();
});
