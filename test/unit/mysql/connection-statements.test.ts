import { describe, expect, test } from 'bun:test';
import { SessionSettings } from '../../../src/engine/mysql/settings.ts';
import {
  CLIENT_STATEMENTS_MAX,
  type ClientStatement,
  ClientStatements,
} from '../../../src/engine/mysql/statement/client-statements.ts';
import {
  CONNECTION_STATEMENT_BYTES_MAX,
  CONNECTION_STATEMENTS_MAX,
  ConnectionStatements,
} from '../../../src/engine/mysql/statement/connection-statements.ts';
import { CurrentReading, Reading } from '../../../src/engine/mysql/statement/reading.ts';
import { StatementRegistry } from '../../../src/engine/mysql/statement/registry.ts';
import { largeStatement, type Statement } from '../../../src/engine/mysql/statement/statement.ts';
import {
  SERVER_STATUS_CURSOR_EXISTS,
  SERVER_STATUS_LAST_ROW_SENT,
} from '../../../src/engine/mysql/wire/capabilities.ts';
import { closeMessages } from '../../../src/engine/mysql/wire/statement-commands.ts';
import { syntaxOf } from '../../../src/sql/mysql/syntax.ts';

const SYNTAX = syntaxOf({
  isMariaDb: true,
  version: 101119,
  charset: 'safe',
  ansiQuotes: false,
  noBackslashEscapes: false,
  bracketQuotes: false,
});
const READING = new Reading('app', SessionSettings.NONE, SYNTAX);

const registry = new StatementRegistry();

function statement(text: string, reading = READING, from = registry): Statement {
  const bytes = Buffer.from(text);
  return from.intern(bytes, 0, bytes.length, reading);
}

/** A client and a connection on which it prepares and executes; ids are given in turn, as servers do. */
class World {
  readonly client = new ClientStatements();
  readonly connection = new ConnectionStatements();
  #id = 0;

