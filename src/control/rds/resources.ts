/**
 * Which resources a request is about, as ARNs for policies: those that its parameters name, and the kinds that
 * its operation is about when it names none. What is not there (yet) is `*` of its kind, so that who may
 * not see a resource is not told whether there is one.
 */

import { type ArnType, arnOf } from '../state/arns.ts';
import type { DesiredState } from '../state/desired-state.ts';
import { defaultEndpoint } from './answers.ts';
import { type FormTree, listItems } from './form.ts';

type Finder = (name: string, state: DesiredState) => string | undefined;

/** Parameters that name a resource: of which kind, and how its identifier is found. */
const NAMING: readonly {
  readonly parameter: string;
  readonly type: ArnType;
  readonly find: Finder;
}[] = [
  { parameter: 'DBProxyName', type: 'db-proxy', find: proxyId },
  { parameter: 'DBProxyEndpointName', type: 'db-proxy-endpoint', find: endpointId },
  { parameter: 'DBClusterIdentifier', type: 'cluster', find: (name) => name },
  { parameter: 'DBClusterIdentifiers', type: 'cluster', find: (name) => name },
  { parameter: 'DBInstanceIdentifier', type: 'db', find: (name) => name },
  { parameter: 'DBInstanceIdentifiers', type: 'db', find: (name) => name },
];

/** `takes` are the names of all parameters of the operation, `given` those of the request. */
export function resourcesOf(
  takes: readonly string[],
  given: FormTree,
  state: DesiredState,
): readonly string[] {
  const { ResourceName: arn } = given;
  if (takes.includes('ResourceName')) return [typeof arn === 'string' ? arn : '*'];
  const kinds = NAMING.filter(({ parameter }) => takes.includes(parameter));
  const named = kinds.flatMap(({ parameter, type, find }) =>
    textsOf(given[parameter]).map((name) => arnOf(state.owner, type, find(name, state) ?? '*')),
  );
  if (takes.includes('TargetGroupName')) named.push(targetGroup(given, state));
  if (named.length > 0) return named;
  const [first] = kinds;
  return [first === undefined ? '*' : arnOf(state.owner, first.type, '*')];
}

function targetGroup({ DBProxyName }: FormTree, state: DesiredState): string {
  const proxy = state.proxies.find(({ record }) => record.name === DBProxyName);
  return arnOf(state.owner, 'target-group', proxy?.record.targetGroup.id ?? '*');
}

function proxyId(name: string, { proxies }: DesiredState): string | undefined {
  return proxies.find(({ record }) => record.name === name)?.record.id;
}

function endpointId(name: string, { proxies }: DesiredState): string | undefined {
  return proxies
    .flatMap(({ record }) => [defaultEndpoint(record), ...record.endpoints])
    .find((endpoint) => endpoint.name === name)?.id;
}

/** A parameter may be a name or a list of names. */
function textsOf(value: FormTree | string | undefined): readonly string[] {
  if (value === undefined || value === '') return [];
  if (typeof value === 'string') return [value];
  const [itemName = ''] = Object.keys(value);
  return (listItems(value, [itemName]) ?? []).filter((item) => typeof item === 'string');
}
