/**
 * The lexer against a real server: texts made of strings, names, comments and variables in all their
 * forms, cut and mutated. Where the server runs a text, both must have found the same statements,
 * the same columns in each, and the same last comment; so they agree on where everything ends.
 */

import { describe, expect, test } from 'bun:test';
import fc from 'fast-check';
import { Lexer, type TokenSink } from '../../../src/sql/mysql/lexer.ts';
import { type SyntaxOptions, versionNumber } from '../../../src/sql/mysql/syntax.ts';
import { hasMariaDb, useMariaDb } from './mysql-oracle-server.ts';
import { mariaDb } from './mysql-texts.ts';

/** The number of columns of each SELECT; its commas outside of parentheses tell. */
class ColumnCounter implements TokenSink {
  readonly lexer = new Lexer(this);
  columns: number[] = [];
  isObscured = false;
  private count = 0;
  private depth = 0;

  countIn(bytes: Uint8Array, options: Partial<SyntaxOptions>): readonly number[] {
    this.columns = [];
    this.isObscured = false;
    this.count = 0;
    this.depth = 0;
    this.lexer.reset(mariaDb(options));
    this.lexer.push(bytes, 0, bytes.length);
    this.lexer.end();
    this.finish();
    return this.columns;
  }

  word(): void {
    this.token();
  }
  name(): void {
    this.token();
  }
  string(): void {
    this.token();
  }
  number(): void {
    this.token();
  }
  userVariable(): void {
    this.token();
  }
  systemVariable(): void {
    this.token();
  }
  obscured(): void {
    this.isObscured = true;
  }
  symbol(byte: number): void {
    if (byte === 0x3b) this.finish();
    else this.token();
    if (byte === 0x28) this.depth += 1;
    if (byte === 0x29) this.depth -= 1;
    if (byte === 0x2c && this.depth === 0) this.count += 1;
  }

  private token(): void {
    if (this.count === 0) this.count = 1;
  }

  private finish(): void {
    if (this.count > 0) this.columns.push(this.count);
    this.count = 0;
    this.depth = 0;
  }
}

const gap = fc.constantFrom(
  ' ',
  '\n',
  '/* x */',
  "/* ' */",
  '/*/ x */',
  '/**/',
  '/***/',
  '/* /* */',
  '-- x\n',
  "-- '\n",
  '--\n',
  '--\t/*\n',
  '# ` \n',
  '/*! */',
  '/*!40101 */',
  "/*!50701 ' */",
  '/*!99999 , 1 */',
  '/*!100100 */',
  '/*!101120 , 1 */',
  '/*M! */',
  '/*M!999999 , 1 */',
  '/*!99999 /* */ , 1 */',
  '/*+ ` */',
  '/*m!40101 , 1 */',
);
const item = fc.constantFrom(
  '1',
  "'a'",
  "'a''b'",
  "'a\\'b'",
  "'a\\\\'",
  "'\\\\\\''",
  '"a"',
  '"a""b"',
  '"a\\"b"',
  "'--' '/*'",
  "x'1f'",
  "b'1'",
  "n'a'",
  "_utf8mb4'a'",
  '@a',
  '@a.b$c',
  '@`a,b`',
  "@'a,b'",
  '@"a,b"',
  '@a := 1',
  '@@session.autocommit',
  '@@`autocommit`',
  '1--1',
  '1- -1',
  "1--x'1f'",
  '1--@a',
  '1---1',
  '1 -/**/- 1',
  '1 as `a,b`',
  '1 as `a``,b`',
  '1 as 1a',
  '1.5',
  '1e-5',
  '.5',
  '0x1f',
  '1/2',
  '2*3',
  '(1)',
  'concat(1, 2)',
  '/*! 1 */',
  '/*!40101 1, 2 */',
  '/*M! 1, 2 */',
  '1 /*!100100 , 2 */',
  '1 /*!50701 , 2 */',
  '1 /*!50700 , 2 */',
  '1 /*!50699 , 2 */',
  '1 /*!101119 , 2 */',
  '1 /*!101120 , 2 */',
  '1 /*!99999 , 2 */',
  '1 /*!100000 , 2 */',
  '1 /*!50101 , 2 */',
  '1 /*M!50701 , 2 */',
  '1 /*! , "*/" */',
  '1 /*!99999 , "*/',
  "'\x95\\', '",
  "'\x95\x95\\'",
  "'\xa5\\', '",
  '1 as `\x95`',
  '1 as [a,b]',
  '1 as $$',
);
const select = fc
  .tuple(gap, fc.array(fc.tuple(item, gap), { minLength: 1, maxLength: 4 }))
  .map(([first, items]) => `select ${first}${items.map((parts) => parts.join('')).join(',')}`);
const base = fc.array(select, { minLength: 1, maxLength: 3 }).map((all) => all.join(';'));
/** Nothing that could make a word of its own. */
const MUTATIONS = Buffer.from('\'"`\\/*!-#@,; \n\x95\xa5', 'latin1');
const text = fc
  .tuple(base, fc.array(fc.tuple(fc.nat(), fc.constantFrom(...MUTATIONS)), { maxLength: 3 }))
  .map(([sql, changes]) => {
    const bytes = Buffer.from(sql, 'latin1');
    for (const [at, value] of changes) bytes[at % bytes.length] = value;
    return bytes;
  });

const CASES: readonly (readonly [
  mode: string,
  charset: string,
  options: Partial<SyntaxOptions>,
])[] = [
  ['', 'utf8mb4', {}],
  ['NO_BACKSLASH_ESCAPES', 'utf8mb4', { noBackslashEscapes: true }],
  ['ANSI_QUOTES', 'utf8mb4', { ansiQuotes: true }],
  ['MSSQL', 'utf8mb4', { ansiQuotes: true, bracketQuotes: true }],
  ['', 'latin1', { charset: 'latin' }],
  ['', 'gbk', { charset: 'gbk' }],
  ['', 'sjis', { charset: 'sjis' }],
  ['', 'cp932', { charset: 'sjis' }],
  ['', 'big5', { charset: 'big5' }],
  [
    'NO_BACKSLASH_ESCAPES,ANSI_QUOTES',
    'gbk',
    { charset: 'gbk', ansiQuotes: true, noBackslashEscapes: true },
  ],
];
const RUNS = 400;

describe.skipIf(!hasMariaDb())('MariaDB', () => {
  const server = useMariaDb();
  const counter = new ColumnCounter();

  for (const [mode, charset, options] of CASES) {
    test(`reads texts as we do: ${mode || 'usual mode'}, ${charset} (MY-32, MY-44)`, async () => {
      using client = await server().connect();
      const version = versionNumber(client.version);
      await client.query(Buffer.from(`set sql_mode = '${mode}'`));
      await client.query(Buffer.from(`set names ${charset}`));
      let accepted = 0;
      const check = fc.asyncProperty(text, async (bytes) => {
        const found = await client.query(bytes);
        if (found === undefined) return;
        accepted += 1;
        expect(counter.countIn(bytes, { ...options, version })).toEqual(found);
        expect(counter.isObscured).toBe(false);
      });
      await fc.assert(check, { seed: 7, numRuns: RUNS });
      // A check that hardly any text passes would say nothing.
      expect(accepted).toBeGreaterThan(RUNS / 20);
    }, 60_000);
  }
});
