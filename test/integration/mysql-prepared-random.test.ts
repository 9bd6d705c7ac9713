/**
 * MY-45 at random, from seeds: a few clients, texts that they share, fewer connections. They prepare,
 * execute, fetch, send values ahead, reset, close, fail, pipeline, change their schema, open transactions
 * and vanish; and whatever one of them does, a client of its own on a direct connection does too: the
 * answers must be equal, byte by byte but for the order of what others have done.
 */

import { expect, setDefaultTimeout, test } from 'bun:test';
import { type Berth, useBerth } from '../harness/berth.ts';
import type { AnswerForm } from '../harness/mysql/answer-reader.ts';
import type { Part } from '../harness/mysql/answers.ts';
import * as commands from '../harness/mysql/commands.ts';
import { makeMysqlConfiguration } from '../harness/mysql/configuration.ts';
import { CAPABILITY, COMMAND } from '../harness/mysql/constants.ts';
import { formatAnswer, MysqlRawClient } from '../harness/mysql/raw-client.ts';
import {
  describeServers,
  loginOf,
  mysqlAddressOf,
  mysqlAdmin,
  useMysql,
} from '../harness/mysql/server.ts';
import { untilMetric } from '../harness/polling.ts';
import { Random } from '../soak/random.ts';

setDefaultTimeout(90_000);

/** More than a connection keeps. */
const TEXTS = 130;
const ACTORS = 6;
const ROUNDS = 120;
const IDS = 40;

/** No server gives it to a statement. */
const NOBODYS_ID = 0x7000_0000;

interface Request {
  /** `idOf` gives the server's id of a statement that was counted. */
  readonly payload: (idOf: (count: number) => number) => Buffer;
  /** Undefined: it has no answer. */
  readonly form: AnswerForm | undefined;
}

/** Two clients that do the same, one through the proxy. */
class Actor {
  readonly #random: Random;
  readonly #login: (isDirect: boolean) => Promise<MysqlRawClient>;
  /** It counts the ids; MySQL prepares anew by itself when a parameter has another type. */
  readonly #isMariaDb: boolean;
  #clients: MysqlRawClient[] = [];
  /** How many statements were prepared; they are counted. */
  #ids = 0;
  /** How many of them have been answered. */
  #answered = 0;
  /** Of each of the two clients, the server's ids by that count. */
  #real: number[][] = [[], []];
  /** By id. Others are unknown, or were closed. */
  #known = new Map<number, Text>();
  /** Their types have been sent. */
  readonly #typed = new Set<number>();
  /** They have been executed with a cursor. */
  readonly #cursored = new Set<number>();
  #isInTransaction = false;

  constructor(
    random: Random,
    login: (isDirect: boolean) => Promise<MysqlRawClient>,
    isMariaDb: boolean,
  ) {
    this.#random = random;
    this.#login = login;
    this.#isMariaDb = isMariaDb;
  }

  async start(): Promise<void> {
    this.#clients = await Promise.all([this.#login(true), this.#login(false)]);
    this.#ids = 0;
    this.#answered = 0;
    this.#real = [[], []];
    this.#known.clear();
    this.#typed.clear();
    this.#cursored.clear();
    this.#isInTransaction = false;
  }

  async round(): Promise<void> {
    const pick = this.#random.between(0, 99);
    if (pick < 3) await this.#vanish();
    else if (pick < 40) await this.#play(1);
    else await this.#play(this.#random.between(2, 6));
  }

  async end(): Promise<void> {
    for (const client of this.#clients) await client.end();
  }

  destroy(): void {
    for (const client of this.#clients) client.destroy();
  }

  async #vanish(): Promise<void> {
    const request = this.#request();
    for (const [n, client] of this.#clients.entries()) this.#send(client, n, [request]);
    for (const client of this.#clients) client.destroy();
    await this.start();
  }

  /** Some requests in one write. */
  async #play(count: number): Promise<void> {
    const requests = Array.from({ length: count }, () => this.#request());
    const answers = await Promise.all(
      this.#clients.map(async (client, n) => {
        this.#send(client, n, requests);
        const parts: string[] = [];
        for (const { form } of requests) {
          if (form === undefined) continue;
          const answer = await client.readAnswer(form);
          if (form === 'prepare') this.#real[n]?.push(idIn(answer));
          parts.push(comparable(answer));
        }
        return parts;
      }),
    );
    this.#answered = this.#ids;
    const [direct = [], proxied = []] = answers;
    expect(proxied).toEqual(direct);
  }

  #send(client: MysqlRawClient, n: number, requests: readonly Request[]): void {
    const idOf = (count: number) =>
      this.#real[n]?.[count - 1] ?? (this.#isMariaDb ? count : NOBODYS_ID);
    client.sendCommands(...requests.map(({ payload }) => payload(idOf)));
  }

