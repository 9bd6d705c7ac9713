/** GetSecretValue, PutSecretValue, ListSecretVersionIds, UpdateSecretVersionStage. */

import { z } from 'zod';
import { secretArn } from '../secret-arn.ts';
import type { SecretRecord, SecretVersionRecord } from '../state/records.ts';
import { invalidParameter, invalidRequest, SecretsFault } from './fault.ts';
import { findLiveSecret, findOwnSecret, now, operation, seconds, withValue } from './operation.ts';
import {
  flag,
  givenValue,
  page,
  paging,
  requestToken,
  secretId,
  stage,
  stages,
  unsupported,
  value,
  versionId,
} from './parameters.ts';
import { CURRENT, versionAt, versionById, withStage } from './versions.ts';

export const getSecretValue = operation(
  z.strictObject({
    SecretId: secretId,
    VersionId: versionId.optional(),
    VersionStage: stage.optional(),
  }),
  ({ SecretId, VersionId, VersionStage }, context) => {
    const secret = findLiveSecret(context, SecretId);
    const version = findVersion(secret, VersionId, VersionStage);
    const bytes = context.vault.open(secret, version);
    return {
      ARN: secretArn(context.state.owner, secret.id),
      Name: secret.name,
      VersionId: version.id,
      ...(version.isBinary
        ? { SecretBinary: bytes.toString('base64') }
        : { SecretString: bytes.toString() }),
      VersionStages: stagesOf(version),
      CreatedDate: seconds(version.createdAt),
    };
  },
);

function findVersion(
  secret: SecretRecord,
  id: string | undefined,
  asked: string | undefined,
): SecretVersionRecord {
  if (id === undefined) {
    const found = versionAt(secret, asked ?? CURRENT);
    if (found === undefined) throw noVersion(`staging label: ${asked ?? CURRENT}`);
    return found;
  }
  const found = versionById(secret, id);
  if (found === undefined) throw noVersion(`VersionId: ${id}`);
  if (asked === undefined || found.stages.includes(asked)) return found;
  throw invalidRequest(
    'You provided a VersionStage that is not associated to the provided VersionId.',
  );
}

function noVersion(what: string): SecretsFault {
  return new SecretsFault(
    'ResourceNotFoundException',
    `Secrets Manager can't find the specified secret value for ${what}`,
  );
}

export const putSecretValue = operation(
  z.strictObject({
    SecretId: secretId,
    ClientRequestToken: requestToken.optional(),
    ...value,
    VersionStages: stages.optional(),
    RotationToken: unsupported('there is no rotation by functions').optional(),
  }),
  ({ SecretId, ClientRequestToken: token, VersionStages, ...parameters }, context) => {
    const before = findLiveSecret(context, SecretId);
    const given = givenValue(parameters);
    if (given === undefined) {
      throw invalidParameter('You must provide either SecretString or SecretBinary.');
    }
    // The first one is current, whatever else it is.
    const isFirst = before.versions.length === 0;
    const asked = isFirst ? [CURRENT, ...(VersionStages ?? [])] : VersionStages;
    const { secret, version } = withValue(before, given, context, { token, stages: asked });
    if (secret !== before) context.state.commit({ put: secret });
    return {
      ARN: secretArn(context.state.owner, secret.id),
      Name: secret.name,
      VersionId: version.id,
      VersionStages: [...version.stages],
    };
  },
);

export const listSecretVersionIds = operation(
  z.strictObject({ SecretId: secretId, IncludeDeprecated: flag().default(false), ...paging }),
  ({ SecretId, IncludeDeprecated, ...paging }, context) => {
    const secret = findOwnSecret(context, SecretId);
    const shown = secret.versions
      .filter(({ stages: { length } }) => IncludeDeprecated || length > 0)
      .toSorted((a, b) => (a.id < b.id ? -1 : 1));
    const { items, NextToken } = page(shown, ({ id }) => id, paging);
    return {
      Versions: items.map((version) => ({
        VersionId: version.id,
        VersionStages: stagesOf(version),
        CreatedDate: seconds(version.createdAt),
      })),
      NextToken,
      ARN: secretArn(context.state.owner, secret.id),
      Name: secret.name,
    };
  },
);

export const updateSecretVersionStage = operation(
  z.strictObject({
    SecretId: secretId,
    VersionStage: stage,
    RemoveFromVersionId: versionId.optional(),
    MoveToVersionId: versionId.optional(),
  }),
  ({ SecretId, VersionStage, RemoveFromVersionId: from, MoveToVersionId: to }, context) => {
    const before = findLiveSecret(context, SecretId);
    for (const id of [from, to]) {
      if (id !== undefined && versionById(before, id) === undefined) {
        throw noVersion(`VersionId: ${id}`);
      }
    }
    const holder = versionAt(before, VersionStage)?.id;
    checkMove(VersionStage, { holder, from, to });
    const at = now();
    const secret = withStage({ ...before, changedAt: at }, VersionStage, to, at);
    context.state.commit({ put: secret });
    return { ARN: secretArn(context.state.owner, secret.id), Name: secret.name };
  },
);

function checkMove(
  label: string,
  ids: {
    readonly holder: string | undefined;
    readonly from: string | undefined;
    readonly to: string | undefined;
  },
): void {
  const { holder, from, to } = ids;
  if (from === undefined && to === undefined) {
    throw invalidParameter('You must specify MoveToVersionId, RemoveFromVersionId, or both.');
  }
  if (from !== undefined && from !== holder) {
    throw invalidParameter(
      `The staging label ${label} is not attached to the version ${from}, which RemoveFromVersionId names.`,
    );
  }
  if (to !== undefined && from === undefined && holder !== undefined && holder !== to) {
    throw invalidParameter(
      `The parameter RemoveFromVersionId can't be empty. Staging label ${label} is currently attached to version ${holder}, so you must explicitly reference that version in RemoveFromVersionId.`,
    );
  }
  if (to === undefined && label === CURRENT) {
    throw invalidParameter(`You can only move the staging label ${CURRENT} to another version.`);
  }
}

/** A version without any has no such member. */
function stagesOf({ stages }: SecretVersionRecord): string[] | undefined {
  return stages.length === 0 ? undefined : [...stages];
}
