/**
 * What a proxy asks of an engine: everything about one engine family behind one door. One engine
 * object serves one proxy, with all its endpoints, users and databases, on the DB instances of its target.
 */

import type { TimerWheel } from '../base/timer-wheel.ts';
import type { Credentials } from '../credential/credentials.ts';
import type { DatabaseTokens } from '../credential/database-tokens.ts';
import type { Secret } from '../credential/secret.ts';
import type { TokenJudge } from '../credential/token-judge.ts';
import type { Address } from '../net/address.ts';
import type { Stream } from '../net/stream.ts';
import type { AcceptTls, ConnectTls } from '../net/tls.ts';
import type { EndpointCounters, TargetCounters, TargetGauges } from '../observe/counters.ts';
import type {
  Listing,
  PoolDescription,
  SessionDescription,
  SessionQuery,
} from '../observe/descriptions.ts';
import type { Observer } from '../observe/events.ts';
import type { ConnectionLimits } from '../pool/budget.ts';
import type { PoolSettings } from '../pool/contract.ts';
import type { Prober } from '../target/monitor.ts';
import type { Arrival, Lobby } from './lobby.ts';

/** What can be changed while clients are connected. Times are milliseconds. */
export interface EngineSettings {
  readonly idleClientTimeoutMs: number;
  readonly borrowedIdleTimeoutMs: number;
  /** A client this old is closed when nothing is in flight. */
  readonly clientLifetimeMs: number;
  /** From accept to the end of authentication. */
  readonly loginTimeoutMs: number;
  readonly maxClientConnections: number;
  /** LISTEN does not pin: the proxy listens for its clients. */
  readonly hasNotificationFanOut: boolean;
  /** A session keeps its connection from the first borrow on. */
  readonly isSessionMode: boolean;
  /** A SET of variables is no reason to pin; MySQL only. */
  readonly areVariableSetsExcluded: boolean;
  /** Clients that ask for replication are refused, as by RDS Proxy. */
  readonly isReplicationRefused: boolean;
  /** What clients do is told statement by statement. */
  readonly isDebugLogging: boolean;
  /** Run once on each new database connection. */
  readonly initQuery: string | undefined;
  /** In place of the target's own; MySQL only. */
  readonly serverVersion: string | undefined;
  /** RSA, PEM: what MySQL clients without TLS encrypt their passwords with. Undefined: a new one. */
  readonly passwordKey: Secret | undefined;
  /** Judges what clients give whose users have to log in with IAM. */
  readonly tokens: TokenJudge;
  /** Who is served first when the pool is full; higher is earlier. */
  readonly priorityOf: (client: {
    readonly user: string;
    readonly applicationName: string;
    readonly endpoint: string;
  }) => number;
  /** `READ_ONLY` endpoints, by name. */
  readonly readOnlyEndpoints: ReadonlyMap<string, ReaderRules>;
  readonly pool: PoolSettings;
  readonly clientTls: ClientTls;
}

/** TLS towards clients. */
export interface ClientTls {
  /** Undefined: clients that ask for TLS are told that there is none. */
  readonly accept: AcceptTls | undefined;
  readonly isRequired: boolean;
  /** Whether a client must show a certificate; only with TLS. */
  readonly isCertificateRequired: boolean;
}

/** TLS towards the database. Over a Unix socket there is none, whatever this says. */
export interface DatabaseTls {
  /** Undefined: TLS is not asked for. */
  readonly connect: ConnectTls | undefined;
  /** Without TLS no connection; else one in plain text when the database says that it has none. */
  readonly isRequired: boolean;
}

export interface EngineOptions {
  readonly proxy: string;
  readonly wheel: TimerWheel;
  readonly observer: Observer;
  readonly settings: EngineSettings;
  readonly credentials: Credentials;
  /** For users whom the database knows by IAM. */
  readonly databaseTokens: DatabaseTokens;
  /** Looks the secret of `user` up again; what comes of it has been configured when it resolves. */
  readonly refreshSecret: (user: string) => Promise<void>;
  /** What clients wait for while no DB instance is the writer. */
  readonly waiting: Waiting;
  /** What those of `READ_ONLY` endpoints wait for while there is no reader for them. */
  readonly waitingToRead: Waiting;
}

/** Where clients wait while nobody has the role that they need. */
export interface Waiting {
  /** The name of the target: that of its cluster. */
  readonly target: string;
  readonly counters: TargetCounters;
  /** Why there is nobody; a client that was refused reads it. */
  readonly reason: () => string;
}

/** What a `READ_ONLY` endpoint asks of the readers. */
export interface ReaderRules {
  /** A reader that is further behind, or does not tell, is not used; undefined: any will do. */
  readonly maxLagMs: number | undefined;
  /** Clients read from the writer while there is no reader for them. */
  readonly hasWriterFallback: boolean;
}

