/**
 * What a password becomes under SCRAM-SHA-256: ClientKey, StoredKey and ServerKey, RFC 5802 section
 * 3 with the hash of RFC 7677. Whoever has them can log in as the user, so they stay inside this
 * type: it answers questions with them and prints as `[secret]`.
 */

import {
  createHash,
  createHmac,
  pbkdf2 as pbkdf2Callback,
  randomBytes,
  timingSafeEqual,
} from 'node:crypto';
import { inspect, promisify } from 'node:util';
import type { Secret } from '../../../credential/secret.ts';
import { preparedPassword } from './saslprep.ts';

/** Length of every key, proof and signature. */
export const SCRAM_KEY_BYTES = 32;

const pbkdf2 = promisify(pbkdf2Callback);

export class ScramKeys {
  readonly #clientKey: Buffer;
  readonly #storedKey: Buffer;
  readonly #serverKey: Buffer;

  constructor(saltedPassword: Uint8Array) {
    this.#clientKey = hmac(saltedPassword, 'Client Key');
    this.#storedKey = createHash('sha256').update(this.#clientKey).digest();
    this.#serverKey = hmac(saltedPassword, 'Server Key');
  }

  /** Hashes on another thread: `iterations` may be chosen by the other side, our loop is not. */
  static async derive(password: Secret, salt: Uint8Array, iterations: number): Promise<ScramKeys> {
    const prepared = preparedPassword(password.reveal());
    return new ScramKeys(await pbkdf2(prepared, salt, iterations, SCRAM_KEY_BYTES, 'sha256'));
  }

  /** Keys of no password. */
  static random(): ScramKeys {
    return new ScramKeys(randomBytes(SCRAM_KEY_BYTES));
  }

  /** ClientProof. `authMessage` is Latin-1, one character for each byte on the wire. */
  clientProof(authMessage: string): Buffer {
    return xor(this.#clientKey, hmac(this.#storedKey, authMessage));
  }

  /** Whether `proof` was made with these keys; takes the same time for every wrong one. */
  isProvenBy(proof: Uint8Array, authMessage: string): boolean {
    if (proof.length !== SCRAM_KEY_BYTES) return false;
    const clientKey = xor(proof, hmac(this.#storedKey, authMessage));
    return timingSafeEqual(createHash('sha256').update(clientKey).digest(), this.#storedKey);
  }

  serverSignature(authMessage: string): Buffer {
    return hmac(this.#serverKey, authMessage);
  }

  toJSON(): string {
    return '[secret]';
  }

  [inspect.custom](): string {
    return '[secret]';
  }
}

function hmac(key: Uint8Array, text: string): Buffer {
  return createHmac('sha256', key).update(text, 'latin1').digest();
}

function xor(a: Uint8Array, b: Uint8Array): Buffer {
  const result = Buffer.allocUnsafe(SCRAM_KEY_BYTES);
  for (let index = 0; index < SCRAM_KEY_BYTES; index++) {
    result[index] = (a[index] ?? 0) ^ (b[index] ?? 0);
  }
  return result;
}
