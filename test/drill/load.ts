/** All clients of a drill: those of the proxy, and, if they are wanted, those of a pool that does without. */

import type { Cluster, Member } from '../harness/cluster/cluster.ts';
import { Books, type Failure } from './books.ts';
import {
  type Access,
  DirectAccess,
  IdleClient,
  OwnConnection,
  Writer,
  type WriterKind,
} from './clients.ts';
import { now } from './clock.ts';
import type { Address } from './connection.ts';
import { DirectPool } from './direct-pool.ts';
import { readRows } from './tables.ts';

export interface LoadOptions {
  readonly cluster: Cluster;
  /** The proxy's port. */
  readonly port: number;
  readonly writers?: Readonly<Partial<Record<WriterKind, number>>>;
  readonly idle?: number;
  /** As many writers without a proxy; default: none. */
  readonly direct?: boolean;
  /** Where those reach the members; default: at their own ports. */
  readonly portOf?: (member: Member) => number;
  readonly paceMs?: number;
}

const WRITERS: Readonly<Record<WriterKind, number>> = {
  autocommit: 8,
  transaction: 4,
  prepared: 4,
  pinned: 2,
};
const IDLE = 40;
/** What the names of writers without a proxy begin with. */
const DIRECT = 'direct';
const PACE_MS = 40;

/** What a failover was to the clients of one way to the database. */
export interface Outage {
  /** From the fault to the first write that the new writer took, in ms. */
  readonly firstMs: number;
  /** From the fault to the first such write of each writer. */
  readonly everyMs: readonly number[];
  /** Of statements that were begun after the fault was over, or before. */
  readonly failures: readonly Failure[];
}

export class Load {
  readonly books = new Books();
  readonly proxied: readonly Writer[];
  readonly direct: readonly Writer[];
  readonly idle: readonly IdleClient[];
  readonly #own: readonly OwnConnection[];
  readonly #pool: DirectPool;
  readonly #cluster: Cluster;

  private constructor(options: LoadOptions, idle: readonly IdleClient[]) {
    const { cluster, port, paceMs = PACE_MS, portOf = ownPort } = options;
    const { engine } = cluster;
    const proxy = loopback(port);
    const kinds = kindsOf({ ...WRITERS, ...options.writers });
    const hosts = cluster.members.map((member) => loopback(portOf(member)));
    this.#cluster = cluster;
    this.#pool = new DirectPool(engine, hosts);
    this.#own = kinds.map(() => new OwnConnection(engine, proxy));
    this.idle = idle;
    const { books } = this;
    const start = (kind: WriterKind, access: Access, name: string) =>
      new Writer({ name, kind, engine, access, books, paceMs });
    this.proxied = this.#own.map((access, index) => {
      const kind = kinds[index] ?? 'autocommit';
      return start(kind, access, `proxied-${kind}-${index + 1}`);
    });
    const withoutProxy = options.direct === true ? kinds.filter((kind) => kind !== 'pinned') : [];
    this.direct = withoutProxy.map((kind, index) =>
      start(kind, new DirectAccess(this.#pool), `${DIRECT}-${kind}-${index + 1}`),
    );
  }

  /** Resolves when every writer has written once. */
  static async start(options: LoadOptions): Promise<Load> {
    const { cluster, port } = options;
    const idle = await Promise.all(
      Array.from({ length: options.idle ?? IDLE }, () =>
        IdleClient.connect(cluster.engine, loopback(port)),
      ),
    );
    const load = new Load(options, idle);
    await load.untilAllWrite(now());
    return load;
  }

  /** Client connections of writers that were lost, so far. */
  get lost(): number {
    return this.#own.reduce((sum, { lost }) => sum + lost, 0);
  }

  /** Resolves when each of these writers has had a write acknowledged that it began after this moment. */
  async untilAllWrite(since: number, writers = this.#writers): Promise<void> {
    await Promise.all(writers.map((writer) => writer.untilWritten(since)));
  }

  /** Resolves when any client of the proxy has. */
  async untilWritten(since: number): Promise<void> {
    await Promise.any(this.proxied.map((writer) => writer.untilWritten(since)));
  }

  get #writers(): readonly Writer[] {
    return [...this.proxied, ...this.direct];
  }

  /** What a failover was: `accepted` is when the new writer was able to take the first write. */
  outageOf(writers: readonly Writer[], fault: number, accepted: number): Outage {
    const names = new Set(writers.map(({ name }) => name));
    const first = new Map<string, number>();
    for (const { client, ended, outcome } of this.books.writes.values()) {
      if (!names.has(client) || outcome !== 'acknowledged' || ended === undefined) continue;
      if (ended >= accepted && ended < (first.get(client) ?? Number.POSITIVE_INFINITY)) {
        first.set(client, ended);
      }
    }
    const everyMs = [...first.values()].map((ended) => ended - fault).sort((a, b) => a - b);
    const failures = this.books.failures.filter(
      ({ client, ended }) => names.has(client) && ended >= fault,
    );
    return { firstMs: everyMs[0] ?? Number.NaN, everyMs, failures };
  }

  /** What is wrong with the idle clients; each is asked. */
  async checkIdle(): Promise<string[]> {
    const answers = await Promise.all(this.idle.map((client) => client.check()));
    return answers.flatMap((answer, index) =>
      answer === undefined ? [] : [`idle client ${index + 1}: ${answer}`],
    );
  }

  /** Ends the writers, and returns what is wrong with what they have written. */
  async stopAndCompare(): Promise<{ readonly proxied: string[]; readonly direct: string[] }> {
    await this.stop();
    const wrong = this.books.compare(await readRows(this.#cluster));
    return {
      proxied: wrong.filter((line) => !line.startsWith(DIRECT)),
      direct: wrong.filter((line) => line.startsWith(DIRECT)),
    };
  }

  async stop(): Promise<void> {
    await Promise.all(this.#writers.map((writer) => writer.stop()));
    for (const client of this.idle) client.close();
    this.#pool.close();
  }
}

/** Whether the client of this name is pinned to a database connection, and so loses its own with it. */
export function isPinned(client: string): boolean {
  return client.includes('-pinned-');
}

function kindsOf(counts: Readonly<Record<WriterKind, number>>): WriterKind[] {
  const kinds: WriterKind[] = ['autocommit', 'transaction', 'prepared', 'pinned'];
  return kinds.flatMap((kind) => Array.from({ length: counts[kind] }, () => kind));
}

function ownPort({ port }: Member): number {
  return port;
}

function loopback(port: number): Address {
  return { host: '127.0.0.1', port };
}
