/** What must hold for every text: cuts do not matter, wrapping does not matter, nothing throws. */

import { describe, expect, test } from 'bun:test';
import fc from 'fast-check';
import { classify } from '../../../src/sql/mysql/classify.ts';
import { digest } from '../../../src/sql/mysql/digest.ts';
import { Effect, type EffectSet } from '../../../src/sql/mysql/effects.ts';
import { StatementScanner } from '../../../src/sql/mysql/scanner.ts';
import { CHARSET_FAMILIES, type Syntax } from '../../../src/sql/mysql/syntax.ts';
import { mariaDb, mysql, namesOf, TEXTS } from './mysql-texts.ts';

const texts: readonly string[] = Object.values(TEXTS).flat();
const scanner = new StatementScanner();

const syntaxes: readonly Syntax[] = CHARSET_FAMILIES.flatMap((charset) => [
  mariaDb({ charset }),
  mysql({ charset, ansiQuotes: true, noBackslashEscapes: true }),
  mariaDb({ charset, version: 0 }),
]);

function classifyInPieces(bytes: Uint8Array, cuts: readonly number[], syntax: Syntax): EffectSet {
  let from = 0;
  scanner.reset(syntax);
  for (const cut of [...cuts, bytes.length]) {
    // Each piece lies somewhere else in its buffer.
    const piece = new Uint8Array([0x27, 0x27, ...bytes.subarray(from, cut), 0x27]);
    scanner.push(piece, 2, 2 + cut - from);
    from = cut;
  }
  return scanner.end();
}

const syntax = fc.constantFrom(...syntaxes);
/** Bytes that look like SQL, often enough. */
const mutant = fc
  .tuple(
    fc.constantFrom(...texts),
    fc.constantFrom(...texts),
    fc.array(
      fc.tuple(
        fc.nat(),
        fc.oneof(
          fc.constantFrom(...Buffer.from('\'"`\\@*/!-#;$ \0\x95\xa0', 'latin1')),
          fc.nat(255),
        ),
      ),
    ),
    fc.nat(),
  )
  .map(([first, second, changes, cut]) => {
    const bytes = Buffer.from(`${first};${second}`);
    for (const [at, value] of changes) if (bytes.length > 0) bytes[at % bytes.length] = value;
    return bytes.subarray(cut % (bytes.length + 1));
  });

describe('cuts', () => {
  test('at every byte make no difference', () => {
    for (const text of texts) {
      const bytes = Buffer.from(text);
      const whole = classify(bytes, 0, bytes.length, mariaDb());
      for (let cut = 0; cut <= bytes.length; cut += 1) {
        if (classifyInPieces(bytes, [cut], mariaDb()) !== whole) {
          throw new Error(`cut at ${cut}: ${text}`);
        }
      }
      const everywhere = Array.from(bytes, (_, at) => at);
      expect(classifyInPieces(bytes, everywhere, mariaDb())).toBe(whole);
    }
  });

  test('of mutated texts make no difference', () => {
    const check = fc.property(mutant, syntax, fc.array(fc.nat()), (bytes, how, numbers) => {
      // A zero byte at the end of a whole text is not a part of it.
      fc.pre(bytes.at(-1) !== 0);
      const cuts = numbers.map((number) => number % (bytes.length + 1)).sort((a, b) => a - b);
      const whole = classify(bytes, 0, bytes.length, how);
      expect(classifyInPieces(bytes, cuts, how)).toBe(whole);
    });
    fc.assert(check, { seed: 1, numRuns: 5000 });
  });

  test('do not move the number in a KILL', () => {
    const text = 'select 1; kill query 1234; /* x */ kill 5';
    const bytes = Buffer.from(text);
    for (let cut = 0; cut <= bytes.length; cut += 1) {
      expect(namesOf(classifyInPieces(bytes, [cut], mariaDb()))).toEqual(['kill']);
      expect(scanner.killTargets.map(({ from, to }) => text.slice(from, to))).toEqual([
        '1234',
        '5',
      ]);
    }
  });
});

describe('any bytes', () => {
  test('have an answer and a digest', () => {
    const check = fc.property(fc.uint8Array({ maxLength: 200 }), syntax, (bytes, how) => {
      expect(Number.isInteger(classify(bytes, 0, bytes.length, how))).toBe(true);
      expect(digest(bytes, how).length).toBeLessThanOrEqual(200);
    });
    fc.assert(check, { seed: 2, numRuns: 5000 });
  });

  test('have a digest without what is in their strings', () => {
    const quoted = fc.stringMatching(/^[a-z ]{0,20}$/).map((inside) => `secret${inside}`);
    const check = fc.property(fc.constantFrom(...texts), quoted, (text, inside) => {
      const bytes = Buffer.from(`${text.replaceAll(/'[^'\\]*'/g, `'${inside}'`)} , '${inside}`);
      expect(digest(bytes, mariaDb(), 5000)).not.toContain('secret');
    });
    fc.assert(check, { seed: 3, numRuns: 2000 });
  });
});

describe('concatenation', () => {
  test('of statements does what each does', () => {
    const whole = texts.filter((text) => !/\0|^--|^#|not atomic/.test(text));
    const text = fc.constantFrom(...whole);
    const check = fc.property(text, text, (first, second) => {
      const of = (sql: string) => classify(Buffer.from(sql), 0, Buffer.byteLength(sql), mariaDb());
      expect(namesOf(of(`${first}\n;${second}`))).toEqual(namesOf(of(first) | of(second)));
    });
    fc.assert(check, { seed: 4, numRuns: 5000 });
  });

  test('of comments does nothing', () => {
    const comment = fc.constantFrom(
      ' ',
      '/* x */',
      '-- x\n',
      '# x\n',
      '\t',
      '/*!*/',
      '/*!99999 x */',
    );
    const check = fc.property(fc.constantFrom(...texts), fc.array(comment), (text, comments) => {
      const bytes = Buffer.from(text);
      const around = Buffer.from(`${comments.join('')}${text}\n${comments.join('')}`);
      const expected = classify(bytes, 0, bytes.length, mariaDb());
      expect(classify(around, 0, around.length, mariaDb())).toBe(expected);
    });
    fc.assert(check, { seed: 5, numRuns: 3000 });
  });
});

test('no text takes long', () => {
  const length = 1 << 20;
  const parts = [
    "'",
    '"',
    '`',
    '/*',
    '/*!',
    '/*!50000',
    '--',
    '-- ',
    '#',
    '@',
    '@@',
    '(',
    'begin ',
    ';',
    '1e',
    'case ',
  ];
  for (const part of parts) {
    const bytes = Buffer.alloc(length, part);
    const begun = performance.now();
    classify(bytes, 0, bytes.length, mariaDb());
    // Measured at 2 to 40 ms; what is quadratic takes minutes.
    expect(performance.now() - begun).toBeLessThan(5000);
  }
  expect(classify(Buffer.alloc(length, 'kill 1;'), 0, length, mariaDb()) & Effect.kill).not.toBe(0);
});
