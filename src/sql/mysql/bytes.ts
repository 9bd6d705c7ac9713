/**
 * The bytes that the lexer of MySQL and MariaDB tells apart, and tables that class them.
 * https://dev.mysql.com/doc/refman/9.4/en/identifiers.html
 */

import type { CharsetFamily } from './syntax.ts';

export const Byte = {
  newline: 0x0a,
  space: 0x20,
  bang: 0x21,
  doubleQuote: 0x22,
  hash: 0x23,
  dollar: 0x24,
  quote: 0x27,
  star: 0x2a,
  plus: 0x2b,
  minus: 0x2d,
  dot: 0x2e,
  slash: 0x2f,
  at: 0x40,
  m: 0x4d,
  openBracket: 0x5b,
  backslash: 0x5c,
  closeBracket: 0x5d,
  underscore: 0x5f,
  backtick: 0x60,
  b: 0x62,
  e: 0x65,
  n: 0x6e,
  x: 0x78,
  delete: 0x7f,
} as const;

/** What can begin at a byte. */
export const Start = { symbol: 0, space: 1, word: 2, digit: 3, special: 4, nul: 5 } as const;

/** The lower-case form of a byte that may continue an identifier; 0 for every other byte. */
export const folded = new Uint8Array(256);
/** By byte: what can begin there, a `Start`. */
export const starts = new Uint8Array(256);
/** The same where bytes over 0x7f may be spaces. */
export const latinStarts = new Uint8Array(256);

function fill(table: Uint8Array, first: number, last: number, value: (byte: number) => number) {
  for (let byte = first; byte <= last; byte += 1) table[byte] = value(byte);
}

fill(folded, 0x30, 0x39, (digit) => digit);
fill(folded, 0x41, 0x5a, (upper) => upper + 0x20);
fill(folded, 0x61, 0x7a, (lower) => lower);
fill(folded, 0x80, 0xff, (part) => part);
folded[Byte.underscore] = Byte.underscore;
folded[Byte.dollar] = Byte.dollar;
starts.set(folded.map((byte) => (byte === 0 ? Start.symbol : Start.word)));
fill(starts, 0x30, 0x39, () => Start.digit);
fill(starts, 0x09, 0x0d, () => Start.space);
starts[Byte.space] = Start.space;
starts[0] = Start.nul;
const SPECIAL = [
  Byte.doubleQuote,
  Byte.quote,
  Byte.backtick,
  Byte.hash,
  Byte.minus,
  Byte.slash,
  Byte.star,
  Byte.at,
];
for (const byte of SPECIAL) starts[byte] = Start.special;
latinStarts.set(starts);
// Spaces in some of these character sets; where they are letters, a name is cut in two.
latinStarts[0xa0] = Start.space;
latinStarts[0xff] = Start.space;

export function isDigit(byte: number): boolean {
  return byte >= 0x30 && byte <= 0x39;
}

/** By family: 1 for each byte that may be the first of two. */
const LEADS: Readonly<Record<CharsetFamily, Uint8Array>> = {
  safe: new Uint8Array(256),
  latin: new Uint8Array(256),
  gbk: leads([0x81, 0xfe]),
  gb18030: leads([0x81, 0xfe]),
  sjis: leads([0x81, 0x9f], [0xe0, 0xfc]),
  big5: leads([0xa1, 0xf9]),
  unknown: leads([0x80, 0xff]),
};

function leads(...ranges: readonly (readonly [number, number])[]): Uint8Array {
  const table = new Uint8Array(256);
  for (const [first, last] of ranges) fill(table, first, last, () => 1);
  return table;
}

export function leadsOf(family: CharsetFamily): Uint8Array {
  return LEADS[family];
}

/** Whether the byte behind a first one makes a character with it. */
export function isTrail(family: CharsetFamily, byte: number): boolean {
  if (byte < 0x40 || byte === Byte.delete || byte === 0xff) return false;
  if (byte < 0x80) return true;
  switch (family) {
    case 'safe':
    case 'latin':
    case 'unknown':
      return false;
    case 'gbk':
    case 'gb18030':
      return true;
    case 'sjis':
      return byte <= 0xfc;
    case 'big5':
      return byte >= 0xa1;
  }
}
