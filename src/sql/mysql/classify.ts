/**
 * Judges a statement text that is there as a whole. This runs for every statement of every client:
 * it makes no strings and no objects. Texts of prepared statements are judged in the same way.
 */

import type { EffectSet } from './effects.ts';
import { type KillTarget, StatementScanner } from './scanner.ts';
import type { Syntax } from './syntax.ts';

const scanner = new StatementScanner();
let statements = 0;
const countingScanner = new StatementScanner({
  statement() {
    statements++;
  },
});
let areAllSets = true;
const setScanner = new StatementScanner({
  statement(keyword) {
    if (keyword !== 'set') areAllSets = false;
  },
});

/** What the text in these bytes may do to its session. */
export function classify(bytes: Uint8Array, from: number, to: number, syntax: Syntax): EffectSet {
  scanner.reset(syntax);
  // Some clients, mariadb-slap among them, send the end of their string too; a server takes it for the end.
  const isZeroEnded = to > from && bytes[to - 1] === 0;
  scanner.push(bytes, from, isZeroEnded ? to - 1 : to);
  return scanner.end();
}

/** Where the numbers of connections stand in a text whose effects include `kill`, from its first byte. */
export function killTargetsIn(
  bytes: Uint8Array,
  from: number,
  to: number,
  syntax: Syntax,
): readonly KillTarget[] {
  classify(bytes, from, to, syntax);
  return scanner.killTargets;
}

/** Whether nothing but one statement is in the text. */
export function isOneStatement(
  bytes: Uint8Array,
  from: number,
  to: number,
  syntax: Syntax,
): boolean {
  statements = 0;
  countingScanner.reset(syntax);
  countingScanner.push(bytes, from, to);
  countingScanner.end();
  return statements === 1;
}

/** Whether every statement of the text begins with SET. */
export function areSets(bytes: Uint8Array, from: number, to: number, syntax: Syntax): boolean {
  areAllSets = true;
  setScanner.reset(syntax);
  setScanner.push(bytes, from, to);
  setScanner.end();
  return areAllSets;
}
