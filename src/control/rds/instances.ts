/**
 * CreateDBInstance, DescribeDBInstances, ModifyDBInstance, DeleteDBInstance. They tell Berth of a database
 * that is there: none is made, changed or deleted.
 */

import { Fault } from '../aws/fault.ts';
import { ENGINE_PORTS } from '../schema.ts';
import { newId } from '../state/arns.ts';
import type { DBClusterRecord, DBInstanceRecord } from '../state/records.ts';
import type { Change } from '../state/state-store.ts';
import { dbInstanceAnswer } from './answers.ts';
import {
  findInstance,
  findOwnCluster,
  findOwnInstance,
  now,
  operation,
  type RdsContext,
} from './operation.ts';
import { placeOf, withTags } from './own-tags.ts';
import { page } from './page.ts';
import { flag, integer, members, name, oneOf, paging, tags, text } from './parameters.ts';
import { withTargets } from './targets.ts';

const INSTANCES_MAX = 10_000;
const PORT = integer(1, 65_535);

export const createDBInstance = operation(
  members({
    DBInstanceIdentifier: name(),
    DBInstanceClass: text(255, 1),
    Engine: oneOf(['postgres', 'mysql', 'mariadb']),
    Port: PORT.optional(),
    DBClusterIdentifier: text(255, 1).optional(),
    Tags: tags.default([]),
  }),
  (parameters, context) => {
    const { state } = context;
    const { DBInstanceIdentifier, Engine: engine } = parameters;
    const port = parameters.Port ?? ENGINE_PORTS[engine];
    checkIsFree(DBInstanceIdentifier, context);
    if (state.instances.length >= INSTANCES_MAX) {
      throw new Fault('InstanceQuotaExceeded', `There are ${INSTANCES_MAX} DB instances already.`);
    }
    const allTags = withTags([], parameters.Tags);
    const cluster = clusterOf(parameters.DBClusterIdentifier, engine, context);
    const record: DBInstanceRecord = {
      kind: 'db-instance',
      id: newId('db-instance'),
      name: DBInstanceIdentifier,
      engine,
      instanceClass: parameters.DBInstanceClass,
      port,
      ...placeOf(allTags, { port, engine }),
      ...(cluster === undefined ? {} : { clusterId: cluster.id }),
      createdAt: now(),
      tags: allTags,
    };
    state.commit({ put: record });
    return { DBInstance: dbInstanceAnswer(record, state) };
  },
);

export const describeDBInstances = operation(
  members({ DBInstanceIdentifier: text(255).optional(), ...paging }),
  ({ DBInstanceIdentifier, ...paging }, context) => {
    const { state } = context;
    const found =
      DBInstanceIdentifier === undefined
        ? state.instances
        : [findInstance(context, DBInstanceIdentifier)];
    const { items, Marker } = page(found, ({ record }) => record.name, paging);
    return {
      DBInstances: items.map(({ record }) => dbInstanceAnswer(record, state)),
      Marker,
    };
  },
);

export const modifyDBInstance = operation(
  members({
    DBInstanceIdentifier: text(255),
    NewDBInstanceIdentifier: name().optional(),
    DBInstanceClass: text(255, 1).optional(),
    DBPortNumber: PORT.optional(),
    // Every change is immediate, asked or not.
    ApplyImmediately: flag().optional(),
  }),
  (parameters, context) => {
    const { state } = context;
    const before = findOwnInstance(context, parameters.DBInstanceIdentifier);
    const { NewDBInstanceIdentifier: newName = before.name } = parameters;
    if (newName !== before.name) checkIsFree(newName, context);
    const port = parameters.DBPortNumber ?? before.port;
    const record: DBInstanceRecord = {
      ...before,
      name: newName,
      instanceClass: parameters.DBInstanceClass ?? before.instanceClass,
      port,
      ...placeOf(before.tags, { port, engine: before.engine }),
    };
    const renamed = newName === before.name ? [] : replaceTarget(context, before.name, [newName]);
    state.commit({ put: record }, ...renamed);
    return { DBInstance: dbInstanceAnswer(record, state) };
  },
);

export const deleteDBInstance = operation(
  members({
    DBInstanceIdentifier: text(255),
    // Of the database nothing is deleted, and of what Berth knows nothing is kept.
    SkipFinalSnapshot: flag().optional(),
  }),
  ({ DBInstanceIdentifier }, context) => {
    const { state } = context;
    const record = findOwnInstance(context, DBInstanceIdentifier);
    state.commit({ remove: record }, ...replaceTarget(context, record.name, []));
    const answer = dbInstanceAnswer(record, state);
    return { DBInstance: { ...answer, DBInstanceStatus: 'deleting' } };
  },
);

function clusterOf(
  identifier: string | undefined,
  engine: DBInstanceRecord['engine'],
  context: RdsContext,
): DBClusterRecord | undefined {
  if (identifier === undefined) return undefined;
  const cluster = findOwnCluster(context, identifier);
  if (cluster.engine === engine) return cluster;
  throw new Fault(
    'InvalidParameterCombination',
    `The Engine must be that of the DB cluster, ${cluster.engine}.`,
  );
}

/** As RDS does, a deleted DB instance is taken out of the target groups that it is in. */
function replaceTarget({ state }: RdsContext, old: string, by: readonly string[]): Change[] {
  return state.proxies
    .filter(({ record, isDeclared }) => !isDeclared && record.targetGroup.targets.includes(old))
    .map(({ record }) => {
      const targets = record.targetGroup.targets.flatMap((each) => (each === old ? by : [each]));
      return { put: withTargets(record, targets) };
    });
}

function checkIsFree(identifier: string, { state }: RdsContext): void {
  if (!state.instances.some(({ record }) => record.name === identifier)) return;
  throw new Fault('DBInstanceAlreadyExists', `DB instance ${identifier} already exists.`);
}
