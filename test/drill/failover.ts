/**
 * One failover under load, from a cluster that is well to one that is well again: the fault, a promotion as an
 * orchestrator does it, the clients' recovery, a look at what the old writer was sent meanwhile, and its return
 * as a replica.
 */

import type { Cluster, Member } from '../harness/cluster/cluster.ts';
import { eventually } from '../harness/polling.ts';
import type { Write } from './books.ts';
import { now, pause } from './clock.ts';
import { type Connection, connect } from './connection.ts';
import { FAULTS, type FaultName, type Stage } from './faults.ts';
import type { Load, Outage } from './load.ts';
import { sqlOf } from './tables.ts';

export interface FailoverOptions {
  readonly stage: Stage;
  readonly load: Load;
  readonly fault: FaultName;
  /** How long the orchestrator thinks before it promotes. */
  readonly promoteAfterMs: number;
}

/** All times are in ms after the fault. */
export interface Failover {
  readonly fault: FaultName;
  readonly from: string;
  readonly to: string;
  /** As `now`. */
  readonly at: number;
  /** The orchestrator has chosen. */
  readonly promotedMs: number;
  /** The new writer took a write of ours, tried every few ms. */
  readonly acceptedMs: number;
  readonly proxied: Outage;
  readonly direct: Outage;
  /** Client connections that were lost. */
  readonly lost: number;
  readonly idleProblems: readonly string[];
  /** Writes that were begun when the new writer was there, and reached the old one. */
  readonly strays: readonly string[];
}

/** Those without a proxy may never come back by themselves: to a writer that is there and hangs, for example. */
const DIRECT_DEADLINE_MS = 15_000;
const PROBE_EVERY_MS = 2;
const PROBE_DEADLINE_MS = 30_000;

export async function failOver(options: FailoverOptions): Promise<Failover> {
  const { stage, load, promoteAfterMs } = options;
  const { cluster } = stage;
  const fault = FAULTS[options.fault];
  const old = cluster.writer;
  const lostBefore = load.lost;
  await load.untilAllWrite(now());
  const probes = await connectToEach(cluster, cluster.replicas);
  const at = now();
  const inflicted = fault.inflict(stage, old);
  await pause(promoteAfterMs);
  const replicas = [...cluster.replicas];
  if (fault.isOldAlive) await Promise.all(replicas.map((member) => cluster.detach(member)));
  const chosen = await cluster.mostAdvanced(replicas);
  const promotedMs = now() - at;
  const accepted = untilAccepted(cluster, probes.get(chosen));
  await cluster.promote(chosen);
  const others = replicas.filter((member) => member !== chosen);
  const followed = Promise.all(others.map((member) => cluster.follow(member)));
  const acceptedMs = (await accepted) - at;
  await load.untilAllWrite(at + acceptedMs, load.proxied);
  const recovered = now();
  await Promise.race([load.untilAllWrite(at + acceptedMs, load.direct), pause(DIRECT_DEADLINE_MS)]);
  await Promise.all([followed, inflicted]);
  // Not before: commits wait for replicas that catch up then, however they come.
  await cluster.settle([]);
  for (const probe of probes.values()) probe.destroy();
  const idleProblems = await load.checkIdle();
  const strays = await findStrays(options, old, recovered);
  await cluster.rejoin(old);
  return {
    fault: options.fault,
    from: old.name,
    to: chosen.name,
    at,
    promotedMs,
    acceptedMs,
    proxied: load.outageOf(load.proxied, at, at + acceptedMs),
    direct: load.outageOf(load.direct, at, at + acceptedMs),
    lost: load.lost - lostBefore,
    idleProblems,
    strays,
  };
}

async function connectToEach(
  cluster: Cluster,
  members: readonly Member[],
): Promise<Map<Member, Connection>> {
  const connections = new Map<Member, Connection>();
  for (const member of members) {
    const address = { host: '127.0.0.1', port: member.port };
    const connection = await connect(cluster.engine, address, { deadlineMs: PROBE_DEADLINE_MS });
    connections.set(member, connection);
  }
  return connections;
}

/** Resolves with the moment at which a write, past any proxy, succeeded. */
async function untilAccepted(
  cluster: Cluster,
  connection: Connection | undefined,
): Promise<number> {
  if (connection === undefined) throw new Error('the new writer cannot be probed');
  const { probe } = sqlOf(cluster.engine);
  const deadline = now() + PROBE_DEADLINE_MS;
  for (;;) {
    try {
      await connection.query(probe);
      return now();
    } catch (error) {
      if (now() > deadline || connection.isLost) throw error;
    }
    await pause(PROBE_EVERY_MS);
  }
}

/**
 * What the old writer has that was begun after all clients were on the new one. It is asked when it answers
 * again, and everybody has written once more: long enough for whoever might still be drawn to it.
 */
async function findStrays(
  { stage, load, fault }: FailoverOptions,
  old: Member,
  recovered: number,
): Promise<string[]> {
  await FAULTS[fault].heal(stage, old);
  await load.untilAllWrite(now(), load.proxied);
  const { cluster } = stage;
  const names = new Set(load.proxied.map(({ name }) => name));
  const isProxied = ({ client }: Write) => names.has(client);
  const rows = await eventually(
    () => cluster.query(old, sqlOf(cluster.engine).rowsById).catch(() => undefined),
    `${old.name} answers again`,
  );
  return rows.flatMap(([id]) => {
    const write = load.books.writes.get(id ?? '');
    const isStray = write !== undefined && isProxied(write) && write.begun > recovered;
    return isStray ? [write.id] : [];
  });
}
