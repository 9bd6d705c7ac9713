/** docs/secrets.md against the Secrets Manager API. */

import { describe, expect, test } from 'bun:test';
import { readFileSync } from 'node:fs';
import { SECRETS_OPERATIONS } from '../../../src/control/secretsmanager/api.ts';
import { SECRETS_FAULT_STATUSES } from '../../../src/control/secretsmanager/fault.ts';

const MANUAL = readFileSync(new URL('../../../docs/secrets.md', import.meta.url), 'utf8');

function sectionOf(heading: string): string {
  const [, rest = ''] = MANUAL.split(`\n${heading}\n`);
  return rest.split(/\n##/)[0] ?? '';
}

/** Names in the first cells of a section's table. */
function firstCells(section: string): string[] {
  const rows = section.split('\n').filter((line) => /^\| `/.test(line));
  return rows.flatMap((row) =>
    [...(row.split('|')[1] ?? '').matchAll(/`(\w+)`/g)].map(([, name = '']) => name),
  );
}

describe('docs/secrets.md', () => {
  test('has a section for every operation, and for no other', () => {
    const headings = [...MANUAL.matchAll(/^### `(\w+)`$/gm)].map(([, name = '']) => name);
    expect(headings.toSorted()).toEqual([...SECRETS_OPERATIONS.keys()].toSorted());
    expect(headings.length).toBeGreaterThan(10);
  });

  test.each([...SECRETS_OPERATIONS])('says what %s takes', (name, { parameters }) => {
    const section = sectionOf(`### \`${name}\``);
    expect(firstCells(section).toSorted()).toEqual([...parameters].toSorted());
  });

  test('has every fault and its status', () => {
    const rows = [...sectionOf('## Faults').matchAll(/^\| `(\w+)` \| (\d+) \|/gm)];
    expect(Object.fromEntries(rows.map(([, code, status]) => [code, Number(status)]))).toEqual(
      SECRETS_FAULT_STATUSES,
    );
  });
});
