/** docs/secrets.md against the Secrets Manager API. */

import { describe, expect, test } from 'bun:test';
import { SECRETS_OPERATIONS } from '../../../src/control/secretsmanager/api.ts';
import { SECRETS_FAULT_STATUSES } from '../../../src/control/secretsmanager/fault.ts';
import { firstCells, Manual } from './manual.ts';

const MANUAL = new Manual('secrets.md');

describe('docs/secrets.md', () => {
  test('has a section for every operation, and for no other', () => {
    const headings = MANUAL.operations;
    expect(headings.toSorted()).toEqual([...SECRETS_OPERATIONS.keys()].toSorted());
    expect(headings.length).toBeGreaterThan(10);
  });

  test.each([...SECRETS_OPERATIONS])('says what %s takes', (name, { parameters }) => {
    const section = MANUAL.sectionOf(`### \`${name}\``);
    expect(firstCells(section).toSorted()).toEqual([...parameters].toSorted());
  });

  test('has every fault and its status', () => {
    expect(MANUAL.faults).toEqual(SECRETS_FAULT_STATUSES);
  });
});
