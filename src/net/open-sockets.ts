/**
 * How many sockets this process has, and how many it may have before the system refuses it more files.
 * It must not come to that: an accept that fails leaves the client in the backlog, and Bun then tries
 * again without a pause; a connect that fails looks like a target that refuses. So clients are refused
 * while there is still room for database connections, and outgoing connections while there is still
 * room for whatever else opens files.
 */

import { readdirSync, readFileSync } from 'node:fs';

/** For files that are not counted here: HTTP clients, name look-ups, the configuration, the log. */
const OTHER_FILES = 16;
/** Sockets that clients cannot have, so that there are some for the database: a share, and at most so many. */
const OUTGOING_SHARE = 1 / 4;
const OUTGOING_MAX = 128;

export class OpenSockets {
  /** Accepted, connected or connecting, and listening. */
  private count = 0;
  private readonly max: number;
  /** Above this, sockets are for outgoing connections. */
  readonly clientsMax: number;

  constructor(max: number) {
    this.max = max;
    this.clientsMax = max - Math.min(OUTGOING_MAX, Math.ceil(max * OUTGOING_SHARE));
  }

  opened(): void {
    this.count++;
  }

  closed(): void {
    if (this.count === 0) throw new Error('open sockets: more were closed than opened');
    this.count--;
  }

  /** Whether the client that was just accepted, and is counted already, may stay. */
  get mayServe(): boolean {
    return this.count <= this.clientsMax;
  }

  /** Whether a client that may not stay can be told so and given time to read it. */
  get mayLinger(): boolean {
    return this.count <= (this.clientsMax + this.max) / 2;
  }

  get mayConnect(): boolean {
    return this.count < this.max;
  }
}

/** Those of this process. */
export const OPEN_SOCKETS = new OpenSockets(filesMax() - OTHER_FILES);

/** What the system allows, less what is open at the start. Infinity where it does not say (not Linux). */
function filesMax(): number {
  try {
    const limits = readFileSync('/proc/self/limits', 'latin1');
    const files = Number(/^Max open files\s+(\d+)/m.exec(limits)?.[1] ?? Number.POSITIVE_INFINITY);
    return files - readdirSync('/proc/self/fd').length;
  } catch {
    return Number.POSITIVE_INFINITY;
  }
}
