/**
 * Berth's own API, for what AWS has no operation: in AWS's JSON 1.1 protocol, so that whoever signs requests
 * of AWS's can sign these. Knows who may ask, which operations there are and how answers are wrapped.
 */

import { randomUUID } from 'node:crypto';
import { z } from 'zod';
import { type Admission, admit, authorize, type Caller, type Sent } from '../aws/access.ts';
import { faultOf } from '../aws/failure.ts';
import { Fault } from '../aws/fault.ts';
import { arnOf } from '../state/arns.ts';
import { type OwnContext, type OwnOperation, PAUSE_OPERATIONS } from './pauses.ts';

/** What requests are signed for, and what policies call the actions by. */
export const OWN_SERVICE = 'berth';
export const TARGET_HEADER = 'x-amz-target';
export const TARGET_PREFIX = 'Berth.';
const CONTENT_TYPE = 'application/x-amz-json-1.1';

/** By the name that a request has in `X-Amz-Target`. docs/failover.md describes each, and a test compares. */
export const OWN_OPERATIONS: ReadonlyMap<string, OwnOperation> = new Map(
  Object.entries(PAUSE_OPERATIONS),
);

export interface OwnApiOptions extends OwnContext, Admission {
  /** Called with what is nobody's fault but ours. */
  readonly onError: (error: unknown) => void;
}

/** Whether a `POST /` is for this API. */
export function isForBerth({ headers }: Request): boolean {
  return headers.get(TARGET_HEADER)?.startsWith(TARGET_PREFIX) === true;
}

/** Answers a `POST /`. */
export async function answerOwn(sent: Sent, options: OwnApiOptions): Promise<Response> {
  const { request } = sent;
  const requestId = randomUUID();
  try {
    const scope = { region: options.state.owner.region, service: OWN_SERVICE };
    const { body, caller } = await admit(sent, options, scope);
    return respond(200, requestId, perform(request, body, { caller, context: options }));
  } catch (error) {
    const { code, message, status } = faultOf(error, options.onError);
    return respond(status, requestId, { __type: code, message }, code);
  }
}

function perform(
  { headers }: Request,
  body: string,
  { caller, context }: { readonly caller: Caller; readonly context: OwnContext },
): unknown {
  const name = (headers.get(TARGET_HEADER) ?? '').slice(TARGET_PREFIX.length);
  const operation = OWN_OPERATIONS.get(name);
  if (operation === undefined) {
    throw new Fault('InvalidAction', `There is no operation ${name} here.`);
  }
  const input = parse(body);
  authorize(caller, `${OWN_SERVICE}:${name}`, [resourceOf(input, context)]);
  return operation.run(input, context);
}

/** What is not there is `*`, so that who may not see a proxy is not told whether there is one. */
function resourceOf(input: unknown, { state }: OwnContext): string {
  const named = z.object({ DBProxyName: z.string() }).safeParse(input);
  const known = state.proxies.find(({ record }) => record.name === named.data?.DBProxyName);
  return arnOf(state.owner, 'db-proxy', known?.record.id ?? '*');
}

function parse(body: string): unknown {
  try {
    return JSON.parse(body === '' ? '{}' : body);
  } catch {
    throw new Fault('ValidationError', 'The body of the request is not JSON.');
  }
}

function respond(status: number, requestId: string, body: unknown, code?: string): Response {
  const headers = {
    'Content-Type': CONTENT_TYPE,
    'Cache-Control': 'no-store',
    'x-amzn-RequestId': requestId,
    ...(code === undefined ? {} : { 'x-amzn-ErrorType': code }),
  };
  return new Response(JSON.stringify(body), { status, headers });
}
