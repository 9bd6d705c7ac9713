/**
 * Judges a statement text that is there as a whole. This runs for every statement of every client:
 * it makes no strings and no objects, and a plain statement's answer is the constant `PLAIN`.
 */

import type { Effects } from './effects.ts';
import type { StringSyntax } from './lexer.ts';
import { StatementScanner } from './scanner.ts';

const scanner = new StatementScanner();

/**
 * What the text in these bytes, without its terminating zero, may do to its session. Pass `standard`
 * only if the database reported `standard_conforming_strings` on.
 */
export function classify(
  bytes: Uint8Array,
  from: number,
  to: number,
  syntax: StringSyntax = 'unsure',
): Effects {
  scanner.reset(syntax);
  scanner.push(bytes, from, to);
  return scanner.end();
}
