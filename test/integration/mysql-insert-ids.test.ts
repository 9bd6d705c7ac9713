/**
 * MY-40: LAST_INSERT_ID() is the session's own, whatever other sessions have left on the connection that
 * it is given, and also when it has had none.
 */

import { beforeAll, expect, setDefaultTimeout, test } from 'bun:test';
import { type Berth, useBerth } from '../harness/berth.ts';
import { query } from '../harness/mysql/commands.ts';
import { makeMysqlConfiguration } from '../harness/mysql/configuration.ts';
import { MysqlRawClient, mustSucceed, rowsOf } from '../harness/mysql/raw-client.ts';
import { describeServers, loginOf, mysqlAdmin, useMysql } from '../harness/mysql/server.ts';

setDefaultTimeout(60_000);

/** In the folder of the schema. */
const FILE = 'ids.txt';

/** With a binary log, MariaDB reports a `last_gtid` for every INSERT. */
const SETTINGS = {
  secure_file_priv: '',
  disable_log_bin: false,
  log_bin: 'binlog',
  server_id: 1,
};

async function login(berth: Berth): Promise<MysqlRawClient> {
  return await MysqlRawClient.login({ port: berth.port }, { ...loginOf(), database: 'app' });
}

async function insert(client: MysqlRawClient): Promise<void> {
  mustSucceed(await client.query('insert into app.ids values ()'));
}

async function insertId(client: MysqlRawClient): Promise<unknown> {
  return rowsOf(mustSucceed(await client.query('select last_insert_id()')))[0]?.[0];
}

