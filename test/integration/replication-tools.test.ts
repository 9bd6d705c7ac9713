/**
 * PG-79 with PostgreSQL's own programs: pg_recvlogical, pg_basebackup and pg_receivewal, a standby, and a
 * subscription, each through the proxy. The programs insist on a server of their own version or older,
 * so these tests use the distribution's of both.
 */

import { describe, expect, setDefaultTimeout, test } from 'bun:test';
import { spawn } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { cleanEnvironment, giveTo, run, spawnAs } from '../../src/embedded/account.ts';
import type { EmbeddedPostgres } from '../../src/embedded/postgres.ts';
import { type Berth, useBerth } from '../harness/berth.ts';
import { Arrivals } from '../harness/deadline.ts';
import { eventually, untilMetric } from '../harness/polling.ts';
import { adminQuery, availablePostgres, usePostgres } from '../harness/postgres.ts';
import { type Program, type ProgramResult, runProgram, skipBecause } from '../harness/programs.ts';

setDefaultTimeout(60_000);

const USERS = [
  { name: 'app', password: 'app-password', attributes: 'REPLICATION' },
  { name: 'other', password: 'other-password' },
] as const;
const SETTINGS = {
  wal_level: 'logical',
  max_wal_senders: 10,
  max_replication_slots: 20,
  // What is committed is in the WAL then, and can be waited for.
  synchronous_commit: true,
};
const TOOLS = ['pg_basebackup', 'pg_receivewal', 'pg_recvlogical', 'pg_verifybackup'] as const;

/** A PostgreSQL that has its programs beside its server. */
const choice = availablePostgres().find(({ options: { binDirectory } }) =>
  TOOLS.every((tool) => binDirectory !== undefined && existsSync(join(binDirectory, tool))),
);

async function untilFree(database: EmbeddedPostgres, berth: Berth): Promise<void> {
  const sql = 'select count(*) as count from pg_stat_replication';
  const look = async () => ((await adminQuery(database, sql))[0]?.count === '0' ? true : undefined);
  await eventually(look, 'nobody replicates');
  await untilMetric(berth, 'berth_replication_connections', 0);
}

async function position(database: EmbeddedPostgres): Promise<string> {
  return (await adminQuery(database, 'select pg_current_wal_lsn() as lsn'))[0]?.lsn ?? '';
}

if (choice === undefined)
  skipBecause('no server with pg_basebackup beside it', 'replication with tools');
else
  describe(choice.name, () => {
    const database = usePostgres({ ...choice.options, users: USERS, settings: SETTINGS });
    const berth = useBerth(() => ({
      database: database(),
      pool: { MaxConnections: 8 },
      // The standby is told to go while it streams.
      expect: [
        ({ event, reason }) => event === 'connection.closed' && reason === 'database_closed',
      ],
    }));

    async function tool(
      program: Program,
      args: readonly string[],
      port = berth().port,
    ): Promise<ProgramResult> {
      const folder = choice?.options.binDirectory ?? '';
      const result = await runProgram(program, args, { port, folder });
      expect(result, `${program} ${args.join(' ')}`).toMatchObject({ code: 0 });
      return result;
    }

    test('pg_recvlogical: makes a slot, streams it and drops it, as direct', async () => {
      const { port } = database();
      const slots = [
        { slot: 'through', port: berth().port },
        { slot: 'direct', port },
      ];
      for (const { slot, port } of slots) {
        await tool(
          'pg_recvlogical',
          ['--dbname', 'app', '--create-slot', '--slot', slot, '--plugin', 'test_decoding'],
          port,
        );
      }
      await adminQuery(database(), 'create table decoded (id int primary key, filler text)');
      await adminQuery(
        database(),
        `insert into decoded select i, repeat(md5(i::text), 50) from generate_series(1, 5000) i;
         update decoded set filler = 'x' where id % 10 = 0; delete from decoded where id % 7 = 0`,
      );
      const end = await position(database());
      const outputs: string[] = [];
      for (const { slot, port } of slots) {
        const args = ['--dbname', 'app', '--start', '--slot', slot, '--endpos', end, '--file', '-'];
        outputs.push((await tool('pg_recvlogical', args, port)).stdout);
      }
      const [through, direct] = outputs;
      expect(through?.length).toBeGreaterThan(8_000_000);
      expect(through).toBe(direct ?? '');
      for (const { slot, port } of slots) {
        await tool('pg_recvlogical', ['--dbname', 'app', '--drop-slot', '--slot', slot], port);
      }
      expect(await adminQuery(database(), 'select 1 from pg_replication_slots')).toEqual([]);
      await untilFree(database(), berth());
    });

    test('pg_basebackup: a copy that pg_verifybackup finds whole', async () => {
      using folder = temporaryFolder();
      await adminQuery(
        database(),
        `create table backed_up as select i, md5(i::text) from generate_series(1, 100000) i`,
      );
      await tool('pg_basebackup', ['-D', join(folder.path, 'plain'), '-X', 'stream', '-c', 'fast']);
      await tool('pg_verifybackup', [join(folder.path, 'plain')]);
      await tool('pg_basebackup', [
        '-D',
        join(folder.path, 'tar'),
        '-F',
        'tar',
        '-X',
        'fetch',
        '-c',
        'fast',
      ]);
      expect(readdirSync(join(folder.path, 'tar')).sort()).toEqual(['backup_manifest', 'base.tar']);
      await untilFree(database(), berth());
    });

    test('pg_receivewal: the same WAL as the server has', async () => {
      using folder = temporaryFolder();
      const slot = ['--slot', 'receiver'];
      await tool('pg_receivewal', ['--create-slot', ...slot]);
      await tool('pg_receivewal', ['--drop-slot', ...slot]);
      // pg_receivewal makes one that keeps no WAL yet.
      await adminQuery(database(), `select pg_create_physical_replication_slot('receiver', true)`);
      await adminQuery(database(), 'create table received as select generate_series(1, 1000)');
      const sql = 'select pg_walfile_name(pg_current_wal_lsn()) as file';
      const file = (await adminQuery(database(), sql))[0]?.file ?? '';
      await adminQuery(database(), 'select pg_switch_wal()');
      await adminQuery(database(), 'create table received_later ()');
      const end = await position(database());
      await adminQuery(database(), 'create table received_last ()');
      await tool('pg_receivewal', ['-D', folder.path, ...slot, '--endpos', end, '--no-loop']);
      const received = readFileSync(join(folder.path, file));
      const own = readFileSync(join(database().dataDirectory, 'pg_wal', file));
      expect(received.equals(own)).toBe(true);
      await tool('pg_receivewal', ['--drop-slot', ...slot]);
      await untilFree(database(), berth());
    });

    test('a standby streams through the proxy', async () => {
      using folder = temporaryFolder();
      const data = join(folder.path, 'data');
      await tool('pg_basebackup', [
        '-D',
        data,
        '-X',
        'stream',
        '-c',
        'fast',
        '--write-recovery-conf',
      ]);
      await using standby = await startStandby(database(), data, folder.path);
      await standby.until('started streaming WAL from primary');
      expect(await berth().metric('berth_replication_connections')).toBe(1);
      await adminQuery(database(), 'create table streamed as select 4711 as id');
      const end = await position(database());
      const sql = `select 1 from pg_stat_replication where replay_lsn >= '${end}'`;
      await eventually(async () => {
        return (await adminQuery(database(), sql)).length > 0 ? true : undefined;
      }, 'the standby has replayed it');
      await standby.stop();
      await untilFree(database(), berth());
    });
  });

