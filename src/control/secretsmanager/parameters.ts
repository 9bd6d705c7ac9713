/** The shapes of what the operations take, and the faults for what has another shape. */

import { z } from 'zod';
import { invalidParameter, SecretsFault } from './fault.ts';

const TAGS_MAX = 50;
const STAGES_MAX = 20;
const PAGE_MAX = 100;
/** Of AWS as well. */
export const VALUE_BYTES_MAX = 65_536;

export function text(max: number, min = 0) {
  return z
    .string({ error: 'must be text' })
    .refine(({ length }) => length >= min && length <= max, {
      error: `must have ${min} to ${max} characters`,
    });
}

export function integer(min: number, max: number) {
  const error = `must be a whole number between ${min} and ${max}`;
  return z.int({ error }).min(min, { error }).max(max, { error });
}

export function flag() {
  return z.boolean({ error: 'must be true or false' });
}

export function listOf<Item extends z.ZodType>(item: Item, max: number) {
  return z
    .array(item, { error: 'must be a list' })
    .max(max, { error: `must have at most ${max} items` });
}

export const secretName = text(512, 1).regex(/^[\w/+=.@-]*$/, {
  error: 'must be letters, digits and /_+=.@-',
});
export const secretId = text(2048, 1);
export const description = text(2048);
/** It becomes the id of the version. Programs of AWS send a UUID when nobody says one. */
export const requestToken = text(64, 32);
export const versionId = text(64, 32);
export const stage = text(256, 1);
export const stages = listOf(stage, STAGES_MAX).min(1, { error: 'must have at least 1 item' });

export const tags = listOf(
  z.strictObject({
    Key: text(128, 1).refine((key) => !/^aws:/i.test(key), { error: 'must not begin with aws:' }),
    Value: text(256).default(''),
  }),
  TAGS_MAX,
);
export const tagKeys = listOf(text(128, 1), TAGS_MAX);

/** At most one of the two is given. */
export const value = {
  SecretString: z
    .string({ error: 'must be text' })
    .refine((given) => fits(Buffer.byteLength(given)), {
      error: `must have 1 to ${VALUE_BYTES_MAX} bytes`,
    })
    .optional(),
  SecretBinary: z
    .base64({ error: 'must be base64' })
    .transform((given) => Buffer.from(given, 'base64'))
    .refine(({ length }) => fits(length), { error: `must have 1 to ${VALUE_BYTES_MAX} bytes` })
    .optional(),
};

function fits(length: number): boolean {
  return length >= 1 && length <= VALUE_BYTES_MAX;
}

export interface GivenValue {
  readonly bytes: Buffer;
  readonly isBinary: boolean;
}

/** Throws `SecretsFault` when there are two. */
export function givenValue(parameters: {
  readonly SecretString?: string | undefined;
  readonly SecretBinary?: Buffer | undefined;
}): GivenValue | undefined {
  const { SecretString, SecretBinary } = parameters;
  if (SecretString !== undefined && SecretBinary !== undefined) {
    throw invalidParameter("You can't specify both a binary secret value and a string value.");
  }
  if (SecretString !== undefined) return { bytes: Buffer.from(SecretString), isBinary: false };
  return SecretBinary && { bytes: SecretBinary, isBinary: true };
}

/** Refused, whatever it says; `why` is for who sends it. */
export function unsupported(why: string) {
  return z.undefined({ error: `is not supported: ${why}` });
}

export const paging = {
  MaxResults: integer(1, PAGE_MAX).default(PAGE_MAX),
  NextToken: text(4096, 1).optional(),
};

/** Of `items`, which `keyOf` tells apart; they may come and go between two pages. */
export function page<Item>(
  items: readonly Item[],
  keyOf: (item: Item) => string,
  request: { readonly MaxResults: number; readonly NextToken?: string | undefined },
): { readonly items: readonly Item[]; readonly NextToken: string | undefined } {
  const { MaxResults, NextToken } = request;
  const keys = items.map(keyOf);
  const after = NextToken === undefined ? undefined : readToken(NextToken);
  const from = after === undefined ? 0 : keys.findIndex((key) => key > after);
  const shown = from < 0 ? [] : items.slice(from, from + MaxResults);
  const last = shown.at(-1);
  const hasMore = last !== undefined && from + shown.length < items.length;
  return { items: shown, NextToken: hasMore ? writeToken(keyOf(last)) : undefined };
}

const TOKEN_PREFIX = 'berth:';

function writeToken(key: string): string {
  return Buffer.from(TOKEN_PREFIX + key).toString('base64url');
}

function readToken(token: string): string {
  const key = Buffer.from(token, 'base64url').toString();
  if (key.startsWith(TOKEN_PREFIX)) return key.slice(TOKEN_PREFIX.length);
  throw new SecretsFault('InvalidNextTokenException', 'Invalid pagination token.');
}

/** Reads `input` as `schema` has it. Throws `SecretsFault`, which names no value. */
export function readParameters<Schema extends z.ZodType>(
  schema: Schema,
  input: unknown,
): z.output<Schema> {
  const parsed = schema.safeParse(input);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  const path = issue?.path.map(String) ?? [];
  if (issue?.code === 'unrecognized_keys') {
    const name = [...path, issue.keys[0] ?? ''].join('.');
    throw invalidParameter(`The parameter ${name} is not one that this operation takes here.`);
  }
  throw invalidParameter(`Invalid value for the parameter ${path.join('.')}: ${issue?.message}.`);
}
