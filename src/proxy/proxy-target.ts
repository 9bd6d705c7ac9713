/**
 * The target of one proxy: its DB instances, a monitor for each, and who of them is the writer. What the
 * monitors see makes a view (`target/topology.ts`), and the engine follows it.
 */

import { isDeepStrictEqual } from 'node:util';
import { Timer, type TimerWheel } from '../base/timer-wheel.ts';
import type {
  DatabaseTls,
  Engine,
  EngineMember,
  ReaderStanding,
  ReaderView,
  Waiting,
} from '../engine/contract.ts';
import { TargetCounters } from '../observe/counters.ts';
import type { Observer } from '../observe/events.ts';
import type { ConnectionLimits } from '../pool/budget.ts';
import { ClusterPace } from '../target/cluster-pace.ts';
import {
  Monitor,
  type Observation,
  type TargetFacts,
  type TargetHealth,
} from '../target/monitor.ts';
import { NO_VIEW, nextView, type Sight, soleView, type View } from '../target/topology.ts';
import { connectionLimits, targetAddress } from './settings.ts';
import type { DBInstance, DBProxy } from './snapshot.ts';
import { databaseTls, isSameTls } from './tls.ts';

/** After a pause who waits goes on waiting for so long until all DB instances of a cluster have been looked at. */
const LOOK_AROUND_MS = 2_000;

/** The role of a DB instance, in RDS Proxy's words. */
export type MemberRole = 'READ_WRITE' | 'READ_ONLY' | 'UNKNOWN';

export interface MemberState {
  readonly target: string;
  readonly role: MemberRole;
  readonly health: TargetHealth;
}

export interface ProxyTargetOptions {
  readonly proxy: string;
  readonly wheel: TimerWheel;
  readonly observer: Observer;
}

/** Connections to each member of a cluster that are kept free for questions. */
const WATCHES_PER_MEMBER = 1;

interface Member {
  instance: DBInstance;
  databaseTls: DatabaseTls;
  readonly isWatched: boolean;
  readonly counters: TargetCounters;
  readonly engine: EngineMember;
  readonly monitor: Monitor;
  /** What it said last that it allows. */
  facts: TargetFacts | undefined;
  sight: Sight;
}

export class ProxyTarget {
  private readonly options: ProxyTargetOptions;
  private spec: DBProxy;
  private readonly waitingCounters = new TargetCounters();
  private readonly members = new Map<string, Member>();
  private view: View = NO_VIEW;
  private engine: Engine | undefined = undefined;
  private isStarted = false;
  private isSuspended = false;
  private known: (() => void) | undefined = undefined;
  private readonly knownSoon = new Timer(() => this.allKnown());
  /** When the writer was lost last. */
  private writerlessSince = 0;
  /** Of a cluster: when its members are looked at. */
  private readonly pace = new ClusterPace({
    members: () => this.members.values(),
    writer: () => this.memberOf(this.view.writer),
  });

  constructor(spec: DBProxy, options: ProxyTargetOptions) {
    this.options = options;
    this.spec = spec;
  }

  /** Where clients wait while there is no writer. */
  get waiting(): Waiting {
    const { name: target, waitingCounters: counters } = this;
    return { target, counters, reason: () => `it has no writer: ${this.view.why}.` };
  }

  /** Where those who only read wait while there is no reader for them. */
  get waitingToRead(): Waiting {
    return { ...this.waiting, reason: () => `no reader can be used now: ${this.whyNoReader}.` };
  }

  private get whyNoReader(): string {
    const { readers, writer } = this.view;
    if (readers.length > 0) return 'those that answer have not replayed what was read before';
    const others = [...this.members.keys()].filter((id) => id !== writer);
    return `of ${others.join(', ')} none answers as a reader`;
  }

  /** That of the cluster, or of the only DB instance. */
  get name(): string {
    const { DBClusterIdentifier, Members } = this.spec.Target;
    return DBClusterIdentifier ?? Members[0]?.DBInstanceIdentifier ?? '';
  }

  /** Hands its DB instances to `engine`. */
  attach(engine: Engine): void {
    this.engine = engine;
    this.configure(this.spec, 0);
  }

  /**
   * Takes effect at once. Who is connected moves with the writer; what runs at DB instances that are none
   * of the target any more has `drainTimeoutMs` to finish.
   */
  configure(spec: DBProxy, drainTimeoutMs: number): void {
    this.spec = spec;
    const { engine } = this;
    if (engine === undefined) return;
    const leaving: Member[] = [];
    for (const [name, member] of this.members) {
      const wanted = spec.Target.Members.find((each) => each.DBInstanceIdentifier === name);
      const isSame = wanted !== undefined && isSamePlace(wanted, member.instance);
      if (isSame && member.isWatched === this.isCluster) continue;
      leaving.push(member);
      this.members.delete(name);
    }
    for (const instance of spec.Target.Members) this.bringUp(engine, instance);
    this.keepPace();
    this.look();
    for (const member of leaving) {
      member.monitor.stop();
      engine.remove(member.engine, drainTimeoutMs);
    }
  }

