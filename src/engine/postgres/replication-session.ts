/**
 * A client that replicates, after its login: its stream and that of a database connection of its own
 * are tied together, and bytes go both ways by reference. Each side is read only as fast as the other
 * takes. Of the messages only their ends are noted, to know when something else may be said, whether
 * anything is under way, and that the client says goodbye.
 */

import { BerthError } from '../../base/errors.ts';
import type { ClientConnectionId } from '../../base/ids.ts';
import { Timer } from '../../base/timer-wheel.ts';
import { HOLD_PEER_CONGESTED, IGNORE, type Stream, type StreamHandler } from '../../net/stream.ts';
import type { SessionDescription } from '../../observe/descriptions.ts';
import type { ClientCloseReason } from '../../observe/reasons.ts';
import { type Overdue, overdueBorrower, overdueIdler } from '../overdue.ts';
import type { EndpointContext } from './endpoint-context.ts';
import type { ReplicationConnection, ReplicationHolder } from './replication-connection.ts';
import type { ReplicationPool } from './replication-pool.ts';
import { processIdOf, type Session } from './session.ts';
import { errorResponse } from './wire/backend.ts';
import { FrameTracker, type FrameWitness } from './wire/frame-tracker.ts';
import { FUNCTION_CALL, QUERY, SYNC, TERMINATE } from './wire/messages.ts';

/** How long a client may take to close its end. */
const CLOSE_LINGER_MS = 5_000;
/** While one side does not take what the other sends, the clock is looked at this often. */
const LOOK_AGAIN_MS = 1_000;

export interface ReplicationSessionOptions {
  readonly id: ClientConnectionId;
  readonly endpoint: EndpointContext;
  readonly stream: Stream;
  readonly pool: ReplicationPool;
  readonly connection: ReplicationConnection;
  readonly cancelKey: string;
  readonly applicationName: string;
}

export class ReplicationSession implements StreamHandler, Session, ReplicationHolder, FrameWitness {
  readonly id: ClientConnectionId;
  readonly processId: number;
  readonly cancelKey: string;
  readonly userPool = undefined;
  /** It has its connection to itself, but of a kind of its own. */
  readonly isPinned = false;
  /** Its commands are not told: it has no requests and answers, only two streams. */
  isDebugLogged = false;
  readonly isHolding = true;
  private readonly applicationName: string;
  private readonly endpoint: EndpointContext;
  private readonly stream: Stream;
  private readonly pool: ReplicationPool;
  private readonly connection: ReplicationConnection;
  private readonly frames = new FrameTracker(this);
  private readonly openedAt: number;
  /** Wheel time of the last byte from or to the client. */
  private activeAt: number;
  private readonly timer = new Timer(() => this.lookAtClock());
  private hasTerminated = false;
  private isDraining = false;
  private isClosed = false;

  constructor(options: ReplicationSessionOptions) {
    const { id, endpoint, stream, pool, connection, cancelKey } = options;
    this.id = id;
    this.processId = processIdOf(id);
    this.cancelKey = cancelKey;
    this.applicationName = options.applicationName;
    this.endpoint = endpoint;
    this.stream = stream;
    this.pool = pool;
    this.connection = connection;
    this.openedAt = endpoint.wheel.now;
    this.activeAt = endpoint.wheel.now;
    connection.holder = this;
    endpoint.counters.borrows++;
    endpoint.counters.replicationConnections++;
    endpoint.wheel.arm(this.timer, this.nextLook());
  }

  get isEncrypted(): boolean {
    return this.stream.isEncrypted;
  }

  describe(): SessionDescription {
    const { connection, endpoint, stream } = this;
    const { user, database } = this.pool.pool.key;
    const loggedInAt = Date.now() - (endpoint.wheel.now - this.openedAt);
    return {
      clientConnection: this.id,
      proxy: endpoint.proxy,
      endpoint: endpoint.name,
      user,
      database,
      clientAddress: stream.remoteAddress,
      applicationName: this.applicationName,
      isEncrypted: stream.isEncrypted,
      loggedInAt,
      state: 'replicating',
      stateSince: loggedInAt,
      databaseConnection: { id: connection.id, processId: connection.cancelKey?.processId },
      pin: undefined,
    };
  }

  // --- What the client sends

  received(bytes: Buffer): void {
    if (this.isClosed) return;
    this.activeAt = this.endpoint.wheel.now;
    this.frames.follow(bytes);
    this.connection.stream.give(bytes);
    if (this.hasTerminated) this.close('client_request');
  }

