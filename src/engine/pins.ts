/** Why a session keeps its connection, whatever the engine, and who is told. */

import type { ClientConnectionId, DatabaseConnectionId } from '../base/ids.ts';
import type { EndpointCounters } from '../observe/counters.ts';
import type { Pin } from '../observe/descriptions.ts';
import type { Observer } from '../observe/events.ts';
import type { PinReason } from '../observe/reasons.ts';

/** A database connection, as far as pins go. */
interface Pinnable<C> {
  readonly id: DatabaseConnectionId;
  /** Whatever the session leaves is cleaned away before somebody else has it. */
  isDirty: boolean;
  readonly pool: { pin(connection: C): void; unpin(connection: C): void };
}

/** The endpoint that the session came in through. */
interface PinnedAt {
  readonly proxy: string;
  readonly name: string;
  readonly counters: EndpointCounters;
  readonly observer: Observer;
}

const NONE: ReadonlySet<PinReason> = new Set();

export class Pins<C extends Pinnable<C>> {
  private readonly endpoint: PinnedAt;
  private readonly session: ClientConnectionId;
  pin: Pin | undefined = undefined;
  /** Most sessions are never pinned. */
  private all: Set<PinReason> | undefined = undefined;

  constructor(endpoint: PinnedAt, session: ClientConnectionId) {
    this.endpoint = endpoint;
    this.session = session;
  }

  get isPinned(): boolean {
    return this.pin !== undefined;
  }

  /** All that ties the session to its connection; the first is the one that is told. */
  get reasons(): ReadonlySet<PinReason> {
    return this.all ?? NONE;
  }

  /** `digest`: of the statement that did it. */
  add(connection: C, reason: PinReason, digest: string): void {
    this.all ??= new Set();
    this.all.add(reason);
    if (this.pin !== undefined) return;
    this.pin = { reason, digest, since: Date.now() };
    connection.isDirty = true;
    connection.pool.pin(connection);
    const { endpoint } = this;
    endpoint.counters.pins[reason]++;
    endpoint.observer.emit({ ...this.scope(connection), event: 'session.pinned', reason, digest });
  }

  /** Of a pinned session: `reason` may tie it too, and it stays pinned until that is known to be gone. */
  suspect(reason: PinReason): void {
    this.all?.add(reason);
  }

  /** What the database says ties the session now, in place of all that was known; none unpins it. */
  found(connection: C, reasons: ReadonlySet<PinReason>, digest: string): void {
    const [first] = reasons;
    if (first === undefined) {
      this.clear(connection);
      return;
    }
    this.add(connection, first, digest);
    this.all = new Set(reasons);
  }

  /** A reason is gone; with the last of them the session is not pinned any more. */
  remove(connection: C, reason: PinReason): void {
    if (this.all?.delete(reason) === true && this.all.size === 0) this.clear(connection);
  }

  /** All reasons are gone. */
  clear(connection: C): void {
    const { endpoint, pin } = this;
    this.forget();
    if (pin === undefined) return;
    const { reason } = pin;
    connection.pool.unpin(connection);
    endpoint.counters.unpins[reason]++;
    endpoint.observer.emit({ ...this.scope(connection), event: 'session.unpinned', reason });
  }

  /** The connection is not the session's any more. */
  forget(): void {
    this.pin = undefined;
    this.all = undefined;
  }

  private scope(connection: C) {
    return {
      proxy: this.endpoint.proxy,
      endpoint: this.endpoint.name,
      clientConnection: this.session,
      databaseConnection: connection.id,
    };
  }
}
