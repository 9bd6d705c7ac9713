/** What an actor does at MySQL or MariaDB, and the ways in which it leaves. */

import * as commands from '../../harness/mysql/commands.ts';
import { MysqlRawClient, rowsOf, statementOf } from '../../harness/mysql/raw-client.ts';
import { loginOf } from '../../harness/mysql/server.ts';
import type { Random, Weighted } from '../random.ts';
import type { MysqlSession } from './session.ts';

/** What the actor's own row may hold: more than one value after a commit that was not answered. */
export interface RowLedger {
  possible: readonly string[];
}

export interface Scene {
  readonly session: MysqlSession;
  readonly random: Random;
  readonly ledger: RowLedger;
  readonly port: number;
}

export interface Operation extends Weighted {
  readonly name: string;
  run(scene: Scene): Promise<void>;
}

const INTERRUPTED = 1317;
const STATEMENTS_MAX = 8;

async function transaction({ session, random, ledger }: Scene): Promise<void> {
  const { actor, marker } = session;
  const isolated = random.chance(0.3) ? 'start transaction' : 'begin';
  await session.run(isolated);
  const [[before] = []] = await session.rows(`select value from own where actor = ${actor}`);
  if (!ledger.possible.includes(before ?? '')) {
    session.violation('lost_write', `${before}, not one of ${ledger.possible.join()}`);
  }
  await session.run(`update own set value = '${marker}' where actor = ${actor}`);
  await session.expectRows(`select value from own where actor = ${actor}`, [[marker]]);
  if (random.chance(0.4)) {
    await session.run('rollback');
    ledger.possible = [before ?? ''];
  } else {
    ledger.possible = [before ?? '', marker];
    await session.run('commit');
    ledger.possible = [marker];
  }
}

async function prepared({ session, random }: Scene): Promise<void> {
  const { client, marker } = session;
  const ids: number[] = [];
  for (let left = random.between(1, STATEMENTS_MAX); left > 0; left--) {
    const text = `select ?, '${marker}', ${random.between(1, 20)}`;
    ids.push(statementOf(await session.judged(client.prepare(text))));
  }
  for (let left = random.between(1, 20); left > 0; left--) {
    const value = `${marker}${left}`;
    const parts = await session.judged(client.execute(random.pick(ids), [value]));
    session.compare(rowsOf(parts)[0]?.slice(0, 2), [value, marker], 'wrong_rows');
  }
  for (const id of ids) if (random.chance(0.8)) client.closeStatement(id);
}

async function settings({ session, random }: Scene): Promise<void> {
  const value = String(10_000 + session.actor);
  await session.run(`set wait_timeout = ${value}, sql_mode = 'ANSI_QUOTES'`);
  for (let left = random.between(1, 5); left > 0; left--) {
    await session.expectRows('select @@wait_timeout, @@sql_mode', [[value, 'ANSI_QUOTES']]);
  }
  await session.judged(session.client.resetConnection());
  const [[now] = []] = await session.rows('select @@wait_timeout');
  if (now === value) session.violation('session_state', 'a variable outlived the reset');
}

async function pinning({ session, random }: Scene): Promise<void> {
  const { marker } = session;
  await session.run(`set @own = '${marker}'`);
  await session.run(`create temporary table mine select '${marker}' as line`);
  if (random.chance(0.5)) await session.run('do sleep(0.005)');
  await session.expectRows('select line, @own from mine', [[marker, marker]]);
  if (random.chance(0.7)) await session.judged(session.client.resetConnection());
  else await session.run('drop temporary table mine; set @own = null');
}

async function insertId({ session }: Scene): Promise<void> {
  const { marker } = session;
  await session.run(`insert into ids (line) values ('${marker}')`);
  const [[id] = []] = await session.rows('select last_insert_id()');
  await session.expectRows(`select line from ids where id = ${id}`, [[marker]]);
}

async function load({ session }: Scene): Promise<void> {
  const { marker } = session;
  const file = Buffer.from(`${marker}\n${marker}\n`);
  await session.run("load data local infile 'any' into table ids (line)", file);
}