describe('a subscription of PostgreSQL 18', () => {
  const database = usePostgres({ users: USERS, settings: SETTINGS });
  const subscriber = usePostgres({ users: USERS, settings: SETTINGS });
  const berth = useBerth(() => ({ database: database(), pool: { MaxConnections: 8 } }));

  test('copies what is there, and follows', async () => {
    const table = 'create table subscribed (id int primary key, filler text)';
    await adminQuery(database(), `${table}; alter table subscribed owner to app`);
    await adminQuery(database(), 'create publication p for table subscribed');
    await adminQuery(
      database(),
      `insert into subscribed select i, repeat('x', 1000) from generate_series(1, 20000) i`,
    );
    await adminQuery(subscriber(), table);
    const conninfo = `host=127.0.0.1 port=${berth().port} user=app password=app-password dbname=app`;
    await adminQuery(subscriber(), `create subscription s connection '${conninfo}' publication p`);
    const look = (wanted: string) => async () => {
      const sql = "select count(*) || ' ' || sum(id) as sums from subscribed";
      return (await adminQuery(subscriber(), sql))[0]?.sums === wanted ? true : undefined;
    };
    await eventually(look('20000 200010000'), 'the copy is there', 40_000);
    await adminQuery(database(), 'delete from subscribed where id > 10');
    await eventually(look('10 55'), 'the changes are there', 40_000);
    await adminQuery(subscriber(), 'drop subscription s');
    expect(await adminQuery(database(), 'select 1 from pg_replication_slots')).toEqual([]);
    await untilFree(database(), berth());
  });
});

function temporaryFolder(): { readonly path: string } & Disposable {
  const path = mkdtempSync(join(tmpdir(), 'berth-replication-'));
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) };
}

/** A server on a base backup that follows where it came from. */
async function startStandby(primary: EmbeddedPostgres, data: string, folder: string) {
  const { account, binDirectory } = primary.installation;
  chmodSync(folder, 0o755);
  const sockets = join(folder, 'sockets');
  mkdirSync(sockets);
  giveTo(account, sockets);
  if (account !== undefined) {
    await run('chown', ['-R', `${account.uid}:${account.gid}`, data], {
      account: undefined,
      directory: '/',
    });
  }
  const args = ['-D', data, '-k', sockets, '-c', 'listen_addresses='];
  const child = spawn(join(binDirectory, 'postgres'), args, {
    ...spawnAs(account),
    cwd: data,
    env: cleanEnvironment(data),
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const lines = new Arrivals<string>();
  createInterface({ input: child.stderr }).on('line', (line) => lines.push(line));
  const ended = new Promise<void>((resolve) => child.on('close', () => resolve()));
  const stop = async () => {
    child.kill('SIGINT');
    await ended;
  };
  return {
    until: (text: string) =>
      lines.until(
        () => lines.all.find((line) => line.includes(text)),
        () => `${text} in the standby's log\n${lines.all.join('\n')}`,
        30_000,
      ),
    stop,
    [Symbol.asyncDispose]: stop,
  };
}
