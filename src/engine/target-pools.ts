/** The pools of one proxy on one target, whatever the engine: described, and looked at with a permit. */

import type { TimerWheel } from '../base/timer-wheel.ts';
import { OPEN_SOCKETS } from '../net/open-sockets.ts';
import type { TargetCounters } from '../observe/counters.ts';
import type { PoolDescription } from '../observe/descriptions.ts';
import type { ConnectionBudget } from '../pool/budget.ts';
import type { PooledConnection } from '../pool/contract.ts';
import type { PoolGroup } from '../pool/pool-group.ts';
import type { Observation } from '../target/monitor.ts';

export class TargetPools<C extends PooledConnection> {
  private readonly proxy: string;
  private readonly target: string;
  private readonly group: PoolGroup<C>;
  private readonly budget: ConnectionBudget;
  private readonly wheel: TimerWheel;
  private readonly counters: TargetCounters;
  private answersAtProbe = 0;

  constructor(proxy: string, group: PoolGroup<C>) {
    this.proxy = proxy;
    this.target = group.target;
    this.group = group;
    this.budget = group.budget;
    this.wheel = group.wheel;
    this.counters = group.counters;
  }

  describe(): readonly PoolDescription[] {
    const now = Date.now();
    const { limits, inUse } = this.budget;
    const ago = (time: number) => now - (this.wheel.now - time);
    const { heldSince } = this.group;
    const pausedSince = heldSince === undefined ? undefined : ago(heldSince);
    const targetLimits = { ...limits, inUse };
    return Array.from(this.group.all, ({ key, users, stats, oldestWaitSince }) => {
      const { waiting, ...connections } = stats;
      return {
        proxy: this.proxy,
        target: this.target,
        user: key.user,
        database: key.database,
        clients: users,
        connections,
        waiting,
        waitingSince: waiting === 0 ? undefined : ago(oldestWaitSince),
        pausedSince,
        targetLimits,
      };
    });
  }

  /** Looks at the target by `look`, if there is a permit for it; see `Prober.probe`. */
  async probe(look: () => Promise<Observation>): Promise<Observation | undefined> {
    // What this process lacks says nothing of the target.
    if (!OPEN_SOCKETS.mayConnect) return undefined;
    const answersBefore = this.answersAtProbe;
    this.answersAtProbe = this.answers;
    if (!this.budget.tryAcquire()) {
      // An answer to anybody is proof enough; an idle connection makes room for the next look.
      // Permits may also be with attempts that nobody answers, and those prove nothing.
      const hasMadeRoom = this.group.makeRoomForOne();
      if (hasMadeRoom || this.answers === answersBefore) return undefined;
      return { isOk: true, facts: undefined };
    }
    try {
      return await look();
    } finally {
      this.budget.release();
    }
  }

  /** The same by a connection that is kept, and has no permit; see `Watch`. */
  async watch(
    ask: () => Promise<Observation>,
    isConnected: boolean,
  ): Promise<Observation | undefined> {
    // What this process lacks says nothing of the target.
    if (!isConnected && !OPEN_SOCKETS.mayConnect) return undefined;
    const answersBefore = this.answers;
    const seen = await ask();
    // An answer to anybody is proof enough that it is only slow.
    const isSlow = !seen.isOk && seen.reason === 'UNREACHABLE' && this.answers > answersBefore;
    return isSlow ? undefined : seen;
  }

  /** How often the target has answered somebody. */
  get answers(): number {
    const { queryDatabaseResponses, databaseConnectionsSetupSucceeded } = this.counters;
    return queryDatabaseResponses + databaseConnectionsSetupSucceeded;
  }
}
