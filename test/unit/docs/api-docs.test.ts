/** docs/api.md against the RDS API, and the API's answers against the shapes of AWS's SDK. */

import { describe, expect, test } from 'bun:test';
import type {
  DBCluster,
  DBInstance,
  DBProxy,
  DBProxyEndpoint,
  DBProxyTarget,
  DBProxyTargetGroup,
  Event,
} from '@aws-sdk/client-rds';
import { FAULT_STATUSES } from '../../../src/control/aws/fault.ts';
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
import { firstCells, Manual } from './manual.ts';

const MANUAL = new Manual('api.md');

describe('docs/api.md', () => {
  test('has a section for every operation, and for no other', () => {
    const headings = MANUAL.operations;
    expect(headings.toSorted()).toEqual([...OPERATIONS.keys()].toSorted());
    expect(headings.length).toBeGreaterThan(15);
  });

  test.each([...OPERATIONS])('says what %s takes', (name, { parameters }) => {
    const section = MANUAL.sectionOf(`### \`${name}\``).split('`TargetHealth`')[0] ?? '';
    expect(firstCells(section).toSorted()).toEqual([...parameters].toSorted());
  });

  test('has every fault and its status', () => {
    expect(MANUAL.faults).toEqual(FAULT_STATUSES);
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
