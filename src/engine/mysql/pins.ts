/** Why a session keeps its connection, and who is told. */

import type { ClientConnectionId } from '../../base/ids.ts';
import type { Pin } from '../../observe/descriptions.ts';
import type { PinReason } from '../../observe/reasons.ts';
import type { DatabaseConnection } from './database-connection.ts';
import type { EndpointContext } from './endpoint-context.ts';

export class Pins {
  private readonly endpoint: EndpointContext;
  private readonly session: ClientConnectionId;
  pin: Pin | undefined = undefined;
  /** All that ties the session to its connection; the first is the one that is told. */
  readonly reasons = new Set<PinReason>();

  constructor(endpoint: EndpointContext, session: ClientConnectionId) {
    this.endpoint = endpoint;
    this.session = session;
  }

  get isPinned(): boolean {
    return this.pin !== undefined;
  }

  add(connection: DatabaseConnection, reason: PinReason, digest: string): void {
    this.reasons.add(reason);
    if (this.pin !== undefined) return;
    this.pin = { reason, digest, since: Date.now() };
    connection.isDirty = true;
    connection.pool.pin(connection);
    const { endpoint } = this;
    endpoint.counters.pins[reason]++;
    endpoint.observer.emit({ ...this.scope(connection), event: 'session.pinned', reason, digest });
  }

  /** A reason is gone; with the last of them the session is not pinned any more. */
  remove(connection: DatabaseConnection, reason: PinReason): void {
    if (this.reasons.delete(reason) && this.reasons.size === 0) this.clear(connection);
  }

  clear(connection: DatabaseConnection): void {
    const { endpoint, pin } = this;
    this.reasons.clear();
    if (pin === undefined) return;
    const { reason } = pin;
    this.pin = undefined;
    connection.pool.unpin(connection);
    endpoint.counters.unpins[reason]++;
    endpoint.observer.emit({ ...this.scope(connection), event: 'session.unpinned', reason });
  }

  /** The connection is not the session's any more. */
  forget(): void {
    this.pin = undefined;
    this.reasons.clear();
  }

  private scope(connection: DatabaseConnection) {
    return {
      proxy: this.endpoint.proxy,
      endpoint: this.endpoint.name,
      clientConnection: this.session,
      databaseConnection: connection.id,
    };
  }
}
