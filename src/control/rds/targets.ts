/** Target groups and targets: their Describe and Modify, RegisterDBProxyTargets, DeregisterDBProxyTargets. */

import type { EngineFamily } from '../../proxy/snapshot.ts';
import { Fault } from '../aws/fault.ts';
import { poolSettings } from '../state/desired-state.ts';
import { ENGINE_FAMILIES } from '../state/engine-families.ts';
import type { DBClusterRecord, PoolConfigRecord, ProxyRecord } from '../state/records.ts';
import {
  DEFAULT_GROUP,
  memberAnswer,
  REGISTERING,
  stateOf,
  targetAnswer,
  targetGroupAnswer,
  trackedClusterAnswer,
} from './answers.ts';
import {
  findCluster,
  findInstance,
  findOwnProxy,
  findProxy,
  now,
  operation,
  type RdsContext,
} from './operation.ts';
import { page } from './page.ts';
import { integer, listOf, members, oneOf, paging, text } from './parameters.ts';

/** As in RDS Proxy, a proxy is for one database. */
const TARGETS_MAX = 1;

export const describeDBProxyTargetGroups = operation(
  members({ DBProxyName: text(255), TargetGroupName: text(255).optional(), ...paging }),
  ({ DBProxyName, TargetGroupName, ...paging }, context) => {
    const { record } = findProxy(context, DBProxyName);
    checkGroup(TargetGroupName);
    const { items, Marker } = page([record], ({ name }) => name, paging);
    return {
      TargetGroups: items.map((each) => targetGroupAnswer(each, context.state.owner)),
      Marker,
    };
  },
);

export const modifyDBProxyTargetGroup = operation(
  members({
    DBProxyName: text(255),
    TargetGroupName: text(255),
    ConnectionPoolConfig: members({
      MaxConnectionsPercent: integer(1, 100).optional(),
      MaxIdleConnectionsPercent: integer(0, 100).optional(),
      ConnectionBorrowTimeout: integer(0, 300).optional(),
      SessionPinningFilters: listOf(oneOf(['EXCLUDE_VARIABLE_SETS']), 1).optional(),
      InitQuery: text(16_384).optional(),
    }).optional(),
    NewName: text(255).optional(),
  }),
  (parameters, context) => {
    const { state } = context;
    const before = findOwnProxy(context, parameters.DBProxyName);
    checkGroup(parameters.TargetGroupName);
    if (parameters.NewName !== undefined && parameters.NewName !== DEFAULT_GROUP) {
      throw new Fault('InvalidParameterValue', 'The default target group cannot be renamed.');
    }
    const { ConnectionPoolConfig: asked = {} } = parameters;
    const config = merge(before.targetGroup.config, asked, before.engineFamily);
    const targetGroup = { ...before.targetGroup, config, updatedAt: now() };
    const record: ProxyRecord = { ...before, targetGroup };
    state.commit({ put: record });
    return { DBProxyTargetGroup: targetGroupAnswer(record, state.owner) };
  },
);

/** What is not said stays as it is; an empty InitQuery is none. */
function merge(
  before: PoolConfigRecord,
  asked: { readonly [Key in keyof PoolConfigRecord]: PoolConfigRecord[Key] | undefined },
  family: EngineFamily,
): PoolConfigRecord {
  const { InitQuery, ...numbers } = { ...before, ...definedOf(asked) };
  const config = { ...numbers, ...(InitQuery ? { InitQuery } : {}) };
  const { MaxConnectionsPercent: most, MaxIdleConnectionsPercent: idle } = poolSettings(config);
  if (family !== 'MYSQL' && config.SessionPinningFilters?.length) {
    throw new Fault(
      'InvalidParameterValue',
      'EXCLUDE_VARIABLE_SETS is for EngineFamily MYSQL only.',
    );
  }
  if (idle <= most) return config;
  throw new Fault(
    'InvalidParameterValue',
    `MaxIdleConnectionsPercent must not be larger than MaxConnectionsPercent, and ${idle} is larger than ${most}.`,
  );
}

function definedOf({
  MaxConnectionsPercent,
  MaxIdleConnectionsPercent,
  ConnectionBorrowTimeout,
  SessionPinningFilters,
  InitQuery,
}: {
  readonly [Key in keyof PoolConfigRecord]: PoolConfigRecord[Key] | undefined;
}): PoolConfigRecord {
  return {
    ...(MaxConnectionsPercent === undefined ? {} : { MaxConnectionsPercent }),
    ...(MaxIdleConnectionsPercent === undefined ? {} : { MaxIdleConnectionsPercent }),
    ...(ConnectionBorrowTimeout === undefined ? {} : { ConnectionBorrowTimeout }),
    ...(SessionPinningFilters === undefined ? {} : { SessionPinningFilters }),
    ...(InitQuery === undefined ? {} : { InitQuery }),
  };
}

