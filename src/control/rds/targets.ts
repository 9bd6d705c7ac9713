/** Target groups and targets: their Describe and Modify, RegisterDBProxyTargets, DeregisterDBProxyTargets. */

import type { EngineFamily } from '../../proxy/snapshot.ts';
import { Fault } from '../query/fault.ts';
import { poolSettings } from '../state/desired-state.ts';
import { ENGINE_FAMILIES } from '../state/engine-families.ts';
import type { PoolConfigRecord, ProxyRecord } from '../state/records.ts';
import { DEFAULT_GROUP, NOT_LISTENING, targetAnswer, targetGroupAnswer } from './answers.ts';
import { findInstance, findOwnProxy, findProxy, now, operation } from './operation.ts';
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
  checkClusters(parameters.DBClusterIdentifiers);
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
  if (targets.length + names.length > TARGETS_MAX) {
    throw new Fault(
      'InvalidDBProxyStateFault',
      `A DB proxy has at most ${TARGETS_MAX} DB instance: deregister the one that it has first.`,
    );
  }
  state.commit({ put: withTargets(before, [...targets, ...names]) });
  const registering = { state: 'REGISTERING' } as const;
  return {
    DBProxyTargets: instances.map((instance) =>
      targetAnswer(instance.name, instance, state.owner, registering),
    ),
  };
});

export const deregisterDBProxyTargets = operation(members(targetNames), (parameters, context) => {
  const before = findOwnProxy(context, parameters.DBProxyName);
  checkGroup(parameters.TargetGroupName);
  const [cluster] = parameters.DBClusterIdentifiers;
  const { targets } = before.targetGroup;
  const names = cluster === undefined ? namesOf(parameters) : [cluster];
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
    const { items, Marker } = page(record.targetGroup.targets, (name) => name, paging);
    const health = observe(DBProxyName)?.health ?? NOT_LISTENING;
    return {
      Targets: items.map((name) => {
        const instance = state.instances.find((each) => each.record.name === name)?.record;
        return targetAnswer(name, instance, state.owner, health);
      }),
      Marker,
    };
  },
);

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

function checkClusters([cluster]: readonly string[]): void {
  if (cluster === undefined) return;
  throw new Fault(
    'DBClusterNotFoundFault',
    `DBCluster ${cluster} not found: DB clusters are not supported yet.`,
  );
}

function checkGroup(groupName: string | undefined): void {
  if (groupName === undefined || groupName === DEFAULT_GROUP) return;
  throw new Fault(
    'DBProxyTargetGroupNotFoundFault',
    `Target group ${groupName} was not found: every proxy has one, which is called ${DEFAULT_GROUP}.`,
  );
}
