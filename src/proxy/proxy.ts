/**
 * One proxy: its endpoints, its engine with the pools, and its target. It is told what
 * it should be (`configure`) and becomes that without disconnecting anybody whom it does not concern.
 */

import { isDeepStrictEqual } from 'node:util';
import type { TimerWheel } from '../base/timer-wheel.ts';
import { Credentials } from '../credential/credentials.ts';
import { DatabaseTokens, type TokenSigner } from '../credential/database-tokens.ts';
import type { Secret } from '../credential/secret.ts';
import type { TokenJudge } from '../credential/token-judge.ts';
import type { Engine, EngineFactory, EngineSettings, Stopped } from '../engine/contract.ts';
import { type Address, formatAddress } from '../net/address.ts';
import { ListenError } from '../net/listener.ts';
import { EndpointCounters } from '../observe/counters.ts';
import type {
  Listing,
  PauseDescription,
  PauseState,
  PoolDescription,
  SessionDescription,
  SessionQuery,
} from '../observe/descriptions.ts';
import type { Observer } from '../observe/events.ts';
import { DebugLogging } from './debug-logging.ts';
import { Gate } from './gate.ts';
import type { Listeners, OpenPlace, Place } from './listeners.ts';
import { Pause, type PauseOptions } from './pause.ts';
import { type MemberState, ProxyTarget } from './proxy-target.ts';
import { engineSettings } from './settings.ts';
import type { DBProxy, Endpoint, SecretEntry } from './snapshot.ts';
import type { AcceptedTls } from './tls.ts';

/** The endpoint that every proxy has. */
const DEFAULT_ENDPOINT = 'default';

export interface ProxyDependencies {
  readonly wheel: TimerWheel;
  readonly observer: Observer;
  readonly engines: Readonly<Record<DBProxy['EngineFamily'], EngineFactory>>;
  readonly listeners: Listeners;
  /** Looks a secret up again, by its `Name`; what comes of it has been configured when it resolves. */
  readonly refreshSecret: (name: string) => Promise<void>;
  readonly signToken: TokenSigner;
}

/** What a proxy is told beside its own part of the desired state. */
export interface Surroundings {
  readonly secrets: readonly SecretEntry[];
  readonly tls: AcceptedTls;
  readonly passwordKey: Secret | undefined;
  readonly tokens: TokenJudge;
  /** How long what is not wanted any more may take to finish. */
  readonly drainTimeoutMs: number;
  /** Of whoever signs, and whose tokens it is to be. */
  readonly region: string;
}

interface OpenEndpoint {
  readonly listen: Address;
  readonly place: OpenPlace;
  readonly gate: Gate;
  readonly counters: EndpointCounters;
}

export class DatabaseProxy {
  private readonly dependencies: ProxyDependencies;
  private spec: DBProxy;
  /** What was last told to be wrong with the credentials. */
  private toldProblems: ReadonlySet<string> = new Set();
  private readonly engine: Engine;
  private readonly target: ProxyTarget;
  private readonly debugLogging: DebugLogging;
  /** What the engine works with, but for what changes by itself. */
  private surroundings: Surroundings;
  private readonly pausing: Pause;
  private isDraining = false;
  private readonly endpoints = new Map<string, OpenEndpoint>();

  constructor(spec: DBProxy, surroundings: Surroundings, dependencies: ProxyDependencies) {
    const { wheel, engines } = dependencies;
    const proxy = spec.DBProxyName;
    const ended = () => this.configureEngine();
    const { observer: outer } = dependencies;
    const observer = new DebugLogging({ proxy, wheel, observer: outer, now: Date.now, ended });
    this.debugLogging = observer;
    this.dependencies = { ...dependencies, observer };
    this.spec = spec;
    this.surroundings = surroundings;
    this.debugLogging.use(spec.DebugLoggingUntil);
    this.target = new ProxyTarget(spec, { proxy, wheel, observer });
    this.engine = engines[spec.EngineFamily]({
      proxy,
      wheel,
      observer,
      settings: this.engineSettings,
      credentials: this.resolveCredentials(),
      databaseTokens: new DatabaseTokens({
        sign: dependencies.signToken,
        region: () => this.surroundings.region,
        now: () => performance.now(),
      }),
      refreshSecret: (user) => this.refreshSecret(user),
      waiting: this.target.waiting,
      waitingToRead: this.target.waitingToRead,
    });
    this.target.attach(this.engine);
    this.pausing = new Pause({ proxy, engine: this.engine, target: this.target, wheel, observer });
  }

