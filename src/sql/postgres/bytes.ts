/**
 * The bytes that PostgreSQL's lexer tells apart, and tables that class them. Bytes from 0x80 up are
 * parts of identifiers, whatever characters they make.
 * https://www.postgresql.org/docs/18/sql-syntax-lexical.html#SQL-SYNTAX-IDENTIFIERS
 */

export const Byte = {
  newline: 0x0a,
  carriageReturn: 0x0d,
  doubleQuote: 0x22,
  dollar: 0x24,
  ampersand: 0x26,
  quote: 0x27,
  star: 0x2a,
  plus: 0x2b,
  minus: 0x2d,
  dot: 0x2e,
  slash: 0x2f,
  zero: 0x30,
  backslash: 0x5c,
  underscore: 0x5f,
  b: 0x62,
  e: 0x65,
  n: 0x6e,
  o: 0x6f,
  u: 0x75,
  x: 0x78,
} as const;

/** What can begin at a byte. */
export const Start = { symbol: 0, space: 1, word: 2, digit: 3, special: 4 } as const;

/** The lower-case form of a byte that may continue an identifier; 0 for every other byte. */
export const folded = new Uint8Array(256);
/** By byte: what can begin there, a `Start`. */
export const starts = new Uint8Array(256);

function fill(table: Uint8Array, first: number, last: number, value: (byte: number) => number) {
  for (let byte = first; byte <= last; byte += 1) table[byte] = value(byte);
}

fill(folded, 0x30, 0x39, (digit) => digit);
fill(folded, 0x41, 0x5a, (upper) => upper + 0x20);
fill(folded, 0x61, 0x7a, (lower) => lower);
fill(folded, 0x80, 0xff, (part) => part);
folded[Byte.underscore] = Byte.underscore;
starts.set(folded.map((byte) => (byte === 0 ? Start.symbol : Start.word)));
folded[Byte.dollar] = Byte.dollar;
fill(starts, 0x30, 0x39, () => Start.digit);
fill(starts, 0x09, 0x0d, () => Start.space);
starts[0x20] = Start.space;
starts[Byte.doubleQuote] = Start.special;
starts[Byte.dollar] = Start.special;
starts[Byte.quote] = Start.special;
starts[Byte.minus] = Start.special;
starts[Byte.dot] = Start.special;
starts[Byte.slash] = Start.special;

export function isDigit(byte: number): boolean {
  return starts[byte] === Start.digit;
}
