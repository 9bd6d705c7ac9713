/** docs/checklist.md: every id of the checklist has a test that cites it, or a line that says why not. */

import { describe, expect, test } from 'bun:test';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Entry, entriesOf, idsIn, problemsOf } from './checklist.ts';

const ROOT = join(import.meta.dir, '..', '..', '..');
const PAGE = readFileSync(join(ROOT, 'docs', 'checklist.md'), 'utf8');

/** The ids that there are, from the first to the last of each part. */
const PARTS = {
  PG: [
    [1, 19],
    [20, 40],
    [50, 61],
    [70, 80],
  ],
  MY: [
    [1, 8],
    [20, 32],
    [40, 51],
  ],
} as const;
const IDS = Object.entries(PARTS).flatMap(([family, parts]) =>
  parts.flatMap(([first, last]) =>
    Array.from({ length: last - first + 1 }, (_, index) => idOf(family, first + index)),
  ),
);

function idOf(family: string, number: number): string {
  return `${family}-${String(number).padStart(2, '0')}`;
}

/** The text of each test by its path; this folder only talks about ids. */
const TESTS = new Map(
  [...new Bun.Glob('test/**/*.{ts,sql,txt}').scanSync(ROOT)]
    .filter((path) => !path.startsWith('test/unit/docs/'))
    .map((path) => [path, readFileSync(join(ROOT, path), 'utf8')]),
);

describe('docs/checklist.md', () => {
  test('lists every id once, in order', () => {
    expect(IDS).toHaveLength(63 + 33);
    expect(entriesOf(PAGE).map(({ id }) => id)).toEqual(IDS);
  });

  test('has a test that cites it, or an explanation, for each', () => {
    expect(TESTS.size).toBeGreaterThan(100);
    expect(entriesOf(PAGE).flatMap((entry) => problemsOf(entry, TESTS))).toEqual([]);
  });

  test('is about every id that a test cites', () => {
    const cited = new Set([...TESTS.values()].flatMap((text) => idsIn(text)));
    expect(cited.size).toBeGreaterThan(80);
    expect([...cited].filter((id) => !IDS.includes(id))).toEqual([]);
  });
});

describe('the check itself', () => {
  const tests = new Map([
    ['test/a.test.ts', "test('PG-20 holds', () => {});\ntest.todo('PG-21 will hold');"],
    ['test/b.sql', '-- PG-22, PG-23: two at once.'],
  ]);
  const entry = (change: Partial<Entry>): Entry => ({
    id: 'PG-20',
    promise: 'It holds',
    tests: ['test/a.test.ts'],
    explanation: '',
    ...change,
  });

  test('is content with a test that cites the id, and with an explanation where there is none', () => {
    expect(problemsOf(entry({}), tests)).toEqual([]);
    expect(problemsOf(entry({ id: 'PG-23', tests: ['test/b.sql'] }), tests)).toEqual([]);
    const explanation = 'It is not there: [differences](differences.md#logging-in)';
    expect(problemsOf(entry({ id: 'PG-79', tests: [], explanation }), tests)).toEqual([]);
  });

  test.each([
    ['neither', { id: 'PG-79', tests: [] }, 'neither a test nor an explanation'],
    ['words without a link', { id: 'PG-79', tests: [], explanation: 'No.' }, 'neither a test'],
    ['a file that is gone', { tests: ['test/gone.test.ts'] }, 'is not there'],
    ['a test that does not cite it', { tests: ['test/b.sql'] }, 'does not cite'],
    ['another id that begins alike', { id: 'PG-2', tests: ['test/b.sql'] }, 'does not cite'],
    ['a test that is still to be done', { id: 'PG-21' }, 'does not cite'],
    [
      'an explanation although there are tests',
      { tests: [], explanation: '[differences](differences.md#x)' },
      'has a test that the page does not name',
    ],
    ['no promise', { promise: '' }, 'promises nothing'],
  ])('finds %s', (_what, change, problem) => {
    expect(problemsOf(entry(change), tests).join()).toContain(problem);
  });

  test('reads rows, and nothing else', () => {
    const page =
      '# PG-01\n| Id | Promise | Tests | Beside |\n|---|---|---|---|\n| PG-05 | P | `test/a.ts`, `test/b.txt` | W |\n| MY-05 | Q | | |\n';
    expect(entriesOf(page)).toEqual([
      { id: 'PG-05', promise: 'P', tests: ['test/a.ts', 'test/b.txt'], explanation: 'W' },
      { id: 'MY-05', promise: 'Q', tests: [], explanation: '' },
    ]);
    expect(entriesOf('nothing')).toEqual([]);
  });
});
