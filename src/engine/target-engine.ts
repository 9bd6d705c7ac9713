/**
 * The engine of one proxy, whatever the protocol: its endpoints and clients, the DB instances of its target
 * with the pools on each, and what becomes of all of them when the writer or the configuration changes, or
 * the proxy stops.
 */

import type { BerthError } from '../base/errors.ts';
import { Timer, type TimerWheel } from '../base/timer-wheel.ts';
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
import type { Connector, PooledConnection } from '../pool/contract.ts';
import type { Pool } from '../pool/pool.ts';
import type { PoolGroup } from '../pool/pool-group.ts';
import type { PoolKey } from '../pool/pool-host.ts';
import type { Observation } from '../target/monitor.ts';
import { type ClientLogin, type ClientOfEngine, Clients } from './clients.ts';
import type {
  Engine,
  EngineMember,
  EngineOptions,
  EngineSettings,
  MemberOptions,
  ReaderRules,
  ReaderView,
  Standpoint,
  Stopped,
  Usage,
} from './contract.ts';
import { DatabasePasswords, type DatabaseUser } from './database-passwords.ts';
import type { Endpoint, EndpointClient, EndpointEngine } from './endpoint.ts';
import type { Arrival, Lobby } from './lobby.ts';
import { Readers } from './readers.ts';
import { type PoolOfUser, Role } from './role.ts';
import { type MemberHost, TargetMember } from './target-member.ts';
import type { EngineTarget, PlaceOptions } from './target-place.ts';
import { TargetPools } from './target-pools.ts';
import type { WatchCallbacks } from './target-watch.ts';
import { waitingRoom } from './waiting-room.ts';

/** Where a client has a connection to itself, or waits for one. */
interface PlaceOfClient<C extends PooledConnection, T> {
  readonly group: PoolGroup<C>;
  /** Undefined while it can only wait. */
  readonly context: T | undefined;
}

const NO_READERS = { readers: [], writer: undefined, hasReaders: false } as const;
/** Of an endpoint that is none of those any more, for the clients that it still has. */
const ANY_READER: ReaderRules = { maxLagMs: undefined, hasWriterFallback: false };

/** RDS Proxy's name for the user that looks at a target, for as long as no other user is known. */
const MONITOR_USER = 'rdsproxyadmin';