/** A DB instance, and how far it has got. */
export interface Standpoint<M = EngineMember> {
  readonly member: M;
  /** Bytes of the log; undefined when it does not tell. */
  readonly position: number | undefined;
}

export interface ReaderStanding<M = EngineMember> extends Standpoint<M> {
  /** How many connections it allows: its share of the clients. */
  readonly maxConnections: number;
  readonly lagMs: number | undefined;
}

/** Who can be read from now. */
export interface ReaderView<M = EngineMember> {
  /** Those that answer. */
  readonly readers: readonly ReaderStanding<M>[];
  readonly writer: Standpoint<M> | undefined;
  /** The target has DB instances beside the writer, whether or not they answer. */
  readonly hasReaders: boolean;
}

/** A DB instance of the target. */
export interface MemberOptions {
  readonly target: string;
  readonly address: Address;
  readonly databaseTls: DatabaseTls;
  readonly limits: ConnectionLimits;
  readonly counters: TargetCounters;
  /**
   * It is looked at by a connection that is kept, in addition to those that `limits` allows; otherwise by
   * one that is opened for each look.
   */
  readonly isWatched: boolean;
  /**
   * Called when a connection was lost or could not be opened, or the instance has said that it is
   * read-only: how is it?
   */
  readonly doubted: () => void;
}

/** A DB instance of the target that the engine has. */
export interface EngineMember extends Prober {
  readonly target: string;
  /** Takes effect for new connections; those that are open go when their borrowers are done. */
  secure(databaseTls: DatabaseTls): void;
  /** How many connections to it there may be. */
  limit(limits: ConnectionLimits): void;
  /** It answers again: whatever failed before, the next attempts to connect go out now. */
  recovered(): void;
  /** Nobody looks for now: what was kept open for that is closed. */
  rest(): void;
  gauges(isAvailable: boolean): TargetGauges;
  readonly activity: Activity;
}

/** Whether anybody gets answers. */
export interface Activity {
  /** How often it has answered somebody, since the start. */
  readonly answers: number;
  /** Connections are lent. */
  readonly isBusy: boolean;
}

/** How much there is of what clients need, at all DB instances together. */
export interface Usage {
  /** That are open or being opened, for clients or for the proxy itself. */
  readonly connections: number;
  /** Clients that wait for one. */
  readonly waiting: number;
}

export interface Stopped {
  /** How many clients were cut. */
  readonly clientsCut: number;
  /** Resolves when the last database connection is gone; the caller has a deadline for that. */
  readonly closed: Promise<void>;
}

export interface Engine {
  /**
   * Takes over a client connection that was just accepted on the endpoint `name`. `arrival` is what it
   * has said already, of an engine of the same family.
   */
  accept(stream: Stream, name: string, counters: EndpointCounters, arrival?: Arrival): void;
  /** Finds out which endpoint a client wants that has come to an address which several share. */
  receive(stream: Stream, lobby: Lobby): void;
  /** Whether it has the session with this number, as cancel requests name it. */
  hasSession(number: number): boolean;
  /** Takes effect at once; nobody is disconnected. */
  configure(settings: EngineSettings, credentials: Credentials): void;
  /** Another DB instance of the target. Nobody is sent there before it is given a role. */
  add(member: MemberOptions): EngineMember;
  /** It is none any more: its connections go when their borrowers are done, or after `drainTimeoutMs`. */
  remove(member: EngineMember, drainTimeoutMs: number): void;
  /** Requests go to `writer` from now on, and so does who waits; undefined: everybody waits. */
  follow(writer: EngineMember | undefined): void;
  /** Clients of `READ_ONLY` endpoints read there from now on, and so does who waits for it. */
  followReaders(view: ReaderView): void;
  /** Nothing more is to reach `member` on the connections that it has: they are cut off. */
  fence(member: EngineMember): void;
  /** Of the clients that wait for a writer. */
  waitingGauges(isAvailable: boolean): TargetGauges;
  /** The sessions there are now, the oldest first; clients that are still logging in have none yet. */
  describeSessions(query: SessionQuery): Listing<SessionDescription>;
  describePools(): readonly PoolDescription[];
  /** Sessions that hold a database connection, the oldest first. */
  describeHolders(limit: number): Listing<SessionDescription>;
  readonly clientCount: number;
  /**
   * Lends no database connection any more, and closes those that nobody uses. Nobody is refused: who needs
   * one waits. `held` is called when no database has a connection of this engine any more, not before this
   * returns and not after `letGo`.
   */
  hold(held: () => void): void;
  /** Lends again, to those first who have waited longest. A database may be another than before. */
  letGo(): void;
  readonly usage: Usage;
  /** Lets every client go at the next moment when nothing of it is in flight; resolves when none is left. */
  drain(): Promise<void>;
  /** Ends every client now and closes all database connections. */
  stop(): Stopped;
}

export type EngineFactory = (options: EngineOptions) => Engine;
