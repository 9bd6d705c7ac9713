/** The versions of a secret and the stages that name them. Pure: a change makes another record. */

import type { SecretRecord, SecretVersionRecord } from '../state/records.ts';

export const CURRENT = 'AWSCURRENT';
export const PREVIOUS = 'AWSPREVIOUS';
export const PENDING = 'AWSPENDING';

/** Of versions without a stage, the newest so many are kept. */
export const VERSIONS_WITHOUT_STAGE_MAX = 20;

export function versionById(
  { versions }: SecretRecord,
  id: string,
): SecretVersionRecord | undefined {
  return versions.find((version) => version.id === id);
}

export function versionAt(
  { versions }: SecretRecord,
  stage: string,
): SecretVersionRecord | undefined {
  return versions.find(({ stages }) => stages.includes(stage));
}

/** With `version` as its newest one, at `stages`. */
export function withVersion(
  secret: SecretRecord,
  version: SecretVersionRecord,
  stages: readonly string[],
  now: string,
): SecretRecord {
  const added: SecretRecord = {
    ...secret,
    versions: [...secret.versions, { ...version, stages: [] }],
  };
  let staged = added;
  for (const stage of stages) staged = withStage(staged, stage, version.id, now);
  return withoutOldVersions(staged);
}

/**
 * With `stage` at the version `id` and at no other; undefined: at none. AWSPREVIOUS goes to the version that
 * AWSCURRENT is taken from.
 */
export function withStage(
  secret: SecretRecord,
  stage: string,
  id: string | undefined,
  now: string,
): SecretRecord {
  const former = versionAt(secret, stage);
  if (former?.id === id) return secret;
  const versions = secret.versions.map((version) => {
    const others = version.stages.filter((each) => each !== stage);
    if (version.id === id) return { ...version, stages: [...others, stage] };
    return others.length === version.stages.length ? version : { ...version, stages: others };
  });
  const moved = { ...secret, versions };
  if (stage !== CURRENT) return moved;
  const current = { ...moved, currentSince: now };
  return former === undefined ? current : withStage(current, PREVIOUS, former.id, now);
}

function withoutOldVersions(secret: SecretRecord): SecretRecord {
  const old = secret.versions.filter(({ stages }) => stages.length === 0);
  const gone = new Set(old.slice(0, -VERSIONS_WITHOUT_STAGE_MAX));
  if (gone.size === 0) return secret;
  return { ...secret, versions: secret.versions.filter((version) => !gone.has(version)) };
}
