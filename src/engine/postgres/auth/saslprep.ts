/**
 * SASLprep (RFC 4013) as PostgreSQL does it, so that both ends hash the same bytes. Never fails: a
 * password that SASLprep forbids is used as it is. Two deliberate agreements with `pg_saslprep`
 * (src/common/saslprep.c), both different from the RFC: an ASCII password is never changed, control
 * characters or not, and forbidden characters and direction are looked for before normalisation.
 */

import {
  LEFT_TO_RIGHT,
  MAPPED_TO_NOTHING,
  NON_ASCII_SPACES,
  PROHIBITED,
  RIGHT_TO_LEFT,
  UNASSIGNED,
} from './saslprep-tables.ts';

const SPACE = 0x20;
const ASCII_LAST = 0x7f;

/** The bytes of a password that SCRAM hashes. */
export function preparedPassword(password: string): Buffer {
  return Buffer.from(saslprep(password) ?? password, 'utf8');
}

/** The prepared text, or undefined where SASLprep forbids it. */
export function saslprep(text: string): string | undefined {
  if (isAscii(text)) return text;
  if (!text.isWellFormed()) return undefined;
  const codePoints = mapped(text);
  if (codePoints.length === 0) return undefined;
  if (codePoints.some(isForbidden) || !isDirectionAllowed(codePoints)) return undefined;
  return textOf(codePoints).normalize('NFKC');
}

function isAscii(text: string): boolean {
  for (let index = 0; index < text.length; index++) {
    if (text.charCodeAt(index) > ASCII_LAST) return false;
  }
  return true;
}

/** RFC 4013 section 2.1. */
function mapped(text: string): number[] {
  const codePoints: number[] = [];
  for (const character of text) {
    const codePoint = character.codePointAt(0) ?? 0;
    if (NON_ASCII_SPACES.has(codePoint)) codePoints.push(SPACE);
    else if (!MAPPED_TO_NOTHING.has(codePoint)) codePoints.push(codePoint);
  }
  return codePoints;
}

/** RFC 4013 sections 2.3 and 2.5. */
function isForbidden(codePoint: number): boolean {
  return PROHIBITED.has(codePoint) || UNASSIGNED.has(codePoint);
}

/** RFC 3454 section 6: with right-to-left text, nothing left-to-right, and both ends are it too. */
function isDirectionAllowed(codePoints: readonly number[]): boolean {
  if (!codePoints.some((codePoint) => RIGHT_TO_LEFT.has(codePoint))) return true;
  if (codePoints.some((codePoint) => LEFT_TO_RIGHT.has(codePoint))) return false;
  return [codePoints.at(0), codePoints.at(-1)].every((end) => RIGHT_TO_LEFT.has(end ?? 0));
}

/** Piecewise: `String.fromCodePoint(...codePoints)` would put a long password on the stack. */
function textOf(codePoints: readonly number[]): string {
  return codePoints.map((codePoint) => String.fromCodePoint(codePoint)).join('');
}