/** A KILL QUERY of its own statement, from a second connection. */
async function kill({ session, random, port }: Scene): Promise<void> {
  const { client } = session;
  const { connectionId } = client.greeting;
  client.sendPacket(commands.query(`select '${session.marker}', sleep(0.2)`));
  const answer = session.judged(client.readAnswer(), INTERRUPTED);
  const messenger = MysqlRawClient.login({ port }, loginOf()).then(async (other) => {
    await Bun.sleep(random.between(0, 250));
    await other.query(`kill query ${connectionId}`).catch(() => undefined);
    other.destroy();
  });
  try {
    const parts = await answer;
    session.findings.count(parts.some(({ kind }) => kind === 'error') ? 'kill hit' : 'kill missed');
  } finally {
    await messenger.catch(() => undefined);
  }
}

async function stranger({ session }: Scene): Promise<void> {
  await session.expectRows('select @own, @@autocommit', [[null, '1']]);
  await session.judged(session.client.query('select line from mine'), 1146);
}

export const OPERATIONS: readonly Operation[] = [
  {
    name: 'rows',
    weight: 4,
    run: async ({ session, random }) => {
      const count = random.pick([1, 3, 500]);
      const sql = `select '${session.marker}' from numbers limit ${count}`;
      await session.expectRows(
        sql,
        Array.from({ length: count }, () => [session.marker]),
      );
    },
  },
  {
    name: 'several',
    weight: 2,
    run: async ({ session }) => {
      const { marker } = session;
      await session.expectRows(`select '${marker}'; do 1; select '${marker}'`, [
        [marker],
        [marker],
      ]);
    },
  },
  {
    name: 'large',
    weight: 1,
    run: async ({ session, random }) => {
      const length = random.pick([20_000, 300_000]);
      const { client, marker } = session;
      client.sendPacket(
        commands.query(`select '${marker}', repeat('x', ${length}) from numbers limit 20`),
      );
      client.pause();
      await Bun.sleep(random.between(0, 60));
      client.resume();
      const rows = rowsOf(await session.judged(client.readAnswer()));
      const isWhole = rows.length === 20 && rows.every(([, filler]) => filler?.length === length);
      if (!isWhole) session.violation('wrong_rows', `${rows.length} rows of 20, or cut ones`);
    },
  },
  {
    name: 'error',
    weight: 1,
    run: async ({ session }) => {
      await session.judged(session.client.query(`select '${session.marker}' from nowhere`), 1146);
    },
  },
  { name: 'transaction', weight: 4, run: transaction },
  { name: 'prepared', weight: 4, run: prepared },
  { name: 'settings', weight: 2, run: settings },
  { name: 'pinning', weight: 1, run: pinning },
  { name: 'insert id', weight: 2, run: insertId },
  { name: 'load', weight: 1, run: load },
  { name: 'kill', weight: 1, run: kill },
  { name: 'stranger', weight: 1, run: stranger },
];

/** Sends, and lets the other side see some of it. */
async function sendAndWait(scene: Scene, sql: string): Promise<void> {
  scene.session.client.sendPacket(commands.query(sql));
  await Bun.sleep(scene.random.between(0, 30));
}

/** The client is destroyed or reset behind each of them. */
export const ENDINGS: readonly Operation[] = [
  { name: 'quit', weight: 4, run: ({ session }) => session.client.end() },
  { name: 'at rest', weight: 2, run: () => Promise.resolve() },
  { name: 'in a statement', weight: 2, run: (scene) => sendAndWait(scene, 'do sleep(0.3)') },
  {
    name: 'in a result',
    weight: 2,
    run: (scene) => {
      scene.session.client.pause();
      return sendAndWait(scene, "select repeat('x', 100000) from numbers limit 100");
    },
  },
  {
    name: 'in a transaction',
    weight: 2,
    run: (scene) => {
      const { actor } = scene.session;
      return sendAndWait(scene, `begin; update own set value = 'undone' where actor = ${actor}`);
    },
  },
  {
    name: 'in a packet',
    weight: 2,
    run: async ({ session }) => session.client.sendBytes(Buffer.from([90, 0, 0, 0, 3, 100])),
  },
  {
    name: 'in a file',
    weight: 1,
    run: (scene) => sendAndWait(scene, "load data local infile 'any' into table ids (line)"),
  },
  {
    name: 'pinned',
    weight: 1,
    run: (scene) =>
      sendAndWait(scene, "set @own = 'left'; select get_lock('left', 0); lock tables own read"),
  },
  {
    name: 'prepared',
    weight: 1,
    run: async ({ session }) => {
      session.client.sendPacket(commands.command(22, 'insert into ids (line) values (?)'));
    },
  },
];
