/** All proxies of this process, reconciled towards desired state. */

import { Timer } from '../base/timer-wheel.ts';
import { Principals } from '../credential/principals.ts';
import { RateLimiter } from '../credential/rate-limit.ts';
import { TOKEN_RATE_LIMITS } from '../credential/token-judge.ts';
import type { Stopped } from '../engine/contract.ts';
import { ListenError } from '../net/listener.ts';
import { removeStaleSocket } from '../net/stale-socket.ts';
import type { MetricsSource } from '../observe/counters.ts';
import type {
  Listing,
  PoolDescription,
  SessionDescription,
  SessionQuery,
} from '../observe/descriptions.ts';
import { Listeners } from './listeners.ts';
import { DatabaseProxy, type ProxyDependencies, type Surroundings } from './proxy.ts';
import { LOGIN_TIMEOUT_MS } from './settings.ts';
import type { DBProxy, Snapshot } from './snapshot.ts';
import { AcceptedTlsCache } from './tls.ts';
import { tokenJudge } from './tokens.ts';

export class ProxyRegistry implements MetricsSource {
  private readonly dependencies: ProxyDependencies;
  private readonly proxies = new Map<string, DatabaseProxy>();
  /** No longer wanted; their last clients are finishing. */
  private readonly retiring = new Set<DatabaseProxy>();
  private readonly tls = new AcceptedTlsCache();
  /** Of IAM tokens, for all proxies together. */
  private readonly limiter = new RateLimiter(TOKEN_RATE_LIMITS);

  constructor(parts: Omit<ProxyDependencies, 'listeners'>) {
    const { wheel, observer } = parts;
    const listeners = new Listeners({ wheel, observer, timeoutMs: LOGIN_TIMEOUT_MS });
    this.dependencies = { ...parts, listeners };
  }

  get all(): Iterable<DatabaseProxy> {
    return this.proxies.values();
  }

  get clientCount(): number {
    let count = 0;
    for (const proxy of this.everyProxy()) count += proxy.clientCount;
    return count;
  }

  /**
   * Makes way for `reconcile`: removes the Unix sockets that killed processes have left where
   * `snapshot` listens.
   */
  async prepare(snapshot: Snapshot): Promise<void> {
    const own = new Set(Array.from(this.proxies.values(), (proxy) => proxy.socketPaths).flat());
    const endpoints = snapshot.DBProxies.flatMap(({ Endpoints }) => Endpoints);
    for (const { Listen } of endpoints) {
      if (!('socketPath' in Listen) || own.has(Listen.socketPath)) continue;
      await removeStaleSocket(Listen.socketPath);
    }
  }

  /**
   * Makes the proxies what `snapshot` says. One that cannot listen is reported, by throwing its
   * `ListenError` after all others have been brought up to date. Clients of one that is removed have
   * `drainTimeoutMs` to finish their transactions. `placeOf` says where in its source a proxy is.
   */
  reconcile(
    snapshot: Snapshot,
    drainTimeoutMs: number,
    placeOf = (index: number) => `DBProxies[${index}]`,
  ): void {
    const errors: unknown[] = [];
    const { Secrets: secrets, PasswordKey: passwordKey, Owner: owner } = snapshot;
    const iam = { owner, principals: new Principals(snapshot.AccessKeys), limiter: this.limiter };
    for (const [name, proxy] of this.proxies) {
      const wanted = snapshot.DBProxies.find((each) => each.DBProxyName === name);
      if (wanted === undefined || !proxy.canBecome(wanted)) {
        this.retire(name, proxy, drainTimeoutMs);
      }
    }
    for (const [index, wanted] of snapshot.DBProxies.entries()) {
      try {
        const clientTls = wanted.Tls ?? snapshot.Tls;
        const tls = this.tls.get(clientTls, wanted.EngineFamily);
        const tokens = tokenJudge(wanted, clientTls, iam);
        const { region } = owner;
        this.bringUp(wanted, { secrets, passwordKey, tls, tokens, drainTimeoutMs, region });
      } catch (error) {
        errors.push(error instanceof ListenError ? error.at(placeOf(index)) : error);
      }
    }
    // Who is connected keeps the certificate that it has seen; who comes sees the new one.
    this.tls.sweep();
    if (errors.length > 0) throw errors[0];
    this.dependencies.observer.emit({
      event: 'configuration.applied',
      proxies: this.proxies.size,
    });
  }