  private bringUp(engine: Engine, instance: DBInstance): void {
    const existing = this.members.get(instance.DBInstanceIdentifier);
    if (existing === undefined) {
      this.add(engine, instance);
      return;
    }
    // The same object as before tells the engine that nothing has changed.
    if (!isSameTls(instance.Tls, existing.instance.Tls)) {
      existing.databaseTls = databaseTls(instance);
    }
    existing.instance = instance;
    existing.engine.secure(existing.databaseTls);
    existing.engine.limit(this.limits(existing.facts));
  }

  private add(engine: Engine, instance: DBInstance): void {
    const { proxy, wheel, observer } = this.options;
    const { DBInstanceIdentifier: target } = instance;
    const counters = new TargetCounters();
    const tls = databaseTls(instance);
    const prober = engine.add({
      target,
      address: targetAddress(instance),
      databaseTls: tls,
      limits: this.limits(undefined),
      isWatched: this.isCluster,
      counters,
      doubted: () => monitor.doubt(),
    });
    const noted = (observation: Observation) => this.noted(member, observation);
    const isPaced = this.isCluster;
    const monitor = new Monitor({ proxy, target, prober, wheel, observer, noted, isPaced });
    const member: Member = {
      instance,
      databaseTls: tls,
      isWatched: this.isCluster,
      counters,
      engine: prober,
      monitor,
      facts: undefined,
      sight: 'unseen',
    };
    this.members.set(target, member);
    if (this.isSuspended) monitor.suspend();
    else if (this.isStarted) monitor.start();
  }

  private limits(facts: TargetFacts | undefined): ConnectionLimits {
    const watches = this.isCluster ? WATCHES_PER_MEMBER : 0;
    return connectionLimits(this.spec.ConnectionPoolConfig, facts, watches);
  }

  private get isCluster(): boolean {
    return this.spec.Target.DBClusterIdentifier !== undefined;
  }

  start(): void {
    this.isStarted = true;
    for (const { monitor } of this.members.values()) monitor.start();
    this.keepPace();
  }

  private keepPace(): void {
    if (this.isCluster && this.isStarted && !this.isSuspended) this.pace.start();
    else this.pace.stop();
  }

  stop(): void {
    this.options.wheel.disarm(this.knownSoon);
    this.pace.stop();
    for (const { monitor } of this.members.values()) monitor.stop();
  }

  /** Nobody looks until `resume`, and the view stays what it is. */
  suspend(): void {
    this.isSuspended = true;
    this.known = undefined;
    this.options.wheel.disarm(this.knownSoon);
    this.keepPace();
    for (const { engine, monitor } of this.members.values()) {
      monitor.suspend();
      engine.rest();
    }
  }

  /**
   * Looks at all DB instances. `known` is called when it is clear who the writer is: who was before may be none
   * any more. Not after another `suspend`.
   */
  resume(known: () => void): void {
    this.isSuspended = false;
    this.keepPace();
    this.known = known;
    let unseen = this.members.size;
    for (const { monitor } of this.members.values()) {
      monitor.resume(() => {
        if (--unseen === 0) this.allKnown();
      });
    }
    // The only one there is is the writer.
    if (this.spec.Target.DBClusterIdentifier === undefined) this.allKnown();
    else this.options.wheel.arm(this.knownSoon, LOOK_AROUND_MS);
  }

  private allKnown(): void {
    const { known } = this;
    if (known === undefined) return;
    this.known = undefined;
    this.options.wheel.disarm(this.knownSoon);
    this.look();
    known();
  }

  // --- What is seen

  private noted(member: Member, observation: Observation): void {
    const isReader = member.sight !== 'silent' && this.view.readers.includes(member.engine.target);
    if (!observation.isOk) {
      // Who refuses only us may well be the writer still.
      const isNews = observation.isAlive !== true || member.sight === 'unseen';
      if (isNews) member.sight = 'silent';
    } else if (observation.facts !== undefined) {
      const { facts } = observation;
      if (member.sight === 'silent') member.engine.recovered();
      member.facts = facts;
      member.sight = facts.standing;
      member.engine.limit(this.limits(facts));
    }
    // Not out of what was seen before a pause: roles may have been exchanged meanwhile.
    if (this.known === undefined) this.look();
    // Its clients read elsewhere now; what it was asked before may never be answered.
    if (isReader && member.sight === 'silent') this.engine?.fence(member.engine);
  }

  private look(): void {
    const { engine } = this;
    const before = this.view;
    const rolesBefore = this.states;
    this.view = this.viewAfter(before);
    const { writer, fenced } = this.view;
    this.tellRoles(rolesBefore);
    this.tellFailover(before);
    // Before anybody is cut off, so that whoever is told of it borrows elsewhere.
    engine?.follow(this.memberOf(writer)?.engine);
    engine?.followReaders(this.readerView);
    const cutOff = this.memberOf(fenced);
    if (cutOff !== undefined) engine?.fence(cutOff.engine);
  }

