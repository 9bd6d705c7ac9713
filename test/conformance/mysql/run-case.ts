/**
 * Plays a case against an address and writes down what came back. Everything is kept but what can never be the
 * same twice: connection ids in errors, ids of statements, and the numbers of COM_STATISTICS. A case that is about its
 * connection id compares it: `select connection_id() = ${id a}`.
 */

import { formatPart, type Part } from '../../harness/mysql/answers.ts';
import {
  frames,
  type MysqlAddress,
  type MysqlLoginOptions,
  MysqlRawClient,
} from '../../harness/mysql/raw-client.ts';
import { eventually } from '../../harness/polling.ts';
import { statementId } from './raw-case.ts';
import type { Case, ChangeUser, Command, Context, Step } from './steps.ts';

const FIRST_SESSION = 'a';
/** In messages of errors. */
const IDS = /(\bthread(?: id)?:? |\bstatement (?:handler )?\()\d+/gi;

export interface RunOptions {
  readonly address: MysqlAddress;
  readonly login: MysqlLoginOptions;
  /** Rows of SQL that root runs, past any proxy. */
  readonly ask: (sql: string) => Promise<readonly unknown[]>;
}

export async function runCase({ steps }: Case, options: RunOptions): Promise<string> {
  const player = new Player(options);
  try {
    for (const step of steps) await player.play(step);
    return await player.finish();
  } finally {
    player.destroy();
  }
}

interface Session {
  readonly name: string;
  readonly client: MysqlRawClient;
  readonly statements: Map<string, number>;
  /** Commands whose answers were not read yet. */
  unanswered: Command[];
}

class Player {
  readonly #options: RunOptions;
  readonly #sessions = new Map<string, Session>();
  readonly #ids = new Map<string, string>();
  readonly #lines: string[] = [];
  #name = FIRST_SESSION;

  constructor(options: RunOptions) {
    this.#options = options;
  }

  async play(step: Step): Promise<void> {
    switch (step.kind) {
      case 'session':
        this.#name = step.name;
        return;
      case 'reconnect':
        return this.#end(this.#name);
      case 'send':
        return this.#send(step.commands, step.split);
      case 'read':
        return this.#read();
      case 'closed':
        return this.#untilClosed();
      case 'eventually':
        await eventually(async () => (await this.#options.ask(step.sql))[0], step.sql);
        return;
      case 'change user':
        return this.#changeUser(step);
      case 'query':
        return this.#query(step.sql, step.localFile);
    }
  }

  /** Ends all sessions. Anything that arrived and nobody asked for is part of the transcript. */
  async finish(): Promise<string> {
    for (const name of [...this.#sessions.keys()]) await this.#end(name);
    return `${this.#lines.join('\n')}\n`;
  }

  destroy(): void {
    for (const { client } of this.#sessions.values()) client.destroy();
  }

  async #session(): Promise<Session> {
    const open = this.#sessions.get(this.#name);
    if (open !== undefined) return open;
    const name = this.#name;
    const client = await MysqlRawClient.login(this.#options.address, this.#options.login);
    const session = { name, client, statements: new Map(), unanswered: [] };
    this.#sessions.set(name, session);
    this.#ids.set(name, String(client.greeting.connectionId));
    return session;
  }

  #context({ client, statements }: Session): Context {
    return {
      statement: (name) => statementId(name, statements),
      capabilities: client.capabilities,
      fill: (text) => this.#fill(text),
    };
  }

  #fill(text: string): string {
    return text.replace(/\$\{id (\w+)\}/g, (_, name: string) => this.#ids.get(name) ?? '0');
  }

  async #end(name: string): Promise<void> {
    const session = this.#sessions.get(name);
    if (session === undefined) return;
    this.#sessions.delete(name);
    await session.client.end();
    for (const { sequence, payload } of session.client.unread) {
      this.#note(name, `${sequence} unasked ${payload.toString('hex')}`);
    }
  }

  async #send(commands: readonly Command[], split: readonly number[]): Promise<void> {
    const session = await this.#session();
    const context = this.#context(session);
    const bytes = Buffer.concat(commands.map((command) => frames(command.encode(context), 0)));
    session.unanswered.push(...commands.filter(({ form }) => form !== undefined));
    const [first, ...others] = split;
    if (first === undefined) session.client.sendBytes(bytes);
    else await session.client.sendSplit(bytes, first, ...others);
  }

  async #read(): Promise<void> {
    const session = await this.#session();
    for (const command of session.unanswered.splice(0)) {
      const parts = await session.client.readAnswer(command.form);
      const [first] = parts;
      if (command.prepares !== undefined && first?.kind === 'prepared') {
        session.statements.set(command.prepares, first.id);
      }
      this.#record(session.name, parts);
    }
  }

  async #untilClosed(): Promise<void> {
    const { client, name } = await this.#session();
    for (const { sequence, payload } of await client.untilClosed()) {
      this.#note(name, `${sequence} unasked ${payload.toString('latin1')}`);
    }
    this.#note(name, '(closed)');
    this.#sessions.delete(name);
  }

  async #changeUser({ user, password, database }: ChangeUser): Promise<void> {
    const { client, name } = await this.#session();
    const outcome = await client.changeUser({ user, password, database }).then(
      (ok) => formatPart({ ...ok, sequence: 0 }),
      (error: unknown) => String(error),
    );
    this.#note(name, `change user: ${outcome}`);
  }

  async #query(sql: string, localFile: string | undefined): Promise<void> {
    const { client, name } = await this.#session();
    const file = localFile === undefined ? undefined : Buffer.from(localFile);
    this.#record(name, await client.query(this.#fill(sql), file));
  }

  #record(name: string, parts: readonly Part[]): void {
    for (const part of parts) {
      const text = formatPart(part);
      const isStatistics = part.kind === 'text';
      this.#note(name, `${part.sequence} ${isStatistics ? text.replaceAll(/[\d.]+/g, 'N') : text}`);
    }
  }

  #note(name: string, text: string): void {
    this.#lines.push(`${name} ${text.replace(IDS, '$1N')}`);
  }
}
