/**
 * PostgreSQL's own programs through the proxy, compared with the same programs past it. pg_dump insists
 * on a server of its own version or older, so the distribution's server is used.
 */

import { describe, expect, setDefaultTimeout, test } from 'bun:test';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { useBerth } from '../harness/berth.ts';
import { adminQuery, availablePostgres, usePostgres } from '../harness/postgres.ts';
import { type Program, type ProgramResult, runProgram, skipBecause } from '../harness/programs.ts';
import { untilAllReturned } from './side-by-side.ts';

setDefaultTimeout(120_000);

const SCHEMA = readFileSync(join(import.meta.dir, 'tools-schema.sql'), 'utf8');
const TOOLS = [
  'createdb',
  'dropdb',
  'pg_dump',
  'pg_restore',
  'pgbench',
  'psql',
  'reindexdb',
  'vacuumdb',
];
/** Superusers, because a dump has things that only one may restore. */
const USERS = [
  { name: 'app', password: 'app-password', attributes: 'SUPERUSER' },
  { name: 'other', password: 'other-password' },
];
const DATABASES = ['app', 'restored', 'restored_direct', 'psql', 'psql_direct'];

const choice = availablePostgres().find(({ options: { binDirectory } }) =>
  TOOLS.every((tool) => binDirectory !== undefined && existsSync(join(binDirectory, tool))),
);
if (choice === undefined) skipBecause('no server with pg_dump beside it', "PostgreSQL's programs");
else describe(choice.name, () => tests(choice));

