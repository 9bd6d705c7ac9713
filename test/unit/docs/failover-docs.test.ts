/** docs/failover.md against Berth's own API. */

import { describe, expect, test } from 'bun:test';
import { OWN_OPERATIONS } from '../../../src/control/berth/api.ts';
import { PAUSE_TIMEOUT_MAX_S, PAUSE_TIMEOUT_S } from '../../../src/control/berth/pauses.ts';
import { Manual } from './manual.ts';

const MANUAL = new Manual('failover.md');

describe('docs/failover.md', () => {
  test('has every operation with its parameters, and no other', () => {
    const rows = [
      ...MANUAL.sectionOf('### The API').matchAll(/^\| `(\w+DBProxy\w*)` \| (`.*?) \|/gm),
    ];
    const described = rows.map(([, name, parameters = '']) => [
      name,
      [...parameters.matchAll(/`(\w+)`/g)].map(([, parameter]) => parameter),
    ]);
    const known = [...OWN_OPERATIONS].map(([name, { parameters }]) => [name, [...parameters]]);
    expect(described).toEqual(known);
    expect(known).toHaveLength(3);
  });

  test('says how long transactions may take', () => {
    expect(MANUAL.text).toContain(`1 to ${PAUSE_TIMEOUT_MAX_S}; default ${PAUSE_TIMEOUT_S}.`);
  });
});
