/**
 * Calls an operation of Berth's own API. The request is signed when the environment has credentials of AWS's
 * form; without any it is nobody's, which the API takes only while Api.AllowAnonymous is set.
 */

import { SignatureV4 } from '@smithy/signature-v4';
import { z } from 'zod';
import { Sha256 } from '../control/aws/signature.ts';
import { OWN_SERVICE, TARGET_HEADER, TARGET_PREFIX } from '../control/berth/api.ts';
import type { Environment } from '../control/environment.ts';
import { exchange, NoAnswer, notBerth, parseJson } from './ask-api.ts';

export interface OwnApi {
  readonly base: URL;
  readonly region: string;
  readonly environment: Environment;
  readonly timeoutMs: number;
}

const refusal = z.object({ __type: z.string(), message: z.string() });

/** Returns the body of the answer. Throws `NoAnswer`. */
export async function call(api: OwnApi, operation: string, input: unknown): Promise<unknown> {
  const { base, timeoutMs } = api;
  const url = new URL(base);
  url.pathname = '/';
  const body = JSON.stringify(input);
  const headers = await signed(api, url, body, {
    host: url.host,
    'content-type': 'application/x-amz-json-1.1',
    [TARGET_HEADER]: `${TARGET_PREFIX}${operation}`,
  });
  const answer = await exchange(url, { method: 'POST', headers, body }, timeoutMs);
  const parsed = parseJson(answer.text);
  if (answer.status === 200) return parsed;
  const refused = refusal.safeParse(parsed);
  if (!refused.success) throw notBerth(base);
  const { __type: code, message } = refused.data;
  const hint =
    code === 'MissingAuthenticationToken'
      ? '; AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY sign requests'
      : '';
  throw new NoAnswer(`${base.origin} refuses (${code}): ${message.replace(/\.$/, '')}${hint}`);
}

async function signed(
  { environment, region }: OwnApi,
  url: URL,
  body: string,
  headers: Readonly<Record<string, string>>,
): Promise<Readonly<Record<string, string>>> {
  const { AWS_ACCESS_KEY_ID: accessKeyId, AWS_SECRET_ACCESS_KEY: secretAccessKey } = environment;
  if (!accessKeyId || !secretAccessKey) return headers;
  const { AWS_SESSION_TOKEN: sessionToken } = environment;
  const credentials = { accessKeyId, secretAccessKey, ...(sessionToken ? { sessionToken } : {}) };
  const signer = new SignatureV4({ service: OWN_SERVICE, region, credentials, sha256: Sha256 });
  const request = await signer.sign({
    method: 'POST',
    protocol: url.protocol,
    hostname: url.hostname,
    path: url.pathname,
    query: {},
    headers: { ...headers },
    body,
  });
  return request.headers;
}
