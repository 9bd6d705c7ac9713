/**
 * The command line tools of MariaDB and sysbench, direct and through Berth: what they print is equal, nothing
 * pins but LOCK TABLES, and 200 threads of sysbench on a pool of 16 get no error and leave the tables whole.
 * `npm run soak -- --engine mariadb --load sysbench` does that for longer.
 */

import { expect, setDefaultTimeout, test } from 'bun:test';
import { spawn } from 'node:child_process';
import type { Berth } from '../harness/berth.ts';
import { useBerth } from '../harness/berth.ts';
import { within } from '../harness/deadline.ts';
import { makeMysqlConfiguration } from '../harness/mysql/configuration.ts';
import { describeServers, useMysql } from '../harness/mysql/server.ts';
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
    /^(Connection id|Uptime|Threads|TCP port|SSL|Server version|Current database|mariadb)/;
  return stdout.split('\n').filter((line) => line.includes(':') && !own.test(line));
}

async function run(program: string, args: readonly string[], input = ''): Promise<ProgramResult> {
  const child = spawn(program, args, {
    env: { PATH: process.env.PATH ?? '', HOME: '/nonexistent', LC_ALL: 'C.UTF-8' },
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
    const what = () => `the end of ${program}\n${stdout}${stderr}`;
    return { code: await within(closed, what, DEADLINE_MS), stdout, stderr };
  } finally {
    child.kill('SIGKILL');
  }
}

function toolArguments(port: number): string[] {
  const address = ['--no-defaults', '--protocol=tcp', '--host=127.0.0.1', `--port=${port}`];
  return [...address, '--user=app', '--password=app-password'];
}

async function pinsOf(berth: Berth): Promise<number> {
  await untilAllReturned(berth);
  return await berth.metric('berth_session_pins_total');
}

describeServers('a tool', (server) => {
  const database = useMysql(server);
  const berth = useBerth(() => ({
    configuration: makeMysqlConfiguration(database(), { pool: { MaxConnections: POOL_SIZE } }),
    expect: ['session.pinned'],
  }));

  /** Runs a tool on both sides; what it prints must be equal. */
  async function compare(
    program: string,
    args: readonly string[],
    input = '',
  ): Promise<ProgramResult> {
    const direct = await run(program, [...toolArguments(database().port), ...args], input);
    const through = await run(program, [...toolArguments(berth().port), ...args], input);
    expect(through).toEqual(direct);
    return direct;
  }

  function testTool(program: string, name: string, body: () => Promise<void>): void {
    if (Bun.which(program) === null) skipBecause(`no ${program}`, name);
    else test(name, body);
  }

  testTool('mariadb', 'mariadb runs a script', async () => {
    const before = await pinsOf(berth());
    const { stdout, stderr } = await compare('mariadb', ['--batch', '--force', 'app'], SCRIPT);
    expect(stdout).toContain("it's");
    expect(stderr).toContain('tool_nowhere');
    await compare('mariadb', ['--table', '--force', '--show-warnings', 'app'], SCRIPT);
    expect(await pinsOf(berth())).toBe(before);
  });

  testTool('mariadb', 'mariadb tells of its connection', async () => {
    const input = '\\s\n';
    const [direct, through] = await Promise.all(
      [database().port, berth().port].map((port) =>
        run('mariadb', [...toolArguments(port), 'app'], input),
      ),
    );
    if (direct === undefined || through === undefined) throw new Error('two runs');
    expect(statusOf(direct).length).toBeGreaterThan(3);
    expect(statusOf(through)).toEqual(statusOf(direct));
  });

  for (const way of ['--single-transaction', '--lock-tables', '--skip-lock-tables']) {
    testTool('mariadb-dump', `mariadb-dump ${way}`, async () => {
      await run('mariadb', [...toolArguments(database().port), '--force', 'app'], SCRIPT);
      const before = await pinsOf(berth());
      const args = [way, '--skip-dump-date', '--routines', '--triggers', 'app', 'tool_orders'];
      const { code, stdout } = await compare('mariadb-dump', args);
      expect({ code, isWhole: stdout.includes('Dump completed') }).toEqual({
        code: 0,
        isWhole: true,
      });
      await untilAllReturned(berth());
      const reasons = berth().logged('session.pinned').slice(before);
      const expected = way === '--lock-tables' ? ['table_lock'] : [];
      expect(reasons.map(({ reason }) => reason)).toEqual(expected);
    });
  }

  testTool('mariadb-slap', 'mariadb-slap', async () => {
    const before = await pinsOf(berth());
    const load = ['--concurrency=40', '--iterations=1', '--number-of-queries=800'];
    const { code, stderr } = await run('mariadb-slap', [
      ...toolArguments(berth().port),
      ...load,
      '--auto-generate-sql',
      '--auto-generate-sql-load-type=mixed',
      '--create-schema=slap',
    ]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(await pinsOf(berth())).toBe(before);
  });

  for (const script of SYSBENCH_SCRIPTS) {
    for (const isPrepared of [false, true]) {
      const title = `200 threads of sysbench ${script} on 16 connections`;
      testTool('sysbench', isPrepared ? `${title}, prepared` : title, async () => {
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
    await compare('mariadb', ['--batch', 'app'], `select length('${'x'.repeat(1_000_000)}');\n`);
    expect(await pinsOf(berth())).toBe(before);
  });
});
