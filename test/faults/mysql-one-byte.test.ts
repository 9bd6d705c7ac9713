/**
 * The same conversation with MySQL and MariaDB direct and through the proxy, in small pieces on both sides of the
 * proxy. What comes back must be the same, packet by packet.
 */

import { describe, expect, setDefaultTimeout, test } from 'bun:test';
import { loginThrough, useMysqlBerths } from '../harness/mysql/berth.ts';
import { formatAnswer, type MysqlRawClient, statementOf } from '../harness/mysql/raw-client.ts';
import { describeServers, loginTo, mysqlAdmin, useMysql } from '../harness/mysql/server.ts';
import { untilMetric } from '../harness/polling.ts';
import { HostileNetwork } from './hostile-network.ts';

setDefaultTimeout(60_000);

const TEXTS = [
  "select 1 as one, null as nothing, '' as empty",
  'selekt',
  "select repeat('long ', 2000) as long_one, 'after' as after_it",
  'begin',
  "insert into letters values (1, null), (2, 'two')",
  'select * from letters order by a',
  'rollback',
  'select 1; select 2; select 3 where false; do 1',
  'select 1; selekt; select 2',
  "set sql_mode = 'ANSI'",
  'select @@sql_mode',
  'set sql_mode = default',
  "insert into letters values ('no number', 'x')",
];

async function converse(client: MysqlRawClient): Promise<string[]> {
  const lines: string[] = [];
  for (const text of TEXTS) lines.push(formatAnswer(await client.query(text)));
  const prepared = await client.prepare('select ? + 1 as sum, ? as text');
  const id = statementOf(prepared);
  lines.push(formatAnswer(prepared));
  for (const values of [
    [41, 'x'.repeat(300)],
    [1, null],
  ]) {
    lines.push(formatAnswer(await client.execute(id, values)));
  }
  client.closeStatement(id);
  lines.push(formatAnswer(await client.initDb('second')));
  lines.push(formatAnswer(await client.initDb('app')));
  const file = Buffer.from('3\tthree\n4\tfour\n');
  lines.push(
    formatAnswer(await client.query("load data local infile 'any' into table letters", file)),
  );
  lines.push(formatAnswer(await client.query('select * from letters order by a')));
  lines.push(formatAnswer(await client.query('delete from letters')));
  lines.push(formatAnswer(await client.resetConnection()));
  lines.push(formatAnswer(await client.ping()));
  return lines;
}

describeServers('MY-08 MY-20 small pieces', (server) => {
  const database = useMysql(server);
  const start = useMysqlBerths(database);

  describe.each([1, 2, 7])('of %d bytes', (pieceBytes) => {
    test('on both sides of the proxy: the conversation is the same as direct', async () => {
      await mysqlAdmin(
        database(),
        'drop table if exists app.letters; create table app.letters (a int, b text)',
      );
      using direct = await loginTo(database());
      const expected = await converse(direct);
      expect(expected.length).toBeGreaterThan(20);
      await using back = await HostileNetwork.start(database().port);
      back.plan = () => ({ pieceBytes });
      const berth = await start({
        pool: { MaxConnections: 2 },
        file: {
          DBInstances: [
            {
              DBInstanceIdentifier: 'orders-db',
              Engine: server.product === 'MySQL' ? 'mysql' : 'mariadb',
              Endpoint: { Address: '127.0.0.1', Port: back.port },
              Tls: { Mode: 'disable' },
            },
          ],
        },
        // The network before the database goes first.
        expect: ['session.pinned', 'connection.closed', 'target.health_changed'],
      });
      await using front = await HostileNetwork.start(berth.port);
      front.plan = () => ({ pieceBytes });
      const client = await loginThrough(berth, { port: front.port });
      expect(await converse(client)).toEqual(expected);
      await client.end();
      await untilMetric(berth, 'database_connections_currently_borrowed', 0);
    });
  });
});
