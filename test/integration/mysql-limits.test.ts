/**
 * Limits, clocks and modes of a proxy before MySQL and MariaDB, at small values: who is refused, closed or
 * served first, when, and with which error.
 */

import { describe, expect, setDefaultTimeout, test } from 'bun:test';
import type { LogPattern } from '../harness/berth.ts';
import { parseError } from '../harness/mysql/answers.ts';
import {
  closedFor,
  connectionClosedFor,
  errorsOf,
  loginThrough,
  refusalOf,
  untilRunning,
  useMysqlBerths,
} from '../harness/mysql/berth.ts';
import * as commands from '../harness/mysql/commands.ts';
import { MysqlRawClient, rowsOf } from '../harness/mysql/raw-client.ts';
import { describeServers, mysqlAdmin, useMysql } from '../harness/mysql/server.ts';
import { eventually, untilMetric } from '../harness/polling.ts';

setDefaultTimeout(30_000);

const IDS = 'select connection_id()';

/** What a client is told last, before the proxy closes its connection. */
async function farewell(client: MysqlRawClient): Promise<string[]> {
  return (await client.untilClosed()).map(({ payload, sequence }) => {
    const { code, sqlState, message } = parseError(payload);
    return `${sequence} ${code} ${sqlState} ${message}`;
  });
}

function send(client: MysqlRawClient, sql: string): void {
  client.sendPacket(commands.query(sql));
}

