/**
 * Virtual prepared statements, apart from any connection: the registry of texts, and what a client and
 * a connection are believed to have while replies are owed, against a server that does one thing
 * after the other.
 */

import { describe, expect, test } from 'bun:test';
import fc from 'fast-check';
import {
  CHANGES_CLIENT,
  CHANGES_CONNECTION,
  OURS,
  OWES_BIND,
  OWES_CLOSE,
  OWES_PARSE,
  OWES_QUERY,
  OWES_SYNC,
  ReplyLedger,
} from '../../../src/engine/postgres/ledger.ts';
import {
  CLIENT_STATEMENT_BYTES_MAX,
  CLIENT_STATEMENTS_MAX,
  ClientStatements,
  CONNECTION_STATEMENTS_MAX,
  ConnectionStatements,
  escapedName,
  inClientsWords,
  type Reading,
  type Statement,
  StatementRegistry,
} from '../../../src/engine/postgres/prepared-statements.ts';
import * as frontend from '../../harness/frontend-messages.ts';

const PLAIN_READING: Reading = { variant: '', syntax: 'standard' };

function bodyOf(text: string, types: readonly number[] = []): Buffer {
  // Without the header and the empty name.
  return frontend.parse('', text, types).subarray(6);
}

function internIn(
  registry: StatementRegistry,
  text: string,
  reading = PLAIN_READING,
  isTaken: (statement: Statement) => boolean = () => false,
): Statement {
  const body = bodyOf(text);
  return registry.intern(body, 0, body.length, reading, isTaken);
}

describe('PG-50 the registry', () => {
  test('has one statement for one text, types and reading', () => {
    const registry = new StatementRegistry();
    const first = internIn(registry, 'select 1');
    expect(internIn(registry, 'select 1')).toBe(first);
    expect(internIn(registry, 'select 2')).not.toBe(first);
    expect(internIn(registry, 'select 1', { variant: 'x', syntax: 'standard' })).not.toBe(first);
    expect(internIn(registry, 'select 1', { variant: '', syntax: 'unsure' })).not.toBe(first);
    const typed = bodyOf('select 1', [23]);
    const other = registry.intern(typed, 0, typed.length, PLAIN_READING, () => false);
    expect(other).not.toBe(first);
    expect(other.parse).toEqual(frontend.parse(other.serverName, 'select 1', [23]));
  });

  test('gives another of the same text when one is taken', () => {
    const registry = new StatementRegistry();
    const taken = new Set<Statement>();
    for (let n = 0; n < 5; n++) {
      taken.add(internIn(registry, 'select 1', PLAIN_READING, (each) => taken.has(each)));
    }
    expect(taken.size).toBe(5);
    expect(new Set([...taken].map(({ serverName }) => serverName)).size).toBe(5);
    expect(internIn(registry, 'select 1')).toBe([...taken][0] as Statement);
  });

  test('does not keep the chunk that the text came in', () => {
    const chunk = Buffer.concat([bodyOf('select 1'), Buffer.alloc(100_000)]);
    const statement = new StatementRegistry().intern(
      chunk,
      0,
      bodyOf('select 1').length,
      PLAIN_READING,
      () => false,
    );
    chunk.fill(0xff);
    expect(statement.parse).toEqual(frontend.parse(statement.serverName, 'select 1'));
  });

  test('forgets what is not used beyond its bytes, and keeps what is', () => {
    const registry = new StatementRegistry(10_000);
    const used = internIn(registry, 'select used');
    const unused = internIn(registry, 'select unused');
    for (let n = 0; n < 500; n++) {
      internIn(registry, `select ${n}`);
      expect(internIn(registry, 'select used')).toBe(used);
    }
    expect(internIn(registry, 'select unused')).not.toBe(unused);
  });

  test('PG-59 never gives a name again', () => {
    const registry = new StatementRegistry(1_000);
    const names = new Set<string>();
    for (let n = 0; n < 1_000; n++) {
      names.add(internIn(registry, `select ${n % 100}, '${'x'.repeat(200)}'`).serverName);
    }
    names.add(internIn(new StatementRegistry(), 'select 1').serverName);
    expect(names.size).toBe(1_001);
  });
});

describe("errors in the client's words", () => {
  const nameOf = (serverName: string) => (serverName === 'berth_12' ? 'mine' : undefined);
  test.each([
    ['prepared statement "berth_12" already exists', 'prepared statement "mine" already exists'],
    ['die Anweisung »berth_12« gibt es', 'die Anweisung »mine« gibt es'],
    ['prepared statement "berth_1" already exists', undefined],
    ['prepared statement "berth_123" does not exist', undefined],
    ['prepared statement "my berth_12" does not exist', undefined],
    ['prepared statement "xberth_12" does not exist', undefined],
    ['syntax error', undefined],
    [`prepared statement "${escapedName('berth_12')}" is`, 'prepared statement "berth_12" is'],
    [
      `prepared statement "${escapedName('berth_~berth_1')}" is`,
      'prepared statement "berth_~berth_1" is',
    ],
  ])('%s', (text, expected) => {
    expect(inClientsWords(text, nameOf)).toBe(expected as string);
  });
});

