/**
 * What befalls a writer, as data. Some faults are the orchestrator's own: a promotion that the old writer does not
 * notice. Where the network is at fault, the proxy reaches each member by a network that can be ordered to fail.
 */

import { HostileNetwork } from '../faults/hostile-network.ts';
import type { Cluster, Member } from '../harness/cluster/cluster.ts';

export const FAULT_NAMES = ['kill', 'hang', 'stop', 'promote', 'drop', 'switchover'] as const;
export type FaultName = (typeof FAULT_NAMES)[number];

export interface Stage {
  readonly cluster: Cluster;
  readonly networks: ReadonlyMap<Member, HostileNetwork>;
}

export interface Fault {
  /** For people. */
  readonly title: string;
  readonly inflict: (stage: Stage, writer: Member) => Promise<void> | void;
  /** The old writer may still commit: its replicas leave it before one is promoted. */
  readonly isOldAlive: boolean;
  /** The proxy's connections to the old writer break, or do not answer. */
  readonly isNoticed: boolean;
  /** The old writer refuses writes until the proxy goes elsewhere: who tries again at once is told again. */
  readonly isRefusing: boolean;
  /** What makes it possible to ask the old writer what it has. */
  readonly heal: (stage: Stage, old: Member) => Promise<void> | void;
}

const nothing = () => undefined;

export const FAULTS: Readonly<Record<FaultName, Fault>> = {
  kill: {
    title: 'the writer is killed (SIGKILL)',
    inflict: ({ cluster }, writer) => cluster.kill(writer),
    isOldAlive: false,
    isNoticed: true,
    isRefusing: false,
    heal: ({ cluster }, old) => cluster.startUp(old),
  },
  hang: {
    title: 'the writer hangs with its sockets open (SIGSTOP)',
    inflict: ({ cluster }, writer) => cluster.hang(writer),
    isOldAlive: true,
    isNoticed: true,
    isRefusing: false,
    heal: ({ cluster }, old) => cluster.wake(old),
  },
  stop: {
    title: 'the writer is shut down cleanly',
    inflict: ({ cluster }, writer) => cluster.shutDown(writer),
    // MySQL takes seconds to end.
    isOldAlive: true,
    isNoticed: true,
    isRefusing: false,
    heal: ({ cluster }, old) => cluster.startUp(old),
  },
  promote: {
    title: 'a replica is promoted, and nobody tells the writer',
    inflict: nothing,
    isOldAlive: true,
    isNoticed: false,
    isRefusing: false,
    heal: nothing,
  },
  drop: {
    title: 'nothing that is sent to the writer arrives',
    inflict: (stage, writer) => networkOf(stage, writer).stall(),
    isOldAlive: true,
    isNoticed: true,
    isRefusing: false,
    heal: (stage, old) => networkOf(stage, old).flow(),
  },
  switchover: {
    title: 'the writer is told to be read-only, and a replica is promoted',
    inflict: ({ cluster }, writer) => cluster.stopWrites(writer),
    isOldAlive: true,
    isNoticed: true,
    isRefusing: true,
    heal: nothing,
  },
};

export function networkOf({ networks }: Stage, member: Member): HostileNetwork {
  const network = networks.get(member);
  if (network === undefined) throw new Error(`${member.name} has no network of its own`);
  return network;
}

/** A network for each member, between it and the proxy. */
export async function startNetworks(cluster: Cluster): Promise<Map<Member, HostileNetwork>> {
  const networks = new Map<Member, HostileNetwork>();
  for (const member of cluster.members) {
    networks.set(member, await HostileNetwork.start(member.port));
  }
  return networks;
}
