/** The reader of Bun's test reports: a test run must not lose a failure on its way to the last line. */

import { expect, test } from 'bun:test';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseReport } from '../../../scripts/junit.ts';

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
