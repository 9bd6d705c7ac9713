/**
 * MariaDB's ed25519 plugin, the client's side: the scramble signed with a key that is made from the
 * password. It is Ed25519 (RFC 8032 section 5.1.6) but for one thing: SHA-512 is taken of the password,
 * of whatever length, and not of a secret of 32 bytes; so `node:crypto` cannot do it.
 * https://mariadb.com/docs/server/reference/plugins/authentication-plugins/authentication-with-ed25519
 */

import { createHash } from 'node:crypto';
import { Point } from '@noble/ed25519';
import type { Secret } from '../../../credential/secret.ts';

export const ED25519_SCRAMBLE_BYTES = 32;
const { n: ORDER } = Point.CURVE();

export function ed25519Answer(password: Secret, scramble: Uint8Array): Buffer {
  const expanded = sha512(Buffer.from(password.reveal()));
  const key = clamped(expanded.subarray(0, 32));
  const publicKey = times(key);
  const nonce = number(sha512(expanded.subarray(32), scramble));
  const commitment = times(nonce);
  const challenge = number(sha512(commitment, publicKey, scramble));
  const proof = (nonce + challenge * key) % ORDER;
  return Buffer.concat([commitment, littleEndian(proof)]);
}

function sha512(...parts: readonly Uint8Array[]): Buffer {
  const digest = createHash('sha512');
  for (const part of parts) digest.update(part);
  return digest.digest();
}

function clamped(bytes: Uint8Array): bigint {
  const copy = Buffer.from(bytes);
  copy[0] &= 0xf8;
  copy[31] = (copy[31] & 0x7f) | 0x40;
  return number(copy);
}

/** The base point, that many times. */
function times(factor: bigint): Uint8Array {
  return Point.BASE.multiply(factor % ORDER).toBytes();
}

function number(bytes: Uint8Array): bigint {
  return BigInt(`0x${Buffer.from(bytes).reverse().toString('hex')}`);
}

function littleEndian(value: bigint): Buffer {
  return Buffer.from(value.toString(16).padStart(64, '0'), 'hex').reverse();
}
