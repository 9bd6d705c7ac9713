/** A secret as the data plane takes it, with what is good beside its current value. Pure. */

import { identityOf } from '../../credential/secret-identity.ts';
import type { OtherVersion, SecretEntry } from '../../proxy/snapshot.ts';
import type { LoginSecret, LoginSecrets } from './lookup.ts';

/**
 * How long clients may still use the password that was replaced: those who have read the secret before learn
 * of it within this time, and who stole the old password has no longer.
 */
export const OVERLAP_MS = 60_000;

export function toSecretEntry(Name: string, secrets: LoginSecrets): SecretEntry {
  const { current, currentSince, pending, previous } = secrets;
  const others: OtherVersion[] = [];
  if (pending !== undefined) others.push({ ...pending, acceptedUntil: Number.POSITIVE_INFINITY });
  if (previous !== undefined) {
    // Where two users take turns, the former one stays good until it is its turn to change.
    const isOther = previous.username !== current.username;
    const acceptedUntil = isOther ? Number.POSITIVE_INFINITY : currentSince + OVERLAP_MS;
    others.push({ ...previous, acceptedUntil });
  }
  return { Name, ...current, others };
}

/** Remembers what the secrets of sources that do not remember it themselves have been. */
export class SecretHistory {
  private readonly known = new Map<string, LoginSecrets>();

  /** `current` is what `name` holds at `now`. */
  note(name: string, current: LoginSecret, now: number): LoginSecrets {
    const last = this.known.get(name);
    if (last !== undefined && isSame(last.current, current)) return last;
    const previous = last?.current;
    const next = { current, currentSince: now, pending: undefined, previous };
    this.known.set(name, next);
    return next;
  }

  /** Forgets all but these. */
  keepOnly(names: ReadonlySet<string>): void {
    for (const name of this.known.keys()) if (!names.has(name)) this.known.delete(name);
  }
}

export function isSame(a: LoginSecret, b: LoginSecret): boolean {
  return a.username === b.username && identityOf(a.password) === identityOf(b.password);
}
