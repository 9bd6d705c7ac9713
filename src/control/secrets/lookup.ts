/**
 * What the secrets that no file declares hold for log-ins: of the embedded store. Knows each value as user
 * name and password; what else a secret holds is nobody's business here.
 */

import { z } from 'zod';
import { Secret } from '../../credential/secret.ts';
import { CURRENT, PENDING, PREVIOUS, versionAt } from '../secretsmanager/versions.ts';
import type { SecretRecord, SecretVersionRecord } from '../state/records.ts';
import { SealError } from './keyring.ts';
import type { Vault } from './vault.ts';

export interface LoginSecret {
  readonly username: string;
  readonly password: Secret;
}

/** A secret, with what it will be and what it has been, as far as that is known. */
export interface LoginSecrets {
  readonly current: LoginSecret;
  /** Milliseconds since 1970: since when it is the current one. */
  readonly currentSince: number;
  readonly pending: LoginSecret | undefined;
  readonly previous: LoginSecret | undefined;
}

/** As RDS Proxy takes it; other members are left alone. */
const loginSecret = z.object({ username: z.string().min(1), password: z.string().min(1) });

/** Undefined when the text is not one of a log-in. */
export function readLoginSecret(text: string): LoginSecret | undefined {
  const parsed = loginSecret.safeParse(parseJson(text));
  if (!parsed.success) return undefined;
  const { username, password } = parsed.data;
  return { username, password: new Secret(password) };
}

/** Reads the secrets that a vault opens, each version once. */
export class VaultReader {
  private readonly vault: Vault;
  private readonly known = new WeakMap<SecretVersionRecord, LoginSecret | undefined>();

  constructor(vault: Vault) {
    this.vault = vault;
  }

  /** Undefined when it is deleted, or its current value is not one of a log-in. */
  read(secret: SecretRecord): LoginSecrets | undefined {
    const current = secret.deletedAt === undefined ? this.at(secret, CURRENT) : undefined;
    if (current === undefined) return undefined;
    return {
      current,
      currentSince: Date.parse(secret.currentSince ?? ''),
      pending: this.at(secret, PENDING),
      previous: this.at(secret, PREVIOUS),
    };
  }

  private at(secret: SecretRecord, stage: string): LoginSecret | undefined {
    const version = versionAt(secret, stage);
    if (version === undefined || version.isBinary) return undefined;
    if (!this.known.has(version)) this.known.set(version, this.open(secret, version));
    return this.known.get(version);
  }

  private open(secret: SecretRecord, version: SecretVersionRecord): LoginSecret | undefined {
    try {
      return readLoginSecret(this.vault.open(secret, version).toString());
    } catch (error) {
      if (error instanceof SealError) return undefined;
      throw error;
    }
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