describe("a client's statements", () => {
  const registry = new StatementRegistry();
  const a = internIn(registry, 'select a');
  const b = internIn(registry, 'select b');
  const c = internIn(registry, 'select c');

  test('are undone together, in every order of changes', () => {
    for (const first of [undefined, a]) {
      for (const changes of [
        [b],
        [undefined],
        [b, c],
        [undefined, b],
        [b, undefined],
        [undefined, b, c],
      ]) {
        const client = new ClientStatements();
        if (first !== undefined) client.change('s', first);
        if (first !== undefined) client.confirm();
        for (const to of changes) client.change('s', to);
        expect(client.get('s')).toBe(changes.at(-1) as Statement);
        client.undo(changes.length);
        expect(client.get('s')).toBe(first as Statement);
        expect(client.hasPending).toBe(false);
      }
    }
  });

  test('keep what was confirmed when the rest is undone', () => {
    const client = new ClientStatements();
    client.change('s', a);
    client.change('s', undefined);
    client.change('s', b);
    client.confirm();
    client.confirm();
    client.undo(1);
    expect(client.get('s')).toBeUndefined();
    expect(client.isNamed(b)).toBe(false);
  });

  test('come back when what took them all away failed', () => {
    const client = new ClientStatements();
    client.change('s', a);
    client.confirm();
    client.clear();
    expect(client.get('s')).toBeUndefined();
    client.undo(1);
    expect(client.get('s')).toBe(a);
    expect(client.nameOf(a.serverName)).toBe('s');
  });

  test('have a name in errors for as long as one may come', () => {
    const client = new ClientStatements();
    client.change('s', a);
    client.confirm();
    client.change('s', undefined);
    expect(client.nameOf(a.serverName)).toBe('s');
    expect(client.isNamed(a)).toBe(true);
    client.clear();
    client.confirm();
    client.confirm();
    expect(client.nameOf(a.serverName)).toBeUndefined();
    expect(client.isNamed(a)).toBe(false);
  });

  test('are certain within a batch, and for later ones when the reply has come', () => {
    const client = new ClientStatements();
    client.change('s', a);
    expect(client.isUncertain('s')).toBe(false);
    client.batchEnded();
    expect(client.isUncertain('s')).toBe(true);
    expect(client.isUncertain('t')).toBe(false);
    expect(client.isUncertain(undefined)).toBe(true);
    client.change('t', b);
    expect(client.isUncertain('t')).toBe(false);
    client.confirm();
    expect(client.isUncertain('s')).toBe(false);
    client.clear();
    client.batchEnded();
    expect(client.isUncertain('anything')).toBe(true);
  });

  test('PG-61 are limited in number', () => {
    const client = new ClientStatements();
    for (let n = 0; n < CLIENT_STATEMENTS_MAX; n++) {
      expect(client.isFull).toBe(false);
      client.change(`s${n}`, internIn(registry, `select ${n}`));
    }
    expect(client.isFull).toBe(true);
    client.change('s7', undefined);
    expect(client.isFull).toBe(false);
  });

  test('PG-61 and in bytes, whatever is undone', () => {
    const client = new ClientStatements();
    const large = internIn(registry, 'x'.repeat(CLIENT_STATEMENT_BYTES_MAX / 4));
    const others = [1, 2, 3].map((n) => ({ ...large, serverName: `large ${n}` }) as Statement);
    for (const [n, each] of [large, ...others].entries()) client.change(`s${n}`, each);
    expect(client.isFull).toBe(true);
    client.undo(1);
    client.clear();
    expect(client.isFull).toBe(false);
  });
});