  #request(): Request {
    const pick = this.#random.between(0, 99);
    if (pick < 25 || this.#last === 0) return this.#prepare();
    if (pick < 65) return this.#execute();
    if (pick < 70) return this.#cursor();
    if (pick < 77) return this.#fetch(this.#id(), 2);
    if (pick < 82) return this.#longData();
    if (pick < 86) return this.#about(COMMAND.STMT_RESET, 'ok');
    if (pick < 92) return this.#close();
    return this.#other();
  }

  /** Of a statement that was prepared lately, or never. */
  #id(): number {
    return Math.max(1, this.#last - this.#random.between(0, IDS) + 1);
  }

  /** The last statement whose id can be known. */
  get #last(): number {
    return this.#isMariaDb ? this.#ids : this.#answered;
  }

  #fetch(id: number, count: number): Request {
    return { payload: (idOf) => commands.fetchRows(idOf(id), count), form: 'rows' };
  }

  #executed(
    id: number,
    values: readonly commands.MysqlParameter[],
    options: commands.ExecuteOptions = {},
  ): Request {
    return { payload: (idOf) => commands.execute(idOf(id), values, options), form: 'execute' };
  }

  #prepare(): Request {
    const text = textOf(this.#random.between(0, TEXTS - 1), this.#isMariaDb);
    const isWrong = this.#random.between(0, 9) === 0;
    this.#ids++;
    if (!isWrong) this.#known.set(this.#ids, text);
    const sql = isWrong ? 'select * from nowhere' : text.sql;
    return simple(commands.command(COMMAND.STMT_PREPARE, sql), 'prepare');
  }

  #values(id: number): commands.MysqlParameter[] {
    const { parameters, mayBeNull } = this.#known.get(id) ?? { parameters: 0, mayBeNull: false };
    return Array.from({ length: parameters }, (_, n) => {
      if (mayBeNull && this.#random.between(0, 3) === 0) return null;
      // Each of one type: MySQL knows of the types of earlier executions, and Berth does not tell it.
      return n % 2 === 0 ? `s${this.#random.between(0, 9)}` : this.#random.between(0, 99);
    });
  }

  #execute(): Request {
    const id = this.#id();
    // MySQL gives no rows, and an end that is none, when there was a cursor before.
    if (this.#cursored.has(id)) return this.#fetch(id, 1);
    const values = this.#values(id);
    const isBare = this.#typed.has(id) && this.#random.between(0, 2) === 0;
    if (isBare) return this.#executed(id, values, { hasTypes: false });
    // The type of NULL is none that another value could be sent as.
    if (values.every((value) => value !== null)) this.#typed.add(id);
    else this.#typed.delete(id);
    return this.#executed(id, values);
  }

  #cursor(): Request {
    const id = this.#id();
    this.#typed.delete(id);
    this.#cursored.add(id);
    return this.#executed(id, this.#values(id), { cursor: 1 });
  }

  #longData(): Request {
    const id = this.#id();
    // What was sent ahead is executed with, whatever is bound then; a number cannot be.
    this.#typed.delete(id);
    // MySQL reads what is executed before it looks at what was wrong with values that were sent ahead.
    const pick = this.#isMariaDb ? this.#random.between(0, 1) : id % 2;
    const parameter = pick * 9;
    const payload = (idOf: (count: number) => number) =>
      commands.sendLongData(idOf(id), parameter, 'ahead');
    return { payload, form: undefined };
  }

  #about(command: number, form: AnswerForm | undefined): Request {
    const id = this.#id();
    return { payload: (idOf) => commands.statementCommand(command, idOf(id)), form };
  }

  #close(): Request {
    const id = this.#id();
    this.#known.delete(id);
    this.#typed.delete(id);
    const { STMT_CLOSE } = COMMAND;
    return { payload: (idOf) => commands.statementCommand(STMT_CLOSE, idOf(id)), form: undefined };
  }

  #other(): Request {
    switch (this.#random.between(0, 4)) {
      case 0:
        this.#isInTransaction = !this.#isInTransaction;
        return query(this.#isInTransaction ? 'begin' : 'commit');
      case 1:
        return query(`use ${this.#random.between(0, 1) === 0 ? 'app' : 'second'}`);
      case 2:
        return query(`set sql_mode = '${this.#random.between(0, 1) === 0 ? '' : 'ANSI_QUOTES'}'`);
      case 3:
        if (this.#random.between(0, 3) > 0) return query('select database(), @@sql_mode');
        this.#known.clear();
        this.#typed.clear();
        this.#isInTransaction = false;
        return simple(commands.command(COMMAND.RESET_CONNECTION), 'ok');
      default:
        return query('select * from nowhere');
    }
  }
}

