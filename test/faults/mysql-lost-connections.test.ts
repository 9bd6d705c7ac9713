/**
 * Database connections that are lost, before MySQL and MariaDB: the client is told once of what was under
 * way, and goes on with the connection that it has.
 */

import { beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test';
import { createConnection as connectMariaDb } from 'mariadb';
import { createConnection as connectMySql2 } from 'mysql2/promise';
import { testUndisturbed } from '../harness/adversary.ts';
import { type Berth, useBerth } from '../harness/berth.ts';
import { errorsOf, loginThrough, untilRunning } from '../harness/mysql/berth.ts';
import * as commands from '../harness/mysql/commands.ts';
import { makeMysqlConfiguration } from '../harness/mysql/configuration.ts';
import { type MysqlRawClient, rowsOf, statementOf } from '../harness/mysql/raw-client.ts';
import { describeServers, mysqlAdmin, useMysql } from '../harness/mysql/server.ts';
import { untilMetric } from '../harness/polling.ts';
import { START_DEADLINE_MS } from '../harness/postgres.ts';
import { type Direction, useNetwork } from './hostile-network.ts';

setDefaultTimeout(30_000);

/** What the client is told: whether it has run is not known, or the transaction was rolled back. */
const UNKNOWN = [1105];
const ROLLED_BACK = [1213];

describeServers('a database connection that is lost', (server) => {
  const database = useMysql(server);
  const network = useNetwork(() => database().port);
  const berth = useBerth(() => ({
    configuration: makeMysqlConfiguration(database(), {
      pool: { MaxConnections: 2 },
      file: {
        DBInstances: [
          {
            DBInstanceIdentifier: 'orders-db',
            Engine: server.product === 'MySQL' ? 'mysql' : 'mariadb',
            Endpoint: { Address: '127.0.0.1', Port: network().port },
          },
        ],
      },
    }),
    expect: [
      'connection.closed',
      'connection.open_failed',
      'client.closed',
      'session.interrupted',
      'session.pinned',
      'target.health_changed',
    ],
  }));

  beforeAll(async () => {
    await mysqlAdmin(
      database(),
      `create table app.sums (id int auto_increment primary key, a int) engine=InnoDB;
       create table app.plain (a int) engine=InnoDB`,
    );
  }, START_DEADLINE_MS);

  /** Cuts every connection to the database, and waits until the sessions that had one know. */
  async function cut(proxy: Berth, sessions = 1): Promise<void> {
    const { length } = proxy.logged('session.interrupted');
    network().resetAll();
    await proxy.untilLogged('session.interrupted', length + sessions);
  }

  async function reasonOf(proxy: Berth): Promise<unknown> {
    return proxy.logged('session.interrupted').at(-1)?.reason;
  }

  let slowCount = 0;
  /** Not like any other: a server may not have noticed yet that nobody waits for the one before. */
  const slow = () => `sleep(30 + 0 * ${++slowCount})`;

  function send(client: MysqlRawClient, sql: string): void {
    client.sendPacket(commands.query(sql, client.capabilities));
  }

  async function goesOn(client: MysqlRawClient): Promise<void> {
    expect(await client.rows("select 'goes on'")).toEqual([['goes on']]);
  }

  describe('MY-48', () => {
    test.each([
      ['a statement', (sleep: string) => `select ${sleep}`],
      ['several statements', (sleep: string) => `begin; select ${sleep}; commit`],
    ])('while %s runs: the outcome is not known', async (_what, textOf) => {
      using client = await loginThrough(berth());
      const sleep = slow();
      send(client, textOf(sleep));
      await untilRunning(database(), sleep);
      await cut(berth());
      expect(errorsOf(await client.readAnswer())).toEqual(UNKNOWN);
      await goesOn(client);
      expect(await reasonOf(berth())).toBe('request_lost');
    });

    test.each([
      ['one that cannot end it', 'select', ROLLED_BACK],
      ['one that may have ended it', 'do', UNKNOWN],
    ])('while a statement runs in a transaction, %s', async (_what, verb, errors) => {
      using client = await loginThrough(berth());
      await client.rows('begin; insert into plain values (1)');
      const sleep = slow();
      send(client, `${verb} ${sleep}`);
      await untilRunning(database(), sleep);
      await cut(berth());
      expect(errorsOf(await client.readAnswer())).toEqual(errors);
      expect(await client.rows('select * from plain')).toEqual([]);
    });

    test.each([
      ['another statement', 'insert into plain values (2)', ROLLED_BACK],
      ['COMMIT', 'commit', ROLLED_BACK],
      ['ROLLBACK', ' /* app */ ROLLBACK WORK ;', []],
    ])('in a transaction in which nothing runs; then comes %s', async (_what, sql, errors) => {
      using client = await loginThrough(berth());
      await client.rows('begin; insert into plain values (1)');
      await cut(berth());
      expect(errorsOf(await client.ping())).toEqual([]);
      expect(errorsOf(await client.query(sql))).toEqual(errors);
      expect(await client.rows('select * from plain')).toEqual([]);
      expect(await reasonOf(berth())).toBe('transaction_lost');
    });

    test('without autocommit: what the session has set stays, and the next transaction is another', async () => {
      using client = await loginThrough(berth());
      await client.rows("set autocommit = 0; set time_zone = '+03:00'");
      await client.rows('insert into plain values (1)');
      await cut(berth());
      expect(errorsOf(await client.query('insert into plain values (2)'))).toEqual(ROLLED_BACK);
      const sql = 'select @@autocommit, @@time_zone, count(*) from plain';
      expect(await client.rows(sql)).toEqual([['0', '+03:00', '0']]);
      await client.rows('insert into plain values (3); rollback');
    });

    test('with prepared statements: they are there again, and the one that was lost is not', async () => {
      using client = await loginThrough(berth());
      const kept = statementOf(await client.prepare('select ? + 1'));
      const sleep = slow();
      const running = statementOf(await client.prepare(`select ${sleep}, ?`));
      client.sendPacket(commands.execute(running, [7], { capabilities: client.capabilities }));
      await untilRunning(database(), sleep);
      await cut(berth());
      expect(errorsOf(await client.readAnswer('execute'))).toEqual(UNKNOWN);
      expect(errorsOf(await client.execute(kept, [1]))).toEqual([]);
      await client.rows('begin; insert into plain values (1)');
      await cut(berth());
      client.sendPacket(commands.sendLongData(kept, 0, '1'));
      expect(errorsOf(await client.execute(kept, [1]))).toEqual(ROLLED_BACK);
      expect(errorsOf(await client.execute(kept, [1]))).toEqual([]);
    });

    test('with a pipeline: an error for each command', async () => {
      using client = await loginThrough(berth());
      const sleep = slow();
      client.sendCommands(commands.query(`do ${sleep}`), commands.query('select 2'));
      await untilRunning(database(), sleep);
      await cut(berth());
      expect(errorsOf(await client.readAnswer())).toEqual(UNKNOWN);
      expect(errorsOf(await client.readAnswer())).toEqual(UNKNOWN);
      await goesOn(client);
    });

    test('between the rows of a result: the error comes in the place of the next', async () => {
      using client = await loginThrough(berth());
      const sleep = slow();
      send(client, `select 1; select ${sleep}`);
      await untilRunning(database(), sleep);
      await cut(berth());
      const answer = await client.readAnswer();
      expect(rowsOf(answer)).toEqual([['1']]);
      expect(errorsOf(answer)).toEqual(UNKNOWN);
      const sequences = client.received.slice(-4).map(({ sequence }) => sequence);
      const [first = 0] = sequences;
      expect(sequences).toEqual([first, first + 1, first + 2, first + 3]);
      await goesOn(client);
    });

    test.each([
      ['a variable', "set @mine = 'told'"],
      ['a temporary table', 'create temporary table mine (id int)'],
      ['a lock', "select get_lock('mine', 0)"],
      ['a variable of a transaction', "begin; insert into plain values (1); set @mine = 'told'"],
      ['locked tables', 'lock tables sums read'],
    ])('with %s: the client is closed', async (_what, sql) => {
      using client = await loginThrough(berth());
      await client.rows(sql);
      network().resetAll();
      const [error] = await client.untilClosed();
      expect(error?.payload[0]).toBe(0xff);
      await untilMetric(berth(), 'database_connections_currently_borrowed', 0);
    });

    test('behind an insert: who asks for its id is told that it is lost', async () => {
      using client = await loginThrough(berth());
      await client.rows('insert into sums (a) values (1)');
      await cut(berth());
      await goesOn(client);
      expect(errorsOf(await client.query('select last_insert_id()'))).toEqual(UNKNOWN);
      expect(await client.rows('select last_insert_id()')).toEqual([['0']]);
    });

    test('LOCAL INFILE: the client is closed', async () => {
      using client = await loginThrough(berth());
      send(client, "load data local infile 'any' into table plain");
      expect((await client.next()).payload[0]).toBe(0xfb);
      network().resetAll();
      await client.untilClosed();
    });

    const DIRECTIONS: readonly Direction[] = ['toServer', 'toClient'];
    for (const direction of DIRECTIONS) {
      // Where they are depends on what is sent on a connection at first.
      testUndisturbed(
        `at 40 positions on the way ${direction}: nothing is half committed, nothing is left`,
        async () => {
          network().resetAll();
          const { length } = network().links.all;
          const first = await loginThrough(berth());
          await goesOn(first);
          const used = network().links.all.slice(length);
          const afterLogin = Math.max(...used.map(({ passed }) => passed[direction]));
          await converse(first);
          const most = Math.max(...used.map(({ passed }) => passed[direction])) - afterLogin;
          first.destroy();
          let [kept, cuts] = [0, 0];
          network().plan = () => {
            cuts++;
            const afterBytes = afterLogin + Math.round((most * ((cuts * 7) % 30)) / 30);
            return { cut: { direction, afterBytes, how: 'reset' } };
          };
          network().resetAll();
          try {
            while (cuts < 40) {
              const client = await loginThrough(berth());
              try {
                const errors = await converse(client);
                let isServed = false;
                while (!isServed) isServed = (await errorsIn(client, 'rollback; select 1')) === 0;
                if (errors > 0) kept++;
              } catch (error) {
                // In the middle of a packet, or of a description.
                if (!client.isClosed) throw error;
              }
              client.destroy();
            }
          } finally {
            network().plan = () => ({});
            network().resetAll();
          }
          expect(kept).toBeGreaterThan(5);
          await untilMetric(berth(), 'client_connections', 0);
          await untilMetric(berth(), 'berth_borrow_queue_depth', 0);
          await untilMetric(berth(), 'database_connections_currently_borrowed', 0);
          const sum = 'select coalesce(sum(a), 0) from app.sums where a <> 1';
          expect(await mysqlAdmin(database(), sum)).toEqual([['0']]);
        },
      );
    }
  });

  async function errorsIn(client: MysqlRawClient, sql: string): Promise<number> {
    return errorsOf(await client.query(sql)).length;
  }

  /** What it commits sums up to nothing. Returns how many of its requests failed. */
  async function converse(client: MysqlRawClient): Promise<number> {
    let errors = 0;
    const ask = async (sql: string) => {
      const failed = errorsOf(await client.query(sql)).length;
      errors += failed;
      return failed === 0;
    };
    if (await ask('begin')) {
      if (await ask('insert into sums (a) values (7)')) {
        if (await ask('insert into sums (a) values (-7)')) await ask('commit');
      }
    }
    await ask("select repeat('x', 500) from information_schema.columns limit 3");
    await ask('insert into sums (a) values (3), (-3)');
    await ask('select 1; select 2');
    return errors;
  }

  describe('MY-48 drivers go on', () => {
    const options = () => ({
      host: '127.0.0.1',
      port: berth().port,
      user: 'app',
      password: 'app-password',
      database: 'app',
    });

    test('mysql2', async () => {
      const connection = await connectMySql2(options());
      await connection.beginTransaction();
      await connection.query('insert into plain values (1)');
      await cut(berth());
      const lost = await connection.execute('insert into plain values (2)').catch(codeOf);
      expect(lost).toBe(1213);
      await connection.rollback();
      const sleep = slow();
      const running = connection.query(`select ${sleep}`).catch(codeOf);
      await untilRunning(database(), sleep);
      await cut(berth());
      expect(await running).toBe(1105);
      const [rows] = await connection.execute('select count(*) as count from plain');
      expect(rows).toEqual([expect.objectContaining({ count: 0 })]);
      await connection.end();
    });

    test('mariadb', async () => {
      const connection = await connectMariaDb(options());
      await connection.beginTransaction();
      await connection.query('insert into plain values (1)');
      await cut(berth());
      const lost = await connection.execute('insert into plain values (2)').catch(codeOf);
      expect(lost).toBe(1213);
      await connection.rollback();
      const sleep = slow();
      const running = connection.query(`select ${sleep}`).catch(codeOf);
      await untilRunning(database(), sleep);
      await cut(berth());
      expect(await running).toBe(1105);
      expect(connection.isValid()).toBe(true);
      const [row] = await connection.execute('select count(*) as count from plain');
      expect(Number(row.count)).toBe(0);
      await connection.end();
    });
  });

  function codeOf(error: unknown): unknown {
    return error instanceof Error && 'errno' in error ? error.errno : error;
  }
});
