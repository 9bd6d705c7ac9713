/**
 * A real cluster for tests: a writer and its replicas, all on this machine, and what an orchestrator, an operator
 * or bad luck does to them. What is the same for all engines is here; the roles are a subclass's.
 *
 * Nothing here decides anything by itself: a writer that is killed stays dead, and its replicas stay replicas,
 * until a test says `failOver` or `promote`.
 */

import { chooseAccount } from '../../../src/embedded/account.ts';
import { makeServerFolder, removeServerFolder } from '../../../src/embedded/folder.ts';
import { type Keeper, keepFolder } from '../../../src/embedded/keeper.ts';
import { EVENT_DEADLINE_MS } from '../deadline.ts';

export type ClusterEngine = 'postgres' | 'mariadb' | 'mysql';

/** What the throwaway servers of all engines have. */
export interface ClusterServer {
  readonly port: number;
  readonly isRunning: boolean;
  readonly exited: Promise<void>;
  readonly log: string;
  kill(signal: NodeJS.Signals): void;
  killAll(signal: NodeJS.Signals): void;
  shutDown(mode: 'fast' | 'immediate'): Promise<void>;
  startUp(): Promise<void>;
  stop(): Promise<void>;
}

export interface Member<Server extends ClusterServer = ClusterServer> {
  /** Also its DBInstanceIdentifier in the configuration of a proxy. */
  readonly name: string;
  readonly server: Server;
  /** Stays the same over all restarts. */
  readonly port: number;
}

export interface ClusterOptions {
  /** Default: 2. */
  readonly replicas?: number;
  /**
   * A commit is acknowledged when a replica has it as well, so what a client was told is on the new writer, whoever
   * that is. A writer without a replica then commits nothing. Default: false.
   */
  readonly isSynchronous?: boolean;
  /** A commit waits for the disk. Default: false. */
  readonly isDurable?: boolean;
}

export type Rows = readonly (readonly (string | null)[])[];

export abstract class Cluster<Server extends ClusterServer = ClusterServer> {
  abstract readonly engine: ClusterEngine;
  readonly members: readonly Member<Server>[];
  readonly isSynchronous: boolean;
  readonly #templates: Templates;
  #writer: Member<Server>;
  /** Members that do not replicate from the writer. */
  readonly #detached = new Set<Member<Server>>();
  readonly #hung = new Set<Member<Server>>();

  protected constructor(
    members: readonly [Member<Server>, ...Member<Server>[]],
    templates: Templates,
    { isSynchronous = false }: ClusterOptions,
  ) {
    this.members = members;
    this.#writer = members[0];
    this.#templates = templates;
    this.isSynchronous = isSynchronous;
  }

  /** The member that was promoted last, in whatever state it is. */
  get writer(): Member<Server> {
    return this.#writer;
  }

