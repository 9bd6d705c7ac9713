/**
 * What a client's names for statements stand for, under the settings that the session has and after the
 * requests that it has sent. Replies correct it.
 */

import type { ClientTexts } from '../client-texts.ts';
import type { DatabaseConnection } from '../database-connection.ts';
import type { Outbox } from '../outbox.ts';
import type { RelayHost } from '../relay-host.ts';
import { ClientStatements } from './client-statements.ts';
import type { Difference } from './connection-statements.ts';
import type { StatementRegistry } from './registry.ts';
import { privateStatement, type Reading, type Statement } from './statement.ts';

export class StatementNames {
  private readonly host: RelayHost;
  private readonly out: Outbox;
  private readonly texts: ClientTexts;
  private readonly registry: StatementRegistry;
  /** What decides the meaning of a text beside the text; see `StatementRegistry.intern`. */
  variant: string;
  /** Most clients have none. */
  private client: ClientStatements | undefined = undefined;

  constructor(
    host: RelayHost,
    out: Outbox,
    texts: ClientTexts,
    registry: StatementRegistry,
    variant: string,
  ) {
    this.host = host;
    this.out = out;
    this.texts = texts;
    this.registry = registry;
    this.variant = variant;
  }

  /** What `name` stood for when it was prepared. */
  get(name: string): Statement | undefined {
    return this.client?.get(name);
  }

  get isFull(): boolean {
    return this.client?.isFull ?? false;
  }

  /** What `name` stands for, under the settings that the session has now. */
  current(name: string): Statement | undefined {
    const { client } = this;
    const statement = client?.get(name);
    if (client === undefined || statement === undefined) return undefined;
    const isOwn = statement.key === undefined || !this.isAsUsual;
    if (isOwn || statement.variant === this.variant) return statement;
    const isTaken = (each: Statement) => client.isNamed(each);
    const reread = this.registry.reread(statement, this.reading, isTaken);
    client.replace(statement, reread);
    return reread;
  }

  /**
   * The statement of a Parse that has `bytes[from, to)` after the name. A session with a way of reading of
   * its own shares its statements with nobody.
   */
  intern(bytes: Buffer, from: number, to: number): Statement {
    const { reading } = this;
    if (!this.isAsUsual) return privateStatement(bytes, from, to, reading);
    const isTaken = (each: Statement) => this.client?.isNamed(each) ?? false;
    return this.registry.intern(bytes, from, to, reading, isTaken);
  }

  private get reading(): Reading {
    return { variant: this.variant, syntax: this.host.stringSyntax };
  }

  /** Texts mean what they would mean to any other client with the same settings. */
  get isAsUsual(): boolean {
    return !this.texts.isTainted && !this.host.mayHaveLeft;
  }

  /**
   * Whether it is not known yet what `name` stands for (`undefined`: all names), because earlier
   * requests that have not been answered may change it. Whoever pipelines like that waits here, and
   * gets what a server would give, which does one thing after the other.
   */
  isUncertain({ ledger }: DatabaseConnection, name: string | undefined): boolean {
    // A server that reads COPY data takes nothing else, and what it reads may be behind this.
    if (ledger.isCopyIn) return false;
    if (this.texts.isWary && !ledger.isEmpty) {
      if (ledger.isBatchOpen) this.out.isFlushDue = true;
      return true;
    }
    return this.client?.isUncertain(name) ?? false;
  }

  /** A Parse or Close was sent. `undefined`: the name is gone. */
  change(name: string, to: Statement | undefined): void {
    this.client ??= new ClientStatements();
    this.client.change(name, to);
  }

  /** A DEALLOCATE ALL or DISCARD ALL was sent. */
  clear(): void {
    this.client ??= new ClientStatements();
    this.client.clear();
  }

  /** A Sync or a simple query was sent. */
  batchEnded(): void {
    this.client?.batchEnded();
  }

  // --- What replies say

  /** The reply to the oldest Parse or Close came. */
  confirmed(): void {
    this.client?.confirm();
  }

  /** The `count` oldest of them have not happened. */
  lost(count: number): void {
    this.client?.undo(count);
  }

  /** The database has forgotten them all. */
  cleared(): void {
    this.client?.lose();
  }

  /** What the client has prepared, or waits for, is not what it was. */
  changed({ statement, description, isNew }: Difference): void {
    const { client } = this;
    const isTaken = (each: Statement) => client?.isNamed(each) ?? false;
    const successor = this.registry.succeed(statement, description, isTaken);
    if (isNew) client?.replace(statement, successor);
  }

  /** The client's name for what the connection knows as `serverName`. */
  nameOf(serverName: string): string | undefined {
    return this.client?.nameOf(serverName);
  }
}
