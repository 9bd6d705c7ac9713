/**
 * CreateSecret, UpdateSecret, DescribeSecret, ListSecrets, DeleteSecret, RestoreSecret, TagResource,
 * UntagResource.
 */

import { randomInt } from 'node:crypto';
import { z } from 'zod';
import { secretArn } from '../secret-arn.ts';
import type { SecretRecord, Tag } from '../state/records.ts';
import { invalidParameter, invalidRequest, SecretsFault } from './fault.ts';
import {
  findLiveSecret,
  findOwnSecret,
  findSecret,
  now,
  operation,
  type SecretsContext,
  seconds,
  withValue,
} from './operation.ts';
import {
  description,
  flag,
  givenValue,
  integer,
  listOf,
  page,
  paging,
  requestToken,
  secretId,
  secretName,
  tagKeys,
  tags,
  text,
  unsupported,
  value,
} from './parameters.ts';

const SECRETS_MAX = 10_000;
const TAGS_PER_SECRET_MAX = 50;
const SUFFIX_LENGTH = 6;
const SUFFIX_LETTERS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789';
const DAY_MS = 86_400_000;
const RECOVERY_DAYS = { min: 7, max: 30 } as const;

const noKms = unsupported('there is no KMS; SecretStore in the configuration file has the key');
const noReplicas = unsupported('there are no regions to replicate to');

export const createSecret = operation(
  z.strictObject({
    Name: secretName,
    ClientRequestToken: requestToken.optional(),
    Description: description.optional(),
    ...value,
    Tags: tags.default([]),
    KmsKeyId: noKms.optional(),
    AddReplicaRegions: noReplicas.optional(),
    ForceOverwriteReplicaSecret: z.literal(false, { error: 'is not supported' }).optional(),
  }),
  ({ Name, ClientRequestToken: token, Description, Tags, ...parameters }, context) => {
    const { state } = context;
    const given = givenValue(parameters);
    const repeated = repeatOf(Name, token, given, context);
    if (repeated !== undefined) return repeated;
    if (state.secrets.length >= SECRETS_MAX) {
      throw new SecretsFault('LimitExceededException', `There are ${SECRETS_MAX} secrets already.`);
    }
    const at = now();
    const empty: SecretRecord = {
      kind: 'secret',
      id: `${Name}-${newSuffix()}`,
      name: Name,
      ...(Description === undefined ? {} : { description: Description }),
      createdAt: at,
      changedAt: at,
      tags: withTags([], Tags),
      versions: [],
    };
    const made = given && withValue(empty, given, context, { token });
    const secret = made?.secret ?? empty;
    state.commit({ put: secret });
    return { ARN: secretArn(state.owner, secret.id), Name, VersionId: made?.version.id };
  },
);

/** The answer to a request that was sent before; undefined when the name is free. */
function repeatOf(
  name: string,
  token: string | undefined,
  given: ReturnType<typeof givenValue>,
  context: SecretsContext,
) {
  const known = context.state.findSecret(name)?.record;
  if (known === undefined || known.name !== name) return undefined;
  if (known.deletedAt !== undefined) {
    throw invalidRequest(
      "You can't create this secret because a secret with this name is already scheduled for deletion.",
    );
  }
  const isKnownVersion = known.versions.some(({ id }) => id === token);
  if (!isKnownVersion || given === undefined) {
    throw new SecretsFault(
      'ResourceExistsException',
      `The operation failed because the secret ${name} already exists.`,
    );
  }
  const { version } = withValue(known, given, context, { token });
  const ARN = secretArn(context.state.owner, known.id);
  return { ARN, Name: name, VersionId: version.id };
}

function newSuffix(): string {
  const letters = Array.from({ length: SUFFIX_LENGTH }, () => randomInt(SUFFIX_LETTERS.length));
  return letters.map((index) => SUFFIX_LETTERS[index]).join('');
}