describeServers('limits', (server) => {
  const database = useMysql(server);
  const start = useMysqlBerths(database);
  const admin = (sql: string) => mysqlAdmin(database(), sql);

  describe('MaxClientConnections', () => {
    test('MY-51 one more is refused with 1040, and a place is free again at once', async () => {
      const berth = await start({
        proxy: { MaxClientConnections: 3 },
        expect: [closedFor('too_many_connections'), 'client.authentication_failed'],
      });
      const clients = await Promise.all([1, 2, 3].map(() => loginThrough(berth)));
      const text = '1040 (HY000) Number simultaneous connections exceeded (3)';
      expect(await refusalOf(loginThrough(berth))).toBe(text);
      expect(await refusalOf(loginThrough(berth))).toBe(text);
      for (const client of clients) expect(await client.rows('select 1')).toEqual([['1']]);
      await clients[0]?.end();
      using next = await eventually(
        () => loginThrough(berth).catch(() => undefined),
        'a free place',
      );
      expect(await next.rows('select 1')).toEqual([['1']]);
      for (const client of clients) client.destroy();
    });

    test('MY-51 log-ins that fail in any way give their place back', async () => {
      const berth = await start({
        proxy: { MaxClientConnections: 2 },
        expect: [closedFor('protocol_violation'), 'client.authentication_failed'],
      });
      for (let round = 0; round < 3; round++) {
        const wrong = [1, 2].map(() => refusalOf(loginThrough(berth, { password: 'wrong' })));
        for (const told of await Promise.all(wrong)) expect(told).toStartWith('1045 (28000)');
        const silent = await MysqlRawClient.connect({ port: berth.port });
        await silent.readGreeting();
        silent.reset();
        using malformed = await MysqlRawClient.connect({ port: berth.port });
        await malformed.readGreeting();
        malformed.sendPacket(Buffer.from('nonsense'), 1);
        await malformed.untilClosed();
        await untilMetric(berth, 'client_connections', 0);
      }
      using first = await loginThrough(berth);
      using second = await loginThrough(berth);
      expect(await first.rows('select 1')).toEqual(await second.rows('select 1'));
    });
  });

  describe('how many database connections', () => {
    test('MaxConnectionsPercent is of the server’s max_connections', async () => {
      const [[before = '']] = (await admin('select @@global.max_connections')) as [[string]];
      await admin('set global max_connections = 30');
      try {
        const berth = await start({ pool: { MaxConnections: 100, MaxConnectionsPercent: 10 } });
        await untilMetric(berth, 'max_database_connections_allowed', 3);
        const clients = await Promise.all(Array.from({ length: 6 }, () => loginThrough(berth)));
        for (const client of clients) send(client, 'do sleep(0.1)');
        for (const client of clients) expect(errorsOf(await client.readAnswer())).toEqual([]);
        expect(await berth.metric('database_connections')).toBeLessThanOrEqual(3);
        for (const client of clients) client.destroy();
      } finally {
        await admin(`set global max_connections = ${before}`);
      }
    });

    test('DatabaseConnectionIdleTimeout closes an unused one, and the next client gets a new one', async () => {
      const berth = await start({ pool: { DatabaseConnectionIdleTimeout: 1 } });
      using client = await loginThrough(berth);
      const first = await client.rows(IDS);
      await berth.untilLogged(connectionClosedFor('idle_timeout'));
      expect(await client.rows(IDS)).not.toEqual(first);
    });
  });

  describe('clocks', () => {
    test('IdleClientTimeout closes a silent client with an error, and nobody else', async () => {
      const berth = await start({
        proxy: { IdleClientTimeout: 1 },
        pool: { MaxConnections: 4 },
        expect: [closedFor('idle_timeout')],
      });
      using idle = await loginThrough(berth);
      await idle.rows('select 1');
      const silentSince = performance.now();
      using busy = await loginThrough(berth);
      send(busy, "select 'busy', sleep(1.6)");
      using inTransaction = await loginThrough(berth);
      await inTransaction.rows('begin');
      expect(await farewell(idle)).toEqual([
        '0 1159 08S01 The client connection was idle for longer than IdleClientTimeout (1 s).',
      ]);
      const silentMs = performance.now() - silentSince;
      expect(silentMs).toBeGreaterThan(900);
      expect(silentMs).toBeLessThan(2_500);
      expect(rowsOf(await busy.readAnswer())).toEqual([['busy', '0']]);
      // Its transaction is open: that is BorrowedIdleTimeout's.
      expect(errorsOf(await inTransaction.query('commit'))).toEqual([]);
    });

    test('a ping keeps a client', async () => {
      const berth = await start({ proxy: { IdleClientTimeout: 1 } });
      using client = await loginThrough(berth);
      const until = performance.now() + 1_800;
      await eventually(async () => {
        expect(errorsOf(await client.ping())).toEqual([]);
        return performance.now() > until ? true : undefined;
      }, 'pings for longer than the timeout');
      expect(await client.rows('select 1')).toEqual([['1']]);
    });

    test('MY-47 IdleClientTimeout closes a pinned client too, and its connection is reset', async () => {
      const berth = await start({
        proxy: { IdleClientTimeout: 1 },
        pool: { MaxConnections: 1 },
        expect: ['session.pinned', closedFor('idle_timeout')],
      });
      using pinned = await loginThrough(berth);
      await pinned.rows('set @something = 1');
      expect((await farewell(pinned)).join()).toContain(' 1159 ');
      await berth.untilLogged('connection.reset');
      using next = await loginThrough(berth);
      expect(await next.rows('select @something')).toEqual([[null]]);
    });

    test('MY-48 a short wait_timeout is not left on a connection that rests', async () => {
      const berth = await start({ pool: { MaxConnections: 1 } });
      using impatient = await loginThrough(berth);
      using other = await loginThrough(berth);
      const usual = await other.rows('select @@wait_timeout');
      await impatient.rows('set wait_timeout = 20');
      await berth.untilLogged('connection.reset');
      expect(await other.rows('select @@wait_timeout')).toEqual(usual);
      expect(await impatient.rows('select @@wait_timeout')).toEqual([['20']]);
      expect(berth.logged('connection.opened')).toHaveLength(1);
    });

    test('BorrowedIdleTimeout rolls back and tells 1159; a running statement is left alone', async () => {
      await admin('drop table if exists app.kept; create table app.kept (id int) engine=InnoDB');
      const berth = await start({
        pool: { MaxConnections: 2, BorrowedIdleTimeout: 1 },
        expect: [closedFor('borrowed_idle_timeout')],
      });
      using busy = await loginThrough(berth);
      await busy.rows('begin');
      send(busy, "select 'busy', sleep(1.6)");
      using holder = await loginThrough(berth);
      await holder.rows('begin; insert into kept values (1)');
      using waiting = await loginThrough(berth);
      send(waiting, 'select count(*) from kept');
      expect(await farewell(holder)).toEqual([
        '0 1159 08S01 The open transaction was idle for longer than BorrowedIdleTimeout (1 s).',
      ]);
      // The connection is rolled back and goes to who waits.
      expect(rowsOf(await waiting.readAnswer())).toEqual([['0']]);
      expect(rowsOf(await busy.readAnswer())).toEqual([['busy', '0']]);
      expect(errorsOf(await busy.query('commit'))).toEqual([]);
    });

    test('MY-23 BorrowedIdleTimeout ends who has switched autocommit off and read something', async () => {
      const berth = await start({
        pool: { MaxConnections: 1, BorrowedIdleTimeout: 1 },
        expect: [closedFor('borrowed_idle_timeout')],
      });
      await admin('create table if not exists app.kept (id int) engine=InnoDB');
      using holder = await loginThrough(berth);
      await holder.rows('set autocommit = 0; insert into kept values (2)');
      expect((await farewell(holder)).join()).toContain(' 1159 ');
      using next = await loginThrough(berth);
      expect(await next.rows('select @@autocommit')).toEqual([['1']]);
      expect(await next.rows('select count(*) from kept where id = 2')).toEqual([['0']]);
    });

    test('BorrowedIdleTimeout takes a connection back from a half sent command and a half sent file', async () => {
      await admin(
        'drop table if exists app.loaded; create table app.loaded (id int) engine=InnoDB',
      );
      await admin('set global local_infile = 1');
      const berth = await start({
        pool: { MaxConnections: 2, BorrowedIdleTimeout: 1 },
        expect: [closedFor('borrowed_idle_timeout'), connectionClosedFor('client_gone_in_request')],
      });
      using half = await loginThrough(berth);
      await half.rows('begin; insert into loaded values (7)');
      half.sendBytes(Buffer.from([100, 0, 0, 0, 3, 0x73]));
      using loading = await loginThrough(berth);
      send(loading, "load data local infile 'f' into table loaded");
      expect((await loading.next()).payload[0]).toBe(0xfb);
      loading.sendPacket(Buffer.from('1\n'), 2);
      await half.untilClosed();
      await loading.untilClosed();
      using next = await loginThrough(berth);
      expect(await next.rows('select count(*) from loaded')).toEqual([['0']]);
    });
  });

  describe('who waits', () => {
    const EXPECTED = ['borrow.failed'];

    test('ConnectionBorrowTimeout: 9501 with the limit and how long, and the client goes on', async () => {
      const berth = await start({
        pool: { MaxConnections: 1, ConnectionBorrowTimeout: 1 },
        expect: EXPECTED,
      });
      using holder = await loginThrough(berth);
      using client = await loginThrough(berth);
      await holder.rows('begin; select 1 from dual');
      const [error] = await client.query('select 1');
      if (error?.kind !== 'error') throw new Error('no error');
      expect([error.code, error.sqlState, error.sequence]).toEqual([9501, 'HY000', 1]);
      expect(error.message).toMatch(
        /^Timed-out waiting to acquire database connection \(Waited 1\.\d s for one of 1 connection .*MaxConnections/,
      );
      await holder.rows('commit');
      expect(await client.rows('select 2')).toEqual([['2']]);
    });

    test('ConnectionBorrowTimeout 0 refuses at once when nothing is free', async () => {
      const berth = await start({
        pool: { MaxConnections: 1, ConnectionBorrowTimeout: 0 },
        expect: EXPECTED,
      });
      const login = () => loginThrough(berth).catch(() => undefined);
      using holder = await eventually(login, 'a log-in once the connection is open');
      using client = await loginThrough(berth);
      await holder.rows('begin; select 1 from dual');
      const startedAt = performance.now();
      expect(errorsOf(await client.query('select 1'))).toEqual([9501]);
      expect(performance.now() - startedAt).toBeLessThan(500);
    });

    test('Priorities: by application name and by user', async () => {
      const Priorities = [
        { ApplicationName: 'checkout', Priority: 10 },
        { ApplicationName: 'batch', Priority: -10 },
      ];
      await admin(
        'drop table if exists app.served; create table app.served (id int auto_increment primary key, who text)',
      );
      const berth = await start({ pool: { MaxConnections: 1, Priorities } });
      const names = ['batch', 'first', 'checkout'];
      const clients = await Promise.all(
        names.map((program_name) => loginThrough(berth, { attributes: { program_name } })),
      );
      using holder = await loginThrough(berth);
      await holder.rows('begin; select 1 from dual');
      for (const [index, client] of clients.entries()) {
        send(client, `insert into served (who) values ('${names[index]}')`);
        await untilMetric(berth, 'berth_borrow_queue_depth', index + 1);
      }
      await holder.rows('commit');
      for (const client of clients) expect(errorsOf(await client.readAnswer())).toEqual([]);
      expect(await admin('select who from app.served order by id')).toEqual([
        ['checkout'],
        ['first'],
        ['batch'],
      ]);
      for (const client of clients) client.destroy();
    });
  });

  describe('PoolMode SESSION', () => {
    test('a client keeps its connection until it leaves; the next gets it clean', async () => {
      const berth = await start({
        pool: { MaxConnections: 1, PoolMode: 'SESSION' },
        expect: ['session.pinned'],
      });
      using first = await loginThrough(berth);
      await first.rows('set @mine = 1; create temporary table mine (id int); set sql_mode = ansi');
      expect(await first.rows('select @mine')).toEqual([['1']]);
      expect(errorsOf(await first.query('select * from mine'))).toEqual([]);
      const second = loginThrough(berth);
      await first.end();
      using client = await second;
      expect(await client.rows('select @mine, instr(@@sql_mode, "ANSI")')).toEqual([[null, '0']]);
      expect(errorsOf(await client.query('select * from mine'))).toEqual([1146]);
      const pins = await berth.untilLogged('session.pinned', 2);
      expect(pins.map(({ reason }) => reason)).toEqual(['session_mode', 'session_mode']);
    });
  });

  describe('InitQuery', () => {
    const INIT =
      "insert into app.inits values (connection_id()); set wait_timeout = 7777, sql_mode = 'ANSI'; select 'from the InitQuery'";
    const prepare = () =>
      admin('drop table if exists app.inits; create table app.inits (id bigint)');
    const runs = async () => Number((await admin('select count(*) from app.inits'))[0]?.[0]);
    const SHOWN = "select @@wait_timeout, instr(@@sql_mode, 'ANSI_QUOTES') > 0";

    test('MY-47 runs once on each connection, and its rows reach nobody', async () => {
      await prepare();
      const berth = await start({ pool: { MaxConnections: 2, InitQuery: INIT } });
      const clients = await Promise.all([1, 2, 3].map(() => loginThrough(berth)));
      const [first, second] = clients;
      for (const client of [first, second]) await client?.rows('begin; select 1 from dual');
      for (const client of [first, second]) await client?.rows('commit');
      const connections = await berth.metric('database_connections');
      expect(connections).toBe(2);
      expect(await runs()).toBe(2);
      for (const client of clients) {
        expect(await client.rows(SHOWN)).toEqual([['7777', '1']]);
        await client.end();
      }
      expect(await runs()).toBe(2);
    });

    test('MY-47 runs again after the reset of a pinned session', async () => {
      await prepare();
      const berth = await start({
        pool: { MaxConnections: 1, InitQuery: INIT },
        expect: ['session.pinned'],
      });
      using pinned = await loginThrough(berth);
      await pinned.rows('set @anything = 1; set wait_timeout = 8888');
      expect(await pinned.rows(SHOWN)).toEqual([['8888', '1']]);
      await pinned.end();
      using next = await loginThrough(berth);
      expect(await next.rows(SHOWN)).toEqual([['7777', '1']]);
      await berth.untilLogged('connection.reset');
      expect(await runs()).toBe(2);
    });

    test('MY-47 its settings are the ones that a client’s own replace, and that come back', async () => {
      await prepare();
      const berth = await start({ pool: { MaxConnections: 1, InitQuery: INIT } });
      using own = await loginThrough(berth);
      using plain = await loginThrough(berth);
      await own.rows("set wait_timeout = 9999, sql_mode = ''");
      for (let round = 0; round < 3; round++) {
        expect(await own.rows(SHOWN)).toEqual([['9999', '0']]);
        expect(await plain.rows(SHOWN)).toEqual([['7777', '1']]);
      }
      expect(errorsOf(await own.resetConnection())).toEqual([]);
      expect(await own.rows("select instr(@@sql_mode, 'ANSI_QUOTES') > 0")).toEqual([['1']]);
    });

    for (const [what, InitQuery, detail] of [
      ['that leaves a transaction open', 'begin; select 1 from app.inits', 'transaction'],
      ['that fails', 'select * from app.no_such_table', 'no_such_table'],
    ] as const) {
      test(`one ${what} is told to the client at once, and logged`, async () => {
        await prepare();
        const berth = await start({
          pool: { InitQuery },
          expect: [
            'connection.open_failed',
            'borrow.failed',
            'client.authentication_failed',
            closedFor('borrow_failed'),
          ],
        });
        const startedAt = performance.now();
        expect(await refusalOf(loginThrough(berth))).toMatch(/^(1184|1146) /);
        expect(performance.now() - startedAt).toBeLessThan(3_000);
        const [line] = await berth.untilLogged('connection.open_failed');
        expect(line?.level).toBe('error');
        expect(line?.msg).toContain(detail);
        await untilMetric(berth, 'database_connections', 0);
      });
    }
  });

  describe('EXCLUDE_VARIABLE_SETS', () => {
    const filtered = (expected: readonly LogPattern[] = []) =>
      start({
        pool: { MaxConnections: 1, SessionPinningFilters: ['EXCLUDE_VARIABLE_SETS'] },
        expect: expected,
      });

    test('MY-42 a SET that cannot be carried along does not pin, and is nobody else’s', async () => {
      const berth = await filtered();
      using client = await loginThrough(berth);
      using other = await loginThrough(berth);
      for (const set of [
        'set @a = 1',
        'set timestamp = 1',
        '/* in one */ set @b = 2; set @c = 3, insert_id = 7',
        "set sql_mode = 'ANSI', @a = 5",
      ]) {
        expect(errorsOf(await client.query(set))).toEqual([]);
        expect(await other.rows('select @a, @b, @c, unix_timestamp() > 1')).toEqual([
          [null, null, null, '1'],
        ]);
      }
      expect(await berth.metric('database_connections_currently_session_pinned')).toBe(0);
      expect(berth.logged('session.pinned')).toEqual([]);
    });

    test('MY-42 what is tracked stays with its client', async () => {
      const berth = await filtered();
      using client = await loginThrough(berth);
      using other = await loginThrough(berth);
      await client.rows("set wait_timeout = 7654, @a = 1, sql_mode = 'ANSI'");
      const shown = "select @@wait_timeout, instr(@@sql_mode, 'ANSI_QUOTES') > 0";
      expect(await other.rows(shown)).not.toEqual([['7654', '1']]);
      expect(await client.rows(shown)).toEqual([['7654', '1']]);
    });

    test('MY-42 in a transaction, it holds until its end', async () => {
      const berth = await filtered();
      using client = await loginThrough(berth);
      await client.rows('begin');
      await client.rows('set @a = 1');
      expect(await client.rows('select @a')).toEqual([['1']]);
      await client.rows('commit');
      expect(await client.rows('select @a')).toEqual([[null]]);
    });

    for (const [what, text, reason] of [
      ['a variable that no SET has set', 'select @a := 1', 'user_variable'],
      ['a SET that does more', "set @a = get_lock('filtered', 0)", 'user_level_lock'],
      [
        'what comes with a SET',
        'set @a = 1; create temporary table t (id int)',
        'temporary_object',
      ],
      ['a role', 'set role none', 'set'],
    ] as const) {
      test(`MY-42 ${what} pins all the same`, async () => {
        const berth = await filtered(['session.pinned']);
        using client = await loginThrough(berth);
        expect(errorsOf(await client.query(text))).toEqual([]);
        const [line] = await berth.untilLogged('session.pinned');
        expect(line?.reason).toBe(reason);
      });
    }

    test('MY-42 without it, the same SET pins', async () => {
      const berth = await start({ expect: ['session.pinned'] });
      using client = await loginThrough(berth);
      await client.rows('set @a = 1');
      expect(await client.rows('select @a')).toEqual([['1']]);
      expect((await berth.untilLogged('session.pinned'))[0]?.reason).toBe('user_variable');
    });
  });

  describe('stopping', () => {
    test('SIGTERM while clients are idle: 1053 for each, and exit code 0', async () => {
      const berth = await start();
      const clients = await Promise.all([1, 2, 3].map(() => loginThrough(berth)));
      await clients[0]?.rows('select 1');
      berth.signal('SIGTERM');
      for (const client of clients) {
        expect(await farewell(client)).toEqual(['0 1053 08S01 Server shutdown in progress']);
      }
      expect(await berth.ended).toEqual({ code: 0, signal: null });
    });

    test('SIGTERM in a transaction, and while somebody waits: both finish, then 1053', async () => {
      await admin('drop table if exists app.finished; create table app.finished (id int)');
      const berth = await start({ pool: { MaxConnections: 1 } });
      using client = await loginThrough(berth);
      using waiting = await loginThrough(berth);
      await client.rows('begin; select 1 from finished');
      send(waiting, 'select 8');
      await untilMetric(berth, 'berth_borrow_queue_depth', 1);
      berth.signal('SIGTERM');
      await berth.untilLogged('process.draining');
      expect(errorsOf(await client.query('insert into finished values (1)'))).toEqual([]);
      await expect(MysqlRawClient.connect({ port: berth.port })).rejects.toMatchObject({
        code: 'ECONNREFUSED',
      });
      expect(errorsOf(await client.query('commit'))).toEqual([]);
      expect(await farewell(client)).toEqual(['0 1053 08S01 Server shutdown in progress']);
      expect(rowsOf(await waiting.readAnswer())).toEqual([['8']]);
      expect(await farewell(waiting)).toEqual(['0 1053 08S01 Server shutdown in progress']);
      expect((await berth.ended).code).toBe(0);
      expect(await admin('select * from app.finished')).toEqual([['1']]);
    });

    test('SIGTERM during a statement, and with a pinned client: 1053 behind the answer', async () => {
      const berth = await start({ expect: ['session.pinned'] });
      using slow = await loginThrough(berth);
      send(slow, "select 'slow', sleep(0.5)");
      using pinned = await loginThrough(berth);
      await pinned.rows('set @a = 1');
      await untilRunning(database(), 'slow');
      berth.signal('SIGTERM');
      expect((await farewell(pinned)).join()).toContain(' 1053 ');
      expect(rowsOf(await slow.readAnswer())).toEqual([['slow', '0']]);
      expect((await farewell(slow)).join()).toContain(' 1053 ');
      expect((await berth.ended).code).toBe(0);
    });

    test('SIGTERM while clients log in: they are told, too', async () => {
      const berth = await start();
      using silent = await MysqlRawClient.connect({ port: berth.port });
      await silent.readGreeting();
      berth.signal('SIGTERM');
      expect((await farewell(silent)).join()).toContain(' 1053 ');
      expect((await berth.ended).code).toBe(0);
    });
  });
});
