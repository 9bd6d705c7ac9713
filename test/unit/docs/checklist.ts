/** What the test of docs/checklist.md needs: the rows of the page, and what may be wrong with one. */

import { pathsOf } from './markdown.ts';

/** A row of the page. */
export interface Entry {
  readonly id: string;
  readonly promise: string;
  /** Paths of tests. */
  readonly tests: readonly string[];
  readonly explanation: string;
}

export function entriesOf(page: string): Entry[] {
  return page.split('\n').flatMap((line) => {
    const [, id = '', promise = '', tests = '', explanation = ''] = line
      .split('|')
      .map((cell) => cell.trim());
    if (!/^(?:PG|MY)-\d+$/.test(id)) return [];
    return [{ id, promise, tests: pathsOf(tests), explanation }];
  });
}

/** The ids in the text of a test, without those of tests that are still to be done. */
export function idsIn(text: string): string[] {
  const done = text.replaceAll(/\b(?:test|describe)\.(?:todo|skip)\(\s*(['"`]).*?\1/gs, '');
  return done.match(/\b(?:PG|MY)-\d+/g) ?? [];
}

/** `tests` has the text of each test by its path. */
export function problemsOf(
  { id, promise, tests: named, explanation }: Entry,
  tests: ReadonlyMap<string, string>,
): string[] {
  const problems: string[] = [];
  if (promise === '') problems.push(`${id} promises nothing`);
  for (const path of named) {
    const text = tests.get(path);
    if (text === undefined) problems.push(`${id}: ${path} is not there`);
    else if (!idsIn(text).includes(id)) problems.push(`${id}: ${path} does not cite it`);
  }
  if (named.length > 0) return problems;
  if (!explanation.includes('](differences.md#')) {
    problems.push(`${id} has neither a test nor an explanation`);
  }
  const citing = [...tests].filter(([, text]) => idsIn(text).includes(id));
  for (const [path] of citing) {
    problems.push(`${id} has a test that the page does not name: ${path}`);
  }
  return problems;
}
