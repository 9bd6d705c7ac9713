/**
 * Tells whether two secrets hold the same value without keeping or showing it: HMAC-SHA-256 under
 * a random key that never leaves the process. It changes when the password changes, so it keys
 * caches and marks the version of a credential. It may be printed; outside this process it means
 * nothing, so never store it or compare it with another process's.
 */

import { createHmac, randomBytes } from 'node:crypto';
import type { Secret } from './secret.ts';

declare const brand: unique symbol;
export type SecretIdentity = string & { readonly [brand]: 'SecretIdentity' };

const processKey = randomBytes(32);
/** A lookup must not cost more for a long password than for a short one. */
const known = new WeakMap<Secret, SecretIdentity>();

export function identityOf(secret: Secret): SecretIdentity {
  const remembered = known.get(secret);
  if (remembered !== undefined) return remembered;
  const mac = createHmac('sha256', processKey).update(secret.reveal(), 'utf8').digest('base64url');
  const identity = mac as SecretIdentity;
  known.set(secret, identity);
  return identity;
}
