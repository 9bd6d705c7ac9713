/**
 * Virtual prepared statements, apart from any connection: the registry of texts, and what a client and
 * a connection are believed to have while replies are owed, against a server that does one thing
 * after the other.
 */

import { describe, expect, spyOn, test } from 'bun:test';
import fc from 'fast-check';
import { Fifo } from '../../../src/base/fifo.ts';
import {
  CHANGES_CLIENT,
  CHANGES_CONNECTION,
  DESCRIBES_STATEMENT,
  OURS,
  OWES_BIND,
  OWES_CLOSE,
  OWES_DESCRIBE,
  OWES_PARSE,
  OWES_QUERY,
  OWES_SYNC,
  ReplyLedger,
} from '../../../src/engine/postgres/ledger.ts';
import {
  CLIENT_STATEMENT_BYTES_MAX,
  CLIENT_STATEMENTS_MAX,
  ClientStatements,
} from '../../../src/engine/postgres/statement/client-statements.ts';
import {
  type Check,
  CONNECTION_STATEMENTS_MAX,
  ConnectionStatements,
} from '../../../src/engine/postgres/statement/connection-statements.ts';
import { escapedName, inClientsWords } from '../../../src/engine/postgres/statement/names.ts';
import { StatementRegistry, TWINS_MAX } from '../../../src/engine/postgres/statement/registry.ts';
import type { Reading, Statement } from '../../../src/engine/postgres/statement/statement.ts';
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

