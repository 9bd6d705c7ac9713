/**
 * MY-45: prepared statements of the binary protocol move with their session. What each command is answered
 * with is compared with a direct connection in test/conformance/mysql; here is what only a proxy can get
 * wrong: whose statement is where, what ties a session to its connection, and what is closed when.
 */

import { expect, setDefaultTimeout, test } from 'bun:test';
import { isAdversarial, testUndisturbed } from '../harness/adversary.ts';
import { type Berth, useBerth } from '../harness/berth.ts';
import * as commands from '../harness/mysql/commands.ts';
import { makeMysqlConfiguration } from '../harness/mysql/configuration.ts';
import { CAPABILITY, COMMAND, MARIADB_CAPABILITY } from '../harness/mysql/constants.ts';
import {
  formatAnswer,
  type MysqlLoginOptions,
  MysqlRawClient,
  mustSucceed,
  rowsOf,
  statementOf,
} from '../harness/mysql/raw-client.ts';
import {
  describeServers,
  loginOf,
  loginTo,
  mysqlAdmin,
  useMysql,
} from '../harness/mysql/server.ts';
import { untilMetric } from '../harness/polling.ts';

setDefaultTimeout(60_000);

/** As `CONNECTION_STATEMENTS_MAX` has it. */
const KEPT = 100;

function login(berth: Berth, options: Partial<MysqlLoginOptions> = {}): Promise<MysqlRawClient> {
  return MysqlRawClient.login({ port: berth.port }, { ...loginOf(), ...options });
}

async function rows(client: MysqlRawClient, id: number, ...values: commands.MysqlParameter[]) {
  return rowsOf(mustSucceed(await client.execute(id, values)));
}

