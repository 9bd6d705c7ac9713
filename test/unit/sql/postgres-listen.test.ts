/** PG-73: which texts are nothing but LISTEN and UNLISTEN, and the channels as the server reads them. */

import { beforeAll, describe, expect, test } from 'bun:test';
import fc from 'fast-check';
import { loadModule, parseSync } from 'libpg-query';
import {
  type ListenStatement,
  mayNotify,
  recogniseListen,
  unlistensIn,
} from '../../../src/sql/postgres/listen-statements.ts';
import { corpus } from './corpus.ts';

beforeAll(async () => {
  await loadModule();
});

const listen = (channel: string): ListenStatement => ({ kind: 'listen', channel });
const unlisten = (channel: string): ListenStatement => ({ kind: 'unlisten', channel });
const UNLISTEN_ALL: ListenStatement = { kind: 'unlisten_all' };
const LONG = 'n'.repeat(70);

const RECOGNISED: readonly (readonly [text: string, statements: readonly ListenStatement[]])[] = [
  ['listen jobs', [listen('jobs')]],
  ['LISTEN Jobs;', [listen('jobs')]],
  [' \t\n\r\flisten\njobs ; ', [listen('jobs')]],
  ['listen "Jobs"', [listen('Jobs')]],
  ['listen"a ""b"""', [listen('a "b"')]],
  ['listen a; unlisten B; ;unlisten *;', [listen('a'), unlisten('b'), UNLISTEN_ALL]],
  ['listen a /* for (a) * / */', [listen('a')]],
  ['-- jobs\nlisten a -- and more', [listen('a')]],
  ['listen/**/a--', [listen('a')]],
  ['unlisten*', [UNLISTEN_ALL]],
  ['unlisten/**/*', [UNLISTEN_ALL]],
  ['listen _a$1', [listen('_a$1')]],
  ['listen "caf\xc3\xa9"', [listen('caf\xc3\xa9')]],
  [`listen ${LONG}`, [listen(LONG.slice(0, 63))]],
  [`listen "${LONG}"`, [listen(LONG.slice(0, 63))]],
];

describe('recognised', () => {
  test.each([...RECOGNISED])('%p', (text, statements) => {
    expect(recogniseListen(text)).toEqual(statements);
  });
});

describe('not recognised', () => {
  test.each([
    '',
    ' ; ',
    '-- listen a',
    'listen',
    'listen *',
    'listen 1',
    'listen 1a',
    "listen 'a'",
    'listen ""',
    'listen a b',
    'listen a.b',
    'listen_a',
    'listen$a',
    'listenér a',
    'listen a; select 1',
    'begin; listen a; commit',
    'listen a, b',
    'listen U&"d\\0061"',
    'listen "a',
    'listen /* /* */ */ a',
    'listen /* a',
    // What becomes of them depends on the encoding.
    'listen caf\xe9',
    `listen "${'\xe9'.repeat(64)}"`,
  ])('%p', (text) => {
    expect(recogniseListen(text)).toBeUndefined();
  });
});

test('a very long text is not recognised', () => {
  expect(recogniseListen(`listen a${' '.repeat(20_000)}`)).toBeUndefined();
});

/** What the server's own grammar makes of a text; `undefined` when it refuses it or it is something else. */
function parsed(text: string): readonly ListenStatement[] | undefined {
  let statements: { readonly stmt?: object }[];
  try {
    statements = parseSync(text).stmts ?? [];
  } catch {
    return undefined;
  }
  const read = statements.map(({ stmt = {} }): ListenStatement | undefined => {
    const [[kind, body] = []] = Object.entries(stmt);
    const channel: unknown = body?.conditionname;
    if (kind === 'ListenStmt' && typeof channel === 'string') return listen(channel);
    if (kind !== 'UnlistenStmt') return undefined;
    return typeof channel === 'string' ? unlisten(channel) : UNLISTEN_ALL;
  });
  return read.length > 0 && read.every((each) => each !== undefined) ? read : undefined;
}

function isRefused(text: string): boolean {
  try {
    parseSync(text);
    return false;
  } catch {
    return true;
  }
}

describe("against the server's own grammar", () => {
  const piece = fc.constantFrom(
    ...['listen', 'LISTEN ', 'unlisten', ' ', '\n', ';', '*', 'a', 'Jobs', '"B c"', '""', '"'],
    ...['_', '$', '1', '/*', '*/', '--', 'select', 'notify', "'", '.', 'x'.repeat(64), '\f', '\t'],
  );

  test('what is recognised is what the server reads, or what it refuses', () => {
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 12 }), (pieces) => {
        const text = pieces.join('');
        const statements = recogniseListen(text);
        if (statements !== undefined && !isRefused(text)) expect(parsed(text)).toEqual(statements);
      }),
      { numRuns: 5_000 },
    );
  });

  test('nothing else is recognised', () => {
    for (const { text } of corpus) {
      if (recogniseListen(text) !== undefined && !isRefused(text)) {
        expect(parsed(text)).toEqual(recogniseListen(text));
      }
    }
  });

  test('the usual ones are', () => {
    for (const [text, statements] of RECOGNISED) {
      if (!/[\x80-\xff]/.test(text)) expect(parsed(text)).toEqual(statements);
    }
  });
});

describe('in any text', () => {
  test('UNLISTEN', () => {
    expect(unlistensIn('begin; unlisten a; UNLISTEN "B"; commit')).toEqual([
      unlisten('a'),
      unlisten('B'),
    ]);
    expect(unlistensIn('select 1;unlisten *')).toEqual([UNLISTEN_ALL]);
    expect(unlistensIn("select 'unlisten'")).toEqual([]);
    expect(unlistensIn('select my_unlisten a')).toEqual([]);
    expect(unlistensIn('listen a')).toEqual([]);
  });

  test('NOTIFY', () => {
    expect(mayNotify('Notify a')).toBe(true);
    expect(mayNotify("select PG_NOTIFY('a', 'b')")).toBe(true);
    expect(mayNotify('listen a')).toBe(false);
  });
});
