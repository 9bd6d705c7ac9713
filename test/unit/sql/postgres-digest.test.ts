/** The digest: RDS Proxy's form, no literal in it, whatever the text. */

import { describe, expect, test } from 'bun:test';
import fc from 'fast-check';
import { digest } from '../../../src/sql/postgres/digest.ts';
import { corpus } from './corpus.ts';

const DIGESTS: readonly (readonly [text: string, digest: string])[] = [
  ['SET extra_float_digits = 3', 'set extra_float_digits = $1'],
  ['SET search_path TO "$user", public, extensions', 'set search_path to $1,$2,$3'],
  ["SET  my.tenant='acme' ;", 'set my.tenant=$1'],
  ['SET statement_timeout TO DEFAULT', 'set statement_timeout to default'],
  ['SET LOCAL role = alice; SELECT a', 'set local role = $1; select a'],
  ['SET TIME ZONE LOCAL', 'set time zone local'],
  ['ALTER ROLE bob SET my.secret TO hunter2', 'alter role bob set my.secret to $1'],
  ["CREATE ROLE bob PASSWORD 'x'", 'create role bob password $1'],
  ["CREATE ROLE bob PASSWORD 'x", 'create role bob password $1'],
  ["SELECT pg_advisory_lock( 42 , 'a' )", 'select pg_advisory_lock($1,$2)'],
  ['SELECT $2, $1, 7', 'select $1,$2,$3'],
  ['SELECT 1.5, .5, 1e-5, 0x1F, 1_000, -1', 'select $1,$2,$3,$4,$5,-$6'],
  ['SELECT a.b::int>=1, c [ 1 ] FROM t', 'select a.b::int>=$1,c [$2] from t'],
  [`SELECT "Upper ""Case""", u&"d\\0061t"`, `select "Upper ""Case""",u&"d\\0061t"`],
  ['/* who */ SELECT/**/1 -- why\n', 'select $1'],
  [
    "SELECT 'a'\n  'b', E'\\'', $$c$$, $t$ $$ $t$, N'd', B'1', U&'e'",
    'select $1,$2,$3,$4,$5,$6,$7',
  ],
  ["SELECT 'a\\' secret, ' b", 'select $1 ...'],
  ['SELECT "unterminated secret', 'select'],
  ['SELECT $$unterminated secret', 'select $1'],
  ['SELECT 12secret', 'select $1'],
  ['DO $$ BEGIN SET x = 1; END $$', 'do $1'],
  ['', ''],
  [' ; /* x */ ;', ''],
  ['SELECT Straße', 'select straße'],
];

describe('digest', () => {
  test.each(DIGESTS)('of %p', (text, expected) => {
    expect(digest(text)).toBe(expected);
    expect(digest(new TextEncoder().encode(text))).toBe(expected);
  });

  test('is cut, however long the text', () => {
    const long = `select ${'abcdefghi, '.repeat(1_000_000)}`;
    expect(digest(long)).toHaveLength(200);
    expect(digest(long, 12)).toBe('select abcde');
    expect(digest(long, 0)).toBe('');
  });

  test('has no control characters', () => {
    expect(digest('select "a\u001b[31m\n", \u0001 b')).toBe('select "a[31m", b');
  });

  test('of its own output is the same again', () => {
    for (const { text } of corpus) {
      const once = digest(text);
      if (once.length < 200 && !once.includes('...')) expect(digest(once)).toBe(once);
    }
  });
});

/** Ways to write a secret as a literal; the unterminated ones must come last. */
const QUOTES: readonly ((secret: string) => string)[] = [
  (secret) => `'${secret}'`,
  (secret) => `'it''s ${secret}'`,
  (secret) => `E'\\'${secret}\\''`,
  (secret) => `'x'\n'${secret}'`,
  (secret) => `$$${secret}$$`,
  (secret) => `$q$ $$ ${secret} $Q$ $q$`,
  (secret) => `U&'${secret}' UESCAPE '!'`,
  (secret) => `N'${secret}'`,
  (secret) => `/* ${secret} */ 1`,
  (secret) => `1 -- ${secret}\n`,
  (secret) => `/* /* */ ${secret} */ 1`,
];
const UNTERMINATED: readonly ((secret: string) => string)[] = [
  (secret) => `'${secret}`,
  (secret) => `'\\' ${secret} '`,
  (secret) => `'\\'; ${secret}`,
  (secret) => `E'\\' ${secret}`,
  (secret) => `E'\\\\\\' ${secret}`,
  (secret) => `$$ ${secret} $`,
  (secret) => `$a$ ${secret} $A$`,
  (secret) => `/* ${secret}`,
  (secret) => `/* /* */ ${secret}`,
  (secret) => `-- ${secret}`,
  (secret) => `"${secret}`,
  (secret) => `$${'t'.repeat(70)}$ ${secret}`,
];

describe('no literal survives', () => {
  const complete = corpus.filter(({ flags }) => !flags.includes('syntax-error'));
  const end = fc.constantFrom(...QUOTES, ...UNTERMINATED);
  const quotes = fc.array(fc.constantFrom(...QUOTES), { maxLength: 4 });

  test('in whatever form it is written', () => {
    const check = fc.property(fc.constantFrom(...complete), quotes, end, (record, some, last) => {
      const literals = [...some, last].map((quote) => quote('hunter2')).join(' , ');
      expect(digest(`${record.text}\n, ${literals}`, 10_000)).not.toContain('hunter2');
    });
    fc.assert(check, { seed: 7, numRuns: 5000 });
  });

  test('when it is the value of a setting', () => {
    const values = [
      'hunter2',
      '"hunter2"',
      "'hunter2'",
      'u&"hunter2"',
      'a, hunter2',
      '$$hunter2$$',
    ];
    for (const value of values) {
      for (const sign of ['=', 'TO', '/**/ = --x\n', ' to ']) {
        expect(digest(`SET a.b ${sign} ${value}`)).not.toContain('hunter2');
        expect(digest(`select 1; set session a.b ${sign} ${value}`)).not.toContain('hunter2');
      }
    }
  });
});
