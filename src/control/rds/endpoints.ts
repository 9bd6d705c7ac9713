/** CreateDBProxyEndpoint, DescribeDBProxyEndpoints, ModifyDBProxyEndpoint, DeleteDBProxyEndpoint. */

import { Fault } from '../aws/fault.ts';
import { newId } from '../state/arns.ts';
import type { EndpointRecord, ProxyRecord } from '../state/records.ts';
import { DEFAULT_ENDPOINT, dbProxyEndpointAnswer, defaultEndpoint } from './answers.ts';
import { declared, findOwnProxy, findProxy, now, operation, type RdsContext } from './operation.ts';
import { listenOf, readersOf, withTags } from './own-tags.ts';
import { page } from './page.ts';
import { members, name, oneOf, paging, tags, text, vpcIds } from './parameters.ts';
import { checkSubnets, onlyIpv4 } from './proxies.ts';

/** Beside the default one. */
const ENDPOINTS_PER_PROXY_MAX = 20;

export const createDBProxyEndpoint = operation(
  members({
    DBProxyName: text(255),
    DBProxyEndpointName: name(),
    VpcSubnetIds: vpcIds,
    VpcSecurityGroupIds: vpcIds.default([]),
    TargetRole: oneOf(['READ_WRITE', 'READ_ONLY']).default('READ_WRITE'),
    Tags: tags.default([]),
    EndpointNetworkType: onlyIpv4.optional(),
  }),
  (parameters, context) => {
    const { state, observe } = context;
    const proxy = findOwnProxy(context, parameters.DBProxyName);
    checkIsFree(parameters.DBProxyEndpointName, context);
    if (proxy.endpoints.length >= ENDPOINTS_PER_PROXY_MAX) {
      throw new Fault(
        'DBProxyEndpointQuotaExceededFault',
        `DB proxy ${proxy.name} has ${ENDPOINTS_PER_PROXY_MAX} endpoints already.`,
      );
    }
    const { VpcSubnetIds: subnetIds } = parameters;
    checkSubnets(subnetIds);
    const isReadOnly = parameters.TargetRole === 'READ_ONLY';
    if (isReadOnly) checkHasReader(proxy, context);
    const allTags = withTags([], parameters.Tags);
    const endpoint: EndpointRecord = {
      id: newId('db-proxy-endpoint'),
      name: parameters.DBProxyEndpointName,
      vpcSubnetIds: subnetIds,
      vpcSecurityGroupIds: parameters.VpcSecurityGroupIds,
      listen: listenOf(
        { what: 'endpoint', tags: allTags, family: proxy.engineFamily, subnetIds },
        context,
      ),
      readers: readersOf(allTags, isReadOnly),
      createdAt: now(),
      tags: allTags,
    };
    state.commit({ put: { ...proxy, endpoints: [...proxy.endpoints, endpoint] } });
    const observation = observe(proxy.name);
    return { DBProxyEndpoint: dbProxyEndpointAnswer(proxy, endpoint, state, observation) };
  },
);

export const describeDBProxyEndpoints = operation(
  members({
    DBProxyName: text(255).optional(),
    DBProxyEndpointName: text(255).optional(),
    ...paging,
  }),
  ({ DBProxyName, DBProxyEndpointName, ...paging }, context) => {
    const { state, observe } = context;
    const proxies = DBProxyName === undefined ? state.proxies : [findProxy(context, DBProxyName)];
    const all = proxies.flatMap(({ record: proxy }) =>
      [defaultEndpoint(proxy), ...proxy.endpoints].map((endpoint) => ({ proxy, endpoint })),
    );
    const named = all
      .filter(({ endpoint }) => endpoint.name === (DBProxyEndpointName ?? endpoint.name))
      .toSorted((a, b) => (keyOf(a) < keyOf(b) ? -1 : 1));
    if (DBProxyEndpointName !== undefined && named.length === 0) {
      throw notFound(DBProxyEndpointName);
    }
    const { items, Marker } = page(named, keyOf, paging);
    return {
      DBProxyEndpoints: items.map(({ proxy, endpoint }) =>
        dbProxyEndpointAnswer(proxy, endpoint, state, observe(proxy.name)),
      ),
      Marker,
    };
  },
);

