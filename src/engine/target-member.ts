/**
 * One DB instance of the target of a proxy, as its engine sees it: where it is, the pools of connections to
 * it with a limit of their own, and how to look at it. What is the same for all instances of the target is
 * the engine's.
 */

import type { DatabaseCloseReason } from '../observe/reasons.ts';
import { ConnectionBudget, type ConnectionLimits } from '../pool/budget.ts';
import type { Connector, PooledConnection } from '../pool/contract.ts';
import type { Pool } from '../pool/pool.ts';
import { PoolGroup } from '../pool/pool-group.ts';
import type { PoolKey } from '../pool/pool-host.ts';
import type { Observation } from '../target/monitor.ts';
import type {
  Activity,
  DatabaseTls,
  EngineMember,
  EngineSettings,
  MemberOptions,
} from './contract.ts';
import type { DatabaseUser } from './database-passwords.ts';
import type { EngineTarget, PlaceOptions } from './target-place.ts';
import { TargetPools } from './target-pools.ts';
import { type OpenWatch, Watch, type WatchCallbacks } from './target-watch.ts';

/** What a member needs of its engine. */
export interface MemberHost<C extends PooledConnection, T extends EngineTarget> {
  readonly proxy: string;
  readonly wheel: EngineTarget['wheel'];
  readonly observer: EngineTarget['observer'];
  readonly settings: EngineSettings;
  newContext(place: PlaceOptions): T;
  connectorFor(context: T, key: PoolKey, pool: Pool<C>): Connector<C>;
  /** Looks at the instance, by a log-in that the engine has. */
  look(member: TargetMember<C, T>): Promise<Observation | undefined>;
  /** Opens a connection that is asked again and again. */
  openWatch(
    login: DatabaseUser,
    context: T,
    callbacks: WatchCallbacks,
  ): { readonly abandon: () => void };
  gauges(member: TargetMember<C, T>, isAvailable: boolean): ReturnType<EngineMember['gauges']>;
  /** What connections to it are opened with has changed. */
  resecured(member: TargetMember<C, T>): void;
}

export class TargetMember<C extends PooledConnection, T extends EngineTarget>
  implements EngineMember
{
  readonly target: string;
  readonly context: T;
  readonly budget: ConnectionBudget;
  readonly group: PoolGroup<C>;
  readonly pools: TargetPools<C>;
  /** Asks for a look before its time. */
  readonly doubted: () => void;
  /** Undefined: it is looked at by a connection for each look. */
  readonly watch: Watch | undefined;
  private readonly host: MemberHost<C, T>;
  private databaseTls: DatabaseTls;

  constructor(host: MemberHost<C, T>, options: MemberOptions) {
    const { target, address, limits, counters, doubted } = options;
    const { proxy, wheel, observer, settings } = host;
    this.host = host;
    this.target = target;
    this.doubted = doubted;
    this.databaseTls = options.databaseTls;
    const tlsInForce = () => this.databaseTls;
    this.context = host.newContext({
      proxy,
      target,
      address,
      wheel,
      observer,
      counters,
      doubted,
      tlsInForce,
    });
    this.budget = new ConnectionBudget(limits);
    this.group = new PoolGroup<C>({
      target,
      budget: this.budget,
      wheel,
      settings: settings.pool,
      counters,
      random: Math.random,
      doubted,
      connectorFor: (key, pool) => host.connectorFor(this.context, key, pool),
    });
    this.pools = new TargetPools(proxy, this.group);
    if (options.isWatched) {
      const open: OpenWatch = (login, callbacks) => host.openWatch(login, this.context, callbacks);
      this.watch = new Watch(open, doubted);
    }
  }

  recovered(): void {
    this.group.recovered();
  }

  rest(): void {
    this.watch?.close();
  }

  get activity(): Activity {
    return { answers: this.pools.answers, isBusy: this.group.isBusy };
  }

  /** Its connections go when their borrowers are done. */
  close(reason: DatabaseCloseReason): Promise<void> {
    this.watch?.close();
    return this.group.close(reason);
  }

  probe(): Promise<Observation | undefined> {
    return this.host.look(this);
  }

  secure(databaseTls: DatabaseTls): void {
    if (isSameTls(this.databaseTls, databaseTls)) return;
    this.databaseTls = databaseTls;
    // What is open was opened as the configuration said then, and goes when its borrower is done.
    this.group.configurationChanged(() => true);
    this.host.resecured(this);
  }

  limit(limits: ConnectionLimits): void {
    this.budget.configure(limits);
  }

  gauges(isAvailable: boolean) {
    return this.host.gauges(this, isAvailable);
  }
}

function isSameTls(a: DatabaseTls, b: DatabaseTls): boolean {
  return a.connect === b.connect && a.isRequired === b.isRequired;
}
