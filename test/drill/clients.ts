/**
 * The clients of a drill. Writers write at their pace and note what they are told; those through the proxy have
 * a client connection each and never want another, those without a proxy share a pool. Idle clients do nothing
 * until they are asked whether they are still well.
 */

import type { ClusterEngine } from '../harness/cluster/cluster.ts';
import { Arrivals } from '../harness/deadline.ts';
import type { Books, Write } from './books.ts';
import { now, pause } from './clock.ts';
import { type Address, type Connection, connect, StatementFailure } from './connection.ts';
import type { DirectPool } from './direct-pool.ts';
import { insert, sqlOf } from './tables.ts';

export type WriterKind = 'autocommit' | 'transaction' | 'prepared' | 'pinned';

/** How a writer gets a connection for one write. */
export interface Access {
  with<T>(work: (connection: Connection) => Promise<T>): Promise<T>;
  close(): void;
}

/** A login takes as long as the proxy needs to find a writer. */
const LOGIN_DEADLINE_MS = 60_000;

/** A client connection through the proxy, made anew only when the proxy has closed it. */
export class OwnConnection implements Access {
  readonly #engine: ClusterEngine;
  readonly #proxy: Address;
  #connection: Connection | undefined;
  /** How many were lost. */
  lost = 0;

  constructor(engine: ClusterEngine, proxy: Address) {
    this.#engine = engine;
    this.#proxy = proxy;
  }

  async with<T>(work: (connection: Connection) => Promise<T>): Promise<T> {
    this.#connection ??= await connect(this.#engine, this.#proxy, {
      deadlineMs: LOGIN_DEADLINE_MS,
    });
    const connection = this.#connection;
    try {
      return await work(connection);
    } catch (error) {
      // The driver may still have to notice what it was told.
      if (connection.isLost || (error instanceof StatementFailure && error.isLost)) this.#lose();
      throw error;
    }
  }

  close(): void {
    this.#connection?.destroy();
    this.#connection = undefined;
  }

  #lose(): void {
    this.lost += 1;
    this.close();
  }
}

/** All of a failover, on a busy machine. */
const WRITE_DEADLINE_MS = 60_000;

/** What a real application does between a failure and the next attempt. */
const RETRY_AFTER_MS = 50;

interface WriterOptions {
  readonly name: string;
  readonly kind: WriterKind;
  readonly engine: ClusterEngine;
  readonly access: Access;
  readonly books: Books;
  /** Between two writes, on average. */
  readonly paceMs: number;
}

export class Writer {
  readonly name: string;
  readonly kind: WriterKind;
  readonly #options: WriterOptions;
  readonly #acknowledged = new Arrivals<Write>();
  #isOver = false;
  #hasTemporary = false;
  #last: Write | undefined;
  readonly done: Promise<void>;

  constructor(options: WriterOptions) {
    this.name = options.name;
    this.kind = options.kind;
    this.#options = options;
    this.done = this.#write();
  }

  /** Resolves when it has had a write acknowledged that was begun after this moment. */
  async untilWritten(since: number): Promise<void> {
    const look = () => ((this.#last?.begun ?? 0) >= since ? true : undefined);
    await this.#acknowledged.until(look, () => this.#describe(), WRITE_DEADLINE_MS);
  }

  #describe(): string {
    const failure = this.#options.books.failures.findLast(({ client }) => client === this.name);
    const told = failure === undefined ? '' : `; it was told ${failure.code} ${failure.message}`;
    return `${this.name} writes again${told}`;
  }

  /** After the write that is under way. */
  async stop(): Promise<void> {
    this.#isOver = true;
    await this.done;
    this.#options.access.close();
  }

  async #write(): Promise<void> {
    const { access, books, name, paceMs } = this.#options;
    while (!this.#isOver) {
      const write = books.begin(name, this.kind === 'transaction' ? 2 : 1, now());
      try {
        await access.with((connection) => this.#attempt(connection, write));
        books.acknowledge(write, now());
        this.#last = write;
        this.#acknowledged.wake();
      } catch (error) {
        if (!(error instanceof StatementFailure)) throw error;
        books.fail(write, now(), error);
        this.#hasTemporary = false;
        await pause(RETRY_AFTER_MS);
      }
      await pause(paceMs * (0.5 + Math.random()));
    }
  }

  async #attempt(connection: Connection, { id }: Write): Promise<void> {
    const sql = sqlOf(this.#options.engine);
    switch (this.kind) {
      case 'autocommit':
        await connection.query(insert(id));
        return;
      case 'prepared':
        await connection.execute(sql.insertPrepared, [id]);
        return;
      case 'transaction':
        await transact(connection, [insert(id, 1), insert(id, 2)]);
        return;
      case 'pinned':
        await this.#writePinned(connection, id);
        return;
      default:
        this.kind satisfies never;
    }
  }

  /** Uses a temporary table that it must not lose without an error. */
  async #writePinned(connection: Connection, id: string): Promise<void> {
    const { engine, books } = this.#options;
    if (!this.#hasTemporary) {
      await connection.query('drop table if exists pinned');
      await connection.query(sqlOf(engine).makeTemporary);
      this.#hasTemporary = true;
    }
    try {
      await connection.query('insert into pinned values (1)');
    } catch (error) {
      if (error instanceof StatementFailure && MISSING_TABLE.has(error.code)) {
        books.wrong.push(`${id}: its temporary table went without a word`);
      }
      throw error;
    }
    await connection.query(insert(id));
  }
}

const MISSING_TABLE: ReadonlySet<string> = new Set(['42P01', '1146']);

async function transact(connection: Connection, statements: readonly string[]): Promise<void> {
  try {
    for (const sql of ['begin', ...statements, 'commit']) await connection.query(sql);
  } catch (error) {
    // What an application does before it goes on with the same connection.
    if (!connection.isLost) await connection.query('rollback').catch(() => undefined);
    throw error;
  }
}

export class DirectAccess implements Access {
  readonly #pool: DirectPool;

  constructor(pool: DirectPool) {
    this.#pool = pool;
  }

  with<T>(work: (connection: Connection) => Promise<T>): Promise<T> {
    return this.#pool.with(work);
  }

  /** The pool is shared. */
  close(): void {}
}

/** A client connection that has a setting and is silent. */
export class IdleClient {
  readonly #connection: Connection;
  readonly #engine: ClusterEngine;

  private constructor(engine: ClusterEngine, connection: Connection) {
    this.#engine = engine;
    this.#connection = connection;
  }

  static async connect(engine: ClusterEngine, proxy: Address): Promise<IdleClient> {
    const connection = await connect(engine, proxy, { deadlineMs: LOGIN_DEADLINE_MS });
    await connection.query(sqlOf(engine).track);
    return new IdleClient(engine, connection);
  }

  get isLost(): boolean {
    return this.#connection.isLost;
  }

  /** What is wrong with it; undefined: nothing. */
  async check(): Promise<string | undefined> {
    if (this.isLost) return 'it was dropped';
    const { showTracked, tracked } = sqlOf(this.#engine);
    try {
      const [row] = await this.#connection.query(showTracked);
      return row?.[0] === tracked ? undefined : `its setting is ${row?.[0]}`;
    } catch (error) {
      return `it was told: ${error}`;
    }
  }

  close(): void {
    this.#connection.destroy();
  }
}
