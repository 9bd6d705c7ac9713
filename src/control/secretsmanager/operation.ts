/** Operations of the Secrets Manager API, and what they look up. */

import { randomUUID } from 'node:crypto';
import { type ApiOperation, definer } from '../aws/operation.ts';
import type { Vault } from '../secrets/vault.ts';
import type { DesiredState, Known } from '../state/desired-state.ts';
import type { SecretRecord, SecretVersionRecord } from '../state/records.ts';
import { invalidRequest, SecretsFault } from './fault.ts';
import { type GivenValue, readParameters } from './parameters.ts';
import { CURRENT, versionById, withVersion } from './versions.ts';

export interface SecretsContext {
  readonly state: DesiredState;
  readonly vault: Vault;
}

type Result = Readonly<Record<string, unknown>>;

/** Throws `SecretsFault`. */
export type Operation = ApiOperation<unknown, SecretsContext, Result>;

export const operation = definer<unknown, SecretsContext, Result>(readParameters);

/** By name, by ARN, or by an ARN without its last six characters. */
export function findSecret({ state }: SecretsContext, id: string): Known<SecretRecord> {
  const found = state.findSecret(id);
  if (found !== undefined) return found;
  throw new SecretsFault(
    'ResourceNotFoundException',
    "Secrets Manager can't find the specified secret.",
  );
}

/** One that the API may change, deleted or not. */
export function findOwnSecret(context: SecretsContext, id: string): SecretRecord {
  const { record, isDeclared } = findSecret(context, id);
  if (!isDeclared) return record;
  throw invalidRequest(
    `The secret ${record.name} is declared in the configuration file, so its value is used and changed only there.`,
  );
}

/** One that the API may change, and that is not deleted. */
export function findLiveSecret(context: SecretsContext, id: string): SecretRecord {
  const secret = findOwnSecret(context, id);
  if (secret.deletedAt === undefined) return secret;
  throw invalidRequest(
    "You can't perform this operation on the secret because it was marked for deletion.",
  );
}

/**
 * With one more version, whose id is `token`. The very same `secret` when it has this version already, so
 * that a request may be sent again; a fault when that one has another value.
 */
export function withValue(
  secret: SecretRecord,
  { bytes, isBinary }: GivenValue,
  context: SecretsContext,
  options: { readonly token?: string | undefined; readonly stages?: readonly string[] | undefined },
): { readonly secret: SecretRecord; readonly version: SecretVersionRecord } {
  const { token: id = randomUUID(), stages = [CURRENT] } = options;
  const { vault } = context;
  const known = versionById(secret, id);
  if (known !== undefined) {
    const isSame = known.isBinary === isBinary && vault.open(secret, known).equals(bytes);
    if (isSame) return { secret, version: known };
    throw new SecretsFault(
      'ResourceExistsException',
      `You can't use ClientRequestToken ${id} because that value is already in use for a version of secret ${secret.name}.`,
    );
  }
  const at = now();
  const sealed = vault.seal(bytes, secret.id, id);
  const added = { id, createdAt: at, stages: [], isBinary, sealed };
  const changed = withVersion({ ...secret, changedAt: at }, added, stages, at);
  return { secret: changed, version: versionById(changed, id) ?? added };
}

export function now(): string {
  return new Date().toISOString();
}

/** As JSON 1.1 has it: seconds since 1970. */
export function seconds(time: string | undefined): number | undefined {
  return time === undefined ? undefined : Date.parse(time) / 1000;
}