interface TargetNames {
  readonly DBInstanceIdentifiers: readonly string[];
  readonly DBClusterIdentifiers: readonly string[];
}

const targetNames = {
  DBProxyName: text(255),
  TargetGroupName: text(255).optional(),
  DBInstanceIdentifiers: listOf(text(255, 1), 100).default([]),
  DBClusterIdentifiers: listOf(text(255, 1), 100).default([]),
};

export const registerDBProxyTargets = operation(members(targetNames), (parameters, context) => {
  const { state } = context;
  const before = findOwnProxy(context, parameters.DBProxyName);
  checkGroup(parameters.TargetGroupName);
  if (parameters.DBClusterIdentifiers.length > 0)
    return registerCluster(before, parameters, context);
  const names = [...new Set(namesOf(parameters))];
  const instances = names.map((name) => findInstance(context, name).record);
  const { targets } = before.targetGroup;
  for (const { name, engine } of instances) {
    if (targets.includes(name)) {
      throw new Fault(
        'DBProxyTargetAlreadyRegisteredFault',
        `DB instance ${name} is registered with DB proxy ${before.name} already.`,
      );
    }
    if (!ENGINE_FAMILIES[before.engineFamily].engines.includes(engine)) {
      throw new Fault(
        'InvalidDBInstanceState',
        `DB instance ${name} has the engine ${engine}, which is not of EngineFamily ${before.engineFamily}.`,
      );
    }
  }
  if (targets.length + names.length > TARGETS_MAX) throw hasTarget();
  checkHasNoCluster(before);
  state.commit({ put: withTargets(before, [...targets, ...names]) });
  return {
    DBProxyTargets: instances.map((instance) =>
      targetAnswer(instance.name, instance, state.owner, {
        role: 'READ_WRITE',
        health: REGISTERING,
      }),
    ),
  };
});

function hasTarget(): Fault {
  return new Fault(
    'InvalidDBProxyStateFault',
    'A DB proxy has at most 1 DB instance or 1 DB cluster: deregister the one that it has first.',
  );
}

function checkHasNoCluster({ targetGroup }: ProxyRecord): void {
  if (targetGroup.clusterId !== undefined) throw hasTarget();
}

function registerCluster(
  before: ProxyRecord,
  { DBClusterIdentifiers, DBInstanceIdentifiers }: TargetNames,
  context: RdsContext,
) {
  const { state } = context;
  const names = [...new Set(DBClusterIdentifiers)];
  const [cluster, ...others] = names.map((name) => findCluster(context, name));
  if (cluster === undefined || others.length > 0 || DBInstanceIdentifiers.length > 0) {
    throw new Fault(
      'InvalidParameterCombination',
      'A DB proxy is for one DB instance or one DB cluster.',
    );
  }
  const { clusterId, targets } = before.targetGroup;
  if (clusterId === cluster.id) {
    throw new Fault(
      'DBProxyTargetAlreadyRegisteredFault',
      `DB cluster ${cluster.name} is registered with DB proxy ${before.name} already.`,
    );
  }
  if (clusterId !== undefined || targets.length > 0) throw hasTarget();
  if (!ENGINE_FAMILIES[before.engineFamily].engines.includes(cluster.engine)) {
    throw new Fault(
      'InvalidDBClusterStateFault',
      `DB cluster ${cluster.name} has the engine ${cluster.engine}, which is not of EngineFamily ${before.engineFamily}.`,
    );
  }
  if (state.membersOf(cluster.id).length === 0) {
    throw new Fault(
      'InvalidDBClusterStateFault',
      `DB cluster ${cluster.name} has no members: CreateDBInstance makes them, with its DBClusterIdentifier.`,
    );
  }
  const targetGroup = { ...before.targetGroup, clusterId: cluster.id, updatedAt: now() };
  state.commit({ put: { ...before, targetGroup } });
  const tracked = {
    ...trackedClusterAnswer(cluster, state.owner),
    TargetHealth: { State: REGISTERING.state },
  };
  return { DBProxyTargets: [tracked, ...memberAnswers(cluster, context, () => UNKNOWN)] };
}

