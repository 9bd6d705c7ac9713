/**
 * The same conversation direct and through the proxy, with every byte travelling alone on both sides
 * of the proxy. What comes back must be the same, message by message.
 */

import { beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test';
import { type BackendMessage, formatMessage } from '../harness/backend-messages.ts';
import { useBerth } from '../harness/berth.ts';
import * as frontend from '../harness/frontend-messages.ts';
import { untilMetric } from '../harness/polling.ts';
import { adminQuery, usePostgres } from '../harness/postgres.ts';
import { RawClient } from '../harness/raw-client.ts';
import { reachedAt } from './activity.ts';
import { HostileNetwork, useNetwork } from './hostile-network.ts';

setDefaultTimeout(25_000);

/** One step: what is sent, and how many ReadyForQuery end the answer; or a message to wait for. */
interface Step {
  readonly send: readonly Uint8Array[];
  readonly until: readonly [type: string, count: number];
}

function query(sql: string): Step {
  return { send: [frontend.query(sql)], until: ['Z', 1] };
}

const LONG = `select repeat('long ', 2000) as long, 'after' as after`;

const CONVERSATION: readonly Step[] = [
  query('select 1 as one; select 2 as two'),
  query(''),
  query('selekt'),
  query(LONG),
  query('begin'),
  query('insert into letters values (1, null), (2, $$two$$)'),
  query('select 1/0'),
  query('select 1'),
  query('rollback'),
  {
    send: [
      frontend.parse('', 'select $1::int4 + 1 as sum, $2::text as text', [23, 25]),
      frontend.describe('statement'),
      frontend.bind({ parameters: ['41', null], resultFormats: [1] }),
      frontend.describe('portal'),
      frontend.execute(),
      frontend.sync(),
      frontend.parse('', 'select generate_series(1, 5)'),
      frontend.bind(),
      frontend.execute('', 2),
      frontend.execute(),
      frontend.close('portal'),
      frontend.sync(),
    ],
    until: ['Z', 2],
  },
  {
    send: [
      frontend.parse('', 'select 1/0'),
      frontend.bind(),
      frontend.execute(),
      frontend.parse('', 'select 2'),
      frontend.query('select 3'),
      frontend.sync(),
      frontend.query('select 4'),
    ],
    until: ['Z', 2],
  },
  { send: [frontend.parse('', 'select 5'), frontend.flush()], until: ['1', 1] },
  { send: [frontend.bind(), frontend.execute(), frontend.flush()], until: ['C', 1] },
  { send: [frontend.sync()], until: ['Z', 1] },
  { send: [frontend.query('copy letters from stdin')], until: ['G', 1] },
  {
    send: [frontend.copyData('3\tthree\n4'), frontend.copyData('\tfour\n'), frontend.copyDone()],
    until: ['Z', 1],
  },
  query('copy (select * from letters order by 1) to stdout'),
  { send: [frontend.query('copy letters from stdin')], until: ['G', 1] },
  { send: [frontend.copyData('5\tfi'), frontend.copyFail('changed my mind')], until: ['Z', 1] },
  { send: [frontend.query('copy letters from stdin')], until: ['G', 1] },
  {
    send: [frontend.copyData('not a number\tx\n'), frontend.copyDone(), frontend.query('select 6')],
    until: ['Z', 2],
  },
  { send: [frontend.functionCall(1598, [])], until: ['Z', 1] },
  query('select count(*) from letters'),
  query('do $$ begin raise notice $n$noticed$n$; end $$'),
  query("set application_name = 'one byte'"),
  query('show application_name'),
  query('truncate letters'),
];

/** `random()` gives something else each time. */
function shown(message: BackendMessage): string {
  return message.type === 'V' ? 'FunctionCallResponse' : formatMessage(message);
}

async function converse(client: RawClient): Promise<string[]> {
  const lines: string[] = [];
  for (const { send, until } of CONVERSATION) {
    client.send(...send);
    lines.push(...(await client.until(...until)).map(shown));
  }
  return lines;
}

const database = usePostgres();
const backNetwork = useNetwork(() => database().port);
let direct: string[] = [];

beforeAll(async () => {
  await adminQuery(database(), 'create table letters (a int, b text); grant all on letters to app');
  const options = { user: 'app', password: 'app-password', database: 'app' };
  using client = await RawClient.login({ port: database().port }, options);
  direct = await converse(client);
});

const berth = useBerth(() => ({
  database: database(),
  file: reachedAt(backNetwork().port),
  pool: { MaxConnections: 2 },
  expect: ['session.pinned', 'connection.closed', 'target.health_changed'],
}));

/** Logs in through a network before the proxy. */
async function login(front: HostileNetwork): Promise<RawClient> {
  const options = { user: 'app', password: 'app-password', database: 'app' };
  return await RawClient.login({ port: front.port }, options);
}

describe.each([1, 2, 7])('pieces of %d bytes', (pieceBytes) => {
  test('on both sides of the proxy the conversation is the same as direct', async () => {
    await using front = await HostileNetwork.start(berth().port);
    front.plan = () => ({ pieceBytes });
    backNetwork().plan = () => ({ pieceBytes });
    for (const link of backNetwork().open) link.close();
    await untilMetric(berth(), 'database_connections', 0);
    const client = await login(front);
    expect(await converse(client)).toEqual(direct);
    await client.end();
    await untilMetric(berth(), 'database_connections_currently_borrowed', 0);
  });
});

test('the conversation says what it should', () => {
  const text = direct.join('\n');
  for (const part of ['0x0000002a NULL', '22012', 'CopyInResponse', 'noticed', '<10000 bytes']) {
    expect(text).toContain(part);
  }
  expect(direct.length).toBeGreaterThan(70);
});

test('several clients at once, byte by byte, get their own answers', async () => {
  await using front = await HostileNetwork.start(berth().port);
  front.plan = () => ({ pieceBytes: 1 });
  backNetwork().plan = () => ({ pieceBytes: 1 });
  const clients = await Promise.all(Array.from({ length: 6 }, () => login(front)));
  await Promise.all(
    clients.map(async (client, index) => {
      for (let round = 0; round < 5; round++) {
        const text = `client ${index} round ${round}`;
        client.send(
          frontend.parse('', `select '${text}'`),
          frontend.bind(),
          frontend.execute(),
          frontend.sync(),
        );
        expect((await client.untilReady()).map(formatMessage)).toContain(`DataRow "${text}"`);
      }
      client.destroy();
    }),
  );
});
