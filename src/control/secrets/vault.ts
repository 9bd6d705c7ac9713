/**
 * Encrypts the secrets that the API makes, and opens them. The keys are those of the configuration and, as
 * long as that names none, one that Berth makes with the first secret and keeps in the state directory.
 * Whatever is encrypted with another key than the first one is encrypted anew when keys are taken up. The
 * kept key is not looked for before there is something to encrypt or to open: who only serves a file needs
 * none.
 */

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { keepFiles } from '../kept-file.ts';
import type { SecretRecord, SecretVersionRecord } from '../state/records.ts';
import { StateError, type StateStore } from '../state/state-store.ts';
import { Keyring, SealError, type Sealed } from './keyring.ts';

const KEY_FILE = 'secrets.key';

export interface VaultOptions {
  readonly store: StateStore;
  /** Of the kept key: the state directory. */
  readonly directory: string;
  /** Undefined when the configuration names no keys. */
  readonly keys: Keyring | undefined;
  /** Whether what is encrypted with an old key is encrypted anew; default: yes. */
  readonly isRenewing?: boolean;
}

export class Vault {
  private readonly store: StateStore;
  private readonly directory: string;
  private readonly isRenewing: boolean;
  private keyring: Keyring;

  /** Throws `StateError` when there is a secret that no key opens. */
  constructor({ store, directory, keys, isRenewing = true }: VaultOptions) {
    this.store = store;
    this.directory = directory;
    this.isRenewing = isRenewing;
    this.keyring = this.take(keys);
  }

  /** Takes other keys. Throws `StateError`, and then the former ones hold. */
  use(keys: Keyring | undefined): void {
    this.keyring = this.take(keys);
  }

  /** `secret` and `version` are ids; the value opens only as theirs. Throws `StateError`. */
  seal(value: Uint8Array, secret: string, version: string): Sealed {
    return this.sealingKeyring().seal(value, placeOf(secret, version));
  }

  /** Throws `SealError` when the record was tampered with after the keys were taken up. */
  open(secret: SecretRecord, { id, sealed }: SecretVersionRecord): Buffer {
    return this.keyring.open(sealed, placeOf(secret.id, id));
  }

  private take(configured: Keyring | undefined): Keyring {
    const secrets = this.store.records.filter((record) => record.kind === 'secret');
    if (secrets.length === 0) return configured ?? Keyring.EMPTY;
    const kept = this.keptKey();
    const keyring = configured === undefined ? kept : configured.and(kept);
    const renewed = secrets.flatMap((secret) => renew(secret, keyring));
    if (this.isRenewing && renewed.length > 0) this.store.commit(renewed.map((put) => ({ put })));
    return keyring;
  }

  private sealingKeyring(): Keyring {
    if (this.keyring.isEmpty) this.keyring = this.keptKey();
    if (this.keyring.isEmpty) this.keyring = this.makeKey();
    return this.keyring;
  }

  private keptKey(): Keyring {
    let text: string;
    try {
      text = readFileSync(this.file, 'utf8');
    } catch (error) {
      const code = error instanceof Error && 'code' in error ? String(error.code) : 'failed';
      if (code === 'ENOENT') return Keyring.EMPTY;
      const file = JSON.stringify(this.file);
      throw new StateError(`StateDirectory: the key ${file} cannot be read: ${code}`, error);
    }
    const keyring = Keyring.parse(text);
    if (keyring !== undefined) return keyring;
    throw new StateError(`StateDirectory: ${JSON.stringify(this.file)} holds no key`);
  }

  /** It is on disk before anything is that needs it. */
  private makeKey(): Keyring {
    const { keyring, text } = Keyring.generate();
    const failure = keepFiles(this.directory, { [KEY_FILE]: text });
    if (failure === undefined) return keyring;
    const file = JSON.stringify(this.file);
    throw new StateError(`StateDirectory: the key ${file} cannot be kept: ${failure}`);
  }

  private get file(): string {
    return join(this.directory, KEY_FILE);
  }
}

function placeOf(secret: string, version: string): string {
  return JSON.stringify([secret, version]);
}

/** `secret` as the first key seals it; nothing when it is that already. Proves that every version opens. */
function renew(secret: SecretRecord, keyring: Keyring): readonly SecretRecord[] {
  const versions = secret.versions.map((version) => {
    const place = placeOf(secret.id, version.id);
    const value = openOrTell(() => keyring.open(version.sealed, place), secret);
    if (keyring.isCurrent(version.sealed)) return version;
    return { ...version, sealed: keyring.seal(value, place) };
  });
  const isCurrent = versions.every((version, index) => version === secret.versions[index]);
  return isCurrent ? [] : [{ ...secret, versions }];
}

function openOrTell(open: () => Buffer, { name }: SecretRecord): Buffer {
  try {
    return open();
  } catch (error) {
    if (!(error instanceof SealError)) throw error;
    const hint =
      'SecretStore in the configuration, and secrets.key in the state directory, give keys';
    throw new StateError(`The secret ${name} cannot be opened: ${error.message} (${hint})`, error);
  }
}
