/**
 * The store of one machine: an SQLite database in the state directory, written ahead to a log. A commit
 * writes to the log and leaves it to the system; `flushed` has the log put on the disk, in another thread,
 * because clients of the data plane would wait for the disk otherwise. What was not flushed when the
 * machine crashes is a tail of the log, which SQLite leaves out. One process has the database to itself. The file is made by the first change, so
 * who never makes one needs no directory that can be written to.
 */

import { Database } from 'bun:sqlite';
import { chmodSync, existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { DiskFlush } from './disk-flush.ts';
import { type StateRecord, stateRecord } from './records.ts';
import {
  type Change,
  StateClosedError,
  StateError,
  type StateStore,
  StateUncertainError,
} from './state-store.ts';

const STATE_FILE = 'state.sqlite';
/** The name of the file's format in its header, so that no other program's file is taken for ours. */
const APPLICATION_ID = 0x42455254;

/**
 * Each brings the schema to the version that is its position, counted from 1. They are never changed
 * once released; a new version is a new entry.
 */
const MIGRATIONS: readonly string[] = [
  `CREATE TABLE record (
     kind TEXT NOT NULL,
     id TEXT NOT NULL,
     -- Counts the changes of this record.
     version INTEGER NOT NULL,
     -- JSON; records.ts says of what.
     body TEXT NOT NULL,
     PRIMARY KEY (kind, id)
   ) STRICT`,
];

const PUT = `INSERT INTO record (kind, id, version, body) VALUES (?1, ?2, 1, ?3)
  ON CONFLICT (kind, id) DO UPDATE SET version = version + 1, body = ?3`;
const REMOVE = 'DELETE FROM record WHERE kind = ?1 AND id = ?2';

export class SqliteStore implements StateStore {
  private readonly directory: string;
  private readonly file: string;
  private database: Database | undefined = undefined;
  private isClosed = false;
  private kept: ReadonlyMap<string, StateRecord> = new Map();
  /** The same, made when somebody wants it. */
  private list: readonly StateRecord[] | undefined = undefined;
  /** Of the log. */
  private readonly disk: DiskFlush;

  /** Throws `StateError`. */
  constructor(directory: string) {
    this.directory = directory;
    this.file = join(directory, STATE_FILE);
    this.disk = new DiskFlush(`${this.file}-wal`, directory);
    if (existsSync(this.file)) this.open();
  }

  get records(): readonly StateRecord[] {
    this.list ??= [...this.kept.values()];
    return this.list;
  }

  commit(changes: readonly Change[]): void {
    const database = this.database ?? this.open();
    if (this.disk.failure !== undefined) throw this.failed('written', this.disk.failure);
    const kept = new Map(this.kept);
    for (const change of changes) {
      if ('put' in change) kept.set(keyOf(change.put), change.put);
      else kept.delete(keyOf(change.remove));
    }
    try {
      database.transaction(() => write(database, changes)).immediate();
    } catch (error) {
      throw this.failed('written', error);
    }
    this.kept = kept;
    this.list = undefined;
    this.disk.written();
  }

  async flushed(): Promise<void> {
    try {
      await this.disk.flushed();
    } catch (error) {
      throw new StateUncertainError(this.failed('written', error).message, error);
    }
  }

  close(): void {
    this.isClosed = true;
    // Which flushes what is in the log.
    this.database?.close();
    this.database = undefined;
    this.disk.close();
  }

  private open(): Database {
    if (this.isClosed) throw new StateClosedError();
    let database: Database | undefined;
    try {
      mkdirSync(this.directory, { recursive: true, mode: 0o700 });
      database = new Database(this.file, { create: true, strict: true });
      chmodSync(this.file, 0o600);
      // Taken with the first read and kept until the end, so nobody else writes what we believe to know.
      database.run('PRAGMA locking_mode = EXCLUSIVE');
      database.run('PRAGMA journal_mode = WAL');
      // A commit does not flush the log; a checkpoint does, before it touches the database.
      database.run('PRAGMA synchronous = NORMAL');
      migrate(database);
      this.kept = read(database);
      this.list = undefined;
    } catch (error) {
      database?.close();
      throw error instanceof StateError ? error : this.failed('opened', error);
    }
    this.database = database;
    return database;
  }

  private failed(what: 'opened' | 'written', cause: unknown): StateError {
    const file = JSON.stringify(this.file);
    return new StateError(`StateDirectory: ${file} cannot be ${what}: ${why(cause)}`, cause);
  }
}

function keyOf({ kind, id }: Pick<StateRecord, 'kind' | 'id'>): string {
  return `${kind} ${id}`;
}

function write(database: Database, changes: readonly Change[]): void {
  for (const change of changes) {
    if ('put' in change) {
      const { kind, id } = change.put;
      database.query(PUT).run(kind, id, JSON.stringify(change.put));
    } else {
      database.query(REMOVE).run(change.remove.kind, change.remove.id);
    }
  }
}

function migrate(database: Database): void {
  database
    .transaction(() => {
      const version = pragma(database, 'user_version');
      const isOurs = pragma(database, 'application_id') === APPLICATION_ID;
      if (version > 0 && !isOurs) throw new StateError(`${database.filename} is not Berth's`);
      if (version > MIGRATIONS.length) {
        throw new StateError(
          `StateDirectory: ${JSON.stringify(database.filename)} was written by a newer Berth (its version is ${version}, and ${MIGRATIONS.length} is the newest that is known)`,
        );
      }
      for (const migration of MIGRATIONS.slice(version)) database.run(migration);
      database.run(`PRAGMA application_id = ${APPLICATION_ID}`);
      database.run(`PRAGMA user_version = ${MIGRATIONS.length}`);
    })
    .immediate();
}

function pragma(database: Database, name: 'user_version' | 'application_id'): number {
  const row: unknown = database.query(`PRAGMA ${name}`).get();
  const isRow = typeof row === 'object' && row !== null && name in row;
  return isRow ? Number((row as Record<string, unknown>)[name]) : 0;
}

function read(database: Database): ReadonlyMap<string, StateRecord> {
  const kept = new Map<string, StateRecord>();
  const rows = database.query('SELECT kind, id, body FROM record ORDER BY rowid').all();
  for (const row of rows as {
    readonly kind: string;
    readonly id: string;
    readonly body: string;
  }[]) {
    const parsed = stateRecord.safeParse(parseJson(row.body));
    if (!parsed.success || keyOf(parsed.data) !== `${row.kind} ${row.id}`) {
      const detail = `the record ${row.kind} ${row.id} is damaged`;
      throw new StateError(`StateDirectory: ${JSON.stringify(database.filename)}: ${detail}`);
    }
    kept.set(keyOf(parsed.data), parsed.data);
  }
  return kept;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function why(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  if (code.startsWith('SQLITE_BUSY')) return 'another process has it open';
  return error instanceof Error ? error.message : String(error);
}
