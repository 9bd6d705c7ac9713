/**
 * The token that a client gives in place of a password: a request to the service rds-db for `host:port`, signed
 * in its query with Signature Version 4, and never sent. Reads one, and says which signature it should have.
 * Nothing is trusted before `isSignedWith` has said yes. Pure, but for keys that are remembered.
 * https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/UsingWithRDS.IAMDBAuth.Connecting.html
 * https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
 */

import { createHash, createHmac, timingSafeEqual } from 'node:crypto';
import type { Secret } from './secret.ts';

const ALGORITHM = 'AWS4-HMAC-SHA256';
const SERVICE = 'rds-db';
const TERMINATOR = 'aws4_request';
/** Session tokens make most of it, and are 1 to 2 KiB. */
const TOKEN_LENGTH_MAX = 16 * 1024;
const PARAMETERS_MAX = 20;
const EXPIRES_MAX_S = 900;

const PLACE = /^(?<host>[^/?#@\s]+):(?<port>\d{1,5})\/?\?(?<query>[^#\s]+)$/;
const CREDENTIAL =
  /^(?<key>\w{4,128})\/(?<day>\d{8})\/(?<region>[a-z0-9-]{1,64})\/rds-db\/aws4_request$/;
const DATE = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/;
const EMPTY_BODY_HASH = sha256('');

export interface AuthToken {
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly accessKeyId: string;
  readonly region: string;
  /** `undefined` unless the credentials are temporary. */
  readonly sessionToken: string | undefined;
  /** Milliseconds since 1970. */
  readonly signedAt: number;
  readonly expiresAt: number;
  readonly signature: Buffer;
  readonly day: string;
  readonly textToSign: string;
}

/** Undefined when `text` is no token at all, such as a password. */
export function readAuthToken(text: string): AuthToken | undefined {
  const place = text.length > TOKEN_LENGTH_MAX ? undefined : PLACE.exec(text)?.groups;
  const parameters = place && readQuery(place.query ?? '');
  if (place === undefined || parameters === undefined) return undefined;
  const { host = '', port = '' } = place;
  const read = (name: string) => parameters.get(name) ?? '';
  const credential = CREDENTIAL.exec(read('X-Amz-Credential'))?.groups;
  const date = read('X-Amz-Date');
  const signedAt = timeOf(date);
  const expires = Number(/^\d{1,6}$/.exec(read('X-Amz-Expires'))?.[0]);
  const signature = /^[0-9a-f]{64}$/.exec(read('X-Amz-Signature'))?.[0];
  const isWhole =
    read('Action') === 'connect' &&
    read('DBUser') !== '' &&
    read('X-Amz-Algorithm') === ALGORITHM &&
    read('X-Amz-SignedHeaders') === 'host' &&
    expires >= 1 &&
    expires <= EXPIRES_MAX_S;
  const { key: accessKeyId = '', day = '', region = '' } = credential ?? {};
  if (!isWhole || signature === undefined || signedAt === undefined || !date.startsWith(day)) {
    return undefined;
  }
  if (credential === undefined) return undefined;
  return {
    host,
    port: Number(port),
    user: read('DBUser'),
    accessKeyId,
    region,
    sessionToken: parameters.get('X-Amz-Security-Token'),
    signedAt,
    expiresAt: signedAt + expires * 1000,
    signature: Buffer.from(signature, 'hex'),
    day,
    textToSign: textToSign(`${host}:${port}`, parameters, { date, day, region }),
  };
}

/** Whether the owner of `secretAccessKey` has made it. Takes as long when not. */
export function isSignedWith(token: AuthToken, secretAccessKey: Secret): boolean {
  const key = signingKey(secretAccessKey, token.day, token.region);
  const expected = hmac(key, token.textToSign);
  return timingSafeEqual(expected, token.signature);
}

/** Of `name=value&...`; undefined when it is not that, or has a name twice. */
function readQuery(query: string): ReadonlyMap<string, string> | undefined {
  const parts = query.split('&', PARAMETERS_MAX + 1);
  if (parts.length > PARAMETERS_MAX) return undefined;
  const parameters = new Map<string, string>();
  try {
    for (const part of parts) {
      const at = part.indexOf('=');
      if (at < 0 || part.includes('=', at + 1)) return undefined;
      const name = decodeURIComponent(part.slice(0, at));
      if (parameters.has(name)) return undefined;
      parameters.set(name, decodeURIComponent(part.slice(at + 1)));
    }
  } catch {
    // Not the encoding of any text.
    return undefined;
  }
  return parameters;
}

function textToSign(
  hostHeader: string,
  parameters: ReadonlyMap<string, string>,
  { date, day, region }: { readonly date: string; readonly day: string; readonly region: string },
): string {
  const query = [...parameters]
    .filter(([name]) => name !== 'X-Amz-Signature')
    .map(([name, value]) => `${encode(name)}=${encode(value)}`)
    .sort()
    .join('&');
  const request = `GET\n/\n${query}\nhost:${hostHeader}\n\nhost\n${EMPTY_BODY_HASH}`;
  const scope = `${day}/${region}/${SERVICE}/${TERMINATOR}`;
  return `${ALGORITHM}\n${date}\n${scope}\n${sha256(request)}`;
}

/** RFC 3986: what is left are letters, digits and `-._~`. */
function encode(text: string): string {
  return encodeURIComponent(text).replace(
    /[!'()*]/g,
    (found) => `%${found.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}

interface SigningKey {
  readonly day: string;
  readonly region: string;
  readonly key: Buffer;
}

/** The last one of each secret: it is another one each day. */
const known = new WeakMap<Secret, SigningKey>();

function signingKey(secret: Secret, day: string, region: string): Buffer {
  const remembered = known.get(secret);
  if (remembered?.day === day && remembered.region === region) return remembered.key;
  const dayKey = hmac(`AWS4${secret.reveal()}`, day);
  const key = [region, SERVICE, TERMINATOR].reduce<Buffer>(hmac, dayKey);
  known.set(secret, { day, region, key });
  return key;
}

function hmac(key: string | Buffer, text: string): Buffer {
  return createHmac('sha256', key).update(text).digest();
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

function timeOf(date: string): number | undefined {
  const time = Date.parse(date.replace(DATE, '$1-$2-$3T$4:$5:$6Z'));
  return DATE.test(date) && Number.isFinite(time) ? time : undefined;
}