  get name(): string {
    return this.spec.DBProxyName;
  }

  get clientCount(): number {
    return this.engine.clientCount;
  }

  /** Where it listens, with the real ports. */
  get addresses(): readonly { readonly endpoint: string; readonly address: Address }[] {
    return [...this.endpoints].map(([endpoint, { place }]) => ({
      endpoint,
      address: place.address,
    }));
  }

  /** How the DB instances of its target are. */
  get targets(): readonly MemberState[] {
    return this.target.states;
  }

  /** Why it cannot serve; empty when it can. */
  get problems(): readonly string[] {
    const problems: string[] = [];
    if (this.endpoints.size < this.spec.Endpoints.length)
      problems.push('not every endpoint listens');
    if (this.target.problem !== undefined) problems.push(this.target.problem);
    return problems;
  }

  /** The files of the Unix sockets that it listens on. */
  get socketPaths(): readonly string[] {
    return this.addresses.flatMap(({ address }) =>
      'socketPath' in address ? [address.socketPath] : [],
    );
  }

  /** Listens on every endpoint; throws `ListenError`, and then listens on none. */
  open(): void {
    try {
      for (const endpoint of this.spec.Endpoints) this.openEndpoint(endpoint);
    } catch (error) {
      this.closeEndpoints();
      throw error;
    }
    this.target.start();
  }

  /** Whether it can become `spec` without being replaced. */
  canBecome(spec: DBProxy): boolean {
    return spec.EngineFamily === this.spec.EngineFamily;
  }

  private get engineSettings(): EngineSettings {
    const { tls, passwordKey, tokens } = this.surroundings;
    const { isOn } = this.debugLogging;
    return engineSettings(this.spec, tls, passwordKey, tokens, isOn);
  }

  private configureEngine(): void {
    this.engine.configure(this.engineSettings, this.resolveCredentials());
  }

  /** Takes effect at once. Throws `ListenError` when a new address cannot be listened on. */
  configure(spec: DBProxy, surroundings: Surroundings): void {
    this.spec = spec;
    this.surroundings = surroundings;
    this.debugLogging.use(spec.DebugLoggingUntil);
    this.configureEngine();
    this.target.configure(spec, surroundings.drainTimeoutMs);
    for (const [name, open] of this.endpoints) {
      const wanted = spec.Endpoints.find((each) => each.DBProxyEndpointName === name);
      if (wanted === undefined || !isDeepStrictEqual(wanted.Listen, open.listen)) {
        this.closeEndpoint(name, open);
      } else {
        open.gate.allow(wanted.AllowedSources);
      }
    }
    for (const endpoint of spec.Endpoints) {
      if (!this.endpoints.has(endpoint.DBProxyEndpointName)) this.openEndpoint(endpoint);
    }
  }

  /**
   * Holds back transactions that have not begun, until `resume`; see `Pause`. Does nothing when it is being
   * paused already. Returns false when it is too late, because the proxy is being stopped.
   */
  pause(options: PauseOptions): boolean {
    if (!this.isDraining) this.pausing.begin(options);
    return !this.isDraining;
  }

  /** Does nothing when it is not paused. */
  resume(): void {
    this.pausing.end();
  }

  get pauseState(): PauseState {
    return this.pausing.state;
  }

  describePause(): PauseDescription {
    return this.pausing.describe();
  }

  /** Stops accepting and lets everybody finish; resolves when the last client is gone. */
  drain(): Promise<void> {
    this.isDraining = true;
    this.closeEndpoints();
    return this.engine.drain();
  }

  /** Ends everything now. */
  stop(): Stopped {
    this.closeEndpoints();
    this.debugLogging.stop();
    this.target.stop();
    this.pausing.stop();
    return this.engine.stop();
  }

