/** The store of desired state: what it keeps, and what it refuses to read. */

import { Database } from 'bun:sqlite';
import { afterEach, beforeEach, describe, expect, test } from 'bun:test';
import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { StateRecord } from '../../../src/control/state/records.ts';
import { SqliteStore } from '../../../src/control/state/sqlite-store.ts';
import { StateClosedError, StateError } from '../../../src/control/state/state-store.ts';

let folder = '';
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'berth-store-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

const file = () => join(folder, 'state.sqlite');

function instance(name: string, port = 5432): StateRecord {
  return {
    kind: 'db-instance',
    id: `db-${name}`,
    name,
    engine: 'postgres',
    address: 'db.example',
    port,
    tlsMode: 'prefer',
    tags: [{ Key: 'a', Value: "b'; DROP TABLE record; --" }],
  };
}

/** Changes the file of a store that is closed. */
function tamper(sql: string): void {
  const database = new Database(file());
  database.run(sql);
  database.close();
}

describe('a store', () => {
  test('makes no file before there is something to keep', () => {
    const store = new SqliteStore(join(folder, 'later'));
    expect(store.records).toEqual([]);
    expect(existsSync(join(folder, 'later'))).toBeFalse();
    store.commit([{ put: instance('a') }]);
    expect(statSync(join(folder, 'later', 'state.sqlite')).mode & 0o777).toBe(0o600);
    store.close();
  });

  test('has after the next start what it had, in the order in which it was made', () => {
    const store = new SqliteStore(folder);
    store.commit([{ put: instance('b') }, { put: instance('a') }]);
    store.commit([{ put: instance('b', 1) }, { put: instance('c') }]);
    store.commit([{ remove: instance('a') }]);
    const expected = [instance('b', 1), instance('c')];
    expect(store.records).toEqual(expected);
    store.close();
    const again = new SqliteStore(folder);
    expect(again.records).toEqual(expected);
    again.close();
    const rows = new Database(file()).query('SELECT id, version FROM record ORDER BY id').all();
    expect(rows).toEqual([
      { id: 'db-b', version: 2 },
      { id: 'db-c', version: 1 },
    ]);
  });

  test('keeps all of a change or nothing', () => {
    const store = new SqliteStore(folder);
    store.commit([{ put: instance('a') }]);
    store.close();
    tamper(`CREATE TRIGGER full BEFORE INSERT ON record WHEN new.id = 'db-c'
      BEGIN SELECT RAISE(ABORT, 'the disk is full'); END`);
    const again = new SqliteStore(folder);
    const change = () => again.commit([{ put: instance('b') }, { put: instance('c') }]);
    expect(change).toThrow('cannot be written: the disk is full');
    expect(again.records).toEqual([instance('a')]);
    again.close();
    const third = new SqliteStore(folder);
    expect(third.records).toEqual([instance('a')]);
    third.close();
  });

  test('takes no change once it is closed', () => {
    const store = new SqliteStore(folder);
    store.close();
    expect(() => store.commit([{ put: instance('a') }])).toThrow(StateClosedError);
    expect(existsSync(file())).toBeFalse();
  });
});

describe('a store refuses', () => {
  function written(): void {
    const store = new SqliteStore(folder);
    store.commit([{ put: instance('a') }]);
    store.close();
  }

  test('what another process has open', () => {
    const store = new SqliteStore(folder);
    store.commit([{ put: instance('a') }]);
    expect(() => new SqliteStore(folder)).toThrow('another process has it open');
    store.close();
    new SqliteStore(folder).close();
  });

  test('what a newer Berth has written', () => {
    written();
    tamper('PRAGMA user_version = 99');
    expect(() => new SqliteStore(folder)).toThrow('was written by a newer Berth');
  });

  test("another program's database", () => {
    new Database(file()).run('PRAGMA user_version = 1');
    expect(() => new SqliteStore(folder)).toThrow("is not Berth's");
  });

  test('a file that is no database', () => {
    writeFileSync(file(), 'not a database, but long enough to look like one'.repeat(100));
    expect(() => new SqliteStore(folder)).toThrow(StateError);
  });

  test.each([
    ["UPDATE record SET body = 'x'"],
    ["UPDATE record SET body = '{}'"],
    ["UPDATE record SET id = 'db-other'"],
    ["UPDATE record SET body = json_set(body, '$.unknown', 1)"],
  ])('a damaged record: %s', (sql) => {
    written();
    tamper(sql);
    expect(() => new SqliteStore(folder)).toThrow('is damaged');
  });
});
