/**
 * What a session and a pool are at one moment, for people who ask: plain values that can be sent
 * anywhere. Times are milliseconds since 1970, and those that the timer wheel kept are right to about
 * a tenth of a second. No password, cancel key or value of a statement is in here.
 */

import type { ClientConnectionId, DatabaseConnectionId } from '../base/ids.ts';
import type { PinReason } from './reasons.ts';

export type SessionState =
  /** Nothing in flight, and it holds no connection. */
  | 'idle'
  /** Waits for a database connection. */
  | 'queued'
  /** A request is under way. */
  | 'active'
  /** Between two statements of an open transaction. */
  | 'in_transaction'
  /** Nothing in flight; it holds a connection only because it is pinned. */
  | 'pinned'
  /** Has a connection to itself, for replication, whatever goes on there. */
  | 'replicating';

/** Why a session keeps its database connection. */
export interface Pin {
  readonly reason: PinReason;
  /** The statement without its literals; empty when no statement is the reason. */
  readonly digest: string;
  readonly since: number;
}

export interface SessionDescription {
  readonly clientConnection: ClientConnectionId;
  readonly proxy: string;
  readonly endpoint: string;
  readonly user: string;
  readonly database: string;
  readonly clientAddress: string;
  readonly applicationName: string;
  readonly isEncrypted: boolean;
  readonly loggedInAt: number;
  readonly state: SessionState;
  readonly stateSince: number;
  /** What it holds now. */
  readonly databaseConnection:
    | {
        readonly id: DatabaseConnectionId;
        /** Of the process in the database; undefined when the database did not tell. */
        readonly processId: number | undefined;
      }
    | undefined;
  /** Also while a request or a transaction is under way. */
  readonly pin: Pin | undefined;
}

/** The pool of one user and database on one target. */
export interface PoolDescription {
  readonly proxy: string;
  readonly target: string;
  readonly user: string;
  readonly database: string;
  /** Logged in, or about to be. */
  readonly clients: number;
  /** Each connection is counted once. */
  readonly connections: {
    readonly connecting: number;
    readonly idle: number;
    readonly borrowed: number;
    readonly pinned: number;
    readonly resetting: number;
    readonly closing: number;
  };
  readonly waiting: number;
  /** Since when the one who has waited longest has; undefined when nobody waits. */
  readonly waitingSince: number | undefined;
  /** Since when nothing is lent because the proxy is paused; undefined while it is not. */
  readonly pausedSince: number | undefined;
  /** What all pools of the target share. */
  readonly targetLimits: {
    readonly maxConnections: number;
    /** The setting that `maxConnections` comes from. */
    readonly limitedBy: string;
    readonly maxIdleConnections: number;
    /** Connections that count towards `maxConnections` now, of all pools and the monitor. */
    readonly inUse: number;
  };
}

/** `RUNNING`: clients are served. `PAUSING`: no transaction begins, some are still running. */
export type PauseState = 'RUNNING' | 'PAUSING' | 'PAUSED';

/** Whether a proxy holds its clients' transactions back. */
export interface PauseDescription {
  readonly proxy: string;
  readonly state: PauseState;
  /** Since when transactions are held back; undefined while it runs. */
  readonly since: number | undefined;
  /** Clients that wait for a database connection. */
  readonly waiting: number;
  /** What is still open to the database, for sessions or for the proxy itself. */
  readonly connections: number;
  /** Sessions that have one. */
  readonly holders: Listing<SessionDescription>;
  /** How the last attempt to pause ended, if it did not succeed. */
  readonly failure: PauseFailure | undefined;
}

/** Transactions did not end in time, so the proxy went on. */
export interface PauseFailure {
  readonly at: number;
  readonly timeoutMs: number;
  readonly connections: number;
  readonly holders: Listing<SessionDescription>;
}

/** Some of what there is, and how much there is in all. */
export interface Listing<Item> {
  readonly items: readonly Item[];
  readonly total: number;
}

export interface SessionQuery {
  readonly isPinnedOnly: boolean;
  /** At most this many are described; the rest is only counted. */
  readonly limit: number;
}
