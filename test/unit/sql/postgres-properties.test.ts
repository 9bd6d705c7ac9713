/** What must hold for every text: cuts do not matter, wrapping does not matter, nothing throws. */

import { describe, expect, test } from 'bun:test';
import fc from 'fast-check';
import { classify } from '../../../src/sql/postgres/classify.ts';
import { digest } from '../../../src/sql/postgres/digest.ts';
import type { Effects } from '../../../src/sql/postgres/effects.ts';
import { StatementScanner } from '../../../src/sql/postgres/scanner.ts';
import { corpus, encode } from './corpus.ts';

const scanner = new StatementScanner();

function classifyInPieces(bytes: Uint8Array, cuts: readonly number[]): Effects {
  let from = 0;
  scanner.reset();
  for (const cut of [...cuts, bytes.length]) {
    scanner.push(bytes.slice(from, cut), 0, cut - from);
    from = cut;
  }
  return scanner.end();
}

function classifyText(text: string): Effects {
  const bytes = encode(text);
  return classify(bytes, 0, bytes.length);
}

const record = fc.constantFrom(...corpus);

/** Bytes that look like SQL, often enough. */
const mutant = fc
  .tuple(record, record, fc.array(fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 }))), fc.nat())
  .map(([first, second, changes, cut]) => {
    const bytes = new Uint8Array([...first.bytes, ...second.bytes]);
    for (const [at, value] of changes) if (bytes.length > 0) bytes[at % bytes.length] = value;
    return bytes.subarray(cut % (bytes.length + 1));
  });

describe('cuts', () => {
  test('at every byte make no difference', () => {
    for (const { text, bytes } of corpus) {
      const whole = classify(bytes, 0, bytes.length);
      for (let cut = 0; cut <= bytes.length; cut += 1) {
        if (classifyInPieces(bytes, [cut]) !== whole) throw new Error(`cut at ${cut}: ${text}`);
      }
      const everywhere = Array.from(bytes, (_, at) => at);
      expect(classifyInPieces(bytes, everywhere)).toBe(whole);
    }
  });

  test('of mutated texts make no difference', () => {
    const check = fc.property(mutant, fc.array(fc.nat()), (bytes, numbers) => {
      const cuts = numbers.map((number) => number % (bytes.length + 1)).sort((a, b) => a - b);
      expect(classifyInPieces(bytes, cuts)).toBe(classify(bytes, 0, bytes.length));
    });
    fc.assert(check, { seed: 1, numRuns: 5000 });
  });
});

describe('any bytes', () => {
  test('have an answer', () => {
    const anything = fc.oneof(mutant, fc.uint8Array({ maxLength: 200 }));
    const check = fc.property(anything, (bytes) => {
      expect(Object.isFrozen(classify(bytes, 0, bytes.length))).toBe(true);
      expect(digest(bytes).length).toBeLessThanOrEqual(200);
    });
    fc.assert(check, { seed: 2, numRuns: 5000 });
  });
});

/** What may stand around a statement without changing it. */
const blank = fc
  .array(
    fc.constantFrom(' ', '\n', '\t', '\r\n', '/* x */', '/* /* \' */ " $$ */', "-- it's; set x\n"),
    { minLength: 1, maxLength: 4 },
  )
  .map((parts) => parts.join(''));

describe('white space and comments', () => {
  test('around a statement make no difference', () => {
    const complete = corpus.filter(({ flags }) => !flags.includes('syntax-error'));
    const check = fc.property(fc.constantFrom(...complete), blank, blank, (one, before, after) => {
      expect(classifyText(`${before}${one.text}\n${after}`)).toBe(classifyText(one.text));
    });
    fc.assert(check, { seed: 3, numRuns: 5000 });
  });

  test('between the words of a statement make no difference', () => {
    const oneLine = corpus.filter(({ text }) => /^[\w ,;.=()*]+$/.test(text));
    expect(oneLine.length).toBeGreaterThan(100);
    const check = fc.property(fc.constantFrom(...oneLine), blank, (one, gap) => {
      expect(classifyText(one.text.replaceAll(' ', gap))).toBe(classifyText(one.text));
    });
    fc.assert(check, { seed: 4, numRuns: 2000 });
  });

  test('and letter case make no difference to unquoted text', () => {
    const unquoted = corpus.filter(({ text }) => !/["'$]/.test(text));
    expect(unquoted.length).toBeGreaterThan(100);
    for (const { text } of unquoted) {
      expect(classifyText(text.toUpperCase())).toBe(classifyText(text.toLowerCase()));
    }
  });
});
