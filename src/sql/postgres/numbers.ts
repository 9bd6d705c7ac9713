/**
 * The shape of a number, as PostgreSQL 16 and later read it: decimal, hexadecimal, octal or binary,
 * with underscores, a point and an exponent. Older versions read the first digits of the newer forms
 * as the number and the rest as a word, which no rule looks at.
 * https://www.postgresql.org/docs/18/sql-syntax-lexical.html#SQL-SYNTAX-CONSTANTS-NUMERIC
 */

import { Byte, folded, isDigit } from './bytes.ts';

/** How much of a number was read. */
export const NumberPart = {
  leadingZero: 0,
  integer: 1,
  point: 2,
  fraction: 3,
  exponentMark: 4,
  exponentPlus: 5,
  exponentMinus: 6,
  exponent: 7,
  radix: 8,
} as const;
export type NumberPart = (typeof NumberPart)[keyof typeof NumberPart];

/** The part of the number that this byte belongs to; nothing if the number ended before it. */
export function nextNumberPart(part: NumberPart, byte: number): NumberPart | undefined {
  const letter = folded[byte] ?? 0;
  switch (part) {
    case NumberPart.leadingZero:
      if (letter === Byte.x || letter === Byte.o || letter === Byte.b) return NumberPart.radix;
      return afterDigits(byte, NumberPart.integer);
    case NumberPart.integer:
      return afterDigits(byte, NumberPart.integer);
    case NumberPart.fraction:
    case NumberPart.point:
      return byte === Byte.dot ? undefined : afterDigits(byte, NumberPart.fraction);
    case NumberPart.exponentMark:
      if (byte === Byte.plus) return NumberPart.exponentPlus;
      if (byte === Byte.minus) return NumberPart.exponentMinus;
      return isDigit(byte) ? NumberPart.exponent : undefined;
    case NumberPart.exponentPlus:
    case NumberPart.exponentMinus:
      return isDigit(byte) ? NumberPart.exponent : undefined;
    case NumberPart.exponent:
      return isDigit(byte) || byte === Byte.underscore ? NumberPart.exponent : undefined;
    case NumberPart.radix: {
      const isHex = isDigit(byte) || (letter >= 0x61 && letter <= 0x66);
      return isHex || byte === Byte.underscore ? NumberPart.radix : undefined;
    }
  }
}

function afterDigits(byte: number, same: NumberPart): NumberPart | undefined {
  if (isDigit(byte) || byte === Byte.underscore) return same;
  if (byte === Byte.dot) return NumberPart.point;
  return folded[byte] === Byte.e ? NumberPart.exponentMark : undefined;
}