describe("a connection's statements", () => {
  const registry = new StatementRegistry();
  const a = internIn(registry, 'select a');
  const statements = () => {
    const schema = { generation: 0 };
    return { schema, connection: new ConnectionStatements(schema) };
  };

  test('are fresh until the schema changes', () => {
    const { schema, connection } = statements();
    connection.parseSent(a);
    connection.confirm();
    expect([connection.use(a), connection.isFresh(a)]).toEqual([true, true]);
    schema.generation++;
    expect([connection.use(a), connection.isFresh(a)]).toEqual([true, false]);
  });

  test('of a transaction that read texts in its own way are prepared anew', () => {
    const { connection } = statements();
    connection.parseSent(a);
    connection.confirm();
    connection.ended(false);
    connection.ended(true);
    expect(connection.use(a)).toBe(true);
    connection.closeSent(a);
    connection.parseSent(a);
    connection.ended(true);
    expect(connection.use(a)).toBe(false);
  });

  test('PG-54 go, the least recently used first', () => {
    const { connection } = statements();
    const many = Array.from({ length: CONNECTION_STATEMENTS_MAX }, (_, n) =>
      internIn(registry, `select ${n}`),
    );
    for (const each of many) {
      expect(connection.surplus).toBeUndefined();
      connection.parseSent(each);
    }
    expect(connection.surplus).toBe(many[0] as Statement);
    connection.use(many[0] as Statement);
    connection.use(many[1] as Statement);
    expect(connection.surplus).toBe(many[2] as Statement);
  });

  test('an undone change does not override a later one of another batch', () => {
    const { connection } = statements();
    connection.parseSent(a);
    connection.batchEnded();
    expect(connection.use(a)).toBe(false);
    connection.closeSent(a);
    connection.parseSent(a);
    connection.undo(1);
    expect(connection.use(a)).toBe(true);
    connection.undo(2);
    expect([connection.use(a), connection.mayBeThere(a)]).toEqual([false, false]);
  });
});

test('a change that is undone after all went at once comes back with them only', () => {
  const registry = new StatementRegistry();
  const a = internIn(registry, 'select a');
  for (const isClearLost of [false, true]) {
    const connection = new ConnectionStatements({ generation: 0 });
    connection.parseSent(a);
    connection.confirm();
    connection.closeSent(a);
    connection.batchEnded();
    connection.clear();
    connection.undo(1);
    expect(connection.mayBeThere(a)).toBe(false);
    if (isClearLost) connection.undo(1);
    else connection.confirm();
    expect(connection.mayBeThere(a)).toBe(isClearLost);
  }
});

// --- Against a server

/** Does one message after the other, and skips after an error. */
class Server {
  readonly input: Message[] = [];
  readonly replies: string[] = [];
  /** By name, as a client that is alone with it would see it. */
  readonly names = new Map<string, Statement>();
  readonly prepared = new Set<Statement>();
  private isSkipping = false;

  step(): void {
    const message = this.input.shift();
    if (message === undefined) return;
    if (message.type === 'S') {
      this.isSkipping = false;
      this.replies.push('Z');
      return;
    }
    if (this.isSkipping) return;
    if (message.type === 'Q') {
      this.names.clear();
      this.prepared.clear();
      this.replies.push('C', 'Z');
    } else if (message.isOk) {
      this.replies.push(this.run(message));
    } else {
      this.isSkipping = true;
      this.replies.push('E');
    }
  }

  private run({ type, statement, name }: Request): string {
    if (type === 'P') {
      expect(this.prepared.has(statement)).toBe(false);
      this.prepared.add(statement);
      if (name !== undefined) this.names.set(name, statement);
      return '1';
    }
    if (type === 'B') {
      expect(this.prepared.has(statement)).toBe(true);
      if (name !== undefined) expect(this.names.get(name)).toBe(statement);
      return '2';
    }
    if (name === undefined) this.prepared.delete(statement);
    else this.names.delete(name);
    return '3';
  }
}

interface Request {
  readonly type: 'P' | 'B' | 'C';
  readonly statement: Statement;
  /** The client's; absent in what the proxy does for itself. */
  readonly name?: string;
  readonly isOk: boolean;
}

type Message = Request | { readonly type: 'S' } | { readonly type: 'Q' };

/** What `Relay` and `DatabaseConnection` do with named statements, and nothing else of theirs. */
class Middle {
  readonly ledger = new ReplyLedger();
  readonly server = new Server();
  readonly client = new ClientStatements();
  readonly connection = new ConnectionStatements({ generation: 0 });
  private readonly texts: readonly Statement[];

  constructor(texts: readonly Statement[]) {
    this.texts = texts;
  }

  private send(message: Message, owed: number): void {
    this.ledger.owe(owed);
    this.server.input.push(message);
  }

  private wait(name: string | undefined): void {
    while (this.client.isUncertain(name)) this.serve();
  }

  parse(name: string, pick: number, isOk: boolean): void {
    this.wait(name);
    const statement = this.texts.find((each, n) => n >= pick && !this.client.isNamed(each));
    if (statement === undefined || this.client.get(name) !== undefined) return;
    if (this.ledger.isSkipping) return;
    this.client.change(name, statement);
    this.prepare(statement, { name, isOk });
  }

  private prepare(statement: Statement, { name, isOk }: { name?: string; isOk: boolean }): void {
    const { connection } = this;
    if (connection.mayBeThere(statement)) this.closeOnServer(statement);
    connection.parseSent(statement);
    const flag = name === undefined ? OURS : CHANGES_CLIENT;
    const message: Request = {
      type: 'P',
      statement,
      isOk,
      ...(name === undefined ? {} : { name }),
    };
    this.send(message, OWES_PARSE | CHANGES_CONNECTION | flag);
  }

