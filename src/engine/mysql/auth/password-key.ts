/**
 * Passwords under RSA, for connections without TLS: masked with the scramble, so that the same
 * password is never sent twice, then encrypted with OAEP. Both sides of it.
 * https://dev.mysql.com/doc/dev/mysql-server/latest/page_caching_sha2_authentication_exchanges.html
 */

import {
  constants,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  privateDecrypt,
  publicEncrypt,
} from 'node:crypto';
import { Secret } from '../../../credential/secret.ts';
import { xor } from './plugins.ts';

const { RSA_PKCS1_OAEP_PADDING: padding } = constants;
/** A server's key is shorter than this, in PEM. */
const PUBLIC_KEY_BYTES_MAX = 16 * 1024;

/** The key pair of the proxy. Clients may keep the public key, so it should not change. */
export class PasswordKey {
  /** PEM, as clients are sent it. */
  readonly publicKey: Buffer;
  private readonly privateKey: KeyObject;

  /** PEM. Throws when it is not an RSA key. */
  constructor(pem: Secret) {
    this.privateKey = createPrivateKey(pem.reveal());
    if (this.privateKey.asymmetricKeyType !== 'rsa') throw new Error('the key is not an RSA key');
    const publicKey = createPublicKey(this.privateKey);
    this.publicKey = Buffer.from(publicKey.export({ type: 'spki', format: 'pem' }));
  }

  /** The password with the NUL behind it; undefined when it was not encrypted with our key. */
  decrypt(encrypted: Uint8Array, scramble: Uint8Array): Buffer | undefined {
    try {
      return xor(privateDecrypt({ key: this.privateKey, padding }, encrypted), scramble);
    } catch {
      return undefined;
    }
  }
}

/** For a proxy that was given no key. */
const MODULUS_BITS = 2048;

export function passwordKeyOf(pem: Secret | undefined): PasswordKey {
  if (pem !== undefined) return new PasswordKey(pem);
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: MODULUS_BITS });
  return new PasswordKey(new Secret(String(privateKey.export({ type: 'pkcs8', format: 'pem' }))));
}

/** Undefined when `pem` is no public key, or one too short for the password. */
export function encryptPassword(
  password: Secret,
  scramble: Uint8Array,
  pem: Uint8Array,
): Buffer | undefined {
  if (pem.length > PUBLIC_KEY_BYTES_MAX) return undefined;
  try {
    const key = createPublicKey(Buffer.from(pem));
    if (key.asymmetricKeyType !== 'rsa') return undefined;
    return publicEncrypt({ key, padding }, xor(Buffer.from(`${password.reveal()}\0`), scramble));
  } catch {
    return undefined;
  }
}
