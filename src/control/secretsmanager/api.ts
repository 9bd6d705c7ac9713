/**
 * The Secrets Manager API: AWS's JSON 1.1 protocol, version 2017-10-17. Knows who may ask, which operations
 * there are and how answers are wrapped; what an operation does is in other files.
 * https://docs.aws.amazon.com/secretsmanager/latest/apireference/
 */

import { randomUUID } from 'node:crypto';
import { type Admission, admit, authorize, type Caller, type Sent } from '../aws/access.ts';
import { faultOf } from '../aws/failure.ts';
import { fromFault, SecretsFault } from './fault.ts';
import type { Operation, SecretsContext } from './operation.ts';
import { getRandomPassword } from './random-password.ts';
import { resourcesOf } from './resources.ts';
import {
  createSecret,
  deleteSecret,
  describeSecret,
  listSecrets,
  restoreSecret,
  tagResource,
  untagResource,
  updateSecret,
} from './secrets.ts';
import {
  getSecretValue,
  listSecretVersionIds,
  putSecretValue,
  updateSecretVersionStage,
} from './values.ts';

const SERVICE = 'secretsmanager';
const TARGET_HEADER = 'x-amz-target';
const TARGET_PREFIX = 'secretsmanager.';
const CONTENT_TYPE = 'application/x-amz-json-1.1';

/** By the name that a request has in `X-Amz-Target`. docs/secrets.md describes each, and a test compares. */
export const SECRETS_OPERATIONS: ReadonlyMap<string, Operation> = new Map(
  Object.entries({
    CreateSecret: createSecret,
    DeleteSecret: deleteSecret,
    DescribeSecret: describeSecret,
    GetRandomPassword: getRandomPassword,
    GetSecretValue: getSecretValue,
    ListSecretVersionIds: listSecretVersionIds,
    ListSecrets: listSecrets,
    PutSecretValue: putSecretValue,
    RestoreSecret: restoreSecret,
    TagResource: tagResource,
    UntagResource: untagResource,
    UpdateSecret: updateSecret,
    UpdateSecretVersionStage: updateSecretVersionStage,
  }),
);

export interface SecretsApiOptions extends SecretsContext, Admission {
  /** Called with what is nobody's fault but ours. */
  readonly onError: (error: unknown) => void;
}

/** Whether a `POST /` is for this API. */
export function isForSecrets({ headers }: Request): boolean {
  return headers.get(TARGET_HEADER)?.startsWith(TARGET_PREFIX) === true;
}

/** Answers a `POST /`. */
export async function answerSecrets(sent: Sent, options: SecretsApiOptions): Promise<Response> {
  const { request } = sent;
  const requestId = randomUUID();
  try {
    const scope = { region: options.state.owner.region, service: SERVICE };
    const { body, caller } = await admit(sent, options, scope);
    const answer = perform(request, body, { caller, context: options });
    await options.state.flushed();
    return respond(200, requestId, answer);
  } catch (error) {
    const fault =
      error instanceof SecretsFault ? error : fromFault(faultOf(error, options.onError));
    const { code, message, status } = fault;
    return respond(status, requestId, { __type: code, message }, code);
  }
}

function perform(
  { headers }: Request,
  body: string,
  { caller, context }: { readonly caller: Caller; readonly context: SecretsContext },
): unknown {
  const name = (headers.get(TARGET_HEADER) ?? '').slice(TARGET_PREFIX.length);
  const operation = SECRETS_OPERATIONS.get(name);
  if (operation === undefined) {
    throw new SecretsFault('UnknownOperationException', `There is no operation ${name} here.`);
  }
  const input = parse(body);
  authorize(caller, `${SERVICE}:${name}`, resourcesOf(input, context.state));
  return operation.run(input, context);
}

function parse(body: string): unknown {
  try {
    return JSON.parse(body === '' ? '{}' : body);
  } catch {
    // Without the parser's words, which may quote a secret.
    throw new SecretsFault('SerializationException', 'The body of the request is not JSON.');
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
