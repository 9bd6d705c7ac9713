/**
 * What a target is: which server, which version, what it can do. Learnt at each log-in, and told to
 * clients in our own greeting; so a client that comes before the first log-in waits for it.
 */

import type { Greeting } from '../wire/handshake.ts';

/** Whose server it is; what follows from that is looked up, never asked for on the way. */
export type Flavour = 'mysql' | 'mariadb';

export interface ServerFacts {
  readonly flavour: Flavour;
  /** As the greeting has it: MariaDB puts `5.5.5-` before versions from 10 on. */
  readonly version: string;
  /** 80404 for 8.4.4. */
  readonly versionNumber: number;
  readonly capabilities: number;
  /** MariaDB's extended ones. */
  readonly mariadbCapabilities: number;
  /** One byte of the id of the server's default collation. */
  readonly collation: number;
  readonly status: number;
  /** The authentication plugin of users that say nothing else. */
  readonly plugin: string;
}

/** Some drivers of before MariaDB 10 take a version that begins with 1 for an old one. */
const MARIADB_PREFIX = '5.5.5-';

export function factsOf(greeting: Greeting): ServerFacts {
  const { serverVersion, capabilities, mariadbCapabilities, collation, status, plugin } = greeting;
  const isMariaDb = serverVersion.startsWith(MARIADB_PREFIX) || /mariadb/i.test(serverVersion);
  return {
    flavour: isMariaDb ? 'mariadb' : 'mysql',
    version: serverVersion,
    versionNumber: versionNumberOf(serverVersion),
    capabilities,
    mariadbCapabilities,
    collation,
    status,
    plugin,
  };
}

function versionNumberOf(version: string): number {
  const plain = version.startsWith(MARIADB_PREFIX) ? version.slice(MARIADB_PREFIX.length) : version;
  const [, major = 0, minor = 0, patch = 0] = /^(\d+)\.(\d+)(?:\.(\d+))?/.exec(plain) ?? [];
  return Number(major) * 10_000 + Number(minor) * 100 + Number(patch);
}

function isSame(a: ServerFacts, b: ServerFacts): boolean {
  return (
    a.version === b.version &&
    a.capabilities === b.capabilities &&
    a.mariadbCapabilities === b.mariadbCapabilities &&
    a.collation === b.collation
  );
}

type Waiter = (facts: ServerFacts) => void;

/** One for each target, shared by all its log-ins. */
export class KnownServer {
  private known: ServerFacts | undefined = undefined;
  private readonly met: (facts: ServerFacts) => void;
  /** Each is a client that is logging in, so there are no more than those. */
  private readonly waiters = new Set<Waiter>();

  /** `met` is called when it is met first, and whenever it is another than before. */
  constructor(met: (facts: ServerFacts) => void = () => {}) {
    this.met = met;
  }

  get facts(): ServerFacts | undefined {
    return this.known;
  }

  /** A log-in has met the server. It may be another than before: a failover, an upgrade. */
  learn(facts: ServerFacts): void {
    if (this.known !== undefined && isSame(this.known, facts)) return;
    this.known = facts;
    const waiters = [...this.waiters];
    this.waiters.clear();
    this.met(facts);
    for (const waiter of waiters) waiter(facts);
  }

  /** Calls `waiter`, now or when the server is met first. Returns how to give up. */
  whenKnown(waiter: Waiter): () => void {
    if (this.known !== undefined) waiter(this.known);
    else this.waiters.add(waiter);
    return () => this.waiters.delete(waiter);
  }
}
