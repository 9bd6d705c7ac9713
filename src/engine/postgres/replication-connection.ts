/**
 * A database connection for replication. It belongs to one client from its log-in to its end: opened
 * with that client's start-up parameters, never lent to another, never reset. What the database sends
 * is passed on as it comes; its messages are only counted, to know what is under way.
 * https://www.postgresql.org/docs/current/protocol-replication.html
 */

import { type DatabaseConnectionId, nextDatabaseConnectionId } from '../../base/ids.ts';
import type { Stream, StreamHandler } from '../../net/stream.ts';
import type { DatabaseCloseReason } from '../../observe/reasons.ts';
import type { Placement, PooledConnection } from '../../pool/contract.ts';
import type { Pool } from '../../pool/pool.ts';
import type { Cancellable } from './cancel.ts';
import type { ConnectionFacts } from './database-connection.ts';
import type { TargetContext } from './target-context.ts';
import { FrameTracker, type FrameWitness } from './wire/frame-tracker.ts';
import { TERMINATE_MESSAGE } from './wire/frontend.ts';
import {
  COMMAND_COMPLETE,
  COPY_BOTH_RESPONSE,
  ERROR_RESPONSE,
  READY_FOR_QUERY,
  STATUS_IDLE,
} from './wire/messages.ts';

/** How long the database may take to close its end. */
const CLOSE_LINGER_MS = 10_000;

/** The session that the connection is for. */
export interface ReplicationHolder {
  /** Bytes for the client, in a buffer that is the holder's alone. */
  deliver(bytes: Buffer): void;
  /** The database takes bytes again. */
  connectionCongested(): void;
  connectionDrained(): void;
  /** The connection is gone. `wasTold`: its last message said so, or the client has a part of one. */
  connectionLost(wasTold: boolean): void;
}

export class ReplicationConnection
  implements PooledConnection, StreamHandler, Cancellable, FrameWitness
{
  readonly id: DatabaseConnectionId = nextDatabaseConnectionId();
  readonly stream: Stream;
  readonly target: TargetContext;
  readonly cancelKey: ConnectionFacts['cancelKey'];
  /** What the database said after the authentication, for the client. */
  readonly greeting: Buffer;
  placement: Placement = 'connecting';
  placedAt = 0;
  expiresAt = 0;
  cancelsInFlight = 0;
  unfitBy: DatabaseCloseReason | undefined = undefined;
  holder: ReplicationHolder | undefined = undefined;
  /** The database has no business with it any more: the client has said goodbye, or half of something. */
  isPartedFrom = false;
  /** Both sides send as they like (CopyBothResponse), until one of them ends it. */
  isStreaming = false;
  private readonly pool: Pool<ReplicationConnection>;
  private readonly frames = new FrameTracker(this);
  /** Requests that are to be answered with ReadyForQuery. */
  private owed = 0;
  private status = STATUS_IDLE;
  private lastType = READY_FOR_QUERY;
  private closeReason: DatabaseCloseReason | undefined = undefined;

  constructor(
    stream: Stream,
    target: TargetContext,
    pool: Pool<ReplicationConnection>,
    login: Pick<ConnectionFacts, 'cancelKey'> & { readonly greeting: Buffer },
  ) {
    this.stream = stream;
    this.target = target;
    this.pool = pool;
    this.cancelKey = login.cancelKey;
    this.greeting = login.greeting;
    stream.handler = this;
  }

  get isInTransaction(): boolean {
    return this.status !== STATUS_IDLE;
  }

  get isEncrypted(): boolean {
    return this.stream.isEncrypted;
  }

  get isAtRest(): boolean {
    return this.owed === 0;
  }

  /** The client has no part of a message only, so something else may be said to it. */
  get isBetweenMessages(): boolean {
    return this.frames.isBetween;
  }

  /** The client sends something that ReadyForQuery will answer. */
  requested(): void {
    this.owed++;
  }

  // --- What the database sends

  received(bytes: Buffer): void {
    if (this.closeReason !== undefined) return;
    this.frames.follow(bytes);
    this.holder?.deliver(bytes);
  }

  messageEnded(type: number, lastByte: number): void {
    this.lastType = type;
    if (type === COPY_BOTH_RESPONSE) {
      this.isStreaming = true;
    } else if (type === READY_FOR_QUERY) {
      this.isStreaming = false;
      this.status = lastByte;
      if (this.owed > 0) this.owed--;
    }
  }

  congested(): void {
    this.holder?.connectionCongested();
  }

  drained(): void {
    this.holder?.connectionDrained();
  }

  closed(): void {
    const { holder, placement, lastType } = this;
    this.holder = undefined;
    const reason = this.closeReason ?? 'database_closed';
    this.target.observer.emit({ ...this.scope, event: 'connection.closed', reason });
    if (placement === 'closing') this.pool.closed(this);
    else this.pool.lost(this, reason);
    // A database that shuts down ends a stream with CommandComplete and nothing more.
    const isLastWord = lastType === ERROR_RESPONSE || lastType === COMMAND_COMPLETE;
    holder?.connectionLost(isLastWord || !this.isBetweenMessages);
  }

  private get scope() {
    const { proxy, target } = this.target;
    return { proxy, target, databaseConnection: this.id };
  }

  tellOpened(): void {
    const { user, database } = this.pool.key;
    const { localAddress: from, remoteAddress: to } = this.stream;
    const event = 'connection.opened';
    this.target.observer.emit({ ...this.scope, event, user, database, from, to });
  }

  // --- What the pool asks

  /** It is never given back, so there is nothing to make clean; doubt destroys. */
  clean(): void {
    this.stream.destroy();
  }

  /** It is never idle for long enough. */
  probe(): void {
    this.stream.destroy();
  }

  close(reason: DatabaseCloseReason): void {
    if (this.closeReason !== undefined) return;
    this.closeReason = reason;
    // A base backup does not look at its socket until it is done.
    if (!this.isAtRest) this.target.canceller.cancel(this);
    if (!this.isPartedFrom) this.stream.write(TERMINATE_MESSAGE);
    // Its permit is free when the database has closed its end, so the limit holds there too.
    this.stream.end(this.target.wheel, CLOSE_LINGER_MS);
  }

  sever(reason: DatabaseCloseReason): void {
    this.closeReason ??= reason;
    this.stream.destroy();
  }

  cancelEnded(): void {}
}
