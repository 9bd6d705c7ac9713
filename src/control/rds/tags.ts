/** AddTagsToResource, RemoveTagsFromResource, ListTagsForResource: by ARN, for everything that has one. */

import { Fault } from '../aws/fault.ts';
import { arnOf } from '../state/arns.ts';
import type { StateRecord, Tag } from '../state/records.ts';
import { defaultEndpoint, tagList } from './answers.ts';
import { withEndpoint } from './endpoints.ts';
import { declared, operation, type RdsContext } from './operation.ts';
import { checkOwnTags, listenOf, placeOf, readersOf, withTags } from './own-tags.ts';
import { filters, members, tagKeys, tags, text } from './parameters.ts';

const TAGS_PER_RESOURCE_MAX = 50;

const resourceName = text(2048, 1);

export const addTagsToResource = operation(
  members({ ResourceName: resourceName, Tags: tags }),
  ({ ResourceName, Tags }, context) => {
    const resource = findOwnResource(ResourceName, context);
    const all = withTags(resource.tags, Tags);
    if (all.length > TAGS_PER_RESOURCE_MAX) {
      throw new Fault(
        'InvalidParameterValue',
        `A resource has at most ${TAGS_PER_RESOURCE_MAX} tags.`,
      );
    }
    context.state.commit({ put: resource.tagged(all) });
    return {};
  },
);

export const removeTagsFromResource = operation(
  members({ ResourceName: resourceName, TagKeys: tagKeys }),
  ({ ResourceName, TagKeys }, context) => {
    const resource = findOwnResource(ResourceName, context);
    const kept = resource.tags.filter(({ Key }) => !TagKeys.includes(Key));
    context.state.commit({ put: resource.tagged(kept) });
    return {};
  },
);

export const listTagsForResource = operation(
  members({ ResourceName: resourceName, Filters: filters.optional() }),
  ({ ResourceName }, context) => ({ TagList: tagList(findResource(ResourceName, context).tags) }),
);

interface Resource {
  readonly isDeclared: boolean;
  readonly tags: readonly Tag[];
  /** The record that it is part of, with these tags for it. Throws `Fault`. */
  readonly tagged: (tags: readonly Tag[]) => StateRecord;
}

function findOwnResource(arn: string, context: RdsContext): Resource {
  const resource = findResource(arn, context);
  if (resource.isDeclared) throw declared('InvalidDBProxyStateFault', arn);
  return resource;
}

function findResource(arn: string, context: RdsContext): Resource {
  for (const [candidate, resource] of resources(context)) {
    if (candidate === arn) return resource;
  }
  throw notFound(arn, context);
}

function* resources(context: RdsContext): Generator<readonly [string, Resource]> {
  const { state } = context;
  const { owner } = state;
  for (const { record, isDeclared } of state.proxies) {
    const { engineFamily: family, targetGroup } = record;
    const wish = (
      what: 'proxy' | 'endpoint',
      tags: readonly Tag[],
      of: { readonly vpcSubnetIds: readonly string[] },
    ) => ({
      what,
      tags,
      family,
      subnetIds: of.vpcSubnetIds,
    });
    const ofProxy: Resource = {
      isDeclared,
      tags: record.tags,
      tagged: (tags) => ({
        ...record,
        tags,
        listen: listenOf(wish('proxy', tags, record), context, record),
      }),
    };
    yield [arnOf(owner, 'db-proxy', record.id), ofProxy];
    // Its default endpoint has the tags of the proxy, as it is made with them.
    yield [arnOf(owner, 'db-proxy-endpoint', defaultEndpoint(record).id), ofProxy];
    const ofGroup: Resource = {
      isDeclared,
      tags: targetGroup.tags,
      tagged: (tags) => {
        checkOwnTags(tags, 'group');
        return { ...record, targetGroup: { ...targetGroup, tags } };
      },
    };
    yield [arnOf(owner, 'target-group', targetGroup.id), ofGroup];
    for (const endpoint of record.endpoints) {
      const ofEndpoint: Resource = {
        isDeclared,
        tags: endpoint.tags,
        tagged: (tags) => {
          const listen = listenOf(wish('endpoint', tags, endpoint), context, endpoint);
          const readers = readersOf(tags, endpoint.readers !== undefined);
          return withEndpoint(record, { ...endpoint, tags, listen, readers });
        },
      };
      yield [arnOf(owner, 'db-proxy-endpoint', endpoint.id), ofEndpoint];
    }
  }
  for (const { record, isDeclared } of state.instances) {
    const ofInstance: Resource = {
      isDeclared,
      tags: record.tags,
      tagged: (tags) => ({ ...record, tags, ...placeOf(tags, record) }),
    };
    yield [arnOf(owner, 'db', record.name), ofInstance];
  }
  for (const { record: cluster, isDeclared } of state.knownClusters) {
    const ofCluster: Resource = {
      isDeclared,
      tags: cluster.tags,
      tagged: (tags) => {
        checkOwnTags(tags, 'cluster');
        return { ...cluster, tags };
      },
    };
    yield [arnOf(owner, 'cluster', cluster.name), ofCluster];
  }
}

/** Which fault it is depends on what the ARN is of. */
function notFound(arn: string, { state }: RdsContext): Fault {
  const kinds = [
    ['db-proxy', 'DBProxyNotFoundFault'],
    ['db-proxy-endpoint', 'DBProxyEndpointNotFoundFault'],
    ['target-group', 'DBProxyTargetGroupNotFoundFault'],
    ['db', 'DBInstanceNotFound'],
    ['cluster', 'DBClusterNotFoundFault'],
  ] as const;
  for (const [type, code] of kinds) {
    if (arn.startsWith(arnOf(state.owner, type, ''))) {
      return new Fault(code, `There is no resource with the ARN ${arn}.`);
    }
  }
  return new Fault('InvalidParameterValue', `${arn} is not the ARN of a resource of this service.`);
}
