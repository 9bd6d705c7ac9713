/**
 * The database never sees more connections than the pool may have, by its own count: while statements are
 * killed, while users take turns, and when everything that is there hangs. And what else is in a text that kills.
 */

import { expect, setDefaultTimeout, test } from 'bun:test';
import { errorsOf, loginThrough, useMysqlBerths } from '../harness/mysql/berth.ts';
import * as commands from '../harness/mysql/commands.ts';
import { MostConnections } from '../harness/mysql/most-connections.ts';
import { type MysqlRawClient, rowsOf } from '../harness/mysql/raw-client.ts';
import { describeServers, mysqlAdmin, useMysql } from '../harness/mysql/server.ts';
import { eventually, untilMetric } from '../harness/polling.ts';

setDefaultTimeout(60_000);

const EXPECTED = ['connection.closed', 'client.closed'];
const ROUNDS = 20;
/** The one that a KILL may take beside the pool, when nothing comes back to it within a moment. */
const BESIDE = 1;

function send(client: MysqlRawClient, sql: string): void {
  client.sendPacket(commands.query(sql));
}

/** As of `harness/mysql/berth.ts`, without a connection of its own. */
async function untilRunning(client: MysqlRawClient, text: string): Promise<void> {
  const sql = `select id from information_schema.processlist
    where id <> connection_id() and instr(coalesce(info, ''), "${text}") > 0`;
  const find = async () => ((await client.rows(sql)).length > 0 ? true : undefined);
  await eventually(find, `the database runs ${text}`);
}

describeServers('the number of connections', (server) => {
  const database = useMysql(server);
  const start = useMysqlBerths(database);
  const admin = (sql: string) => mysqlAdmin(database(), sql);

  test('MY-51 holds while clients leave in their statements and others work', async () => {
    const berth = await start({ pool: { MaxConnections: 3 }, expect: EXPECTED });
    using first = await loginThrough(berth);
    await first.rows('select 1');
    using counted = await MostConnections.count(database(), berth);
    let isOver = false;
    const working = [1, 2, 3, 4].map(async () => {
      using client = await loginThrough(berth);
      while (!isOver) await client.rows('select 1 from dual');
    });
    for (let round = 0; round < ROUNDS; round++) {
      const client = await loginThrough(berth);
      send(client, 'begin; do sleep(30)');
      await client.next();
      client.reset();
    }
    isOver = true;
    await Promise.all(working);
    await untilMetric(berth, 'database_connections_currently_borrowed', 0);
    expect(await counted.most()).toBeLessThanOrEqual(3 + BESIDE);
  });

  test('holds while clients kill what others run', async () => {
    const berth = await start({ pool: { MaxConnections: 2 }, expect: EXPECTED });
    using killer = await loginThrough(berth);
    using victim = await loginThrough(berth);
    await killer.rows('select 1');
    using counted = await MostConnections.count(database(), berth);
    for (let round = 0; round < ROUNDS; round++) {
      send(victim, `select 'round ${round}', sleep(30)`);
      await untilRunning(counted.client, `round ${round}'`);
      expect(errorsOf(await killer.query(`kill query ${victim.greeting.connectionId}`))).toEqual(
        [],
      );
      await victim.readAnswer();
      expect(await victim.rows('select 1')).toEqual([['1']]);
    }
    expect(await counted.most()).toBeLessThanOrEqual(2 + BESIDE);
  });

  test('is one more when everything hangs that could kill what hangs', async () => {
    const berth = await start({ pool: { MaxConnections: 2 }, expect: EXPECTED });
    const clients = await Promise.all([1, 2].map(() => loginThrough(berth)));
    using counted = await MostConnections.count(database(), berth);
    for (const client of clients) {
      send(client, 'begin; do sleep(30)');
      await client.next();
    }
    for (const client of clients) client.reset();
    using next = await loginThrough(berth);
    expect(await next.rows('select 1')).toEqual([['1']]);
    expect(await counted.most()).toBe(2 + BESIDE);
  });

  test('holds behind a pipeline that nobody waits for any more', async () => {
    const berth = await start({ pool: { MaxConnections: 1 }, expect: EXPECTED });
    using counted = await MostConnections.count(database(), berth);
    const client = await loginThrough(berth);
    client.sendCommands(
      commands.query('begin'),
      ...Array.from({ length: 10 }, () => commands.query('do sleep(30)')),
    );
    await client.readAnswer();
    client.reset();
    using next = await loginThrough(berth);
    expect(await next.rows('select 1')).toEqual([['1']]);
    expect(await counted.most()).toBeLessThanOrEqual(1 + BESIDE);
  });

  test('holds while users take turns on one connection', async () => {
    await admin('create database if not exists other; grant all on *.* to other');
    const berth = await start({ pool: { MaxConnections: 1 }, expect: EXPECTED });
    using one = await loginThrough(berth);
    using other = await loginThrough(berth, { user: 'other' });
    using counted = await MostConnections.count(database(), berth);
    for (let round = 0; round < ROUNDS; round++) {
      for (const client of [one, other]) expect(await client.rows('select 1')).toEqual([['1']]);
    }
    expect(await counted.most()).toBe(1);
  });

  test('a statement is killed at once although the pool is busy', async () => {
    const berth = await start({ pool: { MaxConnections: 1 }, expect: EXPECTED });
    using victim = await loginThrough(berth);
    using killer = await loginThrough(berth);
    using waiting = await loginThrough(berth);
    send(victim, "select 'killed', sleep(30)");
    using asking = await MostConnections.count(database(), berth);
    await untilRunning(asking.client, "'killed'");
    send(waiting, 'select 1');
    const sentAt = performance.now();
    await killer.query(`kill query ${victim.greeting.connectionId}`);
    await victim.readAnswer();
    expect(performance.now() - sentAt).toBeLessThan(15_000);
    expect(errorsOf(await waiting.readAnswer())).toEqual([]);
  });

  test('what else is in the text of a KILL runs', async () => {
    const berth = await start({ pool: { MaxConnections: 2 }, expect: EXPECTED });
    using killer = await loginThrough(berth);
    const texts: [string, string[][]][] = [
      ["select 'before'; KILL CONNECTION # ; select 'after'", [['before'], ['after']]],
      ["kill query #; kill #; select 'last'", [['last']]],
      ["begin; kill #; select 'in'; commit /* # */", [['in']]],
    ];
    for (const [text, rows] of texts) {
      using victim = await loginThrough(berth);
      const sql = text.replaceAll('#', `${victim.greeting.connectionId}`);
      const answer = await killer.query(sql);
      expect({ sql, errors: errorsOf(answer) }).toEqual({ sql, errors: [] });
      expect(rowsOf(answer)).toEqual(rows);
      await expect(victim.ping()).rejects.toThrow();
    }
    const own = killer.greeting.connectionId;
    expect(errorsOf(await killer.query(`kill query ${own}; select 1`))).toEqual([1317]);
    expect(await killer.rows('select 1')).toEqual([['1']]);
  });
});
