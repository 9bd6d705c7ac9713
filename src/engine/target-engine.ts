/**
 * The engine of one proxy, whatever the protocol: its endpoints and clients, its pools on one target, and
 * what becomes of all of them when the configuration changes or the proxy stops.
 */

import type { BerthError } from '../base/errors.ts';
import type { TimerWheel } from '../base/timer-wheel.ts';
import type { Credentials } from '../credential/credentials.ts';
import type { Stream } from '../net/stream.ts';
import type { EndpointCounters, TargetGauges } from '../observe/counters.ts';
import type {
  Listing,
  PoolDescription,
  SessionDescription,
  SessionQuery,
} from '../observe/descriptions.ts';
import type { Observer } from '../observe/events.ts';
import { ConnectionBudget, type ConnectionLimits } from '../pool/budget.ts';
import type { Connector, PooledConnection } from '../pool/contract.ts';
import type { Pool } from '../pool/pool.ts';
import { PoolGroup } from '../pool/pool-group.ts';
import type { PoolKey } from '../pool/pool-host.ts';
import type { Observation } from '../target/monitor.ts';
import { type ClientLogin, type ClientOfEngine, Clients } from './clients.ts';
import type { DatabaseTls, Engine, EngineOptions, EngineSettings, Stopped } from './contract.ts';
import { DatabasePasswords, type DatabaseUser } from './database-passwords.ts';
import type { Endpoint, EndpointClient, EndpointEngine } from './endpoint.ts';
import type { Arrival, Lobby } from './lobby.ts';
import { TargetPools } from './target-pools.ts';

/** The pool of one user, with what the engine knows of it. */
interface PoolOfUser<C extends PooledConnection> {
  readonly pool: Pool<C>;
  /** What was learnt in an earlier generation is not known any more. */
  useGeneration(generation: number): void;
}

/** A client after its login; one that has a connection to itself has no pool. */
interface SessionOfEngine<P> extends EndpointClient, ClientOfEngine {
  readonly userPool: P | undefined;
}

export abstract class TargetEngine<
  C extends PooledConnection,
  P extends PoolOfUser<C>,
  L extends ClientLogin,
  S extends SessionOfEngine<P>,