  async drain(): Promise<void> {
    await Promise.all([...this.everyProxy()].map((proxy) => proxy.drain()));
  }

  /** Ends everything now. */
  stop(): Stopped {
    const stopped = [...this.everyProxy()].map((proxy) => proxy.stop());
    this.proxies.clear();
    this.retiring.clear();
    return {
      clientsCut: stopped.reduce((sum, { clientsCut }) => sum + clientsCut, 0),
      closed: Promise.all(stopped.map(({ closed }) => closed)).then(() => undefined),
    };
  }

  *endpoints() {
    for (const proxy of this.proxies.values()) yield* proxy.endpointReadings();
  }

  /** The proxy that serves under `name` now; undefined when there is none. */
  find(name: string): DatabaseProxy | undefined {
    return this.proxies.get(name);
  }

  /** Totals since the start, of the proxies that there are now. */
  get activity(): { readonly logins: number; readonly requests: number } {
    let logins = 0;
    let requests = 0;
    for (const { counters } of this.endpoints()) {
      logins += counters.clientConnectionsSetupSucceeded;
      requests += counters.queryRequests;
    }
    return { logins, requests };
  }

  *targets() {
    for (const proxy of this.proxies.values()) yield* proxy.targetReadings();
  }

  /** Of all proxies, or of the one called `name`; undefined when there is none of that name. */
  describeSessions(
    name: string | undefined,
    { isPinnedOnly, limit }: SessionQuery,
  ): Listing<SessionDescription> | undefined {
    const items: SessionDescription[] = [];
    let total = 0;
    const proxies = this.named(name);
    for (const proxy of proxies ?? []) {
      const found = proxy.describeSessions({ isPinnedOnly, limit: limit - items.length });
      items.push(...found.items);
      total += found.total;
    }
    return proxies && { items, total };
  }

  describePools(name: string | undefined): readonly PoolDescription[] | undefined {
    return this.named(name)?.flatMap((proxy) => proxy.describePools());
  }

  /** One that is retiring still has its clients, and may have a successor of the same name. */
  private named(name: string | undefined): readonly DatabaseProxy[] | undefined {
    const all = [...this.everyProxy()];
    if (name === undefined) return all;
    const named = all.filter((proxy) => proxy.name === name);
    return named.length === 0 ? undefined : named;
  }

  private bringUp(wanted: DBProxy, surroundings: Surroundings): void {
    const existing = this.proxies.get(wanted.DBProxyName);
    if (existing !== undefined) {
      existing.configure(wanted, surroundings);
      return;
    }
    const proxy = new DatabaseProxy(wanted, surroundings, this.dependencies);
    proxy.open();
    this.proxies.set(wanted.DBProxyName, proxy);
  }

  /** Its addresses are free at once; its clients finish what they are at. */
  private retire(name: string, proxy: DatabaseProxy, drainTimeoutMs: number): void {
    const { wheel } = this.dependencies;
    this.proxies.delete(name);
    this.retiring.add(proxy);
    const deadline = new Timer(() => this.stopRetired(proxy));
    wheel.arm(deadline, drainTimeoutMs);
    void proxy.drain().then(() => {
      wheel.disarm(deadline);
      this.stopRetired(proxy);
    });
  }

  private stopRetired(proxy: DatabaseProxy): void {
    if (!this.retiring.delete(proxy)) return;
    const { clientsCut } = proxy.stop();
    this.dependencies.observer.emit({ event: 'proxy.stopped', proxy: proxy.name, clientsCut });
  }

  private *everyProxy(): Generator<DatabaseProxy> {
    yield* this.proxies.values();
    yield* this.retiring;
  }
}
