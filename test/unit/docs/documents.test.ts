/** The Markdown files against each other, the folders and the code. */

import { describe, expect, test } from 'bun:test';
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { renderErrorDocs } from '../../../scripts/generate-error-docs.ts';
import { ERRORS } from '../../../src/base/errors.ts';
import { PIN_ADVICE } from '../../../src/observe/advice.ts';
import {
  CLIENT_CLOSE_REASONS,
  DATABASE_CLOSE_REASONS,
  PIN_REASONS,
} from '../../../src/observe/reasons.ts';
import { anchorsOf, headingsOf, linksOf, pathsOf, rowsOf, tableOf } from './markdown.ts';

const ROOT = join(import.meta.dir, '..', '..', '..');
/** Results of measurements are written by the bench, not by people. */
const SKIPPED = /^(node_modules|tmp|bench\/results)\//;
const FILES = [...new Bun.Glob('**/*.md').scanSync(ROOT)]
  .filter((file) => !SKIPPED.test(file))
  .toSorted();

function read(file: string): string {
  return readFileSync(join(ROOT, file), 'utf8');
}

describe('every Markdown file', () => {
  test('is found', () => {
    expect(FILES).toContain('README.md');
    expect(FILES).toContain('docs/pinning.md');
    expect(FILES.filter((file) => file.startsWith('docs/decisions/'))).not.toBeEmpty();
  });

  test.each(FILES)('%s has one heading of the first level, at its top', (file) => {
    const headings = headingsOf(read(file));
    expect(headings.filter(({ level }) => level === 1)).toHaveLength(1);
    expect(headings[0]?.level).toBe(1);
  });

  test('has links that lead somewhere', () => {
    const links = FILES.flatMap((file) => linksOf(read(file)).map((link) => ({ file, link })));
    const relative = links.filter(({ link }) => !/^[a-z]+:/.test(link));
    expect(relative.length).toBeGreaterThan(30);
    expect(relative.filter(({ file, link }) => !leadsSomewhere(file, link))).toEqual([]);
  });
});

function leadsSomewhere(file: string, link: string): boolean {
  const [path = '', anchor] = link.split('#');
  const target = path === '' ? file : normalize(join(dirname(file), path));
  if (target.startsWith('..') || !existsSync(join(ROOT, target))) return false;
  return anchor === undefined || anchorsOf(read(target)).has(anchor);
}

describe('ARCHITECTURE.md', () => {
  test('names files and folders that are there', () => {
    const paths = pathsOf(read('ARCHITECTURE.md'));
    expect(paths.length).toBeGreaterThan(50);
    expect(paths.filter((path) => !existsSync(join(ROOT, path)))).toEqual([]);
  });
});

describe('docs/errors.md', () => {
  test('is what scripts/generate-error-docs.ts writes', () => {
    expect(read('docs/errors.md')).toBe(renderErrorDocs());
  });

  test('has every error of the table', () => {
    const codes = Object.keys(ERRORS);
    expect(codes).not.toBeEmpty();
    const headings = headingsOf(read('docs/errors.md')).map(({ text }) => text);
    for (const code of codes) expect(headings).toContain(`\`${code}\``);
  });
});

describe('reasons', () => {
  test.each([
    ['pins', 'docs/pinning.md', 'The reasons', PIN_REASONS],
    [
      'ends of client connections',
      'docs/operations.md',
      'Why a client connection ended',
      CLIENT_CLOSE_REASONS,
    ],
    [
      'ends of database connections',
      'docs/operations.md',
      'Why a database connection ended',
      DATABASE_CLOSE_REASONS,
    ],
  ] as const)('of %s each have their row in %s, and no others', (_, file, heading, reasons) => {
    expect(reasons).not.toBeEmpty();
    const described = rowsOf(read(file), heading).map((cell) => cell.replaceAll('`', ''));
    expect(described.toSorted()).toEqual([...reasons].toSorted());
  });
});

test('the advice for each pin is the one that is given to who asks', () => {
  const rows = tableOf(read('docs/pinning.md'), 'The reasons');
  const described = rows.map((cells) => [cells[0], cells.at(-1)].map(plain));
  expect(Object.fromEntries(described)).toEqual({ ...PIN_ADVICE });
});

function plain(cell = ''): string {
  return cell.replaceAll('`', '');
}
