/** When a pin of MySQL or MariaDB ends, and when it only looks as if it could. */

import { expect, setDefaultTimeout, test } from 'bun:test';
import { useBerth } from '../harness/berth.ts';
import { errorsOf, loginThrough } from '../harness/mysql/berth.ts';
import { makeMysqlConfiguration } from '../harness/mysql/configuration.ts';
import { describeServers, loginTo, mysqlAdmin, useMysql } from '../harness/mysql/server.ts';
import { untilMetric } from '../harness/polling.ts';
import { untilAllReturned } from './side-by-side.ts';

setDefaultTimeout(30_000);

const PINNED = 'database_connections_currently_session_pinned';

/** A text, and whether the session is pinned behind it. */
type Step = readonly [text: string, isPinned: boolean];

const CASES: Readonly<Record<string, readonly Step[]>> = {
  'MY-43 with the last lock of GET_LOCK': [
    ["select get_lock('a', 1)", true],
    ['do get_lock("b", 0.5)', true],
    ["select release_lock('a')", true],
    ["do release_lock('b')", false],
    ["select get_lock('a', 1) as got", true],
    ["select release_lock('a')", false],
  ],
  'MY-43 when a lock has been released as often as it was taken': [
    ["select get_lock('a', 1)", true],
    ["select get_lock('a', 1)", true],
    ["select release_lock('a')", true],
    ["select release_lock('a')", false],
  ],
  'MY-43 never began: GET_LOCK got none': [["select get_lock('of another', 0)", false]],
  'MY-43 with RELEASE_ALL_LOCKS only, when a lock has no plain name': [
    ["select get_lock(concat('a', 'b'), 1)", true],
    ["select get_lock('c', 1)", true],
    ["select release_lock('c')", true],
    ["select release_lock('ab')", true],
    ['select release_all_locks()', false],
  ],
  'MY-46 with the last prepared statement': [
    ["prepare one from 'select 1'", true],
    ["prepare `Two` from 'select ?, 2'", true],
    ['execute one', true],
    ['deallocate prepare one', true],
    ['drop prepare two', false],
  ],
  'MY-46 not with it, when something else was run with it': [
    ["prepare one from 'create temporary table of_prepared (a int)'", true],
    ['execute one', true],
    ['deallocate prepare one', true],
    ['insert into of_prepared values (1)', true],
  ],
  'MY-46 in spite of a PREPARE that failed': [
    ["prepare broken from 'selekt 1'", false],
    ["prepare one from 'select 1'", true],
    ['deallocate prepare one', false],
  ],
  'MY-43 not with its lock, when a routine has left something meanwhile': [
    ["select get_lock('a', 1)", true],
    ['call leaves_table()', true],
    ["select release_lock('a')", true],
    ['select release_all_locks()', true],
    ['insert into of_routine values (1)', true],
  ],
};

describeServers('a pin', (server) => {
  const database = useMysql(server);
  const berth = useBerth(() => ({
    configuration: makeMysqlConfiguration(database()),
    expect: ['session.pinned'],
  }));

  for (const [name, steps] of Object.entries(CASES)) {
    test(`ends ${name}`, async () => {
      await mysqlAdmin(
        database(),
        `use app; drop procedure if exists leaves_table;
         create procedure leaves_table() create temporary table of_routine (a int)`,
      );
      using other = await loginTo(database());
      await other.rows("select get_lock('of another', 0)");
      using client = await loginThrough(berth());
      const before = await berth().metric('berth_session_pins_total');
      let wasPinned = false;
      let pins = 0;
      for (const [text, isPinned] of steps) {
        const hasFailed = errorsOf(await client.query(text)).length > 0;
        expect([text, hasFailed]).toEqual([text, text.includes('broken')]);
        // What the proxy asks behind a statement is answered before the next one.
        if (isPinned && wasPinned) await client.rows('do 0');
        await untilMetric(berth(), PINNED, isPinned ? 1 : 0);
        if (isPinned && !wasPinned) pins++;
        wasPinned = isPinned;
      }
      await client.end();
      await other.end();
      await untilAllReturned(berth());
      expect((await berth().metric('berth_session_pins_total')) - before).toBe(pins);
    });
  }
});