  private get readerView(): ReaderView {
    const readers: ReaderStanding[] = [];
    for (const id of this.view.readers) {
      const member = this.members.get(id);
      if (member === undefined || typeof member.sight === 'string') continue;
      const { position, lagMs } = member.sight;
      const maxConnections = member.facts?.maxConnections ?? 1;
      readers.push({ member: member.engine, position, lagMs, maxConnections });
    }
    const writer = this.memberOf(this.view.writer);
    const sight = typeof writer?.sight === 'string' ? undefined : writer?.sight;
    return {
      readers,
      writer: writer && { member: writer.engine, position: sight?.position },
      hasReaders: this.members.size > 1,
    };
  }

  private tellRoles(before: readonly MemberState[]): void {
    if (!this.isCluster) return;
    const { proxy, observer } = this.options;
    for (const { target, role } of this.states) {
      const former = before.find((each) => each.target === target)?.role ?? 'UNKNOWN';
      if (former === role) continue;
      const { why } = this.view;
      observer.emit({ event: 'target.role_changed', proxy, target, role, why });
    }
  }

  /** The first writer of all is none that anybody has failed over to. */
  private tellFailover(before: View): void {
    const { writer: to, why } = this.view;
    const from = before.memory.last;
    if (!this.isCluster || from === undefined || to === before.writer) return;
    const { proxy, observer } = this.options;
    const scope = { proxy, target: this.name, from, why };
    if (to === undefined) {
      this.writerlessSince = performance.now();
      observer.emit({ ...scope, event: 'failover.began' });
      return;
    }
    const writerlessMs = before.writer === undefined ? performance.now() - this.writerlessSince : 0;
    observer.emit({ ...scope, event: 'failover.ended', to, durationMs: Math.round(writerlessMs) });
    const member = this.memberOf(to);
    if (to !== from && member !== undefined) member.counters.failovers++;
  }

  private viewAfter(before: View): View {
    const { DBClusterIdentifier, Members } = this.spec.Target;
    const [sole] = Members;
    if (DBClusterIdentifier === undefined && sole !== undefined) {
      return soleView(sole.DBInstanceIdentifier);
    }
    const seen = Array.from(this.members, ([id, { sight }]) => ({ id, sight }));
    return nextView(before, seen);
  }

  private memberOf(name: string | undefined): Member | undefined {
    return name === undefined ? undefined : this.members.get(name);
  }

  // --- What people ask

  /** Why it cannot serve; undefined when it can. */
  get problem(): string | undefined {
    const writer = this.memberOf(this.view.writer);
    if (writer === undefined) return `target ${this.name} has no writer: ${this.view.why}`;
    const { DBInstanceIdentifier } = writer.instance;
    return writer.monitor.isAvailable
      ? undefined
      : `target ${DBInstanceIdentifier} is not available`;
  }

  get states(): readonly MemberState[] {
    return Array.from(this.members, ([target, { monitor }]) => {
      const role = this.roleOf(target);
      return { target, role, health: this.healthOf(role, monitor) };
    });
  }

  /** Who takes writes beside the writer, or while nobody knows who that is, is of no use. */
  private healthOf(role: MemberRole, { health }: Monitor): TargetHealth {
    if (role !== 'UNKNOWN' || health.state !== 'AVAILABLE') return health;
    const { writer, why } = this.view;
    const detail = writer === undefined ? why : `it takes writes, and ${writer} is the writer`;
    return { state: 'UNAVAILABLE', reason: 'INVALID_REPLICATION_STATE', detail };
  }

  private roleOf(target: string): MemberRole {
    if (this.view.writer === target) return 'READ_WRITE';
    return this.view.readers.includes(target) ? 'READ_ONLY' : 'UNKNOWN';
  }

  *readings() {
    const { proxy } = this.options;
    for (const [target, { counters, engine, monitor }] of this.members) {
      const role = this.roleOf(target);
      const gauges = {
        ...engine.gauges(monitor.isAvailable),
        isWriter: role === 'READ_WRITE',
        isReader: role === 'READ_ONLY',
      };
      yield { proxy, target, counters, gauges };
    }
    // Of a cluster: those who wait for a writer.
    if (this.spec.Target.DBClusterIdentifier === undefined || this.engine === undefined) return;
    const waiting = this.engine.waitingGauges(this.view.writer !== undefined);
    const gauges = { ...waiting, isWriter: false, isReader: false };
    yield { proxy, target: this.name, counters: this.waitingCounters, gauges };
  }
}

/** Whether it is the same database, as far as the configuration says. */
function isSamePlace(a: DBInstance, b: DBInstance): boolean {
  return a.Engine === b.Engine && isDeepStrictEqual(a.Endpoint, b.Endpoint);
}
