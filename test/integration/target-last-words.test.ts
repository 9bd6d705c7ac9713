/** What a database says when it closes, at a moment that a real one does not hit on demand. */

import { expect, setDefaultTimeout, test } from 'bun:test';
import { reachedAt } from '../faults/activity.ts';
import { formatMessage, textRows } from '../harness/backend-messages.ts';
import { Berth } from '../harness/berth.ts';
import * as frontend from '../harness/frontend-messages.ts';
import { untilMetric } from '../harness/polling.ts';
import { usePostgres } from '../harness/postgres.ts';
import { fields, ScriptedDatabase, selected, welcome } from '../harness/scripted-database.ts';

setDefaultTimeout(20_000);

const database = usePostgres();
const LAST_WORD = fields('E', 'SFATAL', 'VFATAL', 'C57P01', 'Mterminating connection');

test('PG-31: a last word in one piece with an answer is not for the one who got the answer, nor for the next', async () => {
  await using scripted = await ScriptedDatabase.start(async (session) => {
    const isFirst = scripted.sessions.length === 1;
    session.send(...welcome());
    if (!isFirst) await session.answerQueries(() => selected(['second']));
  });
  await using proxy = await Berth.start({
    database: database(),
    file: reachedAt(scripted.port),
    pool: { MaxConnections: 1 },
    expect: ['connection.closed'],
  });
  using first = await proxy.login();
  using waiting = await proxy.login();
  first.send(frontend.query('select 1'));
  await untilMetric(proxy, 'database_connections_currently_borrowed', 1);
  waiting.send(frontend.query('select 2'));
  await untilMetric(proxy, 'berth_borrow_queue_depth', 1);
  const [session] = scripted.sessions;
  session?.send(...selected(['first']), LAST_WORD);
  session?.end();
  expect(textRows(await first.untilReady())).toEqual([['first']]);
  expect(textRows(await waiting.untilReady())).toEqual([['second']]);
  expect(textRows(await first.query('select 3'))).toEqual([['second']]);
  expect(first.received.map(formatMessage).filter((line) => line.includes('FATAL'))).toEqual([]);
});
