/**
 * Checks who has signed a request, with AWS's Signature Version 4: the signature is computed again with
 * the secret key that is known for the access key, and compared.
 * https://docs.aws.amazon.com/IAM/latest/UserGuide/create-signed-request.html
 */

import { createHash, createHmac, timingSafeEqual } from 'node:crypto';
import type { AccessKey, Principals } from '../../credential/principals.ts';
import { Secret } from '../../credential/secret.ts';
import { identityOf } from '../../credential/secret-identity.ts';
import { Fault } from './fault.ts';

/** What a request is signed for. */
export interface SignatureScope {
  readonly region: string;
  readonly service: string;
}

export interface SignedRequest {
  readonly method: string;
  /** Without the query, which must be empty. */
  readonly path: string;
  readonly headers: Headers;
  readonly body: string;
}

/** How far the clocks of both sides may differ. */
const SKEW_MAX_MS = 5 * 60_000;
const SKEW_TEXT = '5 min.';

const AUTHORIZATION =
  /^AWS4-HMAC-SHA256\s+Credential=(?<credential>[^,\s]+),\s*SignedHeaders=(?<headers>[^,\s]+),\s*Signature=(?<signature>[0-9a-f]{64})$/;
const DATE = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/;

/** Returns whose key it was; throws `Fault`. `now` is milliseconds since 1970. */
export async function authenticate(
  request: SignedRequest,
  { region, service }: SignatureScope,
  principals: Principals,
  now: number,
): Promise<AccessKey> {
  const given = readAuthorization(request.headers);
  const { accessKeyId, scope, signedHeaders, signature } = given;
  const key = principals.find(accessKeyId);
  if (key === undefined || !hasSessionToken(request.headers, key)) {
    throw new Fault(
      'InvalidClientTokenId',
      'The security token included in the request is invalid.',
    );
  }
  if (key.expiresAt !== undefined && key.expiresAt <= now) {
    throw new Fault('ExpiredToken', 'The security token included in the request is expired');
  }
  const date = request.headers.get('x-amz-date') ?? '';
  const signedAt = timeOf(date);
  if (signedAt === undefined || !signedHeaders.includes('x-amz-date')) {
    throw incomplete("Authorization header requires existence of a signed 'X-Amz-Date' header.");
  }
  if (!signedHeaders.includes('host')) {
    throw incomplete("'Host' must be a 'SignedHeader' in the AWS Authorization.");
  }
  checkClock(date, signedAt, now);
  const expectedScope = `${date.slice(0, 8)}/${region}/${service}/aws4_request`;
  if (scope !== expectedScope) {
    throw mismatch(`Credential should be scoped to ${expectedScope}, not ${scope}.`);
  }
  const claimed = request.headers.get('x-amz-content-sha256');
  if (claimed !== null && claimed !== sha256Hex(request.body)) {
    throw mismatch('The body is not the one whose hash X-Amz-Content-Sha256 is.');
  }
  const expected = await sign(request, signedHeaders, {
    region,
    service,
    key,
    signedAt,
  });
  if (expected === undefined || !timingSafeEqual(Buffer.from(signature), Buffer.from(expected))) {
    throw mismatch(
      'The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details.',
    );
  }
  return key;
}

/** Temporary credentials come with their token, others with none. */
function hasSessionToken(headers: Headers, { sessionToken }: AccessKey): boolean {
  const given = headers.get('x-amz-security-token');
  if (given === null || sessionToken === undefined) return given === (sessionToken ?? null);
  return identityOf(new Secret(given)) === identityOf(sessionToken);
}

function readAuthorization(headers: Headers) {
  const authorization = headers.get('authorization');
  if (authorization === null) {
    throw new Fault('MissingAuthenticationToken', 'Request is missing Authentication Token');
  }
  const {
    credential = '',
    headers: names = '',
    signature = '',
  } = AUTHORIZATION.exec(authorization)?.groups ?? {};
  const [accessKeyId = '', ...scope] = credential.split('/');
  if (signature === '' || scope.length !== 4) {
    throw incomplete(
      "Authorization header requires 'Credential', 'SignedHeaders' and 'Signature' parameters of AWS4-HMAC-SHA256.",
    );
  }
  return { accessKeyId, scope: scope.join('/'), signedHeaders: names.split(';'), signature };
}

function checkClock(date: string, signedAt: number, now: number): void {
  const [earliest, latest] = [now - SKEW_MAX_MS, now + SKEW_MAX_MS];
  const at = compact(now);
  if (signedAt < earliest) {
    throw mismatch(
      `Signature expired: ${date} is now earlier than ${compact(earliest)} (${at} - ${SKEW_TEXT})`,
    );
  }
  if (signedAt > latest) {
    throw mismatch(
      `Signature not yet current: ${date} is still later than ${compact(latest)} (${at} + ${SKEW_TEXT})`,
    );
  }
}

/** The signature that the owner of the key would make. */
async function sign(
  { method, path, headers, body }: SignedRequest,
  signedHeaders: readonly string[],
  by: SignatureScope & { readonly key: AccessKey; readonly signedAt: number },
): Promise<string | undefined> {
  // Most installations are never sent a signed request.
  const { SignatureV4 } = await import('@smithy/signature-v4');
  const { accessKeyId, secretAccessKey } = by.key;
  const signer = new SignatureV4({
    service: by.service,
    region: by.region,
    credentials: { accessKeyId, secretAccessKey: secretAccessKey.reveal() },
    sha256: Sha256,
    applyChecksum: false,
  });
  const signed = await signer.sign(
    {
      method,
      protocol: 'http:',
      hostname: headers.get('host') ?? '',
      path,
      query: {},
      headers: Object.fromEntries(signedHeaders.map((name) => [name, headers.get(name) ?? ''])),
      body,
    },
    { signingDate: new Date(by.signedAt), signableHeaders: new Set(signedHeaders) },
  );
  return /Signature=([0-9a-f]{64})$/.exec(signed.headers.authorization ?? '')?.[1];
}

/** Node's hash in the form that the signer takes. */
export class Sha256 {
  private readonly hash: { update(data: Uint8Array): unknown; digest(): Buffer };

  constructor(secret?: string | ArrayBuffer | ArrayBufferView) {
    this.hash = secret === undefined ? createHash('sha256') : createHmac('sha256', keyOf(secret));
  }

  update(chunk: Uint8Array): void {
    this.hash.update(chunk);
  }

  async digest(): Promise<Uint8Array> {
    return this.hash.digest();
  }

  reset(): void {
    throw new Error('a hash is used once');
  }
}

function keyOf(secret: string | ArrayBuffer | ArrayBufferView): string | Buffer {
  if (typeof secret === 'string') return secret;
  if (!ArrayBuffer.isView(secret)) return Buffer.from(secret);
  return Buffer.from(secret.buffer, secret.byteOffset, secret.byteLength);
}

function sha256Hex(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

/** Undefined when `date` is no date in AWS's form. */
function timeOf(date: string): number | undefined {
  const time = Date.parse(date.replace(DATE, '$1-$2-$3T$4:$5:$6Z'));
  return DATE.test(date) && Number.isFinite(time) ? time : undefined;
}

function compact(time: number): string {
  return new Date(time).toISOString().replace(/[-:]|\.\d+/g, '');
}

function incomplete(message: string): Fault {
  return new Fault('IncompleteSignature', message);
}

function mismatch(message: string): Fault {
  return new Fault('SignatureDoesNotMatch', message);
}