export const modifyDBProxyEndpoint = operation(
  members({
    DBProxyEndpointName: text(255),
    NewDBProxyEndpointName: name().optional(),
    VpcSecurityGroupIds: vpcIds.optional(),
  }),
  (parameters, context) => {
    const { state, observe } = context;
    const { proxy, endpoint: before } = findOwnEndpoint(context, parameters.DBProxyEndpointName);
    const { NewDBProxyEndpointName: newName = before.name } = parameters;
    if (newName !== before.name) checkIsFree(newName, context);
    const endpoint: EndpointRecord = {
      ...before,
      name: newName,
      vpcSecurityGroupIds: parameters.VpcSecurityGroupIds ?? before.vpcSecurityGroupIds,
    };
    state.commit({ put: withEndpoint(proxy, endpoint) });
    const observation = observe(proxy.name);
    return { DBProxyEndpoint: dbProxyEndpointAnswer(proxy, endpoint, state, observation) };
  },
);

export const deleteDBProxyEndpoint = operation(
  members({ DBProxyEndpointName: text(255) }),
  ({ DBProxyEndpointName }, context) => {
    const { proxy, endpoint } = findOwnEndpoint(context, DBProxyEndpointName);
    const endpoints = proxy.endpoints.filter(({ id }) => id !== endpoint.id);
    context.state.commit({ put: { ...proxy, endpoints } });
    const answer = dbProxyEndpointAnswer(proxy, endpoint, context.state, undefined);
    return { DBProxyEndpoint: { ...answer, Status: 'deleting' } };
  },
);

/** The proxy with `endpoint` in the place of the one that has its id. */
export function withEndpoint(proxy: ProxyRecord, endpoint: EndpointRecord): ProxyRecord {
  const endpoints = proxy.endpoints.map((each) => (each.id === endpoint.id ? endpoint : each));
  return { ...proxy, endpoints };
}

function findOwnEndpoint(context: RdsContext, endpointName: string) {
  if (endpointName === DEFAULT_ENDPOINT) {
    throw new Fault(
      'InvalidDBProxyEndpointStateFault',
      'The default endpoint is made, changed and deleted with its proxy.',
    );
  }
  for (const { record: proxy, isDeclared } of context.state.proxies) {
    const endpoint = proxy.endpoints.find((each) => each.name === endpointName);
    if (endpoint === undefined) continue;
    if (isDeclared) {
      throw declared('InvalidDBProxyEndpointStateFault', `DB proxy endpoint ${endpointName}`);
    }
    return { proxy, endpoint };
  }
  throw notFound(endpointName);
}

function checkIsFree(endpointName: string, { state }: RdsContext): void {
  const isTaken =
    endpointName === DEFAULT_ENDPOINT ||
    state.proxies.some(({ record }) => record.endpoints.some(({ name }) => name === endpointName));
  if (!isTaken) return;
  throw new Fault(
    'DBProxyEndpointAlreadyExistsFault',
    `DB proxy endpoint ${endpointName} already exists.`,
  );
}

/** A proxy whose target is not registered yet may get one. */
function checkHasReader(proxy: ProxyRecord, { state }: RdsContext): void {
  if (state.targetsOf(proxy).length !== 1) return;
  throw new Fault(
    'InvalidDBProxyStateFault',
    `DB proxy ${proxy.name} has no reader: the target of a READ_ONLY endpoint is a DB cluster with two or more DB instances.`,
  );
}

/** Unique: every proxy has a default endpoint of the same name. */
function keyOf(each: { readonly proxy: ProxyRecord; readonly endpoint: EndpointRecord }): string {
  return `${each.endpoint.name} ${each.proxy.name}`;
}

function notFound(endpointName: string): Fault {
  return new Fault(
    'DBProxyEndpointNotFoundFault',
    `DB proxy endpoint ${endpointName} was not found.`,
  );
}