/** How many pending changes are looked at meanwhile. */
function countSteps(run: () => void): number {
  let steps = 0;
  const original = Fifo.prototype[Symbol.iterator];
  const spy = spyOn(Fifo.prototype, Symbol.iterator).mockImplementation(function* (this: unknown) {
    if (!(this instanceof Fifo)) throw new Error('not a queue');
    for (const each of original.call(this)) {
      steps++;
      yield each;
    }
  });
  try {
    run();
  } finally {
    spy.mockRestore();
  }
  return steps;
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

  test('PG-61 looks at a few for each, however many a client has of one text', () => {
    const registry = new StatementRegistry();
    const taken = new Set<Statement>();
    let looks = 0;
    const isTaken = (each: Statement) => {
      looks++;
      return taken.has(each);
    };
    for (let n = 0; n < 1_000; n++) {
      const statement = internIn(registry, 'select 1', PLAIN_READING, isTaken);
      expect(taken.has(statement)).toBe(false);
      taken.add(statement);
    }
    expect(looks).toBeLessThanOrEqual(1_000 * TWINS_MAX);
    expect(new Set([...taken].map(({ serverName }) => serverName)).size).toBe(1_000);
    // What is one client's alone does not come to another.
    const shared = [...taken].filter(({ key }) => key !== undefined);
    expect(shared).toHaveLength(TWINS_MAX);
    expect(shared).toContain(internIn(registry, 'select 1'));
  });

  test('PG-58 puts a successor in the place of what has become another', () => {
    const registry = new StatementRegistry();
    const described = (rows: string) => ({ parameterTypes: Buffer.alloc(2), rows });
    const first = internIn(registry, 'select 1');
    first.isDescribed(described('old'));
    const nobody = () => false;
    const second = registry.succeed(first, described('new'), nobody);
    expect(second).not.toBe(first);
    expect(internIn(registry, 'select 1')).toBe(second);
    expect(registry.succeed(first, described('new'), nobody)).toBe(second);
    const own = registry.succeed(first, described('new'), (each) => each === second);
    expect(own).not.toBe(second);
    expect(internIn(registry, 'select 1')).toBe(own);
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

  test('have the name of what has succeeded them, also when it may only come back', () => {
    const client = new ClientStatements();
    client.change('s', a);
    client.change('s', undefined);
    client.replace(a, b);
    expect([client.isNamed(a), client.isNamed(b)]).toEqual([false, true]);
    expect(client.nameOf(a.serverName)).toBe('s');
    client.undo(2);
    expect([client.get('s'), client.isNamed(b)]).toEqual([undefined, false]);
  });

  test('PG-61 are not looked through for each message of a long pipeline', () => {
    const steps = countSteps(() => {
      const client = new ClientStatements();
      for (let n = 0; n < 2_000; n++) {
        const each = internIn(registry, `select ${n % 10}`, PLAIN_READING, (statement) =>
          client.isNamed(statement),
        );
        client.change('s', each);
        client.change('s', undefined);
        expect(client.isNamed(each)).toBe(true);
        expect(client.nameOf(each.serverName)).toBe('s');
        client.batchEnded();
        client.isUncertain('s');
      }
      for (let n = 0; n < 4_000; n++) client.confirm();
      expect(client.hasPending).toBe(false);
    });
    // Of `isUncertain`, in pipelines that are not long.
    expect(steps).toBeLessThan(64 * 64);
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

  test('PG-61 are not looked through for each message of a long pipeline', () => {
    const { connection } = statements();
    const steps = countSteps(() => {
      const many = Array.from({ length: 2_000 }, (_, n) => internIn(registry, `select ${n}`));
      for (const each of many) {
        expect(connection.mayBeThere(each)).toBe(false);
        connection.parseSent(each);
        connection.closeSent(each);
        expect(connection.mayBeThere(each)).toBe(true);
        connection.batchEnded();
      }
      for (const each of many) {
        connection.undo(2);
        expect(connection.mayBeThere(each)).toBe(false);
      }
    });
    expect(steps).toBe(0);
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

/**
 * Does one message after the other, and skips after an error. It has one schema, whose version is in
 * every description, and refuses a statement that was prepared in another (PG-58).
 */
class Server {
  readonly input: Message[] = [];
  readonly replies: Reply[] = [];
  /** By name, as a client that is alone with it would have it. */
  names = new Map<string, Named>();
  /** By the database's name: the version that it is of. */
  readonly prepared = new Map<string, number>();
  version = 0;
  private isSkipping = false;

  step(): void {
    const message = this.input.shift();
    if (message === undefined) return;
    if (message.type === 'S') {
      this.isSkipping = false;
      this.say('Z');
      return;
    }
    if (this.isSkipping) return;
    if (message.type === 'Q') {
      if (message.isOk) {
        this.names.clear();
        this.prepared.clear();
      }
      this.say(message.isOk ? 'C' : 'E');
      this.say('Z');
    } else if (!message.isOk || !this.run(message)) {
      this.isSkipping = true;
      this.say('E');
    }
  }

  private say(type: string): void {
    this.replies.push({ type, version: this.version });
  }

  /** Returns whether it was done. */
  private run({ type, statement, name, isRefused }: Request): boolean {
    const { serverName } = statement;
    const { version } = this;
    const known = name === undefined ? undefined : this.names.get(name);
    switch (type) {
      case 'P':
        expect(this.prepared.has(serverName)).toBe(false);
        this.prepared.set(serverName, version);
        if (name !== undefined) {
          const text = textOf(statement);
          const rowsBefore = statement.description?.rows;
          this.names.set(name, { text, version, rowsBefore, isDescribed: false });
        }
        this.say('1');
        return true;
      case 'D':
        expect(this.prepared.get(serverName)).toBe(version);
        if (known !== undefined) known.isDescribed = true;
        this.say('t');
        this.say('T');
        return true;
      case 'B': {
        expect(known?.text).toBe(textOf(statement));
        const isRun = isRefused !== true && this.prepared.get(serverName) === version;
        const isWhatItWas = known?.version === version;
        // Alone with the server, the client would get the same.
        if (known?.isDescribed === true) expect(isRun).toBe(isWhatItWas);
        // That what it prepared was of another version nobody was told: it has what others had of it.
        else if (isRun && !isWhatItWas) expect(known?.rowsBefore).toBe(rowsOf(version));
        if (isRun) this.say('2');
        return isRun;
      }
      case 'C':
        if (name === undefined) this.prepared.delete(serverName);
        else this.names.delete(name);
        this.say('3');
        return true;
    }
  }
}

/** A client's statement: its text, and the version that it is of. */
interface Named {
  readonly text: string;
  readonly version: number;
  /** What others knew the proxy's statement as by then. */
  readonly rowsBefore: string | undefined;
  /** The proxy has been told what it is. */
  isDescribed: boolean;
}

interface Reply {
  readonly type: string;
  readonly version: number;
}

interface Request {
  readonly type: 'P' | 'B' | 'C' | 'D';
  readonly statement: Statement;
  /** The client's, also of a Describe behind its Parse; absent in what the proxy does for itself. */
  readonly name?: string | undefined;
  readonly isOk: boolean;
  /** The proxy makes it fail. */
  readonly isRefused?: boolean;
}

type Message = Request | { readonly type: 'S' } | { readonly type: 'Q'; readonly isOk: boolean };

function textOf({ parse, serverName }: Statement): string {
  return parse.toString('latin1', 6 + serverName.length);
}

function rowsOf(version: number): string {
  return `version ${version}`;
}

/** Whether what the proxy does for itself succeeds. */
interface Luck {
  readonly isReparsed: boolean;
  readonly isDescribed: boolean;
}

/** What `Relay` and `DatabaseConnection` do with named statements, and nothing else of theirs. */
class Middle {
  readonly ledger = new ReplyLedger();
  readonly server = new Server();
  client = new ClientStatements();
  readonly connection = new ConnectionStatements({ generation: 0 });
  private readonly registry = new StatementRegistry();
  private readonly made = new Set<Statement>();
  private others: Pick<Middle, 'client'> & Pick<Server, 'names'> = {
    client: new ClientStatements(),
    names: new Map(),
  };

  private send(message: Message, owed: number): void {
    this.ledger.owe(owed);
    this.server.input.push(message);
  }

  private wait(name: string | undefined): void {
    while (this.client.isUncertain(name)) this.serve();
  }

  parse(name: string, pick: number, isOk: boolean, { isDescribed }: Luck): void {
    this.wait(name);
    if (this.client.get(name) !== undefined || this.ledger.isSkipping) return;
    const statement = internIn(this.registry, `select ${pick}`, PLAIN_READING, (each) =>
      this.client.isNamed(each),
    );
    this.client.change(name, statement);
    this.prepare({ type: 'P', statement, name, isOk }, 'noted', isDescribed);
  }

  private prepare(parse: Request, check: Check, isDescribed: boolean): void {
    const { connection } = this;
    const { statement } = parse;
    this.made.add(statement);
    if (connection.mayBeThere(statement)) this.closeOnServer(statement);
    connection.parseSent(statement, check);
    const flag = parse.name === undefined ? OURS : CHANGES_CLIENT;
    this.send(parse, OWES_PARSE | CHANGES_CONNECTION | flag);
    const describing: Request = { type: 'D', statement, name: parse.name, isOk: isDescribed };
    this.send(describing, OWES_DESCRIBE | OURS | DESCRIBES_STATEMENT);
  }

  private closeOnServer(statement: Statement): void {
    this.connection.closeSent(statement);
    this.send({ type: 'C', statement, isOk: true }, OWES_CLOSE | OURS | CHANGES_CONNECTION);
  }

  evict(pick: number): void {
    this.wait('');
    const statement = [...this.made][pick];
    if (statement === undefined || this.ledger.isSkipping) return;
    this.closeOnServer(statement);
  }

  /** As long as it waits, what the name stands for may become another. */
  bind(name: string, isOk: boolean, luck: Luck): void {
    const { connection } = this;
    for (let rounds = 0; rounds < 1_000; rounds++) {
      this.wait(name);
      const statement = this.client.get(name);
      if (statement === undefined || this.ledger.isSkipping) return;
      if (connection.isAwaited(statement)) {
        this.serve();
        continue;
      }
      const isThere = connection.use(statement);
      const isRefused = !isThere && connection.takeChanged(statement);
      if (isThere || isRefused || !this.prepareAgain(statement, luck)) {
        this.send({ type: 'B', statement, name, isOk, isRefused }, OWES_BIND);
        return;
      }
    }
    throw new Error('a Bind that is never sent');
  }

  /** Returns whether its description is awaited. */
  private prepareAgain(statement: Statement, { isReparsed, isDescribed }: Luck): boolean {
    const isAwaited = statement.description !== undefined;
    const check = isAwaited ? 'awaited' : 'noted';
    this.prepare({ type: 'P', statement, isOk: isReparsed }, check, isDescribed);
    return isAwaited;
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

  deallocateAll(isOk: boolean): void {
    this.wait(undefined);
    if (this.ledger.isSkipping) return;
    this.client.clear();
    this.connection.clear();
    this.send({ type: 'Q', isOk }, OWES_QUERY | CHANGES_CLIENT | CHANGES_CONNECTION);
    this.batchEnded();
  }

  /** The client is done, and another gets the connection. */
  turn(): void {
    this.settle();
    const { client, server, others } = this;
    this.others = { client, names: server.names };
    this.client = others.client;
    server.names = others.names;
    this.connection.ended(false);
  }

  settle(): void {
    this.sync();
    this.serveAll();
    expect(this.client.hasPending).toBe(false);
  }

  serveAll(): void {
    while (this.server.input.length > 0) this.serve();
  }

  /** Not in the middle of a batch: what is prepared in it holds a lock on the schema. */
  changeSchema(version: number): void {
    if (this.ledger.isQuiet) this.server.version = version;
  }

  private batchEnded(): void {
    this.client.batchEnded();
    this.connection.batchEnded();
  }

  /** The server does a step, and its replies arrive. */
  serve(): void {
    this.server.step();
    for (const reply of this.server.replies.splice(0)) this.take(reply);
  }

  private take({ type, version }: Reply): void {
    const { ledger, client, connection } = this;
    const { head } = ledger;
    ledger.replied(type.charCodeAt(0), 'I'.charCodeAt(0));
    if (type === '1' || type === '3' || type === 'C') {
      if ((head & CHANGES_CONNECTION) !== 0) connection.confirm();
      if ((head & CHANGES_CLIENT) !== 0) client.confirm();
    }
    if (type === 'T') this.described(version);
    if (type === 'E') connection.failed();
    if (ledger.connectionChangesLost > 0) connection.undo(ledger.connectionChangesLost);
    if (ledger.clientChangesLost > 0) client.undo(ledger.clientChangesLost);
    ledger.connectionChangesLost = 0;
    ledger.clientChangesLost = 0;
  }

  private described(version: number): void {
    const parameterTypes = Buffer.alloc(2);
    const difference = this.connection.described({ parameterTypes, rows: rowsOf(version) });
    if (difference === undefined) return;
    const { statement, description, isNew } = difference;
    const isTaken = (each: Statement) => this.client.isNamed(each);
    const successor = this.registry.succeed(statement, description, isTaken);
    this.made.add(successor);
    if (isNew) this.client.replace(statement, successor);
  }

  end(names: readonly string[]): void {
    this.settle();
    for (const name of names) {
      const statement = this.client.get(name);
      expect(statement && textOf(statement)).toBe(this.server.names.get(name)?.text as string);
    }
    for (const each of this.made) {
      expect(this.connection.mayBeThere(each)).toBe(this.server.prepared.has(each.serverName));
    }
  }
}

const NAMES = ['a', 'b', 'c'] as const;

interface Action extends Luck {
  readonly kind:
    | 'parse'
    | 'bind'
    | 'close'
    | 'sync'
    | 'serve'
    | 'all'
    | 'evict'
    | 'schema'
    | 'turn'
    | 'settle';
  readonly name: string;
  readonly pick: number;
  readonly isOk: boolean;
}

const mostly = fc.integer({ min: 0, max: 5 }).map((n) => n > 0);

const action: fc.Arbitrary<Action> = fc.record({
  kind: fc.constantFrom<Action['kind']>(
    ...(['parse', 'parse', 'bind', 'bind', 'bind', 'close', 'sync', 'sync'] as const),
    ...(['serve', 'serve', 'serve', 'all', 'evict', 'schema', 'turn', 'settle'] as const),
  ),
  name: fc.constantFrom(...NAMES),
  pick: fc.integer({ min: 0, max: 2 }),
  isOk: mostly,
  isReparsed: mostly,
  isDescribed: mostly,
});

/** All goes well, with the name `a` and the text 0. */
function story(kinds: readonly Action['kind'][], version = 0): Action[] {
  const luck = { isOk: true, isReparsed: true, isDescribed: true };
  return kinds.map((kind) => ({ kind, name: 'a', pick: version, ...luck }));
}

/** What is too rare to be found at random. */
const STORIES: readonly Action[][] = [
  // Another client prepares it anew, in another schema, and the first one runs it.
  [
    ...story(['parse', 'turn']),
    ...story(['schema'], 1),
    ...story(['parse', 'bind', 'turn', 'bind', 'settle', 'bind']),
  ],
  // It goes from the connection, and the schema changes.
  [
    ...story(['parse', 'settle', 'evict', 'settle']),
    ...story(['schema'], 1),
    ...story(['bind', 'settle', 'bind']),
  ],
  [
    ...[
      ...story(['parse', 'settle', 'evict', 'settle']),
      ...story(['schema'], 1),
      ...story(['bind', 'settle']),
    ],
    ...[...story(['schema']), ...story(['bind', 'settle', 'close', 'parse', 'bind'])],
  ],
  // Nobody could describe it; another client prepares it, and it becomes another while that one waits.
  [
    ...story(['parse']).map((each) => ({ ...each, isDescribed: false })),
    ...story(['turn', 'parse', 'evict', 'bind', 'settle', 'bind']),
  ],
  // Nobody could describe it, it goes from the connection, and the schema changes.
  [
    ...story(['parse']).map((each) => ({ ...each, isDescribed: false })),
    ...story(['settle', 'evict', 'settle']),
    ...story(['schema'], 1),
    ...story(['bind', 'settle', 'bind']),
  ],
];

describe('PG-58 what was not described when the client prepared it', () => {
  const luck = { isReparsed: true, isDescribed: true };
  // The text is known to be of version 0.
  test.each([
    { prepared: 0, now: 0, isRun: true },
    { prepared: 1, now: 1, isRun: false },
    { prepared: 0, now: 1, isRun: false },
    { prepared: 1, now: 0, isRun: true },
  ])('prepared in $prepared, bound in $now', ({ prepared, now, isRun }) => {
    const middle = new Middle();
    const bind = () => {
      middle.bind('b', true, luck);
      middle.serveAll();
      return !middle.ledger.isSkipping;
    };
    middle.parse('a', 0, true, luck);
    middle.deallocateAll(true);
    middle.settle();
    middle.changeSchema(prepared);
    middle.parse('b', 0, true, { ...luck, isDescribed: false });
    middle.settle();
    middle.changeSchema(now);
    expect(bind()).toBe(isRun);
    // Prepared anew, it is described.
    middle.settle();
    middle.close('b');
    middle.parse('b', 0, true, luck);
    expect(bind()).toBe(true);
    middle.end(['a', 'b']);
  });
});

test('PG-52 to PG-54, PG-58, PG-59: whatever fails in a pipeline, what is believed is what a server does', () => {
  const play = (actions: readonly Action[]) => {
    const middle = new Middle();
    for (const { kind, name, pick, isOk, ...luck } of actions) {
      if (kind === 'parse') middle.parse(name, pick, isOk, luck);
      else if (kind === 'bind') middle.bind(name, isOk, luck);
      else if (kind === 'close') middle.close(name);
      else if (kind === 'sync') middle.sync();
      else if (kind === 'all') middle.deallocateAll(isOk);
      else if (kind === 'evict') middle.evict(pick);
      else if (kind === 'turn') middle.turn();
      else if (kind === 'settle') middle.settle();
      else if (kind === 'schema') middle.changeSchema(pick);
      else middle.serve();
    }
    middle.end(NAMES);
  };
  fc.assert(fc.property(fc.array(action, { minLength: 1, maxLength: 60 }), play), {
    numRuns: 20_000,
    examples: STORIES.map((each): [readonly Action[]] => [each]),
  });
});
