/**
 * Everything worth telling, as one union. Producers emit; `logs.ts` turns an event into a line and
 * nobody else writes logs. Names are `noun.past_verb`. Nothing here carries SQL values, passwords
 * or message bytes; a `digest` is a statement with its literals removed.
 */

import type { ClientConnectionId, DatabaseConnectionId } from '../base/ids.ts';
import type { IamFailure } from '../credential/token-judge.ts';
import type { ClientCloseReason, DatabaseCloseReason, Interruption, PinReason } from './reasons.ts';

/** Where on the client side something happened. */
export interface ClientScope {
  readonly proxy: string;
  readonly endpoint: string;
  readonly clientConnection: ClientConnectionId;
}

/** Where on the database side something happened. */
export interface DatabaseScope {
  readonly proxy: string;
  readonly target: string;
  readonly databaseConnection: DatabaseConnectionId;
}

/** On which database a proxy listens for its clients. */
export interface ListenerScope {
  readonly proxy: string;
  readonly target: string;
  readonly database: string;
}

/** What is wrong with a password, or the lack of one. */
export type PasswordFailure = 'unknown_user' | 'wrong_password' | 'malformed_response';

export type Event =
  | (ClientScope & { readonly event: 'client.connected'; readonly address: string })
  /** Somebody who came to an address that several endpoints share, and belongs to none of them. */
  | {
      readonly event: 'client.unplaced';
      readonly address: string;
      /** Empty when it has named nobody. */
      readonly serverName: string;
    }
  /** Somebody whom no security group allows; a line for many of them. */
  | {
      readonly event: 'client.denied';
      readonly proxy: string;
      readonly endpoint: string;
      /** Of the last of them. */
      readonly address: string;
      /** How many since the last such event. */
      readonly times: number;
    }
  | (ClientScope & { readonly event: 'client.tls_failed'; readonly detail: string })
  | (ClientScope & {
      readonly event: 'client.authenticated';
      readonly user: string;
      readonly database: string;
      /** Whose IAM token it was; absent: it was a password. */
      readonly principal?: string;
    })
  | (ClientScope & {
      readonly event: 'client.authentication_failed';
      /** Whose way of asking for passwords it was. */
      readonly engine: 'PostgreSQL' | 'MySQL';
      readonly user: string;
      /** For the operator only; the client sees one and the same answer. */
      readonly why: PasswordFailure | IamFailure;
      /** Who has signed the token, when that is certain. */
      readonly principal?: string;
    })
  | (ClientScope & { readonly event: 'client.closed'; readonly reason: ClientCloseReason })
  | (ClientScope & {
      readonly event: 'borrow.failed';
      readonly why: 'timeout' | 'refused';
      readonly waitedMs: number;
      readonly detail: string;
    })
  | (ClientScope & {
      readonly event: 'session.pinned';
      readonly databaseConnection: DatabaseConnectionId;
      readonly reason: PinReason;
      readonly digest: string;
    })
  | (ClientScope & {
      readonly event: 'session.unpinned';
      readonly databaseConnection: DatabaseConnectionId;
      /** Why it had been pinned. */
      readonly reason: PinReason;
    })
  // While the proxy has DebugLogging.
  | (ClientScope & {
      readonly event: 'connection.borrowed';
      readonly databaseConnection: DatabaseConnectionId;
      readonly waitedMs: number;
    })
  | (ClientScope & {
      readonly event: 'connection.returned';
      readonly databaseConnection: DatabaseConnectionId;
      readonly verdict: 'clean' | 'cleanable' | 'destroy';
    })
  | (ClientScope & {
      readonly event: 'statement.sent';
      readonly databaseConnection: DatabaseConnectionId;
      readonly digest: string;
    })
  /** Everything that the client has asked for. */
  | (ClientScope & {
      readonly event: 'request.answered';
      readonly databaseConnection: DatabaseConnectionId;
      readonly durationMs: number;
    })
  /** Its database connection was lost, and it goes on. */
  | (ClientScope & {
      readonly event: 'session.interrupted';
      readonly databaseConnection: DatabaseConnectionId;
      readonly reason: Interruption;
    })
  | (ClientScope & {
      readonly event: 'replication.started';
      readonly databaseConnection: DatabaseConnectionId;
      readonly kind: 'logical' | 'physical';
    })
  | (ClientScope & {
      readonly event: 'cancel.forwarded';
      readonly databaseConnection: DatabaseConnectionId;
    })
  | (DatabaseScope & {
      readonly event: 'connection.opened';
      readonly user: string;
      readonly database: string;
      readonly from: string;
      readonly to: string;
    })
  | {
      readonly event: 'connection.open_failed';
      readonly proxy: string;
      readonly target: string;
      readonly user: string;
      readonly database: string;
      /** True when waiting clients go on waiting and the proxy tries again. */
      readonly isTemporary: boolean;
      readonly detail: string;
    }
  | (DatabaseScope & { readonly event: 'connection.closed'; readonly reason: DatabaseCloseReason })
  | (DatabaseScope & { readonly event: 'connection.reset' })
  /** A listening connection was opened, for so many channels. */
  | (ListenerScope & { readonly event: 'listener.opened'; readonly channels: number })
  | (ListenerScope & { readonly event: 'listener.closed' })
  /** It ended by itself; what is notified until it is there again is lost. */
  | (ListenerScope & {
      readonly event: 'listener.lost';
      readonly channels: number;
      readonly detail: string;
    })
  /** A client does not read what it is told; once until it has caught up. */
  | (ClientScope & { readonly event: 'notifications.dropped'; readonly bytesMax: number })
  | {
      readonly event: 'target.health_changed';
      readonly proxy: string;
      readonly target: string;
      readonly state: 'AVAILABLE' | 'UNAVAILABLE';
      readonly reason: 'UNREACHABLE' | 'CONNECTION_FAILED' | 'AUTH_FAILURE' | undefined;
      readonly detail: string;
    }
  /** By its own account, a DB instance of a cluster is something else than before. */
  | {
      readonly event: 'target.role_changed';
      readonly proxy: string;
      readonly target: string;
      readonly role: 'READ_WRITE' | 'READ_ONLY' | 'UNKNOWN';
      readonly why: string;
    }
  /** A cluster has no writer, and clients wait. */
  | {
      readonly event: 'failover.began';
      readonly proxy: string;
      /** The cluster. */
      readonly target: string;
      /** Who was the writer. */
      readonly from: string;
      readonly why: string;
    }
  /** Clients go on. */
  | {
      readonly event: 'failover.ended';
      readonly proxy: string;
      readonly target: string;
      /** Who was the writer before; the same as `to` when it has come back. */
      readonly from: string;
      readonly to: string;
      /** How long there was no writer. */
      readonly durationMs: number;
      readonly why: string;
    }
  | {
      readonly event: 'endpoint.listening';
      readonly proxy: string;
      readonly endpoint: string;
      readonly address: string;
      /** Neither loopback nor a private range: worth a warning. */
      readonly isPublic: boolean;
    }
  /** What it said last stays in force. */
  | { readonly event: 'secret.unreadable'; readonly secret: string; readonly detail: string }
  /** A user cannot log in, because no password is known for him. */
  | { readonly event: 'credentials.missing'; readonly proxy: string; readonly detail: string }
  | { readonly event: 'endpoint.closed'; readonly proxy: string; readonly endpoint: string }
  | {
      readonly event: 'proxy.debug_logging';
      readonly proxy: string;
      readonly isOn: boolean;
      /** When it switches itself off: ISO 8601; empty when it is off. */
      readonly until: string;
    }
  /** From here on no transaction begins. */
  | { readonly event: 'proxy.pausing'; readonly proxy: string; readonly timeoutMs: number }
  /** The database has no connection of the proxy any more. */
  | { readonly event: 'proxy.paused'; readonly proxy: string; readonly tookMs: number }
  | {
      readonly event: 'proxy.pause_overdue';
      readonly proxy: string;
      readonly timeoutMs: number;
      /** It goes on waiting; otherwise clients are served again. */
      readonly isKept: boolean;
      /** Who holds a connection. */
      readonly detail: string;
    }
  | {
      readonly event: 'proxy.resumed';
      readonly proxy: string;
      readonly heldMs: number;
      /** Clients that wait for a database connection. */
      readonly waiting: number;
    }
  /** It was removed, or replaced by another of its name, and its last client is gone. */
  | { readonly event: 'proxy.stopped'; readonly proxy: string; readonly clientsCut: number }
  | { readonly event: 'api.listening'; readonly address: string }
  | { readonly event: 'configuration.applied'; readonly proxies: number }
  | { readonly event: 'configuration.incomplete'; readonly detail: string }
  | { readonly event: 'configuration.refused'; readonly detail: string }
  /** What is right, but will not stay so, or is not all that it seems. */
  | { readonly event: 'configuration.doubted'; readonly detail: string }
  | { readonly event: 'process.started'; readonly version: string; readonly pid: number }
  /** Sends are not batched, and why. */
  | { readonly event: 'process.sends_singly'; readonly detail: string }
  | {
      readonly event: 'process.draining';
      readonly signal: string;
      readonly clients: number;
      readonly deadlineMs: number;
    }
  | { readonly event: 'process.stopped'; readonly clientsCut: number }
  | {
      readonly event: 'internal.failed';
      /** What was going on, in the present tense. */
      readonly doing: string;
      readonly error: unknown;
    };

export type EventName = Event['event'];

/** Receives events. Implementations must not throw. */
export interface Observer {
  /** `isDetailed`: it comes from a proxy with DebugLogging, and is worth telling whatever the level of the log. */
  emit(event: Event, isDetailed?: boolean): void;
}
