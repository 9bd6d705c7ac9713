/**
 * What the authentication plugins compute: how a password and a scramble become an answer. Pure.
 * https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_connection_phase_authentication_methods.html
 */

import { createHash } from 'node:crypto';
import type { Secret } from '../../../credential/secret.ts';

export const NATIVE = 'mysql_native_password';
export const CACHING_SHA2 = 'caching_sha2_password';
export const SHA256 = 'sha256_password';
export const CLEAR = 'mysql_clear_password';
export const ED25519 = 'client_ed25519';

// What follows the first answer of caching_sha2_password, one byte each, and sha256_password's.
/** The server knows the password by heart: the answer was right. */
export const FAST_AUTH_SUCCESS = 0x03;
/** The server wants the password itself. */
export const PERFORM_FULL_AUTHENTICATION = 0x04;
/** The client wants the server's public key, to send the password with. */
export const CACHING_SHA2_REQUEST_KEY = 0x02;
export const SHA256_REQUEST_KEY = 0x01;

export const NATIVE_BYTES = 20;
export const CACHING_SHA2_BYTES = 32;

/** What of a password the answers are made from. A long one is hashed once and not at each login. */
export interface PasswordHashes {
  readonly sha1: Buffer;
  readonly sha1Twice: Buffer;
  readonly sha256: Buffer;
  readonly sha256Twice: Buffer;
}

const known = new WeakMap<Secret, PasswordHashes>();

export function hashesOf(password: Secret): PasswordHashes {
  const remembered = known.get(password);
  if (remembered !== undefined) return remembered;
  const bytes = Buffer.from(password.reveal());
  const sha1 = hash('sha1', bytes);
  const sha256 = hash('sha256', bytes);
  const hashes = {
    sha1,
    sha1Twice: hash('sha1', sha1),
    sha256,
    sha256Twice: hash('sha256', sha256),
  };
  known.set(password, hashes);
  return hashes;
}

/** SHA1(password) XOR SHA1(scramble + SHA1(SHA1(password))). */
export function nativeAnswer({ sha1, sha1Twice }: PasswordHashes, scramble: Uint8Array): Buffer {
  return xor(sha1, hash('sha1', scramble, sha1Twice));
}

/** SHA256(password) XOR SHA256(SHA256(SHA256(password)) + scramble). */
export function cachingSha2Answer(hashes: PasswordHashes, scramble: Uint8Array): Buffer {
  return xor(hashes.sha256, hash('sha256', hashes.sha256Twice, scramble));
}

export function hash(algorithm: 'sha1' | 'sha256', ...parts: readonly Uint8Array[]): Buffer {
  const digest = createHash(algorithm);
  for (const part of parts) digest.update(part);
  return digest.digest();
}

/** As long as `bytes`; `mask` is repeated. */
export function xor(bytes: Uint8Array, mask: Uint8Array): Buffer {
  const result = Buffer.from(bytes);
  for (let at = 0; at < result.length; at++) result[at] ^= mask[at % mask.length];
  return result;
}
