/**
 * What is larger than every buffer, before MySQL and MariaDB: results that are not read, packets of more than
 * 16 MiB both ways. The proxy's memory stays as it is, and others go on working.
 */

import { beforeEach, describe, expect, setDefaultTimeout, test } from 'bun:test';
import { useBerth } from '../harness/berth.ts';
import { errorsOf, loginThrough } from '../harness/mysql/berth.ts';
import * as commands from '../harness/mysql/commands.ts';
import { makeMysqlConfiguration } from '../harness/mysql/configuration.ts';
import { rowsOf, statementOf } from '../harness/mysql/raw-client.ts';
import { describeServers, mysqlAdmin, useMysql } from '../harness/mysql/server.ts';
import { eventually, untilMetric } from '../harness/polling.ts';

setDefaultTimeout(60_000);

const MiB = 1024 * 1024;
/** Of 64 that a client does not take; the heap of a process that is still young grows in large steps. */
const GROWTH_MAX = 48 * MiB;
const LARGE = 20_000_000;
/** Past any buffer between a database and a client that does not read. */
const RESULTS = {
  'many rows': "select repeat('x', 1000) from numbers a, numbers b, numbers c limit 64000",
  'a few rows of many bytes': "select repeat('x', 16000000) from numbers limit 4",
} as const;

describeServers('what is large', (server) => {
  const database = useMysql(server, { settings: { max_allowed_packet: 64 * MiB } });
  const berth = useBerth(() => ({
    configuration: makeMysqlConfiguration(database(), { pool: { MaxConnections: 2 } }),
    expect: ['connection.closed', 'client.closed'],
  }));

  beforeEach(async () => {
    await mysqlAdmin(
      database(),
      `create table if not exists app.numbers (id int);
       create table if not exists app.sink (line longtext);
       delete from app.numbers; delete from app.sink;
       insert into app.numbers select ordinal_position from information_schema.columns limit 100`,
    );
    // The process has grown to what it needs anyway.
    using client = await loginThrough(berth());
    await client.rows("select repeat('x', 1000) from numbers a, numbers b, numbers c limit 16000");
  });

  async function untilDatabaseWaits(): Promise<void> {
    const running = `select id from information_schema.processlist
      where command in ('Query', 'Execute') and user = 'app'`;
    let before = -1;
    // Nothing moves any more while the statement still runs.
    await eventually(async () => {
      const bytes = berth().residentBytes();
      const isStill = bytes === before;
      before = bytes;
      const rows = await mysqlAdmin(database(), running);
      return isStill && rows.length > 0 ? true : undefined;
    }, 'the database waits for its client');
  }

  describe('MY-51 a client that stops reading a result of 64 MB', () => {
    for (const [name, sql] of Object.entries(RESULTS)) {
      test(`${name}: the proxy does not grow, others go on`, async () => {
        using stalled = await loginThrough(berth());
        const before = berth().residentBytes();
        stalled.pause();
        stalled.sendPacket(commands.query(sql));
        await untilDatabaseWaits();
        expect(berth().residentBytes() - before).toBeLessThan(GROWTH_MAX);
        for (let n = 0; n < 10; n++) {
          using other = await loginThrough(berth());
          expect(await other.rows(`select ${n}`)).toEqual([[String(n)]]);
        }
        stalled.resume();
        const bytes = rowsOf(await stalled.readAnswer()).reduce(
          (sum, [value]) => sum + (value?.length ?? 0),
          0,
        );
        expect(bytes).toBe(64_000_000);
        expect(berth().residentBytes() - before).toBeLessThan(GROWTH_MAX);
        await untilMetric(berth(), 'database_connections_currently_borrowed', 0);
      });
    }
  });

  describe('MY-20 of more than 16 MiB', () => {
    test('a text, a parameter, long data and a row: all of it, in bounded memory', async () => {
      using client = await loginThrough(berth());
      const before = berth().residentBytes();
      const text = 'x'.repeat(LARGE);
      const expectNoGrowth = () =>
        expect(berth().residentBytes() - before).toBeLessThan(GROWTH_MAX);
      expect(errorsOf(await client.query(`insert into sink values ('${text}')`))).toEqual([]);
      expectNoGrowth();
      const id = statementOf(await client.prepare('insert into sink values (?)'));
      expect(errorsOf(await client.execute(id, [text]))).toEqual([]);
      expectNoGrowth();
      const [row] = await client.rows('select line from sink limit 1');
      expect(row?.[0]?.length).toBe(LARGE);
      expectNoGrowth();
      expect(await client.rows('select count(*), sum(length(line)) from sink')).toEqual([
        ['2', String(2 * LARGE)],
      ]);
      await untilMetric(berth(), 'database_connections_currently_borrowed', 0);
    });

    test('exactly as long as a frame can be, one more, one less', async () => {
      using client = await loginThrough(berth());
      const frame = 0xff_ffff;
      for (const length of [frame - 1, frame, frame + 1, 2 * frame]) {
        // The command byte and the text fill the packet to this length.
        const head = "select length('";
        const tail = "') as n";
        const inner = length - 1 - head.length - tail.length;
        expect(await client.rows(`${head}${'y'.repeat(inner)}${tail}`)).toEqual([[String(inner)]]);
      }
    });

    test('more than the server allows is refused by it, and the next client is served', async () => {
      using client = await loginThrough(berth());
      client.sendPacket(commands.query(`select '${'z'.repeat(66 * MiB)}'`));
      const told = await client.readAnswer().then(
        (parts) => errorsOf(parts).join(),
        () => 'closed',
      );
      // MySQL may close the connection before it says so.
      expect(['1153', '1158', 'closed']).toContain(told);
      using next = await loginThrough(berth());
      expect(await next.rows('select 1')).toEqual([['1']]);
    });
  });
});
