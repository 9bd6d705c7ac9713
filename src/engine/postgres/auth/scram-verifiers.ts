/**
 * What the proxy checks a client's proof against. Users that are known and users that are not get
 * the same kind of answer: the salt is made from the user name under a random key, whether there is
 * a password or not, so neither a changed password nor a new user shows in it (PostgreSQL's mock
 * authentication, `scram_MockSalt` in src/backend/libpq/auth-scram.c, does it for the unknown).
 *
 * RDS Proxy asks for 4096 iterations whatever `scram_iterations` of the database says; so do we.
 */

import { createHmac, randomBytes } from 'node:crypto';
import type { Secret } from '../../../credential/secret.ts';
import { ScramKeyCache } from './scram-key-cache.ts';
import { ScramKeys } from './scram-keys.ts';

const SCRAM_ITERATIONS = 4096;
/** PostgreSQL's SCRAM_DEFAULT_SALT_LEN. */
const SCRAM_SALT_BYTES = 16;

export interface ScramVerifier {
  readonly salt: Uint8Array;
  readonly iterations: number;
  readonly keys: ScramKeys;
  /** Of passwords that are good beside it, with the same salt. Default: none. */
  readonly otherKeys?: readonly ScramKeys[];
  /** The user is not known; no proof is right. */
  readonly isMock: boolean;
}

export interface ScramVerifiersOptions {
  readonly keys?: ScramKeyCache;
  /** Salts stay the same while this does. */
  readonly saltKey?: Uint8Array;
}

export class ScramVerifiers {
  readonly #keys: ScramKeyCache;
  readonly #saltKey: Uint8Array;
  readonly #mockKeys = ScramKeys.random();

  constructor(options: ScramVerifiersOptions = {}) {
    this.#keys = options.keys ?? new ScramKeyCache();
    this.#saltKey = options.saltKey ?? randomBytes(32);
  }

  /**
   * The verifier of `user`; a promise only when the password was not seen before. Without a
   * password it is a mock. So is it with an empty one, which PostgreSQL never lets in either.
   */
  verifierFor(user: string, password: Secret | undefined): ScramVerifier | Promise<ScramVerifier> {
    const salt = this.#saltFor(user);
    if (password === undefined || password.reveal() === '') {
      return { salt, iterations: SCRAM_ITERATIONS, keys: this.#mockKeys, isMock: true };
    }
    const keys = this.#keys.keysFor(password, salt, SCRAM_ITERATIONS);
    return keys instanceof ScramKeys ? realVerifier(salt, keys) : waitFor(salt, keys);
  }

  /**
   * Derives what logins will need. Without it the first login of each user takes a moment longer
   * than one of a user who does not exist, which is a hint. One at a time, to leave threads free.
   */
  async warm(credentials: Iterable<{ user: string; password: Secret }>): Promise<void> {
    for (const { user, password } of credentials) await this.verifierFor(user, password);
  }

  #saltFor(user: string): Buffer {
    const mac = createHmac('sha256', this.#saltKey).update(user, 'utf8').digest();
    return mac.subarray(0, SCRAM_SALT_BYTES);
  }
}

/** Those of the process: one random key, so that a user's salt is the same at every endpoint. */
export const sharedVerifiers = new ScramVerifiers();

async function waitFor(salt: Uint8Array, keys: Promise<ScramKeys>): Promise<ScramVerifier> {
  return realVerifier(salt, await keys);
}

function realVerifier(salt: Uint8Array, keys: ScramKeys): ScramVerifier {
  return { salt, iterations: SCRAM_ITERATIONS, keys, isMock: false };
}
