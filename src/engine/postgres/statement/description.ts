/**
 * What a database says of a prepared statement: which parameters it takes and which rows it gives.
 * A server that prepares a statement again, because its tables have changed, keeps the types of the
 * parameters and refuses other columns (`RevalidateCachedQuery` in src/backend/utils/cache/plancache.c).
 */

import { createHash } from 'node:crypto';
import { HEADER_BYTES, terminatorAt } from '../wire/messages.ts';

export interface StatementDescription {
  /** The body of ParameterDescription: a count and type ids, as they also end a Parse. */
  readonly parameterTypes: Buffer;
  /** Stands for the columns' names and types; `NO_ROWS` for a statement without. */
  readonly rows: string;
}

export const NO_ROWS = '';

/** Not the same as any that a database gives. */
export const UNKNOWN: StatementDescription = { parameterTypes: Buffer.alloc(0), rows: 'unknown' };

export function isSameDescription(one: StatementDescription, other: StatementDescription): boolean {
  return one.rows === other.rows && one.parameterTypes.equals(other.parameterTypes);
}

/** Of a column in RowDescription, after its name: table, number, type, length, modifier, format. */
const COLUMN_BYTES = 18;
const TYPE_AT = 6;
const MODIFIER_AT = 12;

/**
 * The columns of a whole RowDescription, in a few bytes; `undefined` when it is malformed. The table
 * that a column comes from is left out: a server does not mind another with the same columns.
 */
export function rowsIn(whole: Buffer): string | undefined {
  const hash = createHash('sha256');
  let at = HEADER_BYTES + 2;
  while (at < whole.length) {
    const nameEnd = terminatorAt(whole, at, whole.length);
    const fields = nameEnd + 1;
    if (nameEnd < 0 || fields + COLUMN_BYTES > whole.length) return undefined;
    hash.update(whole.subarray(at, fields));
    hash.update(whole.subarray(fields + TYPE_AT, fields + TYPE_AT + 4));
    hash.update(whole.subarray(fields + MODIFIER_AT, fields + MODIFIER_AT + 4));
    at = fields + COLUMN_BYTES;
  }
  return hash.digest('base64');
}
