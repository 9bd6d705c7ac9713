/** The reader of Bun's test reports: a test run must not lose a failure on its way to the last line. */

import { expect, test } from 'bun:test';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gist, parseReport } from '../../../scripts/junit.ts';

const TESTS = `
import { describe, expect, test } from 'bun:test';
describe('outer', () => {
  describe('in <"&> ner', () => {
    test('good', () => {});
    test("bad > 'x'", () => expect('<a>\\n').toBe('b'));
  });
  test.skip('left out', () => {});
});
test('alone', () => {});
`;

test('a report of this very Bun is read completely', () => {
  const folder = mkdtempSync(join(tmpdir(), 'berth-junit-'));
  try {
    writeFileSync(join(folder, 'a.test.ts'), TESTS);
    const flags = ['--reporter=junit', '--reporter-outfile=report.xml', '--parallel=2'];
    Bun.spawnSync([process.execPath, 'test', ...flags, './a.test.ts'], { cwd: folder });
    const results = parseReport(readFileSync(join(folder, 'report.xml'), 'utf8'));
    expect(results.map(({ file, name, outcome }) => [file, name, outcome])).toEqual([
      ['a.test.ts', 'outer > in <"&> ner > good', 'passed'],
      ['a.test.ts', "outer > in <\"&> ner > bad > 'x'", 'failed'],
      ['a.test.ts', 'outer > left out', 'skipped'],
      ['a.test.ts', 'alone', 'passed'],
    ]);
    expect(results[1]?.message).toContain('+ "<a>');
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('of a failure the lines that differ are told', () => {
  const difference = [
    '  {',
    '-   "wrong": [],',
    '+   "wrong": [',
    '+     "17 connections",',
    '+   ],',
    '  }',
  ];
  const counts = ['', '- Expected  - 1', '+ Received  + 3', ''];
  const message = ['expect(received).toEqual(expected)', '', ...difference, ...counts].join('\n');
  expect(gist(message)).toEqual([
    'expect(received).toEqual(expected)',
    '-   "wrong": [],',
    '+   "wrong": [',
    '+     "17 connections",',
    '+   ],',
  ]);
});

test('of a failure without them its first lines are told, of a long one not all', () => {
  const seen = 'expect(received).toBe(expected)\n\nExpected: 3\nReceived: 4\n';
  expect(gist(seen)).toEqual(['expect(received).toBe(expected)', 'Expected: 3', 'Received: 4']);
  const lines = Array.from({ length: 20 }, (_, index) => `+ ${index}`);
  expect(gist(['first', ...lines].join('\n'))).toEqual([
    'first',
    ...lines.slice(0, 8),
    '... and 12 more lines',
  ]);
  expect(gist('')).toEqual(['']);
  expect(gist('x'.repeat(1_000))[0]?.length).toBe(303);
});