export const updateSecret = operation(
  z.strictObject({
    SecretId: secretId,
    ClientRequestToken: requestToken.optional(),
    Description: description.optional(),
    ...value,
    KmsKeyId: noKms.optional(),
  }),
  ({ SecretId, ClientRequestToken: token, Description, ...parameters }, context) => {
    const before = findLiveSecret(context, SecretId);
    const given = givenValue(parameters);
    const described =
      Description === undefined
        ? before
        : { ...before, description: Description, changedAt: now() };
    const made = given && withValue(described, given, context, { token });
    const secret = made?.secret ?? described;
    if (secret !== before) context.state.commit({ put: secret });
    const ARN = secretArn(context.state.owner, secret.id);
    return { ARN, Name: secret.name, VersionId: made?.version.id };
  },
);

export const describeSecret = operation(
  z.strictObject({ SecretId: secretId }),
  ({ SecretId }, context) => {
    const { record } = findSecret(context, SecretId);
    return { ...answer(record, context), VersionIdsToStages: stagesById(record) };
  },
);

const FILTERS: Readonly<Record<string, (secret: SecretRecord) => readonly string[]>> = {
  name: ({ name }) => [name],
  description: ({ description: said = '' }) => [said],
  'tag-key': (secret) => secret.tags.map(({ Key }) => Key),
  'tag-value': (secret) => secret.tags.map(({ Value }) => Value),
};
const FILTERS_MAX = 10;
const FILTER_VALUES_MAX = 10;

const filter = z.strictObject({
  Key: z.enum(['name', 'description', 'tag-key', 'tag-value'], {
    error: `must be one of ${Object.keys(FILTERS).join(', ')}`,
  }),
  Values: listOf(text(512), FILTER_VALUES_MAX).min(1, { error: 'must have at least 1 item' }),
});

export const listSecrets = operation(
  z.strictObject({
    ...paging,
    Filters: listOf(filter, FILTERS_MAX).default([]),
    SortOrder: z.enum(['asc', 'desc'], { error: 'must be asc or desc' }).default('asc'),
    SortBy: z.literal('name', { error: 'must be name' }).optional(),
    IncludePlannedDeletion: flag().default(false),
  }),
  ({ Filters, SortOrder, IncludePlannedDeletion, MaxResults, NextToken: after }, context) => {
    const shown = context.state.secrets
      .map(({ record }) => record)
      .filter(({ deletedAt }) => IncludePlannedDeletion || deletedAt === undefined)
      .filter((secret) => Filters.every((each) => passes(secret, each)));
    const isDown = SortOrder === 'desc';
    const all = isDown ? shown.toReversed() : shown;
    const { items, NextToken } = pageOf(all, { MaxResults, NextToken: after }, isDown);
    const SecretList = items.map((record) => ({
      ...answer(record, context),
      SecretVersionsToStages: stagesById(record),
    }));
    return { SecretList, NextToken };
  },
);

/** The order is by name, so one name says where a page begins, upwards and downwards. */
function pageOf(
  secrets: readonly SecretRecord[],
  request: { readonly MaxResults: number; readonly NextToken: string | undefined },
  isDown: boolean,
) {
  if (!isDown) return page(secrets, ({ name }) => name, request);
  return page(secrets, ({ name }) => inverted(name), request);
}

/** Names of ASCII in reverse order; `~` is behind all letters of a name. */
function inverted(name: string): string {
  const letters = Array.from(name, (letter) => String.fromCharCode(0xff - letter.charCodeAt(0)));
  return `${letters.join('')}\uffff`;
}

/** Prefixes; a `!` before one means not that. Only descriptions are compared without case, as in AWS. */
function passes(secret: SecretRecord, { Key, Values }: z.output<typeof filter>): boolean {
  const folded = (given: string) => (Key === 'description' ? given.toLowerCase() : given);
  const found = (FILTERS[Key]?.(secret) ?? []).map(folded);
  return Values.some((given) => {
    const isNegated = given.startsWith('!');
    const prefix = folded(isNegated ? given.slice(1) : given);
    return found.some((each) => each.startsWith(prefix)) !== isNegated;
  });
}

