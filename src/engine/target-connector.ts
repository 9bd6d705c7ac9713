/** Opens database connections for one pool, whatever the engine, and tells of those that came and those that did not. */

import type { Observer } from '../observe/events.ts';
import type { Connector, OpenFailure, OpeningHandle, PooledConnection } from '../pool/contract.ts';
import type { Pool } from '../pool/pool.ts';

/** A target of one proxy, as far as it matters here. */
interface Place {
  readonly proxy: string;
  readonly target: string;
  readonly observer: Observer;
}

export interface OpeningCallbacks<C> {
  opened(connection: C): void;
  failed(failure: OpenFailure): void;
}

interface OpenedConnection extends PooledConnection {
  tellOpened(): void;
}

export abstract class TargetConnector<C extends OpenedConnection, T extends Place>
  implements Connector<C>
{
  protected readonly target: T;
  protected readonly pool: Pool<C>;

  constructor(target: T, pool: Pool<C>) {
    this.target = target;
    this.pool = pool;
  }

  /** A log-in, and what is run after it. */
  protected abstract begin(callbacks: OpeningCallbacks<C>): OpeningHandle;

  open(opened: (connection: C) => void, failed: (failure: OpenFailure) => void): OpeningHandle {
    return this.begin({
      failed: (failure) => {
        this.tellFailure(failure);
        failed(failure);
      },
      opened: (connection) => {
        connection.tellOpened();
        opened(connection);
      },
    });
  }

  private tellFailure({ isTemporary, detail }: OpenFailure): void {
    const { proxy, target, observer } = this.target;
    const { user, database } = this.pool.key;
    const event = 'connection.open_failed';
    observer.emit({ event, proxy, target, user, database, isTemporary, detail });
  }
}