function tests({ options }: { readonly options: { readonly binDirectory?: string } }): void {
  const folder = options.binDirectory ?? '';
  const database = usePostgres({
    ...options,
    users: USERS,
    databases: DATABASES.map((name) => ({ name })),
    settings: { wal_level: 'logical' },
  });
  const berth = useBerth(() => ({
    database: database(),
    pool: { MaxConnections: 6 },
    // Dumps export snapshots, scripts create what is temporary; dropdb --force ends connections.
    expect: [
      'session.pinned',
      ({ event, reason }) => event === 'connection.closed' && reason === 'database_closed',
    ],
  }));

  interface Call {
    readonly database?: string;
    readonly input?: string;
    readonly workingFolder?: string;
    readonly isDirect?: boolean;
  }

  function call(
    program: Program,
    args: readonly string[],
    { isDirect = false, ...rest }: Call = {},
  ) {
    const port = isDirect ? database().port : berth().port;
    return runProgram(program, args, { ...rest, port, folder, deadlineMs: 100_000 });
  }

  async function succeed(
    program: Program,
    args: readonly string[],
    rest: Call = {},
  ): Promise<ProgramResult> {
    const result = await call(program, args, rest);
    const { stderr } = result;
    expect({ code: result.code, stderr }, `${program} ${args.join(' ')}`).toEqual({
      code: 0,
      stderr: '',
    });
    return result;
  }

  let seeded: Promise<unknown> | undefined;
  async function seed(): Promise<void> {
    seeded ??= succeed('psql', ['-X', '-q', '-v', 'ON_ERROR_STOP=1', '-o', '/dev/null'], {
      input: SCHEMA,
    });
    await seeded;
  }

  const archive = (args: readonly string[], rest: Call = {}) => succeed('pg_dump', args, rest);
  const dump = (args: readonly string[], rest: Call = {}) =>
    archive(['--restrict-key', 'key', ...args], rest);
  const script = async (file: string) =>
    (await succeed('pg_restore', ['--restrict-key', 'key', '--file', '-', file])).stdout;

  test('pg_dump: plain, the same bytes', async () => {
    await seed();
    for (const args of [
      [],
      ['--inserts', '--rows-per-insert', '50'],
      ['--schema-only', '--clean', '--create'],
    ]) {
      const through = await dump(args);
      const direct = await dump(args, { isDirect: true });
      expect(through.stdout.length).toBeGreaterThan(5_000);
      expect(through.stdout === direct.stdout, args.join(' ')).toBe(true);
    }
    await untilAllReturned(berth());
  });

  test('pg_dump: custom and directory with two jobs, the same data', async () => {
    await seed();
    using files = temporaryFolder();
    for (const isDirect of [false, true]) {
      const name = isDirect ? 'direct' : 'through';
      await archive(['--format', 'custom', '--file', join(files.path, `${name}.custom`)], {
        isDirect,
      });
      const target = join(files.path, `${name}.directory`);
      await archive(['--format', 'directory', '--jobs', '2', '--compress', '0', '--file', target], {
        isDirect,
      });
    }
    const [custom, customDirect] = [
      await script(join(files.path, 'through.custom')),
      await script(join(files.path, 'direct.custom')),
    ];
    expect(custom.length).toBeGreaterThan(1_000_000);
    expect(custom === customDirect).toBe(true);
    // The table of contents has the time of the dump in it.
    expect(dataOf(join(files.path, 'through.directory'))).toEqual(
      dataOf(join(files.path, 'direct.directory')),
    );
    expect(await script(join(files.path, 'through.directory'))).toBe(
      await script(join(files.path, 'direct.directory')),
    );
    await untilAllReturned(berth());
  });

  test('pg_restore with two jobs, and psql of a plain dump: the database is the same again', async () => {
    await seed();
    using files = temporaryFolder();
    const file = join(files.path, 'archive');
    await archive(['--format', 'directory', '--jobs', '2', '--file', file]);
    await succeed('pg_restore', ['--dbname', 'restored', '--jobs', '2', '--exit-on-error', file]);
    const plain = join(files.path, 'plain.sql');
    await dump(['--file', plain]);
    const args = ['-X', '-q', '-v', 'ON_ERROR_STOP=1', '-o', '/dev/null', '-f', plain];
    await succeed('psql', args, { database: 'restored_direct' });
    const original = (await dump([], { isDirect: true })).stdout;
    for (const name of ['restored', 'restored_direct']) {
      const copy = (await dump([], { isDirect: true, database: name })).stdout;
      expect(copy === original, name).toBe(true);
    }
    await untilAllReturned(berth());
  });

  test('psql: everything it can do, the same output', async () => {
    using files = temporaryFolder();
    writeFileSync(join(files.path, 'in.csv'), '1,"one, two"\n2,\n3,"é"\n');
    writeFileSync(join(files.path, 'large'), 'large object\n'.repeat(10_000));
    const outputs: string[] = [];
    for (const isDirect of [false, true]) {
      const name = isDirect ? 'psql_direct' : 'psql';
      const rest = { isDirect, database: name, input: PSQL_SCRIPT, workingFolder: files.path };
      const { code, stdout, stderr } = await call('psql', ['-X', '-a'], rest);
      expect(code).toBe(0);
      outputs.push(normalised(`${stdout}\n${stderr}`, name));
      expect(
        readFileSync(join(files.path, 'large.out')).equals(readFileSync(join(files.path, 'large'))),
      ).toBe(true);
      rmSync(join(files.path, 'large.out'));
      outputs.push(readFileSync(join(files.path, 'out.csv'), 'utf8'));
    }
    const [through, throughFile, direct, directFile] = outputs;
    expect(through).toContain('watched');
    expect(through).toContain('NOTICE:  00000: noticed');
    expect(through).toBe(direct ?? '');
    expect(throughFile).toBe(directFile ?? '');
    await untilAllReturned(berth());
  });

  test('createdb and dropdb', async () => {
    await succeed('createdb', ['made', 'a comment'], { database: 'postgres' });
    const options = { database: 'made' };
    expect(
      (await succeed('psql', ['-X', '-At', '-c', 'select current_database()'], options)).stdout,
    ).toBe('made\n');
    const again = await call('createdb', ['made'], { database: 'postgres' });
    const direct = await call('createdb', ['made'], { database: 'postgres', isDirect: true });
    expect(again).toEqual(direct);
    // The proxy still has a connection to it, see docs/differences.md.
    const refused = await call('dropdb', ['made'], { database: 'postgres' });
    expect(refused.stderr).toContain('is being accessed by other users');
    await succeed('dropdb', ['--force', 'made'], { database: 'postgres' });
    expect(
      await adminQuery(database(), "select 1 from pg_database where datname = 'made'"),
    ).toEqual([]);
    // Nobody was in this one.
    await succeed('createdb', ['empty'], { database: 'postgres' });
    await succeed('dropdb', ['empty'], { database: 'postgres' });
  });

  test.each([
    ['vacuumdb', ['--echo', '--analyze', '--jobs', '2']],
    ['vacuumdb', ['--echo', '--full', '--verbose', '--table', 'sales.totals']],
    ['reindexdb', ['--echo', '--jobs', '2']],
    ['reindexdb', ['--echo', '--concurrently', '--table', 'sales.orders']],
  ] as const)('%s %p', async (program, args) => {
    await seed();
    const through = await call(program, args);
    const direct = await call(program, args, { isDirect: true });
    expect(through.code).toBe(0);
    expect(through.stdout.split('\n').sort()).toEqual(direct.stdout.split('\n').sort());
    expect(timeless(through.stderr)).toBe(timeless(direct.stderr));
    await untilAllReturned(berth());
  });

  test('pgbench --connect: a log-in for each transaction', async () => {
    const steps = ['--initialize', '--quiet', '--init-steps', 'dtGp'];
    expect(await call('pgbench', steps)).toMatchObject({ code: 0 });
    const args = [
      '--connect',
      '--client',
      '4',
      '--jobs',
      '2',
      '--transactions',
      '25',
      '--no-vacuum',
    ];
    const before = await adminQuery(database(), 'select count(*) as count from pgbench_history');
    const { stdout } = await succeed('pgbench', args);
    expect(stdout).toContain('number of transactions actually processed: 100/100');
    const after = await adminQuery(database(), 'select count(*) as count from pgbench_history');
    expect(Number(after[0]?.count) - Number(before[0]?.count)).toBe(100);
    await untilAllReturned(berth());
  });
}