/** Without what is told once for a connection, and what the end of rows says before it in a server's EOF. */
const TOLD_ONCE =
  /\|(?:SESSION_STATE_CHANGED|METADATA_CHANGED|NO_INDEX_USED|NO_GOOD_INDEX_USED)\b/g;

const ID_IN_ERROR = /(handler|statement) \(\d+\)/g;

function comparable(answer: readonly Part[]): string {
  return formatAnswer(answer).replaceAll(TOLD_ONCE, '').replaceAll(ID_IN_ERROR, '$1');
}

function idIn(answer: readonly Part[]): number {
  const [first] = answer;
  return first?.kind === 'prepared' ? first.id : NOBODYS_ID;
}

function query(sql: string): Request {
  return simple(commands.query(sql), 'query');
}

function simple(payload: Buffer, form: AnswerForm): Request {
  return { payload: () => payload, form };
}

interface Text {
  readonly sql: string;
  readonly parameters: number;
  readonly mayBeNull: boolean;
}

/**
 * `place` is a table of each schema, with other rows; what quotes are depends on the mode. MySQL describes a
 * parameter that is NULL as what it was when it was not, which only the connection knows; and it reads a text
 * again, under the mode of then, when a parameter is of another type than it thought. So some of its texts
 * say what their parameters are, and the others have no quotes to read.
 */
function textOf(number: number, isMariaDb: boolean): Text {
  const parameters = number % 3;
  const isCast = !isMariaDb && number % 2 === 0;
  const values = Array.from({ length: parameters }, (_, n) =>
    isCast ? `cast(? as ${n % 2 === 0 ? 'char(9)' : 'signed'})` : '?',
  );
  const name = isMariaDb || isCast || parameters === 0 ? '"name"' : "'name'";
  const columns = [number, name, 'database()', ...values, 'name'].join(', ');
  const sql = `select ${columns} from place order by name`;
  return { sql, parameters, mayBeNull: isMariaDb || isCast };
}

describeServers('prepared statements at random', (server) => {
  // MariaDB counts the ids of statements on for each thread, and threads are used again.
  const database = useMysql(server, { settings: { thread_cache_size: 0 } });
  const berth = useBerth(() => ({
    configuration: makeMysqlConfiguration(database(), { pool: { MaxConnections: 4 } }),
  }));

  function loginAs(proxy: Berth, isOld: boolean) {
    const withoutCapabilities = isOld ? CAPABILITY.DEPRECATE_EOF : 0;
    return (isDirect: boolean) =>
      MysqlRawClient.login(isDirect ? mysqlAddressOf(database()) : { port: proxy.port }, {
        ...loginOf(),
        withoutCapabilities: withoutCapabilities | CAPABILITY.SESSION_TRACK,
      });
  }

  test.each([1, 5, 8, 9])('seed %d', async (seed) => {
    await mysqlAdmin(
      database(),
      ['app', 'second']
        .map(
          (schema) => `drop table if exists ${schema}.place;
            create table ${schema}.place (name varchar(20));
            insert into ${schema}.place values ('${schema} 1'), ('${schema} 2'), ('${schema} 3')`,
        )
        .join(';'),
    );
    const actors = Array.from(
      { length: ACTORS },
      (_, n) =>
        new Actor(new Random(seed, n), loginAs(berth(), n % 2 === 0), server.product === 'MariaDB'),
    );
    try {
      await Promise.all(
        actors.map(async (actor) => {
          await actor.start();
          for (let n = 0; n < ROUNDS; n++) await actor.round();
          // It may have a cursor, or a transaction, and others wait for its connection.
          await actor.end();
        }),
      );
    } finally {
      for (const actor of actors) actor.destroy();
    }
    await untilMetric(berth(), 'database_connections_currently_borrowed', 0);
    expect(await berth().metric('berth_session_pins_total')).toBe(0);
  });
});
