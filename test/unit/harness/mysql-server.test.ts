/** The harness of the MySQL tests: servers that start, users that can log in, and an end that leaves nothing behind. */

import { expect, test } from 'bun:test';
import { spawn } from 'node:child_process';
import { existsSync, rmSync } from 'node:fs';
import * as commands from '../../harness/mysql/commands.ts';
import { CAPABILITY, COMMAND, STATUS } from '../../harness/mysql/constants.ts';
import {
  formatAnswer,
  frames,
  MysqlRawClient,
  MysqlServerError,
  mustSucceed,
  rowsOf,
  statementOf,
} from '../../harness/mysql/raw-client.ts';
import {
  availableServers,
  describeServers,
  loginTo,
  mysqlAddressOf,
  mysqlAdmin,
  mysqlCertificates,
  startMysql,
  TRAITS,
  useMysql,
} from '../../harness/mysql/server.ts';
import { eventually } from '../../harness/polling.ts';

describeServers(
  'a test server',
  (server) => {
    const database = useMysql(server);
    const traits = TRAITS[server.product];

    test('is among those that are there', () => {
      expect(availableServers(true)).toContain(server);
    });

    test('is a real one, with our settings', async () => {
      const [row] = await mysqlAdmin(
        database(),
        'select version(), @@max_connections, @@time_zone, @@autocommit',
      );
      expect(row?.[0]).toStartWith(database().version);
      expect(row?.slice(1)).toEqual(['151', '+00:00', '1']);
    });

    for (const [plugin, user] of Object.entries(traits.pluginUsers)) {
      for (const way of ['TCP', 'TLS', 'a Unix socket'] as const) {
        test(`lets a user of ${plugin} in by ${way}`, async () => {
          const address =
            way === 'a Unix socket'
              ? { socketPath: database().socketPath }
              : mysqlAddressOf(database());
          const login = { user: user.name, password: user.password };
          const options = way === 'TLS' ? { ...login, tls: {} } : login;
          using client = await MysqlRawClient.login(address, options);
          expect(client.authentication).toContain(plugin);
          expect(await client.rows('select current_user()')).toEqual([[`${user.name}@%`]]);
        });
      }

      test(`refuses a wrong password of ${plugin}`, async () => {
        const login = loginTo(database(), { user: user.name, password: 'wrong', tls: {} });
        await expect(login).rejects.toMatchObject({ code: 1045, sqlState: '28000' });
      });
    }

    test('lets a user without a password in', async () => {
      using client = await loginTo(database(), { user: 'empty' });
      expect(await client.rows('select database()')).toEqual([['app']]);
    });

    test('has a certificate for its address', async () => {
      const { authority } = await mysqlCertificates();
      const tls = { rejectUnauthorized: true, ca: authority.certificate };
      using client = await loginTo(database(), { tls: { ...tls, host: '127.0.0.1' } });
      const [row] = await client.rows("show session status like 'ssl_version'");
      expect(row?.[1]).toStartWith('TLSv1');
      const other = loginTo(database(), { tls: { ...tls, servername: 'elsewhere.example' } });
      await expect(other).rejects.toThrow(/altnames|certificate/i);
    });

    test('answers every kind of command', async () => {
      using client = await loginTo(database());
      mustSucceed(await client.query('create table kinds (a int primary key, b varchar(9))'));
      const prepared = await client.prepare('insert into kinds values (?, ?)');
      const statement = statementOf(prepared);
      mustSucceed(await client.execute(statement, [1, 'one']));
      mustSucceed(await client.execute(statement, [2, null]));
      client.closeStatement(statement);
      const select = statementOf(
        await client.prepare('select * from kinds where a >= ? order by a'),
      );
      expect(rowsOf(await client.execute(select, [1]))).toEqual([
        ['1', 'one'],
        ['2', null],
      ]);
      const cursor = await client.execute(select, [0], { cursor: 1 });
      expect(rowsOf(cursor)).toEqual([]);
      const last = cursor.at(-1);
      expect(last?.kind === 'ok' && (last.status & STATUS.CURSOR_EXISTS) !== 0).toBe(true);
      const fetched = await client.command(commands.fetchRows(select, 10), 'rows');
      expect(rowsOf(fetched)).toHaveLength(2);
      expect(formatAnswer(await client.ping())).toStartWith('1 OK rows=0');
      expect(formatAnswer(await client.initDb('second'))).toContain('schema');
      expect(formatAnswer(await client.initDb('nowhere'))).toStartWith('1 ERR 1049 (42000)');
      const statistics = await client.command(commands.command(COMMAND.STATISTICS), 'text');
      expect(formatAnswer(statistics)).toContain('Uptime');
      expect(formatAnswer(await client.query('select 1; select 2'))).toMatch(
        /Row "1"[\s\S]*Row "2"/,
      );
      expect(formatAnswer(await client.resetConnection())).toContain('OK');
      await client.changeUser({ user: 'other', password: 'other-password', database: 'second' });
      expect(await client.rows('select database(), current_user()')).toEqual([
        ['second', 'other@%'],
      ]);
    });

    test('answers a client without DEPRECATE_EOF and SESSION_TRACK the old way', async () => {
      const without = CAPABILITY.DEPRECATE_EOF | CAPABILITY.SESSION_TRACK;
      using client = await loginTo(database(), { withoutCapabilities: without });
      const answer = formatAnswer(await client.query('select 1 as one'));
      expect(answer.replaceAll(/Column .*/g, 'Column')).toBe(
        '1 Columns 1\n2 Column\n3 EOF status=AUTOCOMMIT warnings=0\n4 Row "1"\n5 EOF status=AUTOCOMMIT warnings=0',
      );
      const select = statementOf(await client.prepare('select ? + 1'));
      expect(rowsOf(await client.execute(select, [1]))).toEqual([['2']]);
    });

    test('takes a file, and packets beyond 16 MiB', async () => {
      using client = await loginTo(database(), { database: 'second' });
      mustSucceed(await client.query('create table letters (a varchar(20))'));
      const load = await client.query(
        "load data local infile 'x' into table letters",
        Buffer.from('a\nb\n'),
      );
      expect(formatAnswer(load)).toContain('rows=2');
      const long = 0xff_ffff + 10;
      await mysqlAdmin(database(), 'set global max_allowed_packet = 64 * 1024 * 1024');
      using big = await loginTo(database());
      const rows = await big.rows(`select length('${'x'.repeat(long)}'), repeat('y', ${long})`);
      expect(rows[0]?.[0]).toBe(String(long));
      expect(rows[0]?.[1]).toHaveLength(long);
    });

    test('is restarted and killed, on the same port', async () => {
      const own = await startMysql(server, { settings: { max_connections: 10 } });
      await using _ = own;
      expect(await mysqlAdmin(own, 'select @@max_connections')).toEqual([['10']]);
      using client = await loginTo(own);
      own.kill('SIGKILL');
      await own.exited;
      await client.untilClosed();
      await own.startUp({ max_connections: 11 });
      expect(await mysqlAdmin(own, 'select @@max_connections')).toEqual([['11']]);
      await own.restart();
      using again = await loginTo(own);
      expect(again.greeting.version).toContain(server.product === 'MySQL' ? '9.' : 'MariaDB');
    }, 60_000);

    test('without TLS offers none', async () => {
      await using own = await startMysql(server, { tls: false });
      using client = await MysqlRawClient.connect(mysqlAddressOf(own));
      const { capabilities } = await client.readGreeting();
      expect(capabilities & CAPABILITY.SSL).toBe(0);
    }, 60_000);

    test('says what it does not want', async () => {
      await expect(loginTo(database(), { database: 'nowhere' })).rejects.toBeInstanceOf(
        MysqlServerError,
      );
      using client = await loginTo(database());
      const bad = frames(commands.query('select 1', client.capabilities), 7);
      client.sendBytes(bad);
      expect(formatAnswer(await client.readAnswer())).toMatch(/ERR 1156/);
    });
  },
  { isThorough: true },
);

describeServers('what a killed test run leaves behind', (server) => {
  test('is nothing', async () => {
    const script = `
      const { startMysql, availableServers } = await import(${JSON.stringify(`${import.meta.dir}/../../harness/mysql/server.ts`)});
      const server = availableServers().find(({ name }) => name === ${JSON.stringify(server.name)});
      const database = await startMysql(server);
      console.log(JSON.stringify({ pid: database.pid, folder: database.folder }));
      await new Promise(() => undefined);`;
    const child = spawn(process.execPath, ['-e', script], { stdio: ['ignore', 'pipe', 'inherit'] });
    const line = await new Promise<string>((resolve) => {
      child.stdout.once('data', (chunk: Buffer) => resolve(chunk.toString()));
    });
    const { pid, folder } = JSON.parse(line);
    expect(existsSync(`/proc/${pid}`)).toBe(true);
    child.kill('SIGKILL');
    // Whoever made the folder that it is in may be faster than the keeper.
    rmSync(folder, { recursive: true, force: true });
    await eventually(
      () => (existsSync(folder) || existsSync(`/proc/${pid}`) ? undefined : true),
      'the server and its folder are gone',
    );
  }, 60_000);
});
