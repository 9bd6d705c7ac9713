/**
 * The command line tools of MariaDB and of MySQL, and sysbench, direct and through Berth: what they print is equal, nothing
 * pins but LOCK TABLES, and 200 threads of sysbench on a pool of 16 get no error and leave the tables whole.
 * `npm run soak -- --engine mariadb --load sysbench` does that for longer.
 */

import { expect, setDefaultTimeout, test } from 'bun:test';
import { spawn } from 'node:child_process';
import { dirname, join } from 'node:path';
import type { Berth } from '../harness/berth.ts';
import { useBerth } from '../harness/berth.ts';
import { within } from '../harness/deadline.ts';
import { makeMysqlConfiguration } from '../harness/mysql/configuration.ts';
import { mysqlProgram } from '../harness/mysql/programs.ts';
import { describeServers, type MysqlServer, useMysql } from '../harness/mysql/server.ts';
import { loadWithSysbench, SYSBENCH_SCRIPTS } from '../harness/mysql/sysbench.ts';
import type { ProgramResult } from '../harness/programs.ts';
import { skipBecause } from '../harness/programs.ts';
import { untilAllReturned } from './side-by-side.ts';

const LOAD_SECONDS = 2;
const LOAD_THREADS = 200;
const POOL_SIZE = 16;
const DEADLINE_MS = 60_000 + LOAD_SECONDS * 2_000;

setDefaultTimeout(DEADLINE_MS);

const SCRIPT = `
drop table if exists tool_orders;
create table tool_orders (id int auto_increment primary key, customer varchar(50), amount int);
insert into tool_orders (customer, amount) values ('ä', 1), ('b\\tc', null), ('it''s', 3);
select * from tool_orders;
show warnings;
delimiter //
create or replace procedure tool_sum() begin select sum(amount) from tool_orders; end//
delimiter ;
call tool_sum();
use second
select database();
select * from tool_nowhere;
use app
begin; delete from tool_orders where id = 1; rollback;
select count(*) from tool_orders;
`;

/** Without the lines that are about this connection, or about how long something took. */
function statusOf({ stdout }: ProgramResult): string[] {
  const own =
    /^(Connection id|Uptime|Threads|TCP port|SSL|Server version|Current database|mariadb|.*mysql {2}Ver)/;
  return stdout.split('\n').filter((line) => line.includes(':') && !own.test(line));
}

/** How to run a program. */
type Tool = readonly string[];

async function run(tool: Tool, args: readonly string[], input = ''): Promise<ProgramResult> {
  const [program = '', ...first] = tool;
  const { PATH = '' } = process.env;
  const child = spawn(program, [...first, ...args], {
    env: { PATH, HOME: '/nonexistent', LC_ALL: 'C.UTF-8', MYSQL_PWD: 'app-password' },
    stdio: 'pipe',
  });
  let [stdout, stderr] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  child.stdin.on('error', () => undefined);
  child.stdin.end(input);
  const closed = new Promise<number | null>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', resolve);
  });
  try {
    const what = () => `the end of ${tool.join(' ')}\n${stdout}${stderr}`;
    return { code: await within(closed, what, DEADLINE_MS), stdout, stderr };
  } finally {
    child.kill('SIGKILL');
  }
}

function toolArguments(port: number): string[] {
  const address = ['--no-defaults', '--protocol=tcp', '--host=127.0.0.1', `--port=${port}`];
  return [...address, '--user=app'];
}

async function pinsOf(berth: Berth): Promise<number> {
  await untilAllReturned(berth);
  return await berth.metric('berth_session_pins_total');
}

/** What the machine has of a family of tools. */
interface Tools {
  /** Who made them. */
  readonly name: string;
  readonly client: Tool | undefined;
  readonly dump: Tool | undefined;
  readonly slap: Tool | undefined;
  /** What the client needs to understand its own commands. */
  readonly commandArguments: readonly string[];
  /** The ways of dumping that lock tables. */
  readonly locking: readonly string[];
  /** What a dump needs to be made by somebody who is not an administrator. */
  readonly dumpArguments: readonly string[];
}

function installed(program: string): Tool | undefined {
  return Bun.which(program) === null ? undefined : [program];
}

const MARIADB_TOOLS: Tools = {
  name: 'MariaDB',
  client: installed('mariadb'),
  dump: installed('mariadb-dump'),
  slap: installed('mariadb-slap'),
  commandArguments: [],
  locking: ['--lock-tables'],
  dumpArguments: [],
};

/** Those of MariaDB work with both; those of MySQL come with its server, and are for it alone. */
function toolsFor(server: MysqlServer): readonly Tools[] {
  if (server.product === 'MariaDB') return [MARIADB_TOOLS];
  const mysqlTools: Tools = {
    name: 'MySQL',
    client: mysqlProgram(server, 'mysql'),
    dump: mysqlProgram(server, 'mysqldump'),
    slap: mysqlProgram(server, 'mysqlslap'),
    commandArguments: ['--commands'],
    // FLUSH LOCAL TABLES WITH READ LOCK comes before the transaction.
    locking: ['--lock-tables', '--single-transaction'],
    dumpArguments: ['--no-tablespaces'],
  };
  return [MARIADB_TOOLS, mysqlTools];
}

