/**
 * AuthenticationMD5Password: `md5` and md5(md5(password user) salt) in hexadecimal. Both roles:
 * towards clients that ask for it, and towards databases that still keep MD5 hashes.
 * https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-START-UP
 */

import { createHash, timingSafeEqual } from 'node:crypto';
import type { Secret } from '../../../credential/secret.ts';

export const MD5_SALT_BYTES = 4;
/** `md5` and 32 hexadecimal digits. */
const MD5_RESPONSE_BYTES = 35;

/** What a client that knows the password answers to `salt`. */
export function md5Response(user: string, password: Secret, salt: Uint8Array): string {
  const stored = createHash('md5').update(password.reveal(), 'utf8').update(user, 'utf8');
  const salted = createHash('md5').update(stored.digest('hex'), 'latin1').update(salt);
  return `md5${salted.digest('hex')}`;
}

/** Whether `response` is `expected`; takes the same time for every wrong one of its length. */
export function isMd5Response(response: Uint8Array, expected: string): boolean {
  if (response.length !== MD5_RESPONSE_BYTES) return false;
  return timingSafeEqual(response, Buffer.from(expected, 'latin1'));
}
