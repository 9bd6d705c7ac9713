/**
 * Remembers derived keys, so that PBKDF2 runs once for a password, salt and iteration count: a storm
 * of logins shares one derivation, and reconnecting to a database costs none. Bounded; the entry
 * that was not used for longest goes first. The password is only in the key as its identity, so a
 * changed password is never answered with the old one's keys.
 *
 * Clients and databases each get their own: a database that changes its salt all the time must
 * not push out what clients need.
 */

import type { Secret } from '../../../credential/secret.ts';
import { identityOf } from '../../../credential/secret-identity.ts';
import { encodeBase64 } from './base64.ts';
import { ScramKeys } from './scram-keys.ts';

/** About 2 MiB when full: 20 proxies with all their secrets. */
const SCRAM_KEY_CACHE_ENTRIES_MAX = 4096;

export interface ScramKeyCacheOptions {
  readonly entriesMax?: number;
  readonly derive?: typeof ScramKeys.derive;
}

export class ScramKeyCache {
  /** Least recently used first. */
  readonly #entries = new Map<string, ScramKeys | Promise<ScramKeys>>();
  readonly #entriesMax: number;
  readonly #derive: typeof ScramKeys.derive;

  constructor(options: ScramKeyCacheOptions = {}) {
    this.#entriesMax = options.entriesMax ?? SCRAM_KEY_CACHE_ENTRIES_MAX;
    this.#derive = options.derive ?? ScramKeys.derive;
  }

  get size(): number {
    return this.#entries.size;
  }

  /** The keys at once when they are known, else a promise that all who ask meanwhile share. */
  keysFor(password: Secret, salt: Uint8Array, iterations: number): ScramKeys | Promise<ScramKeys> {
    const key = `${identityOf(password)} ${iterations} ${encodeBase64(salt)}`;
    const entry = this.#entries.get(key) ?? this.#start(key, password, salt, iterations);
    this.#entries.delete(key);
    this.#entries.set(key, entry);
    this.#evict();
    return entry;
  }

  #start(key: string, password: Secret, salt: Uint8Array, iterations: number): Promise<ScramKeys> {
    const pending: Promise<ScramKeys> = this.#derive(password, salt, iterations).then(
      (keys) => {
        // Only if it is still ours: it may have been evicted meanwhile.
        if (this.#entries.get(key) === pending) this.#entries.set(key, keys);
        return keys;
      },
      (error: unknown) => {
        if (this.#entries.get(key) === pending) this.#entries.delete(key);
        throw error;
      },
    );
    return pending;
  }

  #evict(): void {
    for (const key of this.#entries.keys()) {
      if (this.#entries.size <= this.#entriesMax) return;
      this.#entries.delete(key);
    }
  }
}

/** Keys for logging in to databases, for the whole process. */
export const databaseKeys = new ScramKeyCache();
