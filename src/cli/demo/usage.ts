/** What Berth itself did and needed during one run. */

import { PIN_REASONS, type PinReason } from '../../observe/reasons.ts';
import type { DemoBerth } from './berth.ts';

export interface Usage {
  readonly borrows: number;
  /** Borrows that found all connections taken. */
  readonly waits: number;
  readonly waitedMs: number;
  /** Clients that waited at the same time, at most. */
  readonly waitingMost: number;
  readonly pins: readonly { readonly reason: PinReason; readonly count: number }[];
  /** Processor time of this process: Berth, and a little for the demo's own display. */
  readonly cpuMs: number;
  readonly durationMs: number;
  readonly memoryBytes: number;
  /** What Berth logged as a warning or an error, pins aside. */
  readonly complaints: readonly string[];
}

/** Measures from its construction on. */
export class UsageMeter {
  private readonly berth: DemoBerth;
  private readonly cpuAtStart = process.cpuUsage();
  private readonly startedAt = performance.now();
  private waitingMost = 0;

  constructor(berth: DemoBerth) {
    this.berth = berth;
  }

  /** Looks at the queue; returns how many clients wait in it now. */
  look(): number {
    const { queueDepth } = this.berth.read().gauges;
    this.waitingMost = Math.max(this.waitingMost, queueDepth);
    return queueDepth;
  }

  finish(): Usage {
    const { user, system } = process.cpuUsage(this.cpuAtStart);
    const { endpoint, target } = this.berth.read();
    return {
      borrows: endpoint.borrows,
      waits: target.connectionPoolFullCount,
      waitedMs: endpoint.borrowLatencyMicros / 1000,
      waitingMost: this.waitingMost,
      pins: PIN_REASONS.map((reason) => ({ reason, count: endpoint.pins[reason] })).filter(
        ({ count }) => count > 0,
      ),
      cpuMs: (user + system) / 1000,
      durationMs: performance.now() - this.startedAt,
      memoryBytes: process.memoryUsage.rss(),
      complaints: [...this.berth.journal.complaints],
    };
  }
}