describeServers('a tool', (server) => {
  const database = useMysql(server, { settings: { local_infile: 'ON' } });
  const berth = useBerth(() => ({
    configuration: makeMysqlConfiguration(database(), { pool: { MaxConnections: POOL_SIZE } }),
    files: { 'orders.txt': 'from a file\t7\nand more\t\\N\n' },
    expect: ['session.pinned'],
  }));

  /** Runs a tool on both sides; what it prints must be equal. */
  async function compare(tool: Tool, args: readonly string[], input = ''): Promise<ProgramResult> {
    const direct = await run(tool, [...toolArguments(database().port), ...args], input);
    const through = await run(tool, [...toolArguments(berth().port), ...args], input);
    expect(through).toEqual(direct);
    return direct;
  }

  function testTool(
    tool: Tool | undefined,
    name: string,
    body: (tool: Tool) => Promise<void>,
  ): void {
    if (tool === undefined) skipBecause('it is not there', name);
    else test(name, () => body(tool));
  }

  /** Makes the tables of the script, directly. */
  async function prepare(client: Tool | undefined): Promise<void> {
    if (client === undefined) throw new Error('a dump without a client');
    await run(client, [...toolArguments(database().port), '--force', 'app'], SCRIPT);
  }

  for (const tools of toolsFor(server)) {
    const { client, commandArguments, dump, dumpArguments, locking, name: family, slap } = tools;
    testTool(client, `the client of ${family} runs a script`, async (tool) => {
      const before = await pinsOf(berth());
      const { stdout, stderr } = await compare(tool, ['--batch', '--force', 'app'], SCRIPT);
      expect(stdout).toContain("it's");
      expect(stderr).toContain('tool_nowhere');
      await compare(tool, ['--table', '--force', '--show-warnings', 'app'], SCRIPT);
      expect(await pinsOf(berth())).toBe(before);
    });

    testTool(client, `the client of ${family} tells of its connection`, async (tool) => {
      const [direct, through] = await Promise.all(
        [database().port, berth().port].map((port) =>
          run(tool, [...toolArguments(port), ...commandArguments, 'app'], '\\s\n'),
        ),
      );
      if (direct === undefined || through === undefined) throw new Error('two runs');
      expect(statusOf(direct).length).toBeGreaterThan(3);
      expect(statusOf(through)).toEqual(statusOf(direct));
    });

    testTool(
      client,
      `MY-28 the client of ${family} sends a file that it was told to`,
      async (tool) => {
        await prepare(tool);
        const before = await pinsOf(berth());
        const file = join(dirname(berth().configurationFile), 'orders.txt');
        const sql = `delete from tool_orders where customer like '%m%';
        load data local infile '${file}' into table tool_orders (customer, amount);
        select row_count(), customer, amount from tool_orders where customer like '%m%'`;
        const may = await compare(tool, ['--local-infile=1', '--batch', '--execute', sql, 'app']);
        expect(may.stdout).toContain('from a file\t7\n');
        const none = sql.replace('orders.txt', 'nowhere.txt');
        const gone = await compare(tool, ['--local-infile=1', '--execute', none, 'app']);
        expect(gone.stderr).toContain('nowhere.txt');
        const mayNot = await compare(tool, ['--local-infile=0', '--execute', sql, 'app']);
        expect(mayNot.stderr).toContain('ERROR');
        expect(await pinsOf(berth())).toBe(before);
      },
    );

    for (const way of ['--single-transaction', '--lock-tables', '--skip-lock-tables']) {
      testTool(dump, `the dump of ${family} ${way}`, async (tool) => {
        await prepare(client);
        const before = await pinsOf(berth());
        const what = ['--skip-dump-date', '--routines', '--triggers', 'app', 'tool_orders'];
        const { code, stdout } = await compare(tool, [way, ...dumpArguments, ...what]);
        expect({ code, isWhole: stdout.includes('Dump completed') }).toEqual({
          code: 0,
          isWhole: true,
        });
        await untilAllReturned(berth());
        const reasons = berth().logged('session.pinned').slice(before);
        const expected = locking.includes(way) ? ['table_lock'] : [];
        expect(reasons.map(({ reason }) => reason)).toEqual(expected);
      });
    }

    testTool(slap, `the slap of ${family}`, async (tool) => {
      const before = await pinsOf(berth());
      const load = ['--concurrency=40', '--iterations=1', '--number-of-queries=800'];
      const { code, stderr } = await run(tool, [
        ...toolArguments(berth().port),
        ...load,
        '--auto-generate-sql',
        '--auto-generate-sql-load-type=mixed',
        '--create-schema=slap',
      ]);
      expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
      expect(await pinsOf(berth())).toBe(before);
    });
  }

  for (const script of SYSBENCH_SCRIPTS) {
    for (const isPrepared of [false, true]) {
      const title = `200 threads of sysbench ${script} on 16 connections`;
      testTool(installed('sysbench'), isPrepared ? `${title}, prepared` : title, async () => {
        const before = await pinsOf(berth());
        const load = { script, isPrepared, threads: LOAD_THREADS, seconds: LOAD_SECONDS };
        const place = { database: database(), berth: berth(), poolSize: POOL_SIZE };
        expect(await loadWithSysbench({ ...load, ...place })).toMatchObject({ wrong: [] });
        expect(await pinsOf(berth())).toBe(before);
      });
    }
  }

  test('a text of more than 256 KiB does not pin', async () => {
    const before = await pinsOf(berth());
    const [{ client = [] } = MARIADB_TOOLS] = toolsFor(server);
    await compare(client, ['--batch', 'app'], `select length('${'x'.repeat(1_000_000)}');\n`);
    expect(await pinsOf(berth())).toBe(before);
  });
});
