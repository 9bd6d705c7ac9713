/** The shapes of what RDS operations take, and the faults for what has another shape. */

import { z } from 'zod';
import { Fault } from '../aws/fault.ts';
import { type FormTree, listItems } from './form.ts';

/** The RDS API's own rule for the names of proxies, endpoints, target groups and DB instances. */
const NAME = /^[a-zA-Z](?:-?[a-zA-Z0-9]+)*$/;
const TAG_KEY = /^(?!aws:|rds:)[\p{L}\p{N} _.:/=+@-]{1,128}$/u;
const TAG_VALUE = /^[\p{L}\p{N} _.:/=+@-]{0,256}$/u;
const TAGS_MAX = 50;
const SECRETS_PER_PROXY_MAX = 200;
const RECORDS_MIN = 20;
const RECORDS_MAX = 100;

export function text(max = 2048, min = 0) {
  return z
    .string({ error: 'must be text' })
    .refine(({ length }) => length >= min && length <= max, {
      error: `must have ${min} to ${max} characters`,
    });
}

export function name() {
  const error =
    'must be 1 to 63 letters, digits and single hyphens, beginning with a letter and not ending with a hyphen';
  return z.string({ error }).max(63, { error }).regex(NAME, { error });
}

export function integer(min: number, max: number) {
  const error = `must be between ${min} and ${max}`;
  return z
    .string({ error })
    .regex(/^-?\d{1,15}$/, { error: 'must be a whole number' })
    .transform(Number)
    .pipe(z.number().min(min, { error }).max(max, { error }));
}

/** ISO 8601; without a zone it is UTC. */
export function time() {
  const error = 'must be a time such as 2030-01-31T18:00Z';
  return z
    .string({ error })
    .regex(/^\d{4}-\d\d-\d\d(?:T\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:?\d\d)?)?$/, { error })
    .transform((value) => new Date(/T.*(?:Z|[+-]\d\d:?\d\d)$/.test(value) ? value : `${value}Z`))
    .refine((date) => Number.isFinite(date.getTime()), { error });
}

export function flag() {
  const values = z.enum(['true', 'false'], { error: 'must be true or false' });
  return values.transform((value) => value === 'true');
}

/** One of `values`. `unsupported` says why RDS's other values are refused. */
export function oneOf<const Value extends string>(
  values: readonly Value[],
  unsupported: Readonly<Record<string, string>> = {},
) {
  return z.enum(values, {
    error: ({ input }) => {
      const why = typeof input === 'string' ? unsupported[input] : undefined;
      return why ?? `must be one of ${values.join(', ')}`;
    },
  });
}

/** `itemName` is what the service model calls an item; `member` is taken as well. */
export function listOf<Item extends z.ZodType>(item: Item, max: number, itemName = 'member') {
  const opened = (value: unknown) =>
    isTree(value) ? (listItems(value, ['member', itemName]) ?? value) : value;
  const error = 'must be a list';
  return z.preprocess(
    opened,
    z
      .array(item, { error })
      .max(max, { error: max === 0 ? 'is not supported' : `must have at most ${max} items` }),
  );
}

function isTree(value: unknown): value is FormTree | string {
  return typeof value === 'string' || (typeof value === 'object' && value !== null);
}

export function members<Shape extends z.ZodRawShape>(shape: Shape) {
  return z.strictObject(shape);
}

const TAG_ERROR = 'must be letters, digits, spaces and _.:/=+-@, and not begin with aws: or rds:';

const tagKey = text(128, 1).regex(TAG_KEY, { error: TAG_ERROR });

export const tags = listOf(
  members({ Key: tagKey, Value: text(256).regex(TAG_VALUE, { error: TAG_ERROR }).default('') }),
  TAGS_MAX,
  'Tag',
);

export const tagKeys = listOf(tagKey, TAGS_MAX);

export const vpcIds = listOf(text(255, 1), 100);

export const auth = listOf(
  members({
    AuthScheme: oneOf(['SECRETS']).default('SECRETS'),
    SecretArn: text(2048, 1),
    IAMAuth: oneOf(['DISABLED', 'REQUIRED'], {
      ENABLED: 'ENABLED is for SQL Server only',
    }).default('DISABLED'),
    ClientPasswordAuthType: oneOf([
      'POSTGRES_SCRAM_SHA_256',
      'POSTGRES_MD5',
      'MYSQL_NATIVE_PASSWORD',
      'MYSQL_CACHING_SHA2_PASSWORD',
    ]).optional(),
    Description: text(1000, 1).optional(),
    UserName: text(128, 1).optional(),
  }),
  SECRETS_PER_PROXY_MAX,
);

const noFilters = listOf(z.unknown(), 0, 'Filter');

/** Of every operation that answers with pages. */
export const paging = {
  Filters: noFilters.optional(),
  Marker: text(1024).optional(),
  MaxRecords: integer(RECORDS_MIN, RECORDS_MAX).default(RECORDS_MAX),
};

export const filters = noFilters;

/** Reads `tree` as `schema` has it. Throws `Fault`. */
export function readParameters<Schema extends z.ZodType>(
  schema: Schema,
  tree: FormTree,
): z.output<Schema> {
  const parsed = schema.safeParse(tree);
  if (parsed.success) return parsed.data;
  throw faultOf(parsed.error.issues[0], tree);
}

function faultOf(issue: z.core.$ZodIssue | undefined, tree: FormTree): Fault {
  const path = issue?.path.map(String) ?? [];
  if (issue?.code === 'unrecognized_keys') {
    const parameter = [...path, issue.keys[0] ?? ''].join('.');
    const message = `The parameter ${parameter} is not one that this operation takes here.`;
    return new Fault('InvalidQueryParameter', message);
  }
  if (isMissing(path, tree)) {
    return new Fault(
      'ValidationError',
      `1 validation error detected: Value null at '${path.map(lowerFirst).join('.')}' failed to satisfy constraint: Member must not be null`,
    );
  }
  const message = `Invalid value for the parameter ${path.join('.')}: ${issue?.message}.`;
  return new Fault('InvalidParameterValue', message);
}

/** List items are reached by another way than in the form, and are never missing themselves. */
function isMissing(path: readonly string[], tree: FormTree): boolean {
  const last = path.at(-1) ?? '';
  if (/^\d+$/.test(last)) return false;
  let place: FormTree | string | undefined = tree;
  for (const step of path.slice(0, -1)) {
    if (place === undefined || typeof place === 'string') return false;
    place = /^\d+$/.test(step) ? itemAt(place, Number(step)) : place[step];
  }
  return place !== undefined && typeof place !== 'string' && place[last] === undefined;
}

function itemAt(list: FormTree, index: number): FormTree | string | undefined {
  const [items = ''] = Object.values(list);
  return typeof items === 'string' ? undefined : Object.values(items)[index];
}

function lowerFirst(step: string): string {
  return step.slice(0, 1).toLowerCase() + step.slice(1);
}