  messageEnded(type: number): void {
    switch (type) {
      case QUERY:
      case FUNCTION_CALL:
      case SYNC:
        this.connection.requested();
        return;
      case TERMINATE:
        this.hasTerminated = true;
        return;
      default:
        return;
    }
  }

  congested(): void {
    this.holdBack(this.connection.stream);
  }

  drained(): void {
    this.activeAt = this.endpoint.wheel.now;
    this.connection.stream.letGo(HOLD_PEER_CONGESTED);
  }

  // --- What the database sends

  deliver(bytes: Buffer): void {
    this.activeAt = this.endpoint.wheel.now;
    this.stream.give(bytes);
    if (this.isDraining) this.closeIfDrained();
  }

  connectionCongested(): void {
    this.holdBack(this.stream);
  }

  connectionDrained(): void {
    this.stream.letGo(HOLD_PEER_CONGESTED);
  }

  connectionLost(wasTold: boolean): void {
    this.close('database_lost', wasTold ? undefined : new BerthError('connection_lost'));
  }

  /** The other side does not take what comes from `source`. What goes the other way goes on. */
  private holdBack(source: Stream): void {
    source.hold(HOLD_PEER_CONGESTED);
    this.endpoint.wheel.arm(this.timer, LOOK_AGAIN_MS);
  }

  // --- Cancel, clocks, end

  cancel(done: () => void): void {
    const { connection, endpoint } = this;
    if (connection.isAtRest) {
      done();
      return;
    }
    endpoint.observer.emit({
      event: 'cancel.forwarded',
      proxy: endpoint.proxy,
      endpoint: endpoint.name,
      clientConnection: this.id,
      databaseConnection: connection.id,
    });
    connection.target.canceller.cancel(connection, done);
  }

  drain(): void {
    this.isDraining = true;
    this.closeIfDrained();
  }

  /** A stream has no end of its own, so it is cut between two messages; all else is waited for. */
  private closeIfDrained(): void {
    const { isBetweenMessages, isStreaming } = this.connection;
    const mayCut = isStreaming && isBetweenMessages;
    if (mayCut || this.isQuiet) this.close('shutdown', new BerthError('shutting_down'));
  }

  /** The client has asked for nothing that is not answered. */
  private get isQuiet(): boolean {
    const { isAtRest, isBetweenMessages } = this.connection;
    return isAtRest && isBetweenMessages && this.frames.isBetween;
  }

  private lookAtClock(): void {
    const { limits, wheel } = this.endpoint;
    // A socket that is full and held may not be told that its other side has gone.
    this.stream.retry();
    this.connection.stream.retry();
    if (this.isClosed) return;
    const silentMs = wheel.now - this.activeAt;
    let overdue: Overdue | undefined;
    if (this.stream.isCongested) overdue = overdueBorrower(limits, silentMs);
    else if (this.isQuiet) overdue = overdueIdler(limits, silentMs, wheel.now - this.openedAt);
    if (overdue !== undefined) {
      this.close(overdue.reason, overdue.error);
      return;
    }
    wheel.arm(this.timer, this.nextLook());
  }

  private nextLook(): number {
    const { limits, wheel } = this.endpoint;
    if (this.stream.isCongested || this.connection.stream.isCongested) return LOOK_AGAIN_MS;
    const first = limits.idleClientTimeoutMs;
    return Math.max(this.activeAt + first - wheel.now, Math.min(first, LOOK_AGAIN_MS));
  }

  /** The client is gone. */
  closed(): void {
    this.leave('client_gone');
  }

  close(reason: ClientCloseReason, error?: BerthError): void {
    if (this.isClosed) return;
    if (error !== undefined && this.connection.isBetweenMessages) {
      this.stream.write(errorResponse('FATAL', error));
    }
    this.stream.handler = IGNORE;
    this.stream.end(this.endpoint.wheel, CLOSE_LINGER_MS);
    this.leave(reason);
  }

  private leave(reason: ClientCloseReason): void {
    if (this.isClosed) return;
    this.isClosed = true;
    const { connection, endpoint } = this;
    endpoint.wheel.disarm(this.timer);
    endpoint.counters.replicationConnections--;
    connection.holder = undefined;
    connection.isPartedFrom = this.hasTerminated || !this.frames.isBetween;
    this.pool.pool.release(connection, 'destroy', 'replication_ended');
    this.pool.leave();
    endpoint.sessionClosed(this, reason);
  }
}
