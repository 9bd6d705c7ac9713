/** docs/api.md against the RDS API, and the API's answers against the shapes of AWS's SDK. */

import { describe, expect, test } from 'bun:test';
import { readFileSync } from 'node:fs';
import type {
  DBCluster,
  DBInstance,
  DBProxy,
  DBProxyEndpoint,
  DBProxyTarget,
  DBProxyTargetGroup,
  Event,
} from '@aws-sdk/client-rds';
import { FAULT_STATUSES } from '../../../src/control/query/fault.ts';
import type {
  dbClusterAnswer,
  dbInstanceAnswer,
  dbProxyAnswer,
  dbProxyEndpointAnswer,
  memberAnswer,
  targetAnswer,
  targetGroupAnswer,
  trackedClusterAnswer,
} from '../../../src/control/rds/answers.ts';
import { OPERATIONS } from '../../../src/control/rds/api.ts';
import type { eventAnswer } from '../../../src/control/rds/events.ts';

const MANUAL = readFileSync(new URL('../../../docs/api.md', import.meta.url), 'utf8');

function sectionOf(heading: string): string {
  const [, rest = ''] = MANUAL.split(`\n${heading}\n`);
  return rest.split(/\n##/)[0] ?? '';
}

/** Names in the first cells of a section's tables. */
function firstCells(section: string): string[] {
  const rows = section.split('\n').filter((line) => /^\| `/.test(line));
  return rows.flatMap((row) =>
    [...(row.split('|')[1] ?? '').matchAll(/`(\w+)`/g)].map(([, name = '']) => name),
  );
}

describe('docs/api.md', () => {
  test('has a section for every operation, and for no other', () => {
    const headings = [...MANUAL.matchAll(/^### `(\w+)`$/gm)].map(([, name = '']) => name);
    expect(headings.toSorted()).toEqual([...OPERATIONS.keys()].toSorted());
    expect(headings.length).toBeGreaterThan(15);
  });

  test.each([...OPERATIONS])('says what %s takes', (name, { parameters }) => {
    const section = sectionOf(`### \`${name}\``).split('`TargetHealth`')[0] ?? '';
    expect(firstCells(section).toSorted()).toEqual([...parameters].toSorted());
  });

  test('has every fault and its status', () => {
    const rows = [...sectionOf('## Faults').matchAll(/^\| `(\w+)` \| (\d+) \|/gm)];
    expect(Object.fromEntries(rows.map(([, code, status]) => [code, Number(status)]))).toEqual(
      FAULT_STATUSES,
    );
  });
});

/** `Shape` has every member that `Answer` has, of the same type. */
type Fits<
  Answer extends { readonly [Key in keyof Answer]: Key extends keyof Shape ? Shape[Key] : never },
  Shape,
> = Answer;

/** Checked by the compiler, which is part of the test run. */
export type Shapes = [
  Fits<ReturnType<typeof dbProxyAnswer>, DBProxy>,
  Fits<ReturnType<typeof dbProxyEndpointAnswer>, DBProxyEndpoint>,
  Fits<ReturnType<typeof targetGroupAnswer>, DBProxyTargetGroup>,
  Fits<ReturnType<typeof targetAnswer>, DBProxyTarget>,
  Fits<ReturnType<typeof dbInstanceAnswer>, DBInstance>,
  Fits<ReturnType<typeof dbClusterAnswer>, DBCluster>,
  Fits<ReturnType<typeof trackedClusterAnswer>, DBProxyTarget>,
  Fits<ReturnType<typeof memberAnswer>, DBProxyTarget>,
  Fits<ReturnType<typeof eventAnswer>, Event>,
];