  /** All others. */
  get others(): Member<Server>[] {
    return this.members.filter((member) => member !== this.#writer);
  }

  /** Those of the others that run and replicate. */
  get replicas(): Member<Server>[] {
    return this.others.filter(
      (member) => member.server.isRunning && !this.#hung.has(member) && !this.#detached.has(member),
    );
  }

  /** The nth replica, in the order of `members`. */
  replica(index: number): Member<Server> {
    const member = this.replicas[index];
    if (member === undefined) throw new Error(`the cluster has no replica ${index}`);
    return member;
  }

  /** Runs SQL as the administrator, past any proxy. Returns the rows of all results. */
  abstract query(member: Member<Server>, sql: string): Promise<Rows>;

  /** Whether it is a replica, or takes no writes for another reason, by its own account. */
  abstract isReadOnly(member: Member<Server>): Promise<boolean>;

  /** Makes a replica the writer. Nobody tells the old writer, and nobody follows the new one. */
  async promote(member: Member<Server>): Promise<void> {
    await this.takeWrites(member);
    this.#detached.delete(member);
    for (const other of this.members) if (other !== member) this.#detached.add(other);
    this.#writer = member;
  }

  /** Makes a replica replicate from the writer. Resolves when it does. */
  async follow(member: Member<Server>): Promise<void> {
    await this.replicate(member, this.#writer);
    this.#detached.delete(member);
    await this.untilReplicating(member, this.#writer);
  }

  /** A replica replicates no more, and stays where it is. */
  async detach(member: Member<Server>): Promise<void> {
    await this.stopReplicating(member);
    this.#detached.add(member);
  }

  /** Makes a member, in whatever state it is, a replica of the writer with nothing of its own. */
  async rejoin(member: Member<Server>): Promise<void> {
    if (member === this.#writer) throw new Error('the writer cannot rejoin');
    await this.kill(member);
    await this.startAfresh(member, this.#writer);
    this.#detached.delete(member);
    await this.untilReplicating(member, this.#writer);
    await this.secure();
  }

  /** What an orchestrator does: promotes the replica that has most, has the others follow, and secures commits. */
  async failOver(to?: Member<Server>): Promise<Member<Server>> {
    const chosen = to ?? (await this.mostAdvanced());
    const followers = this.replicas.filter((member) => member !== chosen);
    await this.promote(chosen);
    await this.settle(followers);
    return chosen;
  }

  /** After a promotion: these replicas follow the new writer. */
  async settle(followers: readonly Member<Server>[]): Promise<void> {
    await Promise.all(followers.map((member) => this.follow(member)));
    await this.secure();
  }

  /**
   * A planned switch, when nobody writes: the old writer ends cleanly, the new one has all of it, and the old one
   * comes back as a replica.
   */
  async switchOver(to?: Member<Server>): Promise<Member<Server>> {
    const old = this.#writer;
    const chosen = to ?? this.replica(0);
    await this.untilCaughtUp();
    await this.shutDown(old);
    await this.failOver(chosen);
    await this.demote(old);
    return chosen;
  }

  /** A writer that has ended cleanly, and has nothing that the new one does not have, comes back as a replica. */
  async demote(member: Member<Server>): Promise<void> {
    await this.startAsReplica(member, this.#writer);
    this.#detached.delete(member);
    await this.untilReplicating(member, this.#writer);
    await this.secure();
  }

  /** SIGKILL to all its processes. */
  async kill(member: Member<Server>): Promise<void> {
    this.#hung.delete(member);
    if (!member.server.isRunning) return;
    member.server.killAll('SIGKILL');
    await member.server.exited;
  }

  /** SIGSTOP to all its processes: its sockets stay open, and nothing answers. */
  hang(member: Member<Server>): void {
    this.#hung.add(member);
    member.server.killAll('SIGSTOP');
  }

  /** The end of `hang`. */
  wake(member: Member<Server>): void {
    this.#hung.delete(member);
    member.server.killAll('SIGCONT');
  }

  /** A clean shutdown, which disconnects clients. */
  async shutDown(member: Member<Server>): Promise<void> {
    await member.server.shutDown('fast');
  }

  /** Starts a member that has ended, as what it was: who replicated goes on. */
  async startUp(member: Member<Server>): Promise<void> {
    await member.server.startUp();
    if (member === this.#writer || this.#detached.has(member)) return;
    await this.goOnReplicating(member);
    await this.untilReplicating(member, this.#writer);
  }

  /** Of these replicas, the one that has received most. */
  async mostAdvanced(replicas = this.replicas): Promise<Member<Server>> {
    const positions = await Promise.all(
      replicas.map(async (member) => ({ member, position: await this.received(member) })),
    );
    const [first, ...rest] = positions;
    if (first === undefined) throw new Error('the cluster has no replica to promote');
    return rest.reduce((most, next) => (next.position > most.position ? next : most), first).member;
  }

  /** Resolves when all replicas have what the writer has now. */
  async untilCaughtUp(deadlineMs = EVENT_DEADLINE_MS): Promise<void> {
    await this.untilApplied(this.replicas, deadlineMs);
  }

  /** Ends all members, whatever their state, and removes their files. */
  async stop(): Promise<void> {
    await Promise.all(
      this.members.map(async (member) => {
        await this.kill(member);
        await member.server.stop();
      }),
    );
    this.#templates.remove();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  /** Tells a writer that runs to take no more writes, as a planned switch begins. Connections stay. */
  abstract stopWrites(member: Member<Server>): Promise<void>;

  /** A number that grows with what a replica has received. */
  protected abstract received(member: Member<Server>): Promise<number>;
  protected abstract takeWrites(member: Member<Server>): Promise<void>;
  protected abstract replicate(member: Member<Server>, from: Member<Server>): Promise<void>;
  protected abstract goOnReplicating(member: Member<Server>): Promise<void>;
  protected abstract stopReplicating(member: Member<Server>): Promise<void>;
  protected abstract startAfresh(member: Member<Server>, from: Member<Server>): Promise<void>;
  protected abstract startAsReplica(member: Member<Server>, from: Member<Server>): Promise<void>;
  protected abstract untilReplicating(member: Member<Server>, from: Member<Server>): Promise<void>;
  protected abstract untilApplied(
    members: readonly Member<Server>[],
    deadlineMs: number,
  ): Promise<void>;
  /** Commits of the writer wait for nobody, until a replica rejoins or the writer is another. */
  abstract relax(): Promise<void>;
  /** From now on the writer waits for a replica, if that is how the cluster is to be. */
  protected abstract secure(): Promise<void>;
}

/** Where the data directories come from that all members begin with: the test run's folder, or one of our own. */
export interface Templates {
  readonly directory: string;
  remove(): void;
}

export async function makeTemplates(account = chooseAccount()): Promise<Templates> {
  const shared = process.env.BERTH_TEST_TEMPLATES;
  if (shared !== undefined) return { directory: shared, remove: () => undefined };
  const directory = await makeServerFolder(account, 'berth-cluster-');
  const keeper: Keeper = keepFolder(directory);
  return { directory, remove: () => removeServerFolder(directory, keeper) };
}