const UNKNOWN = { role: 'UNKNOWN', health: REGISTERING } as const;

function memberAnswers(
  cluster: DBClusterRecord,
  { state }: RdsContext,
  seen: (target: string) => ReturnType<typeof stateOf>,
): ReturnType<typeof memberAnswer>[] {
  return state
    .membersOf(cluster.id)
    .map((instance) => memberAnswer(instance, state.owner, { cluster, ...seen(instance.name) }));
}

/** The proxy without the cluster that is its target. */
export function withoutCluster(proxy: ProxyRecord): ProxyRecord {
  const { clusterId: _, ...targetGroup } = proxy.targetGroup;
  return { ...proxy, targetGroup: { ...targetGroup, updatedAt: now() } };
}

export const deregisterDBProxyTargets = operation(members(targetNames), (parameters, context) => {
  const before = findOwnProxy(context, parameters.DBProxyName);
  checkGroup(parameters.TargetGroupName);
  const { targets } = before.targetGroup;
  const [clusterName] = parameters.DBClusterIdentifiers;
  if (clusterName !== undefined) {
    const cluster = context.state.clusters.find(({ name }) => name === clusterName);
    if (cluster === undefined || before.targetGroup.clusterId !== cluster.id) {
      throw new Fault(
        'DBProxyTargetNotFoundFault',
        `${clusterName} is not a target of DB proxy ${before.name}.`,
      );
    }
    context.state.commit({ put: withoutCluster(before) });
    return {};
  }
  const names = namesOf(parameters);
  const unknown = names.find((name) => !targets.includes(name));
  if (unknown !== undefined) {
    throw new Fault(
      'DBProxyTargetNotFoundFault',
      `${unknown} is not a target of DB proxy ${before.name}.`,
    );
  }
  const kept = targets.filter((name) => !names.includes(name));
  context.state.commit({ put: withTargets(before, kept) });
  return {};
});

export const describeDBProxyTargets = operation(
  members({ DBProxyName: text(255), TargetGroupName: text(255).optional(), ...paging }),
  ({ DBProxyName, TargetGroupName, ...paging }, context) => {
    const { state, observe } = context;
    const { record } = findProxy(context, DBProxyName);
    checkGroup(TargetGroupName);
    const cluster = state.clusters.find(({ id }) => id === record.targetGroup.clusterId);
    const observation = observe(DBProxyName);
    const role = cluster === undefined ? 'READ_WRITE' : 'UNKNOWN';
    const seen = (target: string) => stateOf(target, role, observation);
    const all: readonly TargetRow[] =
      cluster === undefined
        ? record.targetGroup.targets.map((name) => {
            const instance = state.instances.find((each) => each.record.name === name)?.record;
            return targetAnswer(name, instance, state.owner, seen(name));
          })
        : [trackedClusterAnswer(cluster, state.owner), ...memberAnswers(cluster, context, seen)];
    const sorted = all.toSorted((a, b) => (targetKey(a) < targetKey(b) ? -1 : 1));
    const { items, Marker } = page(sorted, targetKey, paging);
    return { Targets: items, Marker };
  },
);

type TargetRow =
  | ReturnType<typeof targetAnswer>
  | ReturnType<typeof trackedClusterAnswer>
  | ReturnType<typeof memberAnswer>;

/** A cluster and a DB instance may have the same identifier. */
function targetKey({ RdsResourceId, Type }: TargetRow): string {
  return `${Type === 'TRACKED_CLUSTER' ? 0 : 1} ${RdsResourceId}`;
}

/** The proxy with these targets instead of its own. */
export function withTargets(proxy: ProxyRecord, targets: readonly string[]): ProxyRecord {
  return { ...proxy, targetGroup: { ...proxy.targetGroup, targets, updatedAt: now() } };
}

function namesOf({
  DBInstanceIdentifiers,
}: {
  readonly DBInstanceIdentifiers: readonly string[];
}): readonly string[] {
  if (DBInstanceIdentifiers.length > 0) return DBInstanceIdentifiers;
  throw new Fault(
    'InvalidParameterCombination',
    'DBInstanceIdentifiers must have at least one DB instance.',
  );
}

function checkGroup(groupName: string | undefined): void {
  if (groupName === undefined || groupName === DEFAULT_GROUP) return;
  throw new Fault(
    'DBProxyTargetGroupNotFoundFault',
    `Target group ${groupName} was not found: every proxy has one, which is called ${DEFAULT_GROUP}.`,
  );
}
