/**
 * One login of one actor, and the checks that every reply passes. Each operation has a marker
 * that is unique in the run, and everything it asks for carries it; a reply with anybody else's
 * marker is the one thing a proxy must never deliver.
 */

import { columnsOf, type Frame, fieldsOf } from '../../bench/wire/frames.ts';
import { ConnectionEnded, type RawClient } from '../../bench/wire/raw-client.ts';
import type { Findings } from './findings.ts';

const MARKER = /@(\d+)\.\d+\.\d+@/g;
const QUERY_CANCELED = '57014';
/** Berth: no connection within ConnectionBorrowTimeout. */
export const BORROW_TIMEOUT = '08000';
/** What a client may be told when its database connection is ended under it. */
const DISTURBANCES: ReadonlySet<string> = new Set([
  '57P01', // the database's own: terminated by an administrator
  '08006', // Berth: closed before it answered
  '08001', // Berth: not reachable
  '08P01', // PgBouncer: server conn crashed
]);

/** The session's database connection was ended under it; the operation's outcome is unknown. */
export class Disturbed extends Error {}

/** No database connection became free in time; nothing was done. */
export class TimedOut extends Disturbed {}

export interface ReplyError {
  readonly sqlState: string;
  readonly message: string;
}

export interface Reply {
  readonly rows: (readonly (string | null)[])[];
  readonly copied: string[];
  readonly tags: string[];
  readonly errors: ReplyError[];
  readonly notifications: string[];
  readonly notices: string[];
  /** Of ReadyForQuery: `I`, `T` or `E`; `G` when COPY IN awaits data. */
  status: string;
}

/** What the session is supposed to have, and nobody else's. */
export interface SessionState {
  owner: string;
  temporary: string | undefined;
  hasAdvisoryLock: boolean;
  prepared: string | undefined;
  hasCursor: boolean;
  isListening: boolean;
  readonly settings: Map<string, string>;
}

export function cleanState(): SessionState {
  return {
    owner: '',
    temporary: undefined,
    hasAdvisoryLock: false,
    prepared: undefined,
    hasCursor: false,
    isListening: false,
    settings: new Map(),
  };
}

export class Session {
  readonly client: RawClient;
  readonly actor: number;
  readonly findings: Findings;
  readonly #number: number;
  #operation = 0;
  #cancelledAt = Number.NEGATIVE_INFINITY;
  state = cleanState();
  /** What is going on, for the words of a violation. */
  doing = '';
  /** Protocol-level statements by name, with the marker each returns. */
  readonly named = new Map<string, string>();

  constructor(client: RawClient, actor: number, number: number, findings: Findings) {
    this.client = client;
    this.actor = actor;
    this.findings = findings;
    this.#number = number;
  }

  get marker(): string {
    return `@${this.actor}.${this.#number}.${this.#operation}@`;
  }

  begin(doing: string): void {
    this.#operation++;
    this.doing = doing;
  }

  /** From now on, and during the next operation, being cancelled is no surprise. */
  expectCancel(): void {
    this.#cancelledAt = this.#operation;
  }

  /** A cancel of its own may still hit what it does now. */
  get isCancelPossible(): boolean {
    return this.#operation - this.#cancelledAt <= 1;
  }

  /** Sends, and reads up to ReadyForQuery or a request for COPY data. */
  exchange(bytes: Uint8Array, expected?: string): Promise<Reply> {
    this.client.send(bytes);
    return this.collect(expected);
  }

  /** Reads up to ReadyForQuery; `expected` is the SQLSTATE of an error that was asked for. */
  async collect(expected?: string): Promise<Reply> {
    const reply: Reply = {
      rows: [],
      copied: [],
      tags: [],
      errors: [],
      notifications: [],
      notices: [],
      status: '',
    };
    try {
      while (reply.status === '') this.#take(await this.client.receive(), reply);
    } catch (error) {
      if (!(error instanceof ConnectionEnded)) throw error;
      this.#ended(reply, expected);
    }
    this.#judgeErrors(reply, expected);
    return reply;
  }

  violation(kind: Parameters<Findings['violation']>[0], what: string): void {
    this.findings.violation(kind, `${this.marker} ${this.doing}: ${what}`);
  }

  /** Compares first columns; says nothing when the operation was cancelled. */
  expectRows(reply: Reply, expected: readonly string[]): void {
    if (reply.errors.length > 0) return;
    const got = reply.rows.map((row) => row[0] ?? '');
    if (got.length === expected.length && got.every((value, i) => value === expected[i])) return;
    const shown = got.slice(0, 3).map((value) => value.slice(0, 40));
    this.violation('wrong_rows', `${got.length} for ${expected.length} rows: ${shown.join(' | ')}`);
  }

  #take({ type, body }: Frame, reply: Reply): void {
    switch (type) {
      case 'D':
        reply.rows.push(columnsOf(body));
        this.#refuseForeign(body);
        break;
      case 'd':
        reply.copied.push(body.toString());
        this.#refuseForeign(body);
        break;
      case 'C':
        reply.tags.push(body.toString('utf8', 0, body.length - 1));
        break;
      case 'E': {
        const fields = fieldsOf(body);
        reply.errors.push({ sqlState: fields.get('C') ?? '', message: fields.get('M') ?? '' });
        this.#refuseForeign(body);
        break;
      }
      case 'N':
        reply.notices.push(fieldsOf(body).get('M') ?? '');
        this.#refuseForeign(body);
        break;
      case 'A':
        reply.notifications.push(body.toString('utf8', 4));
        this.#refuseForeign(body);
        if (!this.state.isListening) this.violation('foreign', 'a notification nobody asked for');
        break;
      case 'G':
        reply.status = 'G';
        break;
      case 'Z':
        reply.status = body.toString('latin1');
        break;
    }
  }

  #refuseForeign(body: Buffer): void {
    for (const [whole, actor] of body.toString('latin1').matchAll(MARKER)) {
      if (Number(actor) !== this.actor) this.violation('foreign', `got ${whole}`);
    }
  }

  #ended(reply: Reply, expected: string | undefined): never {
    // The error that was asked for may have come before the connection ended.
    const errors = reply.errors.filter(({ sqlState }) => sqlState !== expected);
    if (errors.length > 1) {
      const codes = errors.map((error) => error.sqlState).join(', ');
      this.violation('second_fatal', codes);
    }
    const [error] = errors;
    if (error && !DISTURBANCES.has(error.sqlState)) {
      const sofar = `after ${reply.rows.length} rows and ${reply.tags.length} tags`;
      const { sqlState, message } = error;
      this.violation('unexpected_error', `closed with ${sqlState} ${message} ${sofar}`);
    }
    this.findings.count(error ? 'disturbed with an error' : 'disturbed without a word');
    throw new Disturbed();
  }

  #judgeErrors(reply: Reply, expected: string | undefined): void {
    for (const { sqlState, message } of reply.errors) {
      if (sqlState === expected) continue;
      if (sqlState === BORROW_TIMEOUT) throw new TimedOut();
      if (DISTURBANCES.has(sqlState)) {
        this.findings.count('disturbed with an error');
        throw new Disturbed();
      }
      if (sqlState === QUERY_CANCELED && this.isCancelPossible) continue;
      const kind = sqlState === QUERY_CANCELED ? 'foreign_cancel' : 'unexpected_error';
      this.violation(kind, `${sqlState} ${message}`);
    }
  }
}