const PSQL_SCRIPT = `
\\set VERBOSITY verbose
create table copied (id int, t text);
\\copy copied from 'in.csv' csv
\\copy (select * from copied order by id) to 'out.csv' csv header
select count(*) as rows, max(id) as biggest from copied \\gset
\\echo :rows :biggest
select 'select ' || i from generate_series(1, 3) i \\gexec
do $$ begin raise notice 'noticed'; raise warning 'warned' using hint = 'a hint', detail = 'a detail'; end $$;
select * from missing;
\\errverbose
select 1/0 as "division";
begin;
\\lo_import large 'a comment'
\\set loid :LASTOID
\\lo_list
commit;
\\lo_export :loid large.out
\\lo_unlink :loid
create sequence watched;
select 'watched', 3 / (3 - nextval('watched')) \\watch 0.05
\\set ON_ERROR_ROLLBACK on
begin;
insert into copied values (4, 'kept');
insert into copied values ('nonsense', '');
insert into copied values (5, 'kept too');
commit;
table copied;
\\set AUTOCOMMIT off
insert into copied values (6, 'undone');
rollback;
\\set AUTOCOMMIT on
select * from copied order by id \\crosstabview id t t
\\set FETCH_COUNT 2
select generate_series(1, 5) as fetched;
\\unset FETCH_COUNT
select $1 as bound \\gdesc
copy copied to stdout;
copy copied from stdin;
7	seven
8	\\N
\\.
copy copied from stdin;
x	broken
\\.
\\d copied
\\d+ copied
\\df
\\dt
set search_path to pg_catalog;
show search_path;
reset search_path;
prepare p (int) as select $1 + 1 as prepared;
execute p (1);
deallocate p;
create temp table kept (id int);
insert into kept values (1);
table kept;
select current_database() = :'DBNAME' as same;
\\; select 1 as one \\; select 2 as two \\;
listen channel;
notify channel, 'payload';
\\encoding LATIN1
select 'é' as encoded;
\\encoding UTF8
explain (costs off) select * from copied where id = 1;
\\c
select 'connected again' as c;
`;

/** What differs between two runs of anything: numbers of processes and objects, names, times. */
function normalised(output: string, name: string): string {
  return output
    .replaceAll(/(lo_import|lo_export|lo_unlink) \d+/g, '$1 N')
    .replaceAll(/^ +\d+( \| app.*)$/gm, ' N$1')
    .replaceAll(/server process with PID \d+/g, 'server process with PID N')
    .replaceAll(new RegExp(`\\b${name}\\b`, 'g'), 'NAME')
    .replaceAll(/^.*\(every 0.05s\)$/gm, 'TIME');
}

/** VERBOSE says how long things took and how many pages there were before. */
function timeless(stderr: string): string {
  return stderr.replaceAll(/\d+(\.\d+)?/g, 'N');
}

function dataOf(folder: string): Record<string, string> {
  const names = readdirSync(folder).filter((name) => name !== 'toc.dat');
  expect(names.length).toBeGreaterThan(5);
  return Object.fromEntries(
    names.sort().map((name) => [name, Bun.hash(readFileSync(join(folder, name))).toString(16)]),
  );
}

function temporaryFolder(): { readonly path: string } & Disposable {
  const path = mkdtempSync(join(tmpdir(), 'berth-tools-'));
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) };
}