describeServers('prepared statements', (server) => {
  const database = useMysql(server, { settings: { max_allowed_packet: 64 * 1024 * 1024 } });
  const berth = useBerth(() => ({
    configuration: makeMysqlConfiguration(database(), { pool: { MaxConnections: 4 } }),
    expect: ['session.pinned'],
  }));
  const crowded = useBerth(() => ({
    configuration: makeMysqlConfiguration(database(), { pool: { MaxConnections: 1 } }),
  }));

  const pins = (proxy: Berth) => proxy.metric('berth_session_pins_total');

  /** Statements that the server has, of all connections. */
  async function preparedCount(): Promise<number> {
    const [row] = await mysqlAdmin(database(), "show global status like 'Prepared_stmt_count'");
    return Number(row?.[1]);
  }

  /** Holds connections with open transactions, so that the others are used. */
  async function occupy(count: number): Promise<AsyncDisposable> {
    const clients = await Promise.all(Array.from({ length: count }, () => login(berth())));
    for (const client of clients) await client.query('begin');
    return {
      async [Symbol.asyncDispose]() {
        for (const client of clients) await client.query('rollback');
        for (const client of clients) await client.end();
      },
    };
  }

  test('are executed on whichever connection there is, and pin nobody', async () => {
    const before = await pins(berth());
    using client = await login(berth());
    const id = statementOf(await client.prepare('select ? + 1 as a, connection_id() > 0 as b'));
    expect(id).toBe(1);
    for (let round = 0; round < 4; round++) {
      await using _ = await occupy(round);
      expect(await rows(client, id, round)).toEqual([[String(round + 1), '1']]);
      expect(
        rowsOf(mustSucceed(await client.execute(id, [10 + round], { hasTypes: false }))),
      ).toEqual([[String(11 + round), '1']]);
    }
    expect(await pins(berth())).toBe(before);
    await client.end();
  });

  test('are each client’s own, though they share a connection and the texts', async () => {
    using first = await login(crowded());
    using second = await login(crowded());
    const text = 'select ? as a';
    const one = statementOf(await first.prepare(text));
    statementOf(await second.prepare('select 1'));
    const two = statementOf(await second.prepare(text));
    expect([one, two]).toEqual([1, 2]);
    for (let round = 0; round < 3; round++) {
      // Their types differ, and are sent the first time only.
      const hasTypes = round === 0;
      const number = await first.execute(one, [round], { hasTypes });
      expect(rowsOf(mustSucceed(number))).toEqual([[String(round)]]);
      const string = await second.execute(two, [`s${round}`], { hasTypes });
      expect(rowsOf(mustSucceed(string))).toEqual([[`s${round}`]]);
    }
    first.closeStatement(one);
    expect(formatAnswer(await first.execute(one, [1]))).toContain('ERR 1243');
    expect(await rows(second, two, 'still there')).toEqual([['still there']]);
    await first.end();
    await second.end();
  });

  test('a client that never sent types has none, whatever others sent', async () => {
    using first = await login(crowded());
    using second = await login(crowded());
    using direct = await loginTo(database());
    const text = 'select ? as never';
    await rows(first, statementOf(await first.prepare(text)), 'typed');
    const id = statementOf(await second.prepare(text));
    await rows(first, 1, 'typed');
    const expected = await direct.execute(statementOf(await direct.prepare(text)), ['x'], {
      hasTypes: false,
    });
    const actual = await second.execute(id, ['x'], { hasTypes: false });
    expect(formatAnswer(actual)).toBe(formatAnswer(expected));
    expect(formatAnswer(actual)).toContain('ERR 1210');
    expect(await rows(second, id, 'y')).toEqual([['y']]);
  });

  test('are read in the schema and under the mode that they were prepared in', async () => {
    await mysqlAdmin(
      database(),
      `drop table if exists app.here, second.here;
       create table app.here (a varchar(9)); insert into app.here values ('app');
       create table second.here (a varchar(9)); insert into second.here values ('second')`,
    );
    using client = await login(berth());
    const inApp = statementOf(await client.prepare('select a, database() from here'));
    mustSucceed(await client.query("set sql_mode = 'ANSI_QUOTES'"));
    const quoted = statementOf(await client.prepare('select "a" from here'));
    mustSucceed(await client.query("set sql_mode = ''"));
    const text = statementOf(await client.prepare('select "a" from here'));
    mustSucceed(await client.initDb('second'));
    const inSecond = statementOf(await client.prepare('select a, database() from here'));
    for (let round = 0; round < 4; round++) {
      await using _ = await occupy(round);
      expect(await rows(client, inApp)).toEqual([['app', 'app']]);
      expect(await rows(client, inSecond)).toEqual([['second', 'second']]);
      expect(await rows(client, quoted)).toEqual([['app']]);
      expect(await rows(client, text)).toEqual([['a']]);
      expect(await client.rows('select database(), @@sql_mode')).toEqual([['second', '']]);
    }
    await client.end();
  });

  test('that cannot be prepared any more fail as if they were executed', async () => {
    const sql = 'drop table if exists app.gone; create table app.gone (a int)';
    await mysqlAdmin(database(), sql);
    using client = await login(berth());
    using direct = await loginTo(database());
    const id = statementOf(await client.prepare('select * from gone'));
    const directId = statementOf(await direct.prepare('select * from gone'));
    await mysqlAdmin(database(), 'drop table app.gone');
    for (let round = 0; round < 4; round++) {
      await using _ = await occupy(round);
      const expected = formatAnswer(await direct.execute(directId));
      const actual = await client.execute(id);
      expect(formatAnswer(actual)).toBe(expected);
      expect(formatAnswer(actual)).toContain('ERR 1146');
    }
    await mysqlAdmin(database(), 'create table app.gone (b int); insert into app.gone values (7)');
    expect(await rows(client, id)).toEqual([['7']]);
    await client.end();
  });

  test('that were used least are closed in the server', async () => {
    using client = await login(crowded());
    const before = await preparedCount();
    const count = KEPT + 50;
    for (let n = 0; n < count; n++) await client.prepare(`select ${n} as least, ? as b`);
    for (let n = 0; n < count; n++)
      expect(await rows(client, n + 1, n)).toEqual([[`${n}`, `${n}`]]);
    await client.ping();
    await client.rows('select 1');
    expect((await preparedCount()) - before).toBeLessThanOrEqual(KEPT);
    await client.end();
  });

  testUndisturbed('make room for each other when the server has none', async () => {
    using client = await login(crowded());
    await client.resetConnection();
    for (let n = 0; n < 20; n++) await client.prepare(`select ${n} as room`);
    const max = await preparedCount();
    await mysqlAdmin(database(), `set global max_prepared_stmt_count = ${max}`);
    try {
      for (let n = 20; n < 30; n++) statementOf(await client.prepare(`select ${n} as room`));
      for (let n = 0; n < 30; n++) expect(await rows(client, n + 1)).toEqual([[String(n)]]);
    } finally {
      await mysqlAdmin(database(), 'set global max_prepared_stmt_count = 16382');
    }
    await client.end();
  });

  test('a cursor keeps its connection, and nobody else’s statement', async () => {
    await mysqlAdmin(
      database(),
      `drop table if exists app.five; create table app.five (a int);
       insert into app.five values (1), (2), (3), (4), (5)`,
    );
    using client = await login(crowded());
    using other = await login(crowded());
    const text = 'select a from five order by a';
    const id = statementOf(await client.prepare(text));
    const twin = statementOf(await client.prepare(text));
    const others = statementOf(await other.prepare(text));
    mustSucceed(await client.execute(id, [], { cursor: 1 }));
    const fetch = (count: number) => client.command(commands.fetchRows(id, count), 'rows');
    expect(formatAnswer(await fetch(2)).match(/Row/g)).toHaveLength(2);
    // The same text, by the same client: a statement of its own while the cursor is open.
    expect(await rows(client, twin)).toHaveLength(5);
    other.sendPacket(commands.execute(others));
    await untilMetric(crowded(), 'berth_borrow_queue_depth', 1);
    expect(formatAnswer(await fetch(2)).match(/Row/g)).toHaveLength(2);
    expect(formatAnswer(await fetch(2)).match(/Row/g)).toHaveLength(1);
    expect(rowsOf(mustSucceed(await other.readAnswer('execute')))).toHaveLength(5);
    expect(formatAnswer(await fetch(1))).toContain('ERR 1421');
    expect(formatAnswer(await fetch(1))).toContain(`The statement (${id}) has no open cursor`);
    expect(await pins(crowded())).toBe(0);
    await client.end();
    await other.end();
  });

  test.each(['close', 'reset', 'leave', 'execute'])('a cursor ends: %s', async (how) => {
    using client = await login(crowded());
    using other = await login(crowded());
    const id = statementOf(await client.prepare('select 1 union select 2'));
    mustSucceed(await client.execute(id, [], { cursor: 1 }));
    other.sendPacket(commands.query('select 3'));
    if (how === 'close') client.closeStatement(id);
    else if (how === 'reset') {
      mustSucceed(await client.command(commands.statementCommand(COMMAND.STMT_RESET, id), 'ok'));
    } else if (how === 'execute') {
      expect(await rows(client, id)).toEqual([['1'], ['2']]);
    } else client.destroy();
    expect(rowsOf(mustSucceed(await other.readAnswer()))).toEqual([['3']]);
    await other.end();
  });

  test('values sent ahead stay where they are executed with, of any size', async () => {
    await mysqlAdmin(
      database(),
      'drop table if exists app.blobs; create table app.blobs (a int primary key, b longblob)',
    );
    using client = await login(crowded());
    using other = await login(crowded());
    const text = 'insert into blobs values (?, ?)';
    const id = statementOf(await client.prepare(text));
    const others = statementOf(await other.prepare(text));
    const part = Buffer.alloc(300_000, 'x');
    client.sendPacket(commands.sendLongData(id, 1, part));
    other.sendPacket(commands.execute(others, [2, Buffer.from('other')]));
    const huge = Buffer.alloc(17 * 1024 * 1024, 'y');
    client.sendPacket(commands.sendLongData(id, 1, huge));
    const longData = [1];
    mustSucceed(await client.execute(id, [1, Buffer.alloc(0)], { longData }));
    mustSucceed(await other.readAnswer('execute'));
    mustSucceed(await client.execute(id, [3, Buffer.from('plain')]));
    // What is reset is forgotten.
    client.sendPacket(commands.sendLongData(id, 1, 'forgotten'));
    mustSucceed(await client.command(commands.statementCommand(COMMAND.STMT_RESET, id), 'ok'));
    mustSucceed(await client.execute(id, [4, null]));
    const lengths = await client.rows('select a, length(b) from blobs order by a');
    const long = String(part.length + huge.length);
    expect(lengths).toEqual([
      ['1', long],
      ['2', '5'],
      ['3', '5'],
      ['4', null],
    ]);
    expect(await pins(crowded())).toBe(0);
    await client.end();
    await other.end();
  });

  test('a client that leaves after values sent ahead leaves none', async () => {
    using client = await login(crowded());
    const text = 'select ? as ahead';
    const id = statementOf(await client.prepare(text));
    client.sendPacket(commands.sendLongData(id, 0, 'left'));
    client.sendPacket(commands.command(COMMAND.QUIT));
    await client.untilClosed();
    using other = await login(crowded());
    const others = statementOf(await other.prepare(text));
    expect(await rows(other, others, 'own')).toEqual([['own']]);
    await other.end();
  });

  test('large executions stream, and get the types that they lack', async () => {
    using client = await login(berth());
    const id = statementOf(await client.prepare('select length(?) as a, ? as b'));
    expect(await rows(client, id, Buffer.from('first'), 1)).toEqual([['5', '1']]);
    for (let round = 0; round < 4; round++) {
      await using _ = await occupy(round);
      const large = Buffer.alloc(600_000 + round, 'z');
      const answer = await client.execute(id, [large, round], { hasTypes: false });
      expect(rowsOf(mustSucceed(answer))).toEqual([[String(large.length), String(round)]]);
    }
    await client.end();
  });

  test('an execution of several packets without types asks to be prepared again', async () => {
    if (isAdversarial()) return;
    using client = await login(berth());
    const text = 'select length(?) as several';
    const id = statementOf(await client.prepare(text));
    await rows(client, id, Buffer.from('typed'));
    const large = Buffer.alloc(20 * 1024 * 1024, 'z');
    await using _ = await occupy(1);
    const answers = new Set<string>();
    for (let round = 0; round < 3; round++) {
      await using _more = await occupy(round);
      const answer = await client.execute(id, [large], { hasTypes: false });
      const [first] = answer;
      answers.add(first?.kind === 'error' ? String(first.code) : String(rowsOf(answer)));
    }
    expect([...answers].every((each) => each === '1615' || each === String(large.length))).toBe(
      true,
    );
    expect(answers.has('1615')).toBe(true);
    expect(await rows(client, id, large)).toEqual([[String(large.length)]]);
    await client.end();
  });

  test('a text that is too large to be kept pins until it is closed', async () => {
    const before = await berth().metric('berth_session_pins_total', { reason: 'large_statement' });
    using client = await login(berth());
    const id = statementOf(await client.prepare(`select 1 /*${'x'.repeat(4_000_000)}*/ + ?`));
    for (let round = 0; round < 3; round++) {
      expect(await rows(client, id, round)).toEqual([[String(round + 1)]]);
    }
    const pinned = await berth().metric('berth_session_pins_total', { reason: 'large_statement' });
    expect(pinned).toBe(before + 1);
    client.closeStatement(id);
    expect(await client.rows('select 2')).toEqual([['2']]);
    await client.end();
  });

  test('all are gone after COM_RESET_CONNECTION, on a connection or not', async () => {
    using client = await login(berth());
    for (const isInTransaction of [false, true]) {
      const id = statementOf(await client.prepare('select 1 as reset'));
      if (isInTransaction) await client.query('begin');
      client.sendCommands(
        commands.command(COMMAND.RESET_CONNECTION),
        commands.execute(id),
        commands.command(COMMAND.STMT_PREPARE, 'select 2 as reset'),
      );
      mustSucceed(await client.readAnswer('ok'));
      expect(formatAnswer(await client.readAnswer('execute'))).toContain('ERR 1243');
      const next = statementOf(await client.readAnswer('prepare'));
      expect(await rows(client, next)).toEqual([['2']]);
      client.closeStatement(next);
    }
    await client.end();
  });

  test('pipelined: prepare, execute by the next id, close, and again', async () => {
    using client = await login(berth());
    const rounds = 40;
    const pipeline = Array.from({ length: rounds }, (_, n) => [
      commands.command(COMMAND.STMT_PREPARE, `select ${n % 3} as p, ? as q`),
      commands.execute(n + 1, [n]),
      commands.statementCommand(COMMAND.STMT_CLOSE, n + 1),
    ]).flat();
    client.sendCommands(...pipeline);
    for (let n = 0; n < rounds; n++) {
      expect(statementOf(await client.readAnswer('prepare'))).toBe(n + 1);
      expect(rowsOf(mustSucceed(await client.readAnswer('execute')))).toEqual([
        [String(n % 3), String(n)],
      ]);
    }
    await client.end();
  });

  test('a client that left while its statement was being prepared leaves no error behind', async () => {
    using client = await login(crowded());
    await mysqlAdmin(
      database(),
      'drop table if exists app.passing; create table app.passing (a int)',
    );
    const id = statementOf(await client.prepare('select * from passing'));
    await client.resetConnection().then(mustSucceed);
    const again = statementOf(await client.prepare('select * from passing'));
    expect(again).toBe(id + 1);
    await mysqlAdmin(database(), 'drop table app.passing');
    client.sendPacket(commands.execute(again));
    client.destroy();
    using other = await login(crowded());
    const others = statementOf(await other.prepare('select 5'));
    expect(await rows(other, others)).toEqual([['5']]);
    await other.end();
  });

  if (server.product === 'MariaDB') {
    test('a bulk execution gets the types that it lacks', async () => {
      await mysqlAdmin(
        database(),
        'drop table if exists app.bulk; create table app.bulk (a bigint, b varchar(20))',
      );
      using client = await login(berth(), {
        withoutCapabilities: CAPABILITY.LONG_PASSWORD,
        mariadbCapabilities: MARIADB_CAPABILITY.STMT_BULK_OPERATIONS,
      });
      const id = statementOf(await client.prepare('insert into bulk values (?, ?)'));
      const first = commands.bulkExecute(id, [
        [1, 'one'],
        [2, null],
      ]);
      mustSucceed(await client.command(first, 'execute'));
      const types = 4;
      const bare = Buffer.concat([first.subarray(0, 7), first.subarray(7 + types)]);
      bare.writeUInt16LE(0, 5);
      for (let round = 0; round < 4; round++) {
        await using _ = await occupy(round);
        mustSucceed(await client.command(bare, 'execute'));
      }
      expect(await client.rows('select a, b, count(*) from bulk group by a, b order by a')).toEqual(
        [
          ['1', 'one', '5'],
          ['2', null, '5'],
        ],
      );
      await client.end();
    });

    test('the statement that was prepared last needs no id', async () => {
      const LAST = 0xffff_ffff;
      using client = await login(berth());
      for (let round = 0; round < 4; round++) {
        await using _ = await occupy(round);
        client.sendCommands(
          commands.command(COMMAND.STMT_PREPARE, `select ${round} + ?`),
          commands.execute(LAST, [1]),
        );
        statementOf(await client.readAnswer('prepare'));
        const answer = mustSucceed(await client.readAnswer('execute'));
        expect(rowsOf(answer)).toEqual([[String(round + 1)]]);
      }
      for (let round = 0; round < 4; round++) {
        await using _ = await occupy(round);
        expect(await rows(client, LAST, 1)).toEqual([['4']]);
      }
      await client.end();
    });
  }
});
