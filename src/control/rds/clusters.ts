/**
 * CreateDBCluster, DescribeDBClusters, ModifyDBCluster, DeleteDBCluster. A cluster is a name for DB instances
 * that are there, and that were registered as its members. Which of them is the writer the databases say to the
 * proxies that the cluster is a target of; before that, the first one is taken for it.
 */

import { Fault } from '../aws/fault.ts';
import { newId } from '../state/arns.ts';
import type { DBClusterRecord } from '../state/records.ts';
import type { Change } from '../state/state-store.ts';
import { dbClusterAnswer } from './answers.ts';
import { findCluster, findOwnCluster, now, operation, type RdsContext } from './operation.ts';
import { checkOwnTags, withTags } from './own-tags.ts';
import { page } from './page.ts';
import { flag, members, name, oneOf, paging, tags, text } from './parameters.ts';
import { withoutCluster } from './targets.ts';

const CLUSTERS_MAX = 1_000;

const AURORA = 'is Amazon Aurora, which is not spoken; name what the members are';

export const createDBCluster = operation(
  members({
    DBClusterIdentifier: name(),
    Engine: oneOf(['postgres', 'mysql', 'mariadb'], {
      'aurora-postgresql': `aurora-postgresql ${AURORA}: postgres`,
      'aurora-mysql': `aurora-mysql ${AURORA}: mysql`,
    }),
    Tags: tags.default([]),
  }),
  (parameters, context) => {
    const { state } = context;
    checkIsFree(parameters.DBClusterIdentifier, context);
    if (state.clusters.length >= CLUSTERS_MAX) {
      throw new Fault('DBClusterQuotaExceededFault', `There are ${CLUSTERS_MAX} clusters already.`);
    }
    const allTags = withTags([], parameters.Tags);
    checkOwnTags(allTags, 'cluster');
    const record: DBClusterRecord = {
      kind: 'db-cluster',
      id: newId('db-cluster'),
      name: parameters.DBClusterIdentifier,
      engine: parameters.Engine,
      createdAt: now(),
      tags: allTags,
    };
    state.commit({ put: record });
    return { DBCluster: answer(record, context) };
  },
);

export const describeDBClusters = operation(
  members({
    DBClusterIdentifier: text(255).optional(),
    // There are none of others.
    IncludeShared: flag().optional(),
    ...paging,
  }),
  ({ DBClusterIdentifier, ...paging }, context) => {
    const { state } = context;
    const found =
      DBClusterIdentifier === undefined
        ? state.clusters
        : [findCluster(context, DBClusterIdentifier)];
    const { items, Marker } = page(found, (cluster) => cluster.name, paging);
    return { DBClusters: items.map((cluster) => answer(cluster, context)), Marker };
  },
);

export const modifyDBCluster = operation(
  members({
    DBClusterIdentifier: text(255),
    NewDBClusterIdentifier: name().optional(),
    // Every change is immediate, asked or not.
    ApplyImmediately: flag().optional(),
  }),
  (parameters, context) => {
    const before = findOwnCluster(context, parameters.DBClusterIdentifier);
    const { NewDBClusterIdentifier: newName = before.name } = parameters;
    if (newName !== before.name) checkIsFree(newName, context);
    const record = { ...before, name: newName };
    context.state.commit({ put: record });
    return { DBCluster: answer(record, context) };
  },
);

export const deleteDBCluster = operation(
  members({
    DBClusterIdentifier: text(255),
    // Of the databases nothing is deleted, and of what Berth knows nothing is kept.
    SkipFinalSnapshot: flag().optional(),
  }),
  ({ DBClusterIdentifier }, context) => {
    const { state } = context;
    const record = findOwnCluster(context, DBClusterIdentifier);
    if (state.membersOf(record.id).length > 0) {
      throw new Fault(
        'InvalidDBClusterStateFault',
        'Cluster cannot be deleted, it still contains DB instances in non-deleting state.',
      );
    }
    const deregistered = state.proxies
      .filter(({ record: { targetGroup } }) => targetGroup.clusterId === record.id)
      .map(({ record: proxy }): Change => ({ put: withoutCluster(proxy) }));
    const deleted = answer(record, context);
    state.commit({ remove: record }, ...deregistered);
    return { DBCluster: { ...deleted, Status: 'deleting' } };
  },
);

function answer(cluster: DBClusterRecord, { state, observe }: RdsContext) {
  const members = state.membersOf(cluster.id);
  const proxies = state.proxies.filter(({ record }) => record.targetGroup.clusterId === cluster.id);
  const seen = proxies
    .flatMap(({ record }) => observe(record.name)?.targets ?? [])
    .find(({ role }) => role === 'READ_WRITE');
  const writer = members.find(({ name }) => name === seen?.target) ?? members[0];
  return dbClusterAnswer(cluster, members, state.owner, writer);
}

function checkIsFree(identifier: string, { state }: RdsContext): void {
  if (!state.clusters.some((cluster) => cluster.name === identifier)) return;
  throw new Fault('DBClusterAlreadyExistsFault', `DB cluster ${identifier} already exists.`);
}