/** From `hold` to `letGo`. */
interface Holding {
  readonly held: () => void;
  isEmptied: boolean;
  isHeld: boolean;
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
  T extends EngineTarget,
> implements Engine, EndpointEngine<S>, MemberHost<C, T>
{
  readonly proxy: string;
  readonly wheel: TimerWheel;
  readonly observer: Observer;
  settings: EngineSettings;
  /** Sessions by the number that each client was given. */
  readonly clients = new Clients<L, S>();
  credentials: Credentials;
  /** Who was last let in with a token, where no secret says who there is. */
  private tokenUser = MONITOR_USER;
  protected readonly passwords: DatabasePasswords;
  private readonly refreshSecret: EngineOptions['refreshSecret'];
  private readonly members = new Set<TargetMember<C, T>>();
  /** No members any more; their last connections are finishing. */
  private readonly leaving = new Set<TargetMember<C, T>>();
  /** Requests go there. */
  protected writer: TargetMember<C, T> | undefined = undefined;
  private readonly lobby: PoolGroup<C>;
  private readonly readersLobby: PoolGroup<C>;
  private readonly deadEnd: PoolGroup<C>;
  private readonly lobbyPools: readonly TargetPools<C>[];
  private readonly writerRole: Role<C, P>;
  /** By the name of the endpoint. */
  private readonly readers = new Map<string, Readers<C, P, TargetMember<C, T>>>();
  private readerView: ReaderView<TargetMember<C, T>> = NO_READERS;
  private readonly roles = new WeakMap<P, Role<C, P>>();
  private readonly endpoints = new Map<string, Endpoint<S>>();
  private holding: Holding | undefined = undefined;
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
      hasToken: (user) => this.credentials.hasToken(user),
      tokens: options.databaseTokens,
      refresh: options.refreshSecret,
      now: () => performance.now(),
    });
    const { waiting, waitingToRead, wheel } = options;
    const { pool } = options.settings;
    this.lobby = waitingRoom(waiting, wheel, pool);
    this.readersLobby = waitingRoom(waitingToRead, wheel, pool);
    this.deadEnd = waitingRoom(waitingToRead, wheel, pool, 'no_reader');
    this.lobbyPools = [this.lobby, this.readersLobby].map(
      (group) => new TargetPools(this.proxy, group),
    );
    this.writerRole = this.newRole(this.lobby);
  }

  // --- What the protocol says

  protected abstract newEndpoint(name: string, counters: EndpointCounters): Endpoint<S>;
  protected abstract newUserPool(pool: Pool<C>): P;
  abstract newContext(place: PlaceOptions): T;
  abstract connectorFor(context: T, key: PoolKey, pool: Pool<C>): Connector<C>;
  /** Looks at a DB instance by a login of its own. */
  protected abstract lookAs(login: DatabaseUser, context: T): Promise<Observation>;
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

  // --- The DB instances of the target

  add(options: MemberOptions): EngineMember {
    const member = new TargetMember<C, T>(this, options);
    this.members.add(member);
    if (this.holding !== undefined) this.holdGroup(member.group);
    return member;
  }

  remove(of: EngineMember, drainTimeoutMs: number): void {
    const member = this.known(of);
    if (member === undefined) return;
    if (member === this.writer) this.follow(undefined);
    this.members.delete(member);
    this.leaving.add(member);
    const reason = 'configuration_changed';
    const deadline = new Timer(() => member.group.sever(reason));
    this.wheel.arm(deadline, drainTimeoutMs);
    void member.close(reason).then(() => {
      this.wheel.disarm(deadline);
      this.leaving.delete(member);
    });
  }

  follow(of: EngineMember | undefined): void {
    const writer = of && this.known(of);
    if (writer === this.writer) return;
    this.writer = writer;
    this.writerRole.give(writer?.group);
    this.writerChanged();
  }

  followReaders({ readers, writer, hasReaders }: ReaderView): void {
    const known = <S extends Standpoint>(standpoint: S) => {
      const member = this.known(standpoint.member);
      return member === undefined ? [] : [{ ...standpoint, member }];
    };
    this.readerView = {
      readers: readers.flatMap(known),
      writer: writer && known(writer)[0],
      hasReaders,
    };
    for (const each of this.readers.values()) each.follow(this.readerView);
  }

  /** Requests go elsewhere from now on; see `writer`. */
  protected writerChanged(): void {}

  resecured(_member: TargetMember<C, T>): void {}

  fence(of: EngineMember): void {
    this.known(of)?.group.sever('writer_changed');
  }

  private known(of: EngineMember): TargetMember<C, T> | undefined {
    for (const member of this.members) if (member === of) return member;
    return undefined;
  }

  /** Of all DB instances of the target. */
  protected get contexts(): readonly T[] {
    return Array.from(this.members, ({ context }) => context);
  }

  private get groups(): readonly PoolGroup<C>[] {
    const all = [...this.members, ...this.leaving];
    const rooms = [this.lobby, this.readersLobby, this.deadEnd];
    return [...rooms, ...all.map(({ group }) => group)];
  }

  hasSession(number: number): boolean {
    return this.clients.session(number) !== undefined;
  }

  configure(settings: EngineSettings, credentials: Credentials): void {
    const before = this.settings;
    const old = this.credentials;
    this.settings = settings;
    this.credentials = credentials;
    if (before.isDebugLogging !== settings.isDebugLogging) {
      this.clients.useDebugLogging(settings.isDebugLogging);
    }
    // A changed password is for the next login; open connections stay.
    const isInitChanged = before.initQuery !== settings.initQuery;
    if (isInitChanged) this.generation++;
    const isGone = (user: string) => !credentials.knows(user);
    this.passwords.prune();
    for (const group of this.groups) {
      group.configure(settings.pool);
      // What is open was opened as the configuration said then, and goes when its borrower is done.
      group.configurationChanged(({ user }) => isInitChanged || isGone(user));
      group.mended(({ user }) => old.versionOf(user) !== credentials.versionOf(user));
    }
    this.configured(isGone);
  }

  /** The configuration is in force. `isGone`: what was opened for a user before is not to be used. */
  protected configured(_isGone: (user: string) => boolean): void {}

  gauges({ group }: TargetMember<C, T>, isAvailable: boolean): TargetGauges {
    return { ...group.gauges(isAvailable), listeningConnections: 0, subscriptions: 0 };
  }

  waitingGauges(isAvailable: boolean): TargetGauges {
    return { ...this.lobby.gauges(isAvailable), listeningConnections: 0, subscriptions: 0 };
  }

  describeSessions(query: SessionQuery): Listing<SessionDescription> {
    return this.clients.describe(query);
  }

  describePools(): readonly PoolDescription[] {
    const members = [...this.members, ...this.leaving];
    // Who has waited there is known by that; nobody else needs to see it.
    const waiting = this.lobbyPools
      .flatMap((pools) => pools.describe())
      .filter(({ waiting }) => waiting > 0);
    return [...members.flatMap(({ pools }) => pools.describe()), ...waiting];
  }

  describeHolders(limit: number): Listing<SessionDescription> {
    return this.clients.describeHolders(limit);
  }

  get clientCount(): number {
    return this.clients.count;
  }

  // --- Held

  hold(held: () => void): void {
    this.holding = { held, isEmptied: false, isHeld: false };
    for (const group of this.groups) this.holdGroup(group);
  }

  private holdGroup(group: PoolGroup<C>): void {
    group.holdBack(() => this.holdProgressed());
  }

  /** Some connection is gone. */
  private holdProgressed(): void {
    const { groups, holding } = this;
    if (holding === undefined) return;
    if (!holding.isEmptied && groups.every(({ budget }) => budget.pooled === 0)) {
      holding.isEmptied = true;
      this.poolsEmptied();
    }
    if (!holding.isEmptied || holding.isHeld) return;
    if (groups.some(({ budget }) => budget.inUse > 0)) return;
    holding.isHeld = true;
    holding.held();
  }

  /** No session has a connection any more: what else is open to the database is closed until `letGo`. */
  protected poolsEmptied(): void {}

  letGo(): void {
    this.holding = undefined;
    // It may have been upgraded meanwhile.
    this.generation++;
    for (const group of this.groups) group.letGo();
  }

  get usage(): Usage {
    let connections = 0;
    let waiting = 0;
    for (const group of this.groups) {
      connections += group.budget.inUse;
      waiting += group.waiting;
    }
    return { connections, waiting };
  }

  abstract openWatch(
    login: DatabaseUser,
    context: T,
    callbacks: WatchCallbacks,
  ): { readonly abandon: () => void };

  async look({ context, pools, watch }: TargetMember<C, T>): Promise<Observation | undefined> {
    const [credential] = this.credentials;
    const { user } = credential ?? { user: this.tokenUser };
    const login = this.passwords.loginOf(user);
    if (login === undefined) {
      const detail =
        this.credentials.problems[0]?.text ?? 'Proxy does not have any registered credentials';
      return { isOk: false, reason: 'AUTH_FAILURE', detail };
    }
    const seen = await (watch === undefined
      ? pools.probe(() => this.lookAs(login, context))
      : pools.watch(() => watch.ask(login), watch.isConnected));
    // Nothing is wrong with the target while its password is being changed.
    const isRefused = seen?.isOk === false && seen.reason === 'AUTH_FAILURE';
    // Nobody has said that there is such a user; a target that refuses somebody answers.
    if (isRefused && user === MONITOR_USER && seen.isAnswer === true) {
      return { isOk: true, facts: undefined };
    }
    return isRefused && this.passwords.isChanging(login.user) ? undefined : seen;
  }

  drain(): Promise<void> {
    const drained = this.clients.drain();
    // Nothing of theirs is in flight, and nothing of it would ever be.
    if (this.holding !== undefined) for (const group of this.groups) group.refuseWaiting();
    return drained;
  }

  stop(): Stopped {
    const clientsCut = this.clients.stop();
    for (const { watch } of this.members) watch?.close();
    return {
      clientsCut,
      closed: Promise.all(this.groups.map((group) => group.close())).then(noop),
    };
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

  /** The pool for clients of `key` that have come in by `endpoint`; kept until `leavePool`. */
  protected join(endpoint: string, key: PoolKey): P {
    return this.joinRole(this.roleAt(endpoint), key);
  }

  /** The same for a client of `userPool`, in its role. */
  protected joinBeside(userPool: P, key: PoolKey): P {
    return this.joinRole(this.roleOf(userPool), key);
  }

  private joinRole(role: Role<C, P>, key: PoolKey): P {
    if (this.credentials.hasToken(key.user)) this.useTokenUser(key.user);
    const userPool = role.join(key, this.generation);
    this.roles.set(userPool, role);
    return userPool;
  }

  private useTokenUser(user: string): void {
    const isFirst = this.tokenUser === MONITOR_USER;
    this.tokenUser = user;
    // What it is allowed can be asked from here on.
    if (isFirst) for (const member of this.members) member.doubted();
  }

  leavePool(userPool: P): void {
    this.roleOf(userPool).leave(userPool);
  }

  private roleOf(userPool: P): Role<C, P> {
    return this.roles.get(userPool) ?? this.writerRole;
  }

  private roleAt(endpoint: string): Role<C, P> {
    return this.readersAt(endpoint)?.enter() ?? this.writerRole;
  }

  private readersAt(endpoint: string): Readers<C, P, TargetMember<C, T>> | undefined {
    if (!this.settings.readOnlyEndpoints.has(endpoint)) return undefined;
    let readers = this.readers.get(endpoint);
    if (readers === undefined) {
      readers = this.newReaders(endpoint);
      this.readers.set(endpoint, readers);
    }
    return readers;
  }

  private newReaders(endpoint: string): Readers<C, P, TargetMember<C, T>> {
    return new Readers(this.readerView, {
      rules: () => this.settings.readOnlyEndpoints.get(endpoint) ?? ANY_READER,
      newRole: () => this.newRole(this.readersLobby),
      clientsOf: (member) => {
        const all = [...this.readers.values()];
        return all.reduce((clients, readers) => clients + readers.clientsOf(member), 0);
      },
      lobby: this.readersLobby,
      deadEnd: this.deadEnd,
    });
  }

  private newRole(lobby: PoolGroup<C>): Role<C, P> {
    return new Role<C, P>({ lobby, newUserPool: (pool: Pool<C>) => this.newUserPool(pool) });
  }

  /** For who has a connection to himself: where the writer is, or where everybody waits for one. */
  protected placeAt(endpoint: string): PlaceOfClient<C, T> {
    const readers = this.readersAt(endpoint);
    if (readers === undefined) return placeOf(this.writer, this.lobby);
    return placeOf(readers.choose(), this.readerView.hasReaders ? this.readersLobby : this.deadEnd);
  }
}

function placeOf<C extends PooledConnection, T extends EngineTarget>(
  member: TargetMember<C, T> | undefined,
  otherwise: PoolGroup<C>,
): PlaceOfClient<C, T> {
  return { group: member?.group ?? otherwise, context: member?.context };
}

function noop(): void {}