export const deleteSecret = operation(
  z.strictObject({
    SecretId: secretId,
    RecoveryWindowInDays: integer(RECOVERY_DAYS.min, RECOVERY_DAYS.max).optional(),
    ForceDeleteWithoutRecovery: flag().default(false),
  }),
  ({ SecretId, RecoveryWindowInDays: days, ForceDeleteWithoutRecovery: isForced }, context) => {
    if (days !== undefined && isForced) {
      throw invalidParameter(
        "You can't use ForceDeleteWithoutRecovery in conjunction with RecoveryWindowInDays.",
      );
    }
    const { state } = context;
    const at = now();
    if (isForced) {
      const DeletionDate = seconds(at);
      // Who deletes it again has what was asked for.
      if (state.findSecret(SecretId) === undefined) {
        return { ARN: secretArn(state.owner, SecretId), Name: SecretId, DeletionDate };
      }
      const secret = findOwnSecret(context, SecretId);
      state.commit({ remove: secret });
      return { ARN: secretArn(state.owner, secret.id), Name: secret.name, DeletionDate };
    }
    const secret = findLiveSecret(context, SecretId);
    const windowMs = (days ?? RECOVERY_DAYS.max) * DAY_MS;
    const deleteAfter = new Date(Date.parse(at) + windowMs).toISOString();
    state.commit({ put: { ...secret, deletedAt: at, deleteAfter } });
    return {
      ARN: secretArn(state.owner, secret.id),
      Name: secret.name,
      DeletionDate: seconds(deleteAfter),
    };
  },
);

export const restoreSecret = operation(
  z.strictObject({ SecretId: secretId }),
  ({ SecretId }, context) => {
    const { deletedAt, deleteAfter, ...secret } = findOwnSecret(context, SecretId);
    context.state.commit({ put: secret });
    return { ARN: secretArn(context.state.owner, secret.id), Name: secret.name };
  },
);

export const tagResource = operation(
  z.strictObject({ SecretId: secretId, Tags: tags }),
  ({ SecretId, Tags }, context) => {
    const secret = findLiveSecret(context, SecretId);
    const all = withTags(secret.tags, Tags);
    if (all.length > TAGS_PER_SECRET_MAX) {
      throw invalidParameter(`A secret has at most ${TAGS_PER_SECRET_MAX} tags.`);
    }
    context.state.commit({ put: { ...secret, tags: all, changedAt: now() } });
    return {};
  },
);

export const untagResource = operation(
  z.strictObject({ SecretId: secretId, TagKeys: tagKeys }),
  ({ SecretId, TagKeys }, context) => {
    const secret = findLiveSecret(context, SecretId);
    const kept = secret.tags.filter(({ Key }) => !TagKeys.includes(Key));
    context.state.commit({ put: { ...secret, tags: kept, changedAt: now() } });
    return {};
  },
);

function withTags(known: readonly Tag[], added: readonly Tag[]): readonly Tag[] {
  const merged = new Map([...known, ...added].map((tag) => [tag.Key, tag]));
  return [...merged.values()];
}

function answer(secret: SecretRecord, { state }: SecretsContext) {
  return {
    ARN: secretArn(state.owner, secret.id),
    Name: secret.name,
    Description: secret.description,
    CreatedDate: seconds(secret.createdAt),
    LastChangedDate: seconds(secret.changedAt),
    DeletedDate: seconds(secret.deletedAt),
    Tags: secret.tags.map(({ Key, Value }) => ({ Key, Value })),
  };
}

/** Versions without a stage are not in it. */
function stagesById({ versions }: SecretRecord) {
  const staged = versions.filter(({ stages }) => stages.length > 0);
  return Object.fromEntries(staged.map(({ id, stages }) => [id, [...stages]]));
}
