/**
 * Ends in the middle of things, before MySQL and MariaDB: clients that leave in every state, databases that
 * are killed, restarted, silent, or have a last word.
 */

import { beforeEach, describe, expect, setDefaultTimeout, test } from 'bun:test';
import { HostileNetwork } from '../faults/hostile-network.ts';
import { Berth, useBerth } from '../harness/berth.ts';
import { EVENT_DEADLINE_MS } from '../harness/deadline.ts';
import {
  connectionClosedFor,
  errorsOf,
  loginThrough,
  untilRunning,
  useMysqlBerths,
} from '../harness/mysql/berth.ts';
import * as commands from '../harness/mysql/commands.ts';
import { makeMysqlConfiguration } from '../harness/mysql/configuration.ts';
import { CAPABILITY, COMMAND } from '../harness/mysql/constants.ts';
import { frames, MysqlRawClient, rowsOf, statementOf } from '../harness/mysql/raw-client.ts';
import { describeServers, mysqlAdmin, startMysql, useMysql } from '../harness/mysql/server.ts';
import { eventually, untilMetric } from '../harness/polling.ts';

setDefaultTimeout(60_000);

const IDS = 'select connection_id()';
/** What an ending may leave in the log. */
const EXPECTED = ['session.pinned', 'session.interrupted', 'connection.closed', 'client.closed'];

function send(client: MysqlRawClient, sql: string): void {
  client.sendPacket(commands.query(sql));
}

type Leave = (berth: Berth) => Promise<MysqlRawClient>;

/** A client in some state. */
const STATES: Readonly<Record<string, Leave>> = {
  'before the greeting': (berth) => MysqlRawClient.connect({ port: berth.port }),
  'in its log-in': async (berth) => {
    const client = await MysqlRawClient.connect({ port: berth.port });
    await client.readGreeting();
    client.sendBytes(Buffer.from([60, 0, 0, 1, 5, 6, 7]));
    return client;
  },
  'after its log-in': (berth) => loginThrough(berth),
  'in the middle of a header': async (berth) => {
    const client = await loginThrough(berth);
    client.sendBytes(Buffer.from([30, 0]));
    return client;
  },
  'in the middle of a command': async (berth) => {
    const client = await loginThrough(berth);
    const insert = frames(commands.query('insert into gone values (1)'), 0);
    client.sendBytes(insert.subarray(0, insert.length - 2));
    return client;
  },
  'in the middle of a command of 20 MB': async (berth) => {
    const client = await loginThrough(berth);
    const text = `insert into gone values (2) /* ${'x'.repeat(20_000_000)} */`;
    const insert = frames(commands.query(text), 0);
    client.sendBytes(insert.subarray(0, insert.length - 1_000));
    await untilMetric(berth, 'database_connections_currently_borrowed', 1);
    return client;
  },
  'while its statement runs': async (berth) => {
    const client = await loginThrough(berth);
    send(client, 'begin; insert into gone values (3); select sleep(30)');
    await client.next();
    return client;
  },
  'in the middle of a result': async (berth) => {
    const client = await loginThrough(berth);
    client.pause();
    send(client, "select repeat('x', 1000000) from information_schema.columns limit 40");
    await untilMetric(berth, 'database_connections_currently_borrowed', 1);
    return client;
  },
  'in a transaction': async (berth) => {
    const client = await loginThrough(berth);
    await client.rows('begin; insert into gone values (4)');
    return client;
  },
  'without autocommit': async (berth) => {
    const client = await loginThrough(berth);
    await client.rows('set autocommit = 0');
    await client.rows('insert into gone values (5)');
    return client;
  },
  'in LOCAL INFILE': async (berth) => {
    const client = await loginThrough(berth);
    send(client, "load data local infile 'any' into table gone");
    expect((await client.next()).payload[0]).toBe(0xfb);
    client.sendPacket(Buffer.from('6\n7\n'), 2);
    return client;
  },
  'with prepared statements, long data on its way': async (berth) => {
    const client = await loginThrough(berth);
    const id = statementOf(await client.prepare('insert into gone values (?)'));
    client.sendPacket(commands.sendLongData(id, 0, '8'));
    return client;
  },
  'with a cursor open': async (berth) => {
    const client = await loginThrough(berth);
    const id = statementOf(await client.prepare('select 1 union select 2 union select 3'));
    expect(errorsOf(await client.execute(id, [], { cursor: 1 }))).toEqual([]);
    client.sendPacket(commands.fetchRows(id, 1));
    return client;
  },
  'with tables locked, variables and a temporary table': async (berth) => {
    const client = await loginThrough(berth);
    await client.rows(
      "set @left = 1; create temporary table mine (id int); select get_lock('left', 0)",
    );
    await client.rows('lock tables gone write');
    return client;
  },
  'in XA': async (berth) => {
    const client = await loginThrough(berth);
    await client.rows("xa start 'left'; insert into gone values (9); xa end 'left'");
    return client;
  },
  'behind a pipeline': (berth) => behindPipeline(berth, 0.2),
};

