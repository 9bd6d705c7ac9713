/**
 * The RDS API: AWS's Query protocol, version 2014-10-31. Knows who may ask, which operations there are and
 * how answers are wrapped; what an operation does is in the file of its resource.
 * https://docs.aws.amazon.com/AmazonRDS/latest/APIReference/
 */

import { randomUUID } from 'node:crypto';
import { type Admission, admit, authorize, type Caller, type Sent } from '../aws/access.ts';
import { faultOf } from '../aws/failure.ts';
import { Fault } from '../aws/fault.ts';
import {
  createDBCluster,
  deleteDBCluster,
  describeDBClusters,
  modifyDBCluster,
} from './clusters.ts';
import {
  createDBProxyEndpoint,
  deleteDBProxyEndpoint,
  describeDBProxyEndpoints,
  modifyDBProxyEndpoint,
} from './endpoints.ts';
import { describeEvents } from './events.ts';
import { readForm } from './form.ts';
import {
  createDBInstance,
  deleteDBInstance,
  describeDBInstances,
  modifyDBInstance,
} from './instances.ts';
import type { Operation, RdsContext } from './operation.ts';
import { createDBProxy, deleteDBProxy, describeDBProxies, modifyDBProxy } from './proxies.ts';
import { resourcesOf } from './resources.ts';
import { addTagsToResource, listTagsForResource, removeTagsFromResource } from './tags.ts';
import {
  deregisterDBProxyTargets,
  describeDBProxyTargetGroups,
  describeDBProxyTargets,
  modifyDBProxyTargetGroup,
  registerDBProxyTargets,
} from './targets.ts';
import { element } from './xml.ts';

const VERSION = '2014-10-31';
const NAMESPACE = `http://rds.amazonaws.com/doc/${VERSION}/`;
const SERVICE = 'rds';

/** By the name that a request has in `Action`. docs/api.md describes each, and a test compares. */
export const OPERATIONS: ReadonlyMap<string, Operation> = new Map(
  Object.entries({
    AddTagsToResource: addTagsToResource,
    CreateDBCluster: createDBCluster,
    CreateDBInstance: createDBInstance,
    CreateDBProxy: createDBProxy,
    CreateDBProxyEndpoint: createDBProxyEndpoint,
    DeleteDBCluster: deleteDBCluster,
    DeleteDBInstance: deleteDBInstance,
    DeleteDBProxy: deleteDBProxy,
    DeleteDBProxyEndpoint: deleteDBProxyEndpoint,
    DeregisterDBProxyTargets: deregisterDBProxyTargets,
    DescribeDBClusters: describeDBClusters,
    DescribeDBInstances: describeDBInstances,
    DescribeDBProxies: describeDBProxies,
    DescribeDBProxyEndpoints: describeDBProxyEndpoints,
    DescribeDBProxyTargetGroups: describeDBProxyTargetGroups,
    DescribeDBProxyTargets: describeDBProxyTargets,
    DescribeEvents: describeEvents,
    ListTagsForResource: listTagsForResource,
    ModifyDBCluster: modifyDBCluster,
    ModifyDBInstance: modifyDBInstance,
    ModifyDBProxy: modifyDBProxy,
    ModifyDBProxyEndpoint: modifyDBProxyEndpoint,
    ModifyDBProxyTargetGroup: modifyDBProxyTargetGroup,
    RegisterDBProxyTargets: registerDBProxyTargets,
    RemoveTagsFromResource: removeTagsFromResource,
  }),
);

export interface RdsApiOptions extends RdsContext, Admission {
  /** Called with what is nobody's fault but ours. */
  readonly onError: (error: unknown) => void;
}

/** Answers a `POST /`. */
export async function answerRds(sent: Sent, options: RdsApiOptions): Promise<Response> {
  const { request } = sent;
  const requestId = randomUUID();
  try {
    const scope = { region: options.state.owner.region, service: SERVICE };
    const { body, caller } = await admit(sent, options, scope);
    const { action, result } = perform(body, request, { caller, context: options });
    await options.state.flushed();
    const metadata = element('ResponseMetadata', { RequestId: requestId });
    const inner = element(`${action}Result`, result) + metadata;
    return respond(200, requestId, wrap(`${action}Response`, inner));
  } catch (error) {
    const fault = faultOf(error, options.onError);
    const { code: Code, message: Message, type: Type } = fault;
    const inner = element('Error', { Type, Code, Message }) + element('RequestId', requestId);
    return respond(fault.status, requestId, wrap('ErrorResponse', inner));
  }
}

function perform(
  body: string,
  request: Request,
  { caller, context }: { readonly caller: Caller; readonly context: RdsContext },
) {
  if (new URL(request.url).search !== '') {
    throw new Fault('MalformedQueryString', 'Parameters belong into the body of the request.');
  }
  const { Action: action, Version: version, ...parameters } = readForm(body);
  if (typeof action !== 'string' || action === '') {
    throw new Fault('MissingAction', 'The request is missing an action: the parameter Action.');
  }
  const operation = version === VERSION ? OPERATIONS.get(action) : undefined;
  if (operation === undefined) {
    const message = `Could not find operation ${action} for version ${String(version)}`;
    throw new Fault('InvalidAction', message);
  }
  const resources = resourcesOf(operation.parameters, parameters, context.state);
  authorize(caller, `${SERVICE}:${action}`, resources);
  return { action, result: operation.run(parameters, context) };
}

function wrap(name: string, inner: string): string {
  return `<?xml version="1.0" encoding="UTF-8"?>\n<${name} xmlns="${NAMESPACE}">${inner}</${name}>\n`;
}

function respond(status: number, requestId: string, body: string): Response {
  const headers = {
    'Content-Type': 'text/xml',
    'Cache-Control': 'no-store',
    'x-amzn-RequestId': requestId,
  };
  return new Response(body, { status, headers });
}
