/** Commands: those that the proxy sends for itself, and where the text of a client's is. */

import { CLIENT_QUERY_ATTRIBUTES, COM_QUERY, COM_QUIT, has } from './capabilities.ts';
import { PayloadReader, packet } from './packets.ts';

export const QUIT_MESSAGE = packet(0, Buffer.of(COM_QUIT));

const QUERY = Buffer.of(COM_QUERY);
/** No attributes, in one set of them. */
const QUERY_WITHOUT_ATTRIBUTES = Buffer.of(COM_QUERY, 0, 1);

/**
 * COM_QUERY with the text `sql`, on a connection of `capabilities`.
 * https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_com_query.html
 */
export function queryMessage(sql: string, capabilities: number): Buffer {
  const hasAttributes = has(capabilities, CLIENT_QUERY_ATTRIBUTES);
  return packet(0, hasAttributes ? QUERY_WITHOUT_ATTRIBUTES : QUERY, Buffer.from(sql));
}

/** How many bytes a value of each type has that has always as many; `enum_field_types` of field_types.h. */
const FIXED_BYTES: Readonly<Record<number, number>> = {
  1: 1, // TINY
  2: 2, // SHORT
  3: 4, // LONG
  4: 4, // FLOAT
  5: 8, // DOUBLE
  6: 0, // NULL
  8: 8, // LONGLONG
  9: 4, // INT24
  13: 2, // YEAR
};

/**
 * Where the text of a COM_QUERY begins, of which the payload is between `at` and `end`: behind the
 * attributes, if the client has agreed on those. -1 when they cannot be read.
 * https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_com_query.html
 */
export function queryTextAt(
  bytes: Uint8Array,
  at: number,
  end: number,
  capabilities: number,
): number {
  if (!has(capabilities, CLIENT_QUERY_ATTRIBUTES)) return at + 1;
  // Nearly always there are none, in one set of them.
  if (at + 3 <= end && bytes[at + 1] === 0 && bytes[at + 2] === 1) return at + 3;
  const reader = new PayloadReader(bytes.subarray(0, end), at + 1);
  const count = reader.lenenc();
  reader.lenenc();
  // A name and a type are at least three bytes each.
  if (count * 3 > reader.left) return -1;
  if (count > 0) skipAttributes(reader, count);
  return reader.isBroken ? -1 : end - reader.left;
}

function skipAttributes(reader: PayloadReader, count: number): void {
  const nulls = reader.take((count + 7) >> 3);
  // Without their types nothing can be said of the values.
  if (reader.int8() !== 1) reader.take(reader.left + 1);
  const types: number[] = [];
  for (let index = 0; index < count && !reader.isBroken; index++) {
    types.push(reader.int16() & 0xff);
    reader.lenencBytes();
  }
  for (const [index, type] of types.entries()) {
    const isNull = ((nulls[index >> 3] ?? 0) & (1 << (index & 7))) !== 0;
    const fixed = FIXED_BYTES[type];
    if (isNull) continue;
    if (fixed === undefined) reader.lenencBytes();
    else reader.take(fixed);
  }
}