> implements Engine, EndpointEngine<S>
{
  readonly proxy: string;
  readonly wheel: TimerWheel;
  readonly observer: Observer;
  settings: EngineSettings;
  /** Sessions by the number that each client was given. */
  readonly clients = new Clients<L, S>();
  protected credentials: Credentials;
  protected readonly passwords: DatabasePasswords;
  private readonly refreshSecret: EngineOptions['refreshSecret'];
  protected readonly budget: ConnectionBudget;
  protected readonly group: PoolGroup<C>;
  private readonly pools: TargetPools<C>;
  private readonly endpoints = new Map<string, Endpoint<S>>();
  private readonly userPools = new WeakMap<Pool<C>, P>();
  /** Goes up when what clients are told at login may have changed. */
  private generation = 0;

  constructor(options: EngineOptions) {
    this.proxy = options.proxy;
    this.wheel = options.wheel;
    this.observer = options.observer;
    this.settings = options.settings;
    this.credentials = options.credentials;
    this.refreshSecret = options.refreshSecret;
    this.passwords = new DatabasePasswords({
      find: (user) => this.credentials.find(user),
      refresh: options.refreshSecret,
      now: () => performance.now(),
    });
    this.budget = new ConnectionBudget(options.limits);
    this.group = new PoolGroup<C>({
      target: options.target,
      budget: this.budget,
      wheel: options.wheel,
      settings: options.settings.pool,
      counters: options.targetCounters,
      random: Math.random,
      doubted: options.doubted,
      connectorFor: (key, pool) => this.connectorFor(key, pool),
    });
    this.pools = new TargetPools(this.proxy, this.group);
  }

  // --- What the protocol says

  protected abstract newEndpoint(name: string, counters: EndpointCounters): Endpoint<S>;
  protected abstract newUserPool(pool: Pool<C>): P;
  protected abstract connectorFor(key: PoolKey, pool: Pool<C>): Connector<C>;
  /** Looks at the target by a login of its own. */
  protected abstract look(login: DatabaseUser): Promise<Observation>;
  /** What a client is told that cannot even log in. */
  abstract refusal(error: BerthError): Uint8Array;
  protected abstract numberOf(session: S): number;

  // --- What the proxy asks

  accept(stream: Stream, name: string, counters: EndpointCounters, arrival?: Arrival): void {
    let endpoint = this.endpoints.get(name);
    if (endpoint === undefined) {
      endpoint = this.newEndpoint(name, counters);
      this.endpoints.set(name, endpoint);
    }
    endpoint.accept(stream, arrival);
  }

  abstract receive(stream: Stream, lobby: Lobby): void;

  hasSession(number: number): boolean {
    return this.clients.session(number) !== undefined;
  }

  configure(settings: EngineSettings, credentials: Credentials): void {
    const before = this.settings;
    const old = this.credentials;
    this.settings = settings;
    this.credentials = credentials;
    this.group.configure(settings.pool);
    if (before.isDebugLogging !== settings.isDebugLogging) {
      this.clients.useDebugLogging(settings.isDebugLogging);
    }
    // A changed password is for the next login; open connections stay.
    const isInitChanged = before.initQuery !== settings.initQuery;
    if (isInitChanged) this.generation++;
    // What is open was opened as the configuration said then, and goes when its borrower is done.
    const isTlsChanged = !isSameTls(before.databaseTls, settings.databaseTls);
    const isGone = (user: string) => isTlsChanged || credentials.find(user) === undefined;
    this.group.configurationChanged(({ user }) => isInitChanged || isGone(user));
    this.passwords.prune();
    this.group.mended(({ user }) => old.find(user)?.version !== credentials.find(user)?.version);
    this.configured(isGone);
  }

  /** The configuration is in force. `isGone`: what was opened for a user before is not to be used. */
  protected configured(_isGone: (user: string) => boolean): void {}

  limit(limits: ConnectionLimits): void {
    this.budget.configure(limits);
  }

  gauges(isAvailable: boolean): TargetGauges {
    return { ...this.group.gauges(isAvailable), listeningConnections: 0, subscriptions: 0 };
  }

  describeSessions(query: SessionQuery): Listing<SessionDescription> {
    return this.clients.describe(query);
  }

  describePools(): readonly PoolDescription[] {
    return this.pools.describe();
  }

  get clientCount(): number {
    return this.clients.count;
  }

  async probe(): Promise<Observation | undefined> {
    const [credential] = this.credentials;
    const login = credential && this.passwords.loginOf(credential.user);
    if (login === undefined) {
      const detail =
        this.credentials.problems[0]?.text ?? 'Proxy does not have any registered credentials';
      return { isOk: false, reason: 'AUTH_FAILURE', detail };
    }
    const seen = await this.pools.probe(() => this.look(login));
    // Nothing is wrong with the target while its password is being changed.
    const isRefused = seen?.isOk === false && seen.reason === 'AUTH_FAILURE';
    return isRefused && this.passwords.isChanging(login.user) ? undefined : seen;
  }

  drain(): Promise<void> {
    return this.clients.drain();
  }

  stop(): Stopped {
    const clientsCut = this.clients.stop();
    return { clientsCut, closed: this.group.close() };
  }

  // --- For endpoints and logins

  /** A client may know a newer one than the proxy does; his next attempt is compared with it. */
  passwordWasWrong(user: string): void {
    void this.refreshSecret(user);
  }

  sessionBegan(session: S): void {
    this.clients.sessionBegan(this.numberOf(session), session);
  }

  sessionEnded(session: S): void {
    if (session.userPool !== undefined) this.leavePool(session.userPool);
    this.clients.sessionEnded(this.numberOf(session));
  }

  /** The pool for clients of `key`; kept until `leavePool`. */
  protected join(key: PoolKey): P {
    const pool = this.group.join(key);
    let userPool = this.userPools.get(pool);
    if (userPool === undefined) {
      userPool = this.newUserPool(pool);
      this.userPools.set(pool, userPool);
    }
    userPool.useGeneration(this.generation);
    return userPool;
  }

  leavePool(userPool: P): void {
    this.group.leave(userPool.pool);
  }
}

function isSameTls(a: DatabaseTls, b: DatabaseTls): boolean {
  return a.connect === b.connect && a.isRequired === b.isRequired;
}
