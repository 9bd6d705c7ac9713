/** A planned restart of MariaDB and MySQL: `berth pause` and `berth resume`, and what clients notice of it. */

import { afterEach, beforeAll, expect, setDefaultTimeout, test } from 'bun:test';
import { useBerth } from '../harness/berth.ts';
import { BusyClients, WRITES_TABLE } from '../harness/busy-clients.ts';
import { runBerth } from '../harness/commands.ts';
import { within } from '../harness/deadline.ts';
import { loginThrough } from '../harness/mysql/berth.ts';
import { makeMysqlConfiguration } from '../harness/mysql/configuration.ts';
import { mustSucceed, rowsOf, statementOf } from '../harness/mysql/raw-client.ts';
import { describeServers, mysqlAdmin, useMysql } from '../harness/mysql/server.ts';
import { untilMetric } from '../harness/polling.ts';
import { START_DEADLINE_MS } from '../harness/postgres.ts';

setDefaultTimeout(60_000);

const BUSY = 200;

describeServers('a planned restart', (server) => {
  const database = useMysql(server);
  const berth = useBerth(() => ({
    configuration: makeMysqlConfiguration(database(), { pool: { MaxConnections: 20 } }),
    expect: ['session.pinned'],
  }));
  const command = (words: string) => runBerth(`${words} orders --url ${berth().apiUrl}`);
  const pause = () => command('pause --timeout 10');
  const resume = () => command('resume');

  beforeAll(async () => {
    await mysqlAdmin(
      database(),
      `use app; ${WRITES_TABLE}; create table ids (id int auto_increment primary key, word text)`,
    );
  }, START_DEADLINE_MS);

  afterEach(resume);

  /** Of whatever kind, past those that the server has for itself. */
  async function connections(): Promise<number> {
    const sql = `select count(*) from information_schema.processlist
      where user in ('app', 'other') and command <> 'Daemon'`;
    const [[count = null] = []] = await mysqlAdmin(database(), sql);
    return Number(count);
  }

  test('with 200 busy clients: no error, and every write is there', async () => {
    const engine = server.product === 'MySQL' ? 'mysql' : 'mariadb';
    using busy = await BusyClients.start(engine, berth().port, BUSY);
    await busy.untilEachHasDone(1);
    expect(await pause()).toMatchObject({ code: 0, err: '' });
    expect(await connections()).toBe(0);
    await untilMetric(berth(), 'berth_borrow_queue_depth', BUSY);
    await database().restart();
    expect(await resume()).toMatchObject({ code: 0, err: '' });
    await busy.untilEachHasDone(1);
    await busy.stop(async () => (await mysqlAdmin(database(), 'select id from app.writes')).flat());
    expect(berth().logged('target.health_changed')).toHaveLength(1);
  });

  test('a connection that is kept for what the next statement may ask is given back', async () => {
    using client = await loginThrough(berth());
    mustSucceed(await client.query("insert into ids (word) values ('one')"));
    expect(await pause()).toMatchObject({ code: 0, err: '' });
    const answered = client.query('select last_insert_id()');
    await untilMetric(berth(), 'berth_borrow_queue_depth', 1);
    await resume();
    const answer = mustSucceed(await within(answered, 'the answer'));
    expect(rowsOf(answer)).toEqual(await mysqlAdmin(database(), 'select max(id) from app.ids'));
  });

  test('variables, the schema and prepared statements of a session are there afterwards', async () => {
    using client = await loginThrough(berth());
    mustSucceed(await client.query('use second'));
    mustSucceed(await client.query("set @@session.sql_mode = 'ANSI_QUOTES'"));
    const prepared = await client.prepare('select database(), @@sql_mode, ? + 1');
    await pause();
    const executed = client.execute(statementOf(prepared), [7]);
    await untilMetric(berth(), 'berth_borrow_queue_depth', 1);
    await resume();
    const answer = mustSucceed(await within(executed, 'the answer'));
    expect(rowsOf(answer).map((row) => row.map(String))).toEqual([['second', 'ANSI_QUOTES', '8']]);
  });

  test('who logs in while it is paused is greeted, and served afterwards', async () => {
    using before = await loginThrough(berth());
    mustSucceed(await before.query('select 1'));
    await pause();
    const login = loginThrough(berth(), { user: 'other' });
    await untilMetric(berth(), 'berth_borrow_queue_depth', 1);
    expect(await connections()).toBe(0);
    await resume();
    using client = await login;
    expect(rowsOf(mustSucceed(await client.query('select 2')))).toEqual([['2']]);
  });
});