describeServers('insert ids', (server) => {
  const database = useMysql(server, { settings: SETTINGS });
  const berth = useBerth(() => ({
    configuration: makeMysqlConfiguration(database(), { pool: { MaxConnections: 1 } }),
  }));

  beforeAll(async () => {
    await mysqlAdmin(
      database(),
      `create database if not exists app;
       create table app.ids (id int auto_increment primary key, filler varchar(9));
       create procedure app.insert_id() insert into app.ids values ();
       use app; select 'file' into outfile '${FILE}'; grant file on *.* to app`,
    );
  });

  test('a session that has inserted nothing does not see what one before it has inserted', async () => {
    const [author, reader] = [await login(berth()), await login(berth())];
    await insert(author);
    expect(await insertId(reader)).toBe('0');
    await author.end();
    await reader.end();
  });

  test('a connection that needs both another id and other settings gets them together', async () => {
    for (const _ of [1, 2]) {
      const client = await login(berth());
      mustSucceed(await client.query('set autocommit = 0'));
      await insert(client);
      mustSucceed(await client.query('commit'));
      mustSucceed(await client.query('select 1'));
      mustSucceed(await client.query('rollback'));
      await client.end();
    }
  });

  test('what the binary log has of a session is not set for it on another connection', async () => {
    const [first, second] = [await login(berth()), await login(berth())];
    for (const client of [first, second, first, second]) await insert(client);
    expect(rowsOf(mustSucceed(await first.query('select 1')))).toEqual([['1']]);
    await first.end();
    await second.end();
  });

  test('nor when that one left at once', async () => {
    const author = await login(berth());
    await insert(author);
    await author.end();
    const reader = await login(berth());
    expect(await insertId(reader)).toBe('0');
    await reader.end();
  });

  test('a session sees its own although the one before left another', async () => {
    const [before, author] = [await login(berth()), await login(berth())];
    await insert(before);
    const first = Number(await insertId(before));
    await insert(author);
    expect(await insertId(author)).toBe(String(first + 1));
    expect(await insertId(before)).toBe(String(first));
    expect(await insertId(author)).toBe(String(first + 1));
    await before.end();
    await author.end();
  });

  /** Below all that are made. */
  let given = 0;

  /** Inserts a row with an id that is not made by the database, and so is nobody's LAST_INSERT_ID(). */
  async function give(client: MysqlRawClient, id: unknown = --given): Promise<void> {
    mustSucceed(await client.query(`insert into app.ids (id) values (${id})`));
  }

  /** Two sessions, each with an id of its own; the connection was `last`'s. */
  async function twoAuthors() {
    const [author, last] = [await login(berth()), await login(berth())];
    await insert(author);
    const own = await insertId(author);
    await insert(last);
    return { author, own, last, other: await insertId(last) };
  }

  test('who gives the id itself has the last one that was made for it', async () => {
    const { author, own, last, other } = await twoAuthors();
    await give(author);
    expect(await insertId(last)).toBe(other);
    expect(await insertId(author)).toBe(own);
    mustSucceed(await author.query(`delete from app.ids where id = ${other}`));
    expect(await insertId(last)).toBe(other);
    await give(author, other);
    expect(await insertId(last)).toBe(other);
    expect(await insertId(author)).toBe(own);
    await author.end();
    await last.end();
  });

  test('also in the same transaction', async () => {
    const { author, own, last, other } = await twoAuthors();
    mustSucceed(await author.query('begin'));
    await give(author);
    expect(await insertId(author)).toBe(own);
    mustSucceed(await author.query('commit'));
    mustSucceed(await last.query('begin'));
    await give(last);
    mustSucceed(await last.query('rollback'));
    expect(await insertId(last)).toBe(other);
    await author.end();
    await last.end();
  });

  test('who asks before the answer to its INSERT has come gets the new one', async () => {
    const { author, last } = await twoAuthors();
    author.sendPacket(query('insert into app.ids values ()', author.capabilities));
    author.sendPacket(query('select last_insert_id()', author.capabilities));
    mustSucceed(await author.readAnswer());
    const [[id] = []] = rowsOf(mustSucceed(await author.readAnswer()));
    expect(id).toBe(await lastId());
    await author.end();
    await last.end();
  });

  test('who sets it to nothing has nothing', async () => {
    const { author, last, other } = await twoAuthors();
    mustSucceed(await author.query('select last_insert_id(0)'));
    expect(await insertId(last)).toBe(other);
    expect(await insertId(author)).toBe('0');
    await author.end();
    await last.end();
  });

  async function lastId(): Promise<string> {
    const [[id] = []] = await mysqlAdmin(database(), 'select max(id) from app.ids');
    return id ?? '';
  }

  /** Ways to insert that tell no insert id. */
  const SILENT: readonly (readonly [title: string, text: string, isMariaDb?: boolean])[] = [
    ['a procedure', 'call app.insert_id()'],
    ['LOAD DATA INFILE', `load data infile '${FILE}' into table app.ids (filler)`],
    ['INSERT ... RETURNING', "insert into app.ids (filler) values ('r') returning id", true],
    ['ANALYZE INSERT', "analyze insert into app.ids (filler) values ('a')", true],
    ['REPLACE ... RETURNING', "replace into app.ids (filler) values ('r') returning id", true],
  ];

  for (const [title, text, isMariaDb = false] of SILENT) {
    if (isMariaDb && server.product !== 'MariaDB') continue;

    test(`what ${title} has inserted goes along with its session, and with no other`, async () => {
      const [author, reader] = [await login(berth()), await login(berth())];
      mustSucceed(await author.query(text));
      const own = await lastId();
      expect(await insertId(reader)).toBe('0');
      expect(await insertId(author)).toBe(own);
      await insert(reader);
      const other = await lastId();
      expect(await insertId(author)).toBe(own);
      expect(await insertId(reader)).toBe(other);
      await author.end();
      await reader.end();
    });

    test(`what ${title} has inserted is nobody’s when the session has left`, async () => {
      const author = await login(berth());
      mustSucceed(await author.query(text));
      await author.end();
      const reader = await login(berth());
      expect(await insertId(reader)).toBe('0');
      await reader.end();
    });
  }
});