  *endpointReadings() {
    for (const [endpoint, { counters }] of this.endpoints) {
      yield { proxy: this.name, endpoint, counters };
    }
  }

  targetReadings() {
    return this.target.readings();
  }

  describeSessions(query: SessionQuery): Listing<SessionDescription> {
    return this.engine.describeSessions(query);
  }

  describePools(): readonly PoolDescription[] {
    return this.engine.describePools();
  }

  /** What is wrong with them is told once, until it has changed. */
  private resolveCredentials(): Credentials {
    const { Auth, DefaultAuthScheme, DBProxyName: proxy } = this.spec;
    const { secrets } = this.surroundings;
    const { credentials, problems } = Credentials.resolve(Auth, secrets, DefaultAuthScheme);
    const texts = new Set(problems.map(({ text }) => text));
    for (const detail of texts) {
      if (this.toldProblems.has(detail)) continue;
      this.dependencies.observer.emit({ event: 'credentials.missing', proxy, detail });
    }
    this.toldProblems = texts;
    return credentials;
  }

  private async refreshSecret(user: string): Promise<void> {
    const { refreshSecret } = this.dependencies;
    const isOfUser = ({ username, others = [] }: SecretEntry) =>
      username === user || others.some((other) => other.username === user);
    const names = new Set(this.surroundings.secrets.filter(isOfUser).map(({ Name }) => Name));
    const concerned = this.spec.Auth.filter(({ SecretArn }) => names.has(SecretArn));
    await Promise.all(concerned.map(({ SecretArn }) => refreshSecret(SecretArn)));
  }

  private openEndpoint({ DBProxyEndpointName: name, Listen, AllowedSources }: Endpoint): void {
    const { wheel, observer } = this.dependencies;
    const counters = new EndpointCounters();
    const scope = { proxy: this.name, endpoint: name };
    const gate = new Gate({ wheel, observer, counters, scope }, AllowedSources);
    const place = this.listen(name, Listen, this.placeOf(name, gate, counters));
    this.endpoints.set(name, { listen: Listen, place, gate, counters });
    observer.emit({
      ...scope,
      event: 'endpoint.listening',
      address: formatAddress(place.address),
      isPublic: isPublic(Listen) && gate.isOpenToPublic,
    });
  }

  private placeOf(name: string, gate: Gate, counters: EndpointCounters): Place {
    const { engine } = this;
    const hostName = () =>
      this.spec.Endpoints.find(({ DBProxyEndpointName }) => DBProxyEndpointName === name)?.HostName;
    const acceptTls = () => this.surroundings.tls.accept;
    return {
      family: this.spec.EngineFamily,
      gate,
      get hostName() {
        return hostName() ?? '';
      },
      get acceptTls() {
        return acceptTls();
      },
      accept: (stream, arrival) => engine.accept(stream, name, counters, arrival),
      receive: (stream, lobby) => engine.receive(stream, lobby),
      hasSession: (number) => engine.hasSession(number),
    };
  }

  private listen(name: string, address: Address, place: Place): OpenPlace {
    try {
      return this.dependencies.listeners.add(address, place);
    } catch (error) {
      if (!(error instanceof ListenError)) throw error;
      throw error.at(name === DEFAULT_ENDPOINT ? 'Listen' : `Endpoints (${name}).Listen`);
    }
  }

  private closeEndpoints(): void {
    for (const [name, open] of this.endpoints) this.closeEndpoint(name, open);
  }

  private closeEndpoint(name: string, { place }: OpenEndpoint): void {
    place.close();
    this.endpoints.delete(name);
    this.dependencies.observer.emit({ event: 'endpoint.closed', proxy: this.name, endpoint: name });
  }
}

/** RFC 1918, RFC 4193, RFC 6598, loopback and link-local are not; names other than localhost are. */
const PRIVATE_HOSTS =
  /^(localhost$|127\.|10\.|192\.168\.|169\.254\.|172\.(1[6-9]|2\d|3[01])\.|100\.(6[4-9]|[7-9]\d|1[01]\d|12[0-7])\.|::1$|f[cd]|fe[89ab])/i;

function isPublic(address: Address): boolean {
  return !('socketPath' in address) && !PRIVATE_HOSTS.test(address.host);
}
