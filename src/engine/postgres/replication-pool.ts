/**
 * How a replication connection is come by: from a pool of its own, which has one client and whose
 * connections carry that client's start-up parameters. So the client waits in line with everybody for
 * one of the permitted connections, with the same deadline, and makes idle ones of others go; and
 * nobody else can ever get what was opened for it.
 */

import { BerthError } from '../../base/errors.ts';
import type {
  Borrower,
  Connector,
  OpenFailure,
  OpeningHandle,
  Waiter,
} from '../../pool/contract.ts';
import type { Pool } from '../../pool/pool.ts';
import type { PoolGroup } from '../../pool/pool-group.ts';
import type { PoolKey } from '../../pool/pool-host.ts';
import type { DatabaseConnection } from './database-connection.ts';
import { DatabaseLogin, type LoginFailure, type LoginIdentity } from './login/database-login.ts';
import { ReplicationConnection } from './replication-connection.ts';
import type { TargetContext } from './target-context.ts';
import { readFields } from './wire/backend.ts';

const NO_WRITER: Connector<ReplicationConnection> = {
  open() {
    throw new Error('there is no writer to open a connection to');
  },
};

/** The proxy's own password is wrong: what the database says of that is not for the client. */
const INVALID_PASSWORD = '28P01';

export class ReplicationPool {
  readonly pool: Pool<ReplicationConnection>;
  private readonly group: PoolGroup<DatabaseConnection>;
  private connector: ReplicationConnector | undefined = undefined;
  private waiter: Waiter | undefined = undefined;

  /**
   * `identity` is asked for each attempt; undefined: the user has no credentials any more. Without a
   * `target`, `group` has no permits: a stream of changes cannot be moved to whoever is the writer later.
   */
  constructor(
    group: PoolGroup<DatabaseConnection>,
    target: TargetContext | undefined,
    key: PoolKey,
    identity: () => LoginIdentity | undefined,
  ) {
    this.group = group;
    this.pool = group.joinAlone<ReplicationConnection>(key, (pool) => {
      if (target === undefined) return NO_WRITER;
      this.connector = new ReplicationConnector(target, pool, identity);
      return this.connector;
    });
  }

  wait(borrower: Borrower<ReplicationConnection>, priority: number): void {
    this.waiter = this.pool.wait(borrower, priority);
  }

  /** The client has gone, or got what it came for and is done with it. */
  leave(): void {
    this.waiter?.abandon();
    this.connector?.abandon();
    this.group.leave(this.pool);
  }
}

class ReplicationConnector implements Connector<ReplicationConnection> {
  private readonly target: TargetContext;
  private readonly pool: Pool<ReplicationConnection>;
  private readonly identity: () => LoginIdentity | undefined;
  /** The attempt that is under way: the pool has one waiter, so there is one at most. */
  private giveUp: (() => void) | undefined = undefined;

  constructor(
    target: TargetContext,
    pool: Pool<ReplicationConnection>,
    identity: () => LoginIdentity | undefined,
  ) {
    this.target = target;
    this.pool = pool;
    this.identity = identity;
  }

  open(
    opened: (connection: ReplicationConnection) => void,
    failed: (failure: OpenFailure) => void,
  ): OpeningHandle {
    const { target, pool } = this;
    const greeting: Buffer[] = [];
    const login = new DatabaseLogin(target, this.identity(), {
      tlsBegan: () => target.counters.databaseConnectionRequestsWithTls++,
      greeted: (message) => greeting.push(message),
      opened: (stream, { cancelKey }) => {
        this.giveUp = undefined;
        const facts = { cancelKey, greeting: Buffer.concat(greeting) };
        const connection = new ReplicationConnection(stream, target, pool, facts);
        connection.tellOpened();
        opened(connection);
      },
      failed: (failure) => {
        this.giveUp = undefined;
        const inItsWords = inDatabasesWords(failure);
        this.tellFailure(inItsWords);
        failed(inItsWords);
      },
    });
    this.giveUp = () => {
      login.abandon();
      const error = new BerthError('connection_lost');
      failed({ isTemporary: false, detail: 'the client has gone', error });
    };
    return {
      abandon: () => {
        this.giveUp = undefined;
        login.abandon();
      },
    };
  }

  /** Nobody waits for the attempt that may be under way. */
  abandon(): void {
    const { giveUp } = this;
    this.giveUp = undefined;
    giveUp?.();
  }

  private tellFailure({ isTemporary, detail }: OpenFailure): void {
    const { proxy, target, observer } = this.target;
    const { user, database } = this.pool.key;
    const event = 'connection.open_failed';
    observer.emit({ event, proxy, target, user, database, isTemporary, detail });
  }
}

/**
 * The client reads what the database says, at once: that there are too many walsenders, or that it is
 * starting up, is for the client to wait for, as it would directly. Only while nobody answers does it
 * wait here. None of it is a reason for others to come later.
 */
function inDatabasesWords(failure: LoginFailure): LoginFailure {
  const { databaseMessage } = failure;
  if (databaseMessage === undefined) return failure;
  if (readFields(databaseMessage).get('C') === INVALID_PASSWORD) return failure;
  const detail = `The database says: ${failure.detail}.`;
  const error = new BerthError('connection_refused', { databaseMessage, detail });
  return { ...failure, isTemporary: false, error };
}
