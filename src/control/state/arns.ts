/** Identifiers as RDS makes them: random for what the API makes, derived from the name for what a file declares. */

import { createHash, randomBytes } from 'node:crypto';
import type { SecretOwner } from '../secret-arn.ts';

const PREFIXES = {
  proxy: 'prx-',
  'db-proxy-endpoint': 'prx-endpoint-',
  'target-group': 'prx-tg-',
  'db-instance': 'db-',
  'db-cluster': 'cluster-',
} as const;

export type IdKind = keyof typeof PREFIXES;

const ID_LENGTH = 17;

/** Lower-case letters and digits, after the prefix of its kind. */
export function newId(kind: IdKind): string {
  return PREFIXES[kind] + shorten(randomBytes(ID_LENGTH).toString('hex'));
}

/** The same at every start. */
export function declaredId(kind: IdKind, name: string): string {
  return PREFIXES[kind] + shorten(createHash('sha256').update(`${kind} ${name}`).digest('hex'));
}

const SECRET_SUFFIX_LENGTH = 6;

/** The tail of the ARN of a secret of the file: the name, and six characters as AWS puts them there. */
export function declaredSecretId(name: string): string {
  const hash = createHash('sha256').update(`secret ${name}`).digest('hex');
  return `${name}-${hash.slice(0, SECRET_SUFFIX_LENGTH)}`;
}

function shorten(hex: string): string {
  return hex.slice(0, ID_LENGTH);
}

/** What stands between the account and the identifier in an ARN. */
export type ArnType = 'db-proxy' | 'db-proxy-endpoint' | 'target-group' | 'db' | 'cluster';

export function arnOf(owner: SecretOwner, type: ArnType, id: string): string {
  return `arn:aws:rds:${owner.region}:${owner.accountId}:${type}:${id}`;
}