  prepare(of: Statement, parameters = 0): ClientStatement {
    const added = this.client.add(of);
    this.connection.prepareSent(of, added, this.client);
    this.#id++;
    expect(this.connection.prepared(this.#id, parameters)).toBe(added.id);
    return added;
  }

  /** The proxy's own. */
  prepareAgain(of: Statement): void {
    this.connection.prepareSent(of, undefined, this.client);
    this.#id++;
    expect(this.connection.prepared(this.#id, 0)).toBe(this.#id);
  }

  tie(client: ClientStatement): void {
    const prepared = this.connection.use(client.statement);
    if (prepared === undefined) throw new Error('not prepared');
    this.connection.take(prepared);
    this.client.tie(client, prepared);
  }

  /** The ids that the server is told to close. */
  closes(): Buffer {
    return this.connection.takeCloses();
  }
}

describe('a connection', () => {
  test('has what was prepared on it, whoever prepared it', () => {
    const world = new World();
    const one = statement('select 1');
    world.prepare(one);
    expect(world.connection.use(one)?.id).toBe(1);
    expect(world.connection.use(statement('select 2'))).toBeUndefined();
    world.prepareAgain(statement('select 2'));
    expect(world.connection.use(statement('select 2'))?.id).toBe(2);
    expect(world.connection.hasCloses).toBe(false);
  });

  test('has a text once: preparing it again closes the older one', () => {
    const world = new World();
    world.prepare(statement('select 1'));
    world.prepare(statement('select 1'));
    expect(world.connection.size).toBe(1);
    expect(world.closes()).toEqual(closeMessages([1]));
    expect(world.connection.hasCloses).toBe(false);
  });

  test('closes what was not used for longest when it has enough', () => {
    const world = new World();
    const texts = Array.from({ length: CONNECTION_STATEMENTS_MAX }, (_, n) => `select ${n}`);
    for (const text of texts) world.prepareAgain(statement(text));
    expect(world.connection.hasCloses).toBe(false);
    expect(world.connection.use(statement('select 0'))?.id).toBe(1);
    world.prepareAgain(statement('select 1000'));
    expect(world.closes()).toEqual(closeMessages([2]));
    expect(world.connection.size).toBe(CONNECTION_STATEMENTS_MAX);
  });

  test('closes the oldest when their texts are too long together', () => {
    const world = new World();
    const large = (n: number) =>
      `select ${n} /*${'x'.repeat(CONNECTION_STATEMENT_BYTES_MAX / 2)}*/`;
    for (const n of [1, 2]) world.prepareAgain(statement(large(n)));
    expect(world.connection.size).toBe(1);
    expect(world.closes()).toEqual(closeMessages([1]));
  });

  test('makes room by a quarter when the server has none', () => {
    const world = new World();
    for (let n = 0; n < 8; n++) world.prepareAgain(statement(`select ${n}`));
    expect(world.connection.makeRoom()).toBe(true);
    expect(world.closes()).toEqual(closeMessages([1, 2]));
    const empty = new World();
    expect(empty.connection.makeRoom()).toBe(false);
  });

  test('has nothing left after a reset, and nothing to close', () => {
    const world = new World();
    for (const n of [1, 1, 2]) world.prepare(statement(`select ${n}`));
    world.connection.lose();
    expect(world.connection.hasCloses).toBe(false);
    expect(world.connection.size).toBe(0);
    expect(world.connection.use(statement('select 1'))).toBeUndefined();
  });

  test('tells once why its own preparing failed; a client hears it itself', () => {
    const world = new World();
    const one = statement('select 1');
    world.connection.prepareSent(one, undefined, world.client);
    expect(world.connection.isPreparing).toBe(true);
    world.connection.prepareFailed(Buffer.from('no'));
    expect(world.connection.isPreparing).toBe(false);
    expect(world.connection.takeFailure()).toEqual(Buffer.from('no'));
    expect(world.connection.takeFailure()).toBeUndefined();

    const added = world.client.add(one);
    world.connection.prepareSent(one, added, world.client);
    world.connection.prepareFailed(Buffer.from('no'));
    expect(world.connection.takeFailure()).toBeUndefined();
    expect(world.client.get(added.id)).toBeUndefined();
  });

  test('does not keep what it prepared in the wrong schema', () => {
    const world = new World();
    const one = statement('select 1');
    world.connection.prepareSent(one, undefined, world.client);
    world.connection.switchFailed(Buffer.from('no such schema'));
    expect(world.connection.prepared(5, 0)).toBe(5);
    expect(world.connection.use(one)).toBeUndefined();
    expect(world.closes()).toEqual(closeMessages([5]));
    expect(world.connection.takeFailure()).toEqual(Buffer.from('no such schema'));
  });
});

describe('a statement with a cursor', () => {
  test('is its client’s alone until the last row', () => {
    const world = new World();
    const one = statement('select 1');
    const client = world.prepare(one);
    world.tie(client);
    expect(world.client.areTied).toBe(true);
    expect(world.connection.use(one)).toBeUndefined();
    world.connection.useSent('use', client, world.client);
    world.connection.ended(false, SERVER_STATUS_CURSOR_EXISTS);
    expect(client.hasCursor).toBe(true);
    world.connection.useSent('fetch', client, world.client);
    world.connection.ended(false, SERVER_STATUS_LAST_ROW_SENT);
    expect([client.hasCursor, world.client.areTied]).toEqual([false, false]);
    expect(world.connection.use(one)?.id).toBe(1);
    expect(world.connection.hasCloses).toBe(false);
  });

  test('is closed when another has been prepared meanwhile', () => {
    const world = new World();
    const one = statement('select 1');
    const client = world.prepare(one);
    world.tie(client);
    world.prepareAgain(one);
    world.connection.useSent('use', client, world.client);
    world.connection.ended(false, 0);
    expect(world.connection.use(one)?.id).toBe(2);
    expect(world.closes()).toEqual(closeMessages([1]));
  });

  test('goes on when it is executed again before the first answer has come', () => {
    const world = new World();
    const client = world.prepare(statement('select 1'));
    world.tie(client);
    world.connection.useSent('use', client, world.client);
    world.connection.useSent('use', client, world.client);
    world.connection.ended(false, 0);
    expect(world.client.areTied).toBe(true);
    world.connection.ended(false, SERVER_STATUS_CURSOR_EXISTS);
    expect([client.hasCursor, world.client.areTied]).toEqual([true, true]);
  });

  test('is not kept when fetching from it failed', () => {
    const world = new World();
    const client = world.prepare(statement('select 1'));
    world.tie(client);
    world.connection.useSent('use', client, world.client);
    world.connection.ended(false, SERVER_STATUS_CURSOR_EXISTS);
    world.connection.useSent('fetch', client, world.client);
    world.connection.ended(true, SERVER_STATUS_CURSOR_EXISTS);
    expect([client.hasCursor, world.client.areTied]).toEqual([false, false]);
    expect(world.closes()).toEqual(closeMessages([1]));
  });
});

test('a statement that failed with values sent ahead is not kept', () => {
  const world = new World();
  const client = world.prepare(statement('insert into t values (?)'), 1);
  for (const isFailed of [false, true]) {
    world.tie(client);
    client.hasLongData = true;
    world.connection.useSent('use', client, world.client);
    world.connection.ended(isFailed, 0);
    expect([client.hasLongData, world.client.areTied]).toEqual([false, false]);
    expect(world.connection.hasCloses).toBe(isFailed);
  }
});

describe('a client', () => {
  test('counts its ids as a server does, and knows the last one', () => {
    const world = new World();
    const first = world.prepare(statement('select 1'));
    const failed = world.client.add(statement('nonsense'));
    expect(world.client.latest).toBe(failed);
    world.client.remove(failed);
    expect(world.client.latest).toBeUndefined();
    const third = world.prepare(statement('select 1'));
    expect([first.id, failed.id, third.id]).toEqual([1, 2, 3]);
    expect(world.client.latest).toBe(third);
  });

  test('is full at its limit, and not any more when it closes one', () => {
    const client = new ClientStatements();
    for (let n = 0; n < CLIENT_STATEMENTS_MAX; n++) client.add(statement('select 1'));
    expect(client.isFull).toBe(true);
    const [first] = [client.get(1)];
    if (first !== undefined) client.remove(first);
    expect(client.isFull).toBe(false);
  });

  test('has a statement of which only the beginning was seen where it is, for good', () => {
    const world = new World();
    const client = world.prepare(largeStatement(READING));
    expect(client.tied?.id).toBe(1);
    expect([world.client.areTied, world.client.hasLarge]).toEqual([false, true]);
    world.connection.useSent('use', client, world.client);
    world.connection.ended(true, 0);
    expect(client.tied?.id).toBe(1);
    world.client.remove(client);
    expect(world.client.hasLarge).toBe(false);
  });
});

describe('texts', () => {
  test('are the same for the same circumstances only', () => {
    const other = new Reading('other', SessionSettings.NONE, SYNTAX);
    const settings = SessionSettings.NONE.withAll([['sql_mode', 'ANSI_QUOTES']]);
    const quoted = new Reading('app', settings, syntaxOf({ ...SYNTAX, ansiQuotes: true }));
    expect(statement('select 1')).toBe(statement('select 1'));
    expect(statement('select 1')).not.toBe(statement('select 1', other));
    expect(statement('select 1')).not.toBe(statement('select 1', quoted));
  });

  test('are not told apart by what a server looks at when it executes', () => {
    const reading = (values: [string, string][]) =>
      new CurrentReading().of({
        schema: 'app',
        settings: SessionSettings.NONE.withAll(values),
        syntax: SYNTAX,
      });
    expect(reading([['time_zone', '+01:00']]).key).toBe(reading([]).key);
    expect(reading([['sql_mode', 'ANSI']]).key).not.toBe(reading([]).key);
  });

  test('nobody uses are forgotten', () => {
    const small = new StatementRegistry(40_000);
    const kept = statement('select 1', READING, small);
    for (let n = 0; n < 200; n++) {
      statement(`select ${n} as n`, READING, small);
      if (n % 5 === 0) expect(statement('select 1', READING, small)).toBe(kept);
    }
    for (let n = 0; n < 200; n++) statement(`select ${n} as m`, READING, small);
    expect(statement('select 1', READING, small)).not.toBe(kept);
  });

  test('have one reading together for all who read in the same way', () => {
    const readings = [1, 2].map(() => new Reading('app', SessionSettings.NONE, SYNTAX));
    const statements = readings.map((reading, n) => statement(`select 'own', ${n}`, reading));
    expect(new Set(statements.map(({ reading }) => reading)).size).toBe(1);
  });

  test('share the types that their clients execute them with', () => {
    const one = statement('select ? + ?');
    const bytes = Buffer.of(8, 0, 8, 0, 8, 0, 8, 0, 5, 0);
    const types = one.typesIn(bytes, 0, 4);
    expect(one.typesIn(bytes, 4, 8)).toBe(types);
    expect(one.typesIn(bytes, 6, 10)).not.toBe(types);
  });
});
