/** One log-in of one actor at MySQL or MariaDB, and the checks that every answer passes. */

import type { Part } from '../../harness/mysql/answers.ts';
import { type MysqlRawClient, rowsOf } from '../../harness/mysql/raw-client.ts';
import type { Findings, ViolationKind } from '../findings.ts';
import { Disturbed, TimedOut } from '../session.ts';

const MARKER = /@(\d+)\.\d+\.\d+@/g;
const BORROW_TIMEOUT = 9501;
/** What a client may be told when its database connection is ended under it. */
const DISTURBANCES: ReadonlySet<number> = new Set([
  1053, // the server's own: it shuts down
  1158, // Berth: closed before it answered
  1159, // Berth: silent for too long
  1317, // the server's own: killed, in a statement
  1927, // MariaDB's own: killed
]);

export class MysqlSession {
  readonly client: MysqlRawClient;
  readonly actor: number;
  readonly findings: Findings;
  readonly #number: number;
  #operation = 0;
  doing = '';

  constructor(client: MysqlRawClient, actor: number, number: number, findings: Findings) {
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

  violation(kind: ViolationKind, what: string): void {
    this.findings.violation(kind, `${this.marker} ${this.doing}: ${what}`);
  }

  /** The parts of an answer, judged; `expected` is the code of an error that was asked for. */
  async judged(answer: Promise<Part[]>, expected?: number): Promise<Part[]> {
    const parts = await answer.catch(() => {
      throw new Disturbed();
    });
    for (const part of parts) {
      if (part.kind === 'row') this.#refuseForeign(part.values.join());
      if (part.kind !== 'error') continue;
      this.#refuseForeign(part.message);
      if (part.code === expected) continue;
      if (part.code === BORROW_TIMEOUT) throw new TimedOut();
      if (DISTURBANCES.has(part.code)) throw new Disturbed();
      this.violation('unexpected_error', `${part.code} ${part.message}`);
    }
    return parts;
  }

  async run(sql: string, file?: Uint8Array): Promise<Part[]> {
    return await this.judged(this.client.query(sql, file));
  }

  async rows(sql: string): Promise<(string | null)[][]> {
    return rowsOf(await this.run(sql));
  }

  async expectRows(sql: string, expected: readonly (readonly (string | null)[])[]): Promise<void> {
    this.compare(await this.rows(sql), expected, 'wrong_rows');
  }

  compare(got: unknown, expected: unknown, kind: ViolationKind): void {
    const [a, b] = [got, expected].map((each) => JSON.stringify(each) ?? '');
    if (a !== b) this.violation(kind, `${a?.slice(0, 120)}, not ${b?.slice(0, 120)}`);
  }

  #refuseForeign(text: string): void {
    for (const [whole, actor] of text.matchAll(MARKER)) {
      if (Number(actor) !== this.actor) this.violation('foreign', `got ${whole}`);
    }
  }
}
