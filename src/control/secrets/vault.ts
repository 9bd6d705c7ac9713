/**
 * Encrypts the secrets that the API makes and the principals that are kept, and opens them. The keys are those of the configuration and, as
 * long as that names none, one that Berth makes with the first secret and keeps in the state directory.
 * Whatever is encrypted with another key than the first one is encrypted anew when keys are taken up. The
 * kept key is not looked for before there is something to encrypt or to open: who only serves a file needs
 * none.
 */

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { keepFiles } from '../kept-file.ts';
import { type Principal, principalSchema } from '../schema.ts';
import type {
  PrincipalRecord,
  SecretRecord,
  SecretVersionRecord,
  StateRecord,
} from '../state/records.ts';
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

  /** Throws `StateError` when there is something that no key opens. */
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

  sealPrincipal(id: string, principal: Principal, now: Date): PrincipalRecord {
    const value = Buffer.from(JSON.stringify(principal));
    const sealed = this.sealingKeyring().seal(value, placeOfPrincipal(id));
    return { kind: 'principal', id, createdAt: now.toISOString(), sealed };
  }

  /** Undefined when the record was tampered with after the keys were taken up. */
  openPrincipal({ id, sealed }: PrincipalRecord): Principal | undefined {
    try {
      const text = this.keyring.open(sealed, placeOfPrincipal(id)).toString();
      return principalSchema.parse(JSON.parse(text));
    } catch (error) {
      if (error instanceof SealError) return undefined;
      throw error;
    }
  }

  private take(configured: Keyring | undefined): Keyring {
    const records = this.store.records.filter(isSealed);
    if (records.length === 0) return configured ?? Keyring.EMPTY;
    const kept = this.keptKey();
    const keyring = configured === undefined ? kept : configured.and(kept);
    const renewed = records.flatMap((record) => renew(record, keyring));
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

/** No place of a secret's is one: those are lists. */
function placeOfPrincipal(id: string): string {
  return JSON.stringify({ principal: id });
}

type SealedRecord = SecretRecord | PrincipalRecord;

function isSealed(record: StateRecord): record is SealedRecord {
  return record.kind === 'secret' || record.kind === 'principal';
}

/** `record` as the first key seals it; nothing when it is that already. Proves that all of it opens. */
function renew(record: SealedRecord, keyring: Keyring): readonly SealedRecord[] {
  if (record.kind === 'secret') return renewSecret(record, keyring);
  const { id } = record;
  const what = `principal ${id}`;
  const sealed = renewValue(record.sealed, { keyring, place: placeOfPrincipal(id), what });
  return sealed === record.sealed ? [] : [{ ...record, sealed }];
}

function renewSecret(secret: SecretRecord, keyring: Keyring): readonly SecretRecord[] {
  const what = `secret ${secret.name}`;
  const versions = secret.versions.map((version) => {
    const place = placeOf(secret.id, version.id);
    const sealed = renewValue(version.sealed, { keyring, place, what });
    return sealed === version.sealed ? version : { ...version, sealed };
  });
  const isCurrent = versions.every((version, index) => version === secret.versions[index]);
  return isCurrent ? [] : [{ ...secret, versions }];
}

/** The same one when the first key has sealed it. `what` is for people. */
function renewValue(
  sealed: Sealed,
  { keyring, place, what }: { keyring: Keyring; place: string; what: string },
): Sealed {
  try {
    const value = keyring.open(sealed, place);
    return keyring.isCurrent(sealed) ? sealed : keyring.seal(value, place);
  } catch (error) {
    if (!(error instanceof SealError)) throw error;
    const hint =
      'SecretStore in the configuration, and secrets.key in the state directory, give keys';
    throw new StateError(`The ${what} cannot be opened: ${error.message} (${hint})`, error);
  }
}
