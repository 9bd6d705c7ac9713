/**
 * What every client of a drill was told about each of its writes, compared with what the writer has in the end:
 * all that was acknowledged, nothing twice, no half transactions, and nothing that nobody wrote.
 */

/** A write, by the client-made id that it leaves in the table. */
export interface Write {
  readonly id: string;
  readonly client: string;
  /** It leaves as many, all or none: a transaction's are 2. */
  readonly rows: number;
  readonly begun: number;
  ended: number | undefined;
  /** `unknown`: it failed, and may have been done all the same. */
  outcome: 'pending' | 'acknowledged' | 'unknown';
}

/** One error that a client was given. */
export interface Failure {
  readonly client: string;
  readonly id: string;
  readonly begun: number;
  readonly ended: number;
  /** SQLSTATE or errno, or the system's name of what befell the connection. */
  readonly code: string;
  readonly message: string;
  /** Together with its connection. */
  readonly isLost: boolean;
}

export class Books {
  readonly writes = new Map<string, Write>();
  readonly failures: Failure[] = [];
  /** What must not happen, as it was seen by a client. */
  readonly wrong: string[] = [];
  readonly #clients = new Map<string, number>();

  begin(client: string, rows: number, begun: number): Write {
    const count = (this.#clients.get(client) ?? 0) + 1;
    this.#clients.set(client, count);
    const id = `${client}-${count}`;
    const write: Write = { id, client, rows, begun, ended: undefined, outcome: 'pending' };
    this.writes.set(id, write);
    return write;
  }

  acknowledge(write: Write, ended: number): void {
    write.ended = ended;
    write.outcome = 'acknowledged';
  }

  fail(
    write: Write,
    ended: number,
    { code, message, isLost }: Pick<Failure, 'code' | 'message' | 'isLost'>,
  ): void {
    write.ended = ended;
    write.outcome = 'unknown';
    const { id, client, begun } = write;
    this.failures.push({ client, id, begun, ended, code, message, isLost });
  }

  get acknowledged(): Write[] {
    return [...this.writes.values()].filter(({ outcome }) => outcome === 'acknowledged');
  }

  /** What is wrong with the table, in which each id has this many rows. */
  compare(rowsById: ReadonlyMap<string, number>): string[] {
    const wrong = [...this.wrong];
    for (const write of this.writes.values()) {
      const rows = rowsById.get(write.id) ?? 0;
      const fault = faultOf(write, rows);
      if (fault !== undefined) wrong.push(`${write.id} (${write.outcome}): ${fault}`);
    }
    for (const id of rowsById.keys()) {
      if (!this.writes.has(id)) wrong.push(`${id}: nobody wrote it`);
    }
    return wrong;
  }
}

function faultOf({ outcome, rows: expected }: Write, rows: number): string | undefined {
  if (rows === expected) return undefined;
  if (rows > expected) return `it was done ${rows / expected} times`;
  if (rows > 0) return `only ${rows} of ${expected} rows are there`;
  return outcome === 'acknowledged' ? 'it is not there' : undefined;
}