  private closeOnServer(statement: Statement): void {
    this.connection.closeSent(statement);
    this.send({ type: 'C', statement, isOk: true }, OWES_CLOSE | OURS | CHANGES_CONNECTION);
  }

  evict(pick: number): void {
    this.wait('');
    const statement = this.texts[pick];
    if (statement === undefined || this.ledger.isSkipping) return;
    this.closeOnServer(statement);
  }

  bind(name: string, isOk: boolean, isReparsed: boolean): void {
    this.wait(name);
    const statement = this.client.get(name);
    if (statement === undefined || this.ledger.isSkipping) return;
    if (!this.connection.use(statement)) this.prepare(statement, { isOk: isReparsed });
    this.send({ type: 'B', statement, name, isOk }, OWES_BIND);
  }

  close(name: string): void {
    this.wait(name);
    const statement = this.client.get(name);
    if (statement === undefined || this.ledger.isSkipping) return;
    this.client.change(name, undefined);
    this.send({ type: 'C', statement, name, isOk: true }, OWES_CLOSE | CHANGES_CLIENT);
  }

  sync(): void {
    this.send({ type: 'S' }, OWES_SYNC);
    this.batchEnded();
  }

  deallocateAll(): void {
    this.wait(undefined);
    if (this.ledger.isSkipping) return;
    this.client.clear();
    this.connection.clear();
    this.send({ type: 'Q' }, OWES_QUERY | CHANGES_CLIENT | CHANGES_CONNECTION);
    this.batchEnded();
  }

  private batchEnded(): void {
    this.client.batchEnded();
    this.connection.batchEnded();
  }

  /** The server does a step, and its replies arrive. */
  serve(): void {
    this.server.step();
    for (const type of this.server.replies.splice(0)) this.take(type);
  }

  private take(type: string): void {
    const { ledger, client, connection } = this;
    const { head } = ledger;
    ledger.replied(type.charCodeAt(0), 'I'.charCodeAt(0));
    if (type === '1' || type === '3' || type === 'C') {
      if ((head & CHANGES_CONNECTION) !== 0) connection.confirm();
      if ((head & CHANGES_CLIENT) !== 0) client.confirm();
    }
    if (ledger.connectionChangesLost > 0) connection.undo(ledger.connectionChangesLost);
    if (ledger.clientChangesLost > 0) client.undo(ledger.clientChangesLost);
    ledger.connectionChangesLost = 0;
    ledger.clientChangesLost = 0;
  }

  end(names: readonly string[]): void {
    this.sync();
    while (this.server.input.length > 0) this.serve();
    expect(this.client.hasPending).toBe(false);
    for (const name of names)
      expect(this.client.get(name)).toBe(this.server.names.get(name) as Statement);
    for (const each of this.texts) {
      expect(this.connection.mayBeThere(each)).toBe(this.server.prepared.has(each));
    }
  }
}

const NAMES = ['a', 'b', 'c'] as const;

interface Action {
  readonly kind: 'parse' | 'bind' | 'close' | 'sync' | 'serve' | 'all' | 'evict';
  readonly name: string;
  readonly pick: number;
  readonly isOk: boolean;
  readonly isReparsed: boolean;
}

const action: fc.Arbitrary<Action> = fc.record({
  kind: fc.constantFrom<Action['kind']>(
    ...(['parse', 'parse', 'bind', 'bind', 'bind', 'close', 'sync', 'sync'] as const),
    ...(['serve', 'serve', 'serve', 'all', 'evict'] as const),
  ),
  name: fc.constantFrom(...NAMES),
  pick: fc.integer({ min: 0, max: 4 }),
  isOk: fc.integer({ min: 0, max: 5 }).map((n) => n > 0),
  isReparsed: fc.integer({ min: 0, max: 5 }).map((n) => n > 0),
});

test('PG-52 to PG-54, PG-59: whatever fails in a pipeline, what is believed is what a server does', () => {
  const registry = new StatementRegistry();
  const texts = ['1', '2', '3', '4', '5'].map((text) => internIn(registry, `select ${text}`));
  const play = (actions: readonly Action[]) => {
    const middle = new Middle(texts);
    for (const { kind, name, pick, isOk, isReparsed } of actions) {
      if (kind === 'parse') middle.parse(name, pick, isOk);
      else if (kind === 'bind') middle.bind(name, isOk, isReparsed);
      else if (kind === 'close') middle.close(name);
      else if (kind === 'sync') middle.sync();
      else if (kind === 'all') middle.deallocateAll();
      else if (kind === 'evict') middle.evict(pick);
      else middle.serve();
    }
    middle.end(NAMES);
  };
  fc.assert(fc.property(fc.array(action, { minLength: 1, maxLength: 60 }), play), {
    numRuns: 20_000,
  });
});
