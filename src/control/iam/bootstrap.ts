/**
 * The first key of a management API that nobody could use otherwise: made at its first start, kept
 * encrypted with what the API makes, and told once. It is in force as long as the configuration file has no principals.
 */

import { randomBytes, randomInt } from 'node:crypto';
import type { Principal } from '../schema.ts';

export const BOOTSTRAP_USER = 'bootstrap';
/** As the ids and secrets of AWS: those of users' keys begin with AKIA. */
const ID_PREFIX = 'AKIA';
const ID_LETTERS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';
const ID_RANDOM_LENGTH = 16;
const SECRET_BYTES = 30;

export function bootstrapPrincipal(): Principal {
  const letter = () => ID_LETTERS[randomInt(ID_LETTERS.length)];
  const AccessKeyId = ID_PREFIX + Array.from({ length: ID_RANDOM_LENGTH }, letter).join('');
  const SecretAccessKey = randomBytes(SECRET_BYTES).toString('base64');
  const everything = { Effect: 'Allow' as const, Action: ['*'], Resource: ['*'] };
  return {
    UserName: BOOTSTRAP_USER,
    AccessKeys: [{ AccessKeyId, SecretAccessKey }],
    Sessions: [],
    Policies: [{ PolicyName: 'everything', PolicyDocument: { Statement: [everything] } }],
  };
}

/** For whoever starts Berth; a shell can read it. */
export function bootstrapText({ AccessKeys }: Principal): string {
  const [key] = AccessKeys;
  return [
    '# The management API has no principals, so one was made for it. This is not shown again.',
    `export AWS_ACCESS_KEY_ID=${key?.AccessKeyId}`,
    `export AWS_SECRET_ACCESS_KEY=${key?.SecretAccessKey}`,
    '',
  ].join('\n');
}