/** Each of the statements that wait is killed when the client has left. */
async function behindPipeline(berth: Berth, seconds: number, length = 20): Promise<MysqlRawClient> {
  const client = await loginThrough(berth);
  const sleeps = Array.from({ length }, () => commands.query(`do sleep(${seconds})`));
  client.sendCommands(
    commands.query('begin'),
    commands.query('insert into gone values (10)'),
    ...sleeps,
  );
  await client.readAnswer();
  return client;
}

describeServers('ends', (server) => {
  const database = useMysql(server, { settings: { max_allowed_packet: 64 * 1024 * 1024 } });
  const start = useMysqlBerths(database);
  const admin = (sql: string) => mysqlAdmin(database(), sql);
  const fileBehind = (network: HostileNetwork) => ({
    DBInstances: [
      {
        DBInstanceIdentifier: 'orders-db',
        Engine: server.product === 'MySQL' ? 'mysql' : 'mariadb',
        Endpoint: { Address: '127.0.0.1', Port: network.port },
      },
    ],
  });

  beforeEach(async () => {
    await admin('create table if not exists app.gone (id int) engine=InnoDB; delete from app.gone');
  });

  describe('a client leaves', () => {
    const berth = useBerth(() => ({
      configuration: makeMysqlConfiguration(database(), { pool: { MaxConnections: 1 } }),
      expect: [...EXPECTED, 'client.authentication_failed'],
    }));

    async function leaveNothing(
      client: MysqlRawClient,
      way: 'destroy' | 'reset',
      deadlineMs = EVENT_DEADLINE_MS,
    ): Promise<void> {
      client[way]();
      using next = await loginThrough(berth(), { deadlineMs });
      expect(await next.rows('select @left, @@autocommit, is_free_lock("left")')).toEqual([
        [null, '1', '1'],
      ]);
      expect(await next.rows('select id from gone')).toEqual([]);
      expect(errorsOf(await next.query('select * from mine'))).toEqual([1146]);
      await untilMetric(berth(), 'client_connections', 1);
      await untilMetric(berth(), 'database_connections_currently_borrowed', 0);
      expect(await berth().metric('berth_borrow_queue_depth')).toBe(0);
    }

    for (const [state, leave] of Object.entries(STATES)) {
      for (const way of ['destroy', 'reset'] as const) {
        test(`MY-47 MY-28 MY-45 ${state}, by ${way}: nothing of it stays`, async () => {
          await leaveNothing(await leave(berth()), way);
        });
      }
    }

    const failed = connectionClosedFor('reset_failed');

    test('MY-47 behind a pipeline of long statements: each is killed, the connection stays', async () => {
      const resets = berth().logged('connection.reset').length;
      const failures = berth().logged(failed).length;
      await leaveNothing(await behindPipeline(berth(), 5), 'destroy');
      await berth().untilLogged('connection.reset', resets + 1);
      expect(berth().logged(failed)).toHaveLength(failures);
    });

    test('MY-47 behind a pipeline that outlasts the reset: nothing of it stays', async () => {
      const failures = berth().logged(failed).length;
      // With one connection a KILL goes out beside the pool, at most every 30 ms: these take 30 s.
      await leaveNothing(await behindPipeline(berth(), 5, 1_000), 'destroy', 45_000);
      await berth().untilLogged(failed, failures + 1);
    });
  });

  describe('MY-48 a connection that the database ends', () => {
    test('while nobody has it costs nobody anything', async () => {
      const berth = await start({ pool: { MaxConnections: 1 }, expect: EXPECTED });
      using client = await loginThrough(berth);
      for (let round = 0; round < 3; round++) {
        const [[id]] = (await client.rows(IDS)) as [[string]];
        await admin(`kill ${id}`);
        await berth.untilLogged('connection.closed', round + 1);
        expect(await client.rows(IDS)).not.toEqual([[id]]);
      }
    });

    test('for its age is replaced', async () => {
      await admin('set global wait_timeout = 1');
      try {
        const berth = await start({ pool: { MaxConnections: 1 }, expect: EXPECTED });
        using client = await loginThrough(berth);
        const first = await client.rows(IDS);
        await berth.untilLogged(connectionClosedFor('database_closed'));
        expect(await client.rows(IDS)).not.toEqual(first);
      } finally {
        await admin('set global wait_timeout = 28800');
      }
    });

    test('in a statement tells its client once, with what the database said', async () => {
      const berth = await start({ pool: { MaxConnections: 1 }, expect: EXPECTED });
      using client = await loginThrough(berth);
      const [[id]] = (await client.rows(IDS)) as [[string]];
      send(client, "select 'cut', sleep(30)");
      await untilRunning(database(), 'cut');
      await admin(`kill ${id}`);
      expect(errorsOf(await client.readAnswer())).toHaveLength(1);
      expect(await client.rows('select 1')).toEqual([['1']]);
    });

    test('in a transaction costs the transaction, and not the session', async () => {
      const berth = await start({ pool: { MaxConnections: 1 }, expect: EXPECTED });
      using client = await loginThrough(berth);
      const rows = await client.rows('begin; insert into gone values (1); select connection_id()');
      await admin(`kill ${rows[0]?.[0]}`);
      await berth.untilLogged('session.interrupted');
      expect(errorsOf(await client.query('commit'))).toEqual([1213]);
      expect(await client.rows('select id from gone')).toEqual([]);
    });
  });

  describe('a connection that its client tells to end', () => {
    const SETTING = "set completion_type = 'RELEASE'";
    const WAYS: Readonly<Record<string, readonly [before: string, end: string]>> = {
      'COMMIT RELEASE': ['begin; insert into gone values (1)', 'commit release'],
      'ROLLBACK RELEASE': ['begin', 'rollback work release'],
      completion_type: [`${SETTING}; begin; insert into gone values (1)`, 'commit'],
    };
    for (const [way, [before, end]] of Object.entries(WAYS)) {
      test(`by ${way} ends with its client, and nobody else meets it`, async () => {
        const berth = await start({ pool: { MaxConnections: 1 }, expect: EXPECTED });
        for (let round = 0; round < 5; round++) {
          using client = await loginThrough(berth);
          await client.rows(before);
          const others = await Promise.all([1, 2, 3].map(() => loginThrough(berth)));
          for (const other of others) send(other, "select 'unharmed'");
          send(client, end);
          const [answer] = await client.untilClosed();
          expect(answer?.payload[0]).toBe(0);
          for (const other of others) {
            expect(rowsOf(await other.readAnswer())).toEqual([['unharmed']]);
            other.destroy();
          }
        }
      });
    }

    test('and that does not, because the statement failed, goes on', async () => {
      const berth = await start({ pool: { MaxConnections: 1 }, expect: EXPECTED });
      using client = await loginThrough(berth);
      expect(errorsOf(await client.query('commit releases'))).toEqual([1064]);
      expect(await client.rows('select 1')).toEqual([['1']]);
    });
  });

  test('MY-49 a database that has become read-only says so itself, and goes on', async () => {
    // The other users of the tests may write nevertheless.
    const reader = { name: 'limited', password: 'limited-password' };
    await admin(`create user limited identified by 'limited-password';
      grant select, insert on app.* to limited`);
    const berth = await start({ pool: { MaxConnections: 1 }, users: [reader] });
    using client = await loginThrough(berth, { user: reader.name, password: reader.password });
    await admin('set global read_only = 1');
    try {
      expect(errorsOf(await client.query('insert into gone values (1)'))).toEqual([1290]);
      expect(await client.rows('select 1')).toEqual([['1']]);
    } finally {
      await admin('set global read_only = 0');
    }
    expect(errorsOf(await client.query('insert into gone values (1)'))).toEqual([]);
  });

  test('MY-48 a silent database keeps its client waiting, and others when it flows again', async () => {
    await using network = await HostileNetwork.start(database().port);
    const berth = await start({
      pool: { MaxConnections: 2 },
      file: fileBehind(network),
      expect: [...EXPECTED, 'target.health_changed', 'connection.open_failed'],
    });
    using client = await loginThrough(berth);
    await client.rows('select 1');
    network.stall();
    send(client, 'select 2');
    await untilMetric(berth, 'database_connections_currently_borrowed', 1);
    expect(client.isClosed).toBe(false);
    network.flow();
    expect(rowsOf(await client.readAnswer())).toEqual([['2']]);
    network.resetAll();
    await berth.untilLogged('connection.closed');
    expect(await client.rows('select 3')).toEqual([['3']]);
  });

  test('MY-48 a connection that is lost before anything was sent on it costs its borrower nothing', async () => {
    await using network = await HostileNetwork.start(database().port);
    const berth = await start({
      pool: { MaxConnections: 1 },
      file: fileBehind(network),
      expect: [...EXPECTED, 'target.health_changed', 'connection.open_failed'],
    });
    using other = await loginThrough(berth);
    await other.rows("set sql_mode = 'ansi'");
    using client = await loginThrough(berth);
    await client.rows("set time_zone = '+01:00'");
    await untilMetric(berth, 'database_connections_currently_borrowed', 0);
    network.stall();
    // Whether the settings can be set is not known yet, so the text waits for the answer.
    send(other, 'select "a"');
    await untilMetric(berth, 'database_connections_currently_borrowed', 1);
    network.resetAll();
    network.flow();
    expect(errorsOf(await other.readAnswer())).toEqual([1054]);
  });

  for (const mode of ['immediate', 'fast'] as const) {
    test(`MY-48 a database that is restarted under load (${mode}) costs each client at most one error`, async () => {
      const own = await startMysql(server);
      const berth = await Berth.start({
        configuration: makeMysqlConfiguration(own, { pool: { MaxConnections: 4 } }),
        expect: [...EXPECTED, 'target.health_changed', 'connection.open_failed', 'borrow.failed'],
      });
      try {
        const clients = await Promise.all(Array.from({ length: 8 }, () => loginThrough(berth)));
        let isOver = false;
        const endings: string[] = [];
        const working = clients.map(async (client, index) => {
          try {
            while (!isOver) {
              send(client, index % 2 === 0 ? 'select 1' : 'begin; select 2 from dual; commit');
              const errors = errorsOf(await client.readAnswer());
              if (errors.length > 0) endings.push(errors.join());
            }
          } catch {
            endings.push('closed');
          }
        });
        await own.restart(mode);
        isOver = true;
        await Promise.all(working);
        using next = await loginThrough(berth);
        expect(await next.rows('select 1')).toEqual([['1']]);
        expect(endings.length).toBeLessThanOrEqual(2 * clients.length);
        for (const client of clients) client.destroy();
        await eventually(async () => {
          const busy = await berth.metric('database_connections_currently_borrowed');
          return busy === 0 ? true : undefined;
        }, 'nothing is borrowed');
      } finally {
        await berth.stop();
        await own.stop();
      }
    });
  }

  test('MY-28 a client that cannot send files is not asked for one', async () => {
    const berth = await start({ pool: { MaxConnections: 1 } });
    using client = await loginThrough(berth, { withoutCapabilities: CAPABILITY.LOCAL_FILES });
    const [answer] = await client.query("load data local infile 'any' into table gone");
    expect(answer?.kind).toBe('error');
    expect(errorsOf(await client.command(commands.command(COMMAND.PING), 'ok'))).toEqual([]);
  });
});
