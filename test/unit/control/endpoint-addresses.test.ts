/** Addresses for endpoints, out of a range. */

import { describe, expect, test } from 'bun:test';
import { freeListen, parseRange } from '../../../src/control/state/endpoint-addresses.ts';

describe('a range', () => {
  test('begins after the address of the network and ends before its last one', () => {
    const range = parseRange('10.1.2.77/30');
    if (range === undefined) throw new Error('it is a range');
    const taken = new Set<string>();
    expect(freeListen([range], 'POSTGRESQL', taken)).toBe('10.1.2.77:5432');
    taken.add('10.1.2.77');
    expect(freeListen([range], 'POSTGRESQL', taken)).toBe('10.1.2.78:5432');
    taken.add('10.1.2.78');
    expect(freeListen([range], 'POSTGRESQL', taken)).toBeUndefined();
  });

  test('may be high and large', () => {
    const range = parseRange('255.0.0.0/8');
    if (range === undefined) throw new Error('it is a range');
    expect(freeListen([range], 'MYSQL', new Set(['255.0.0.1']))).toBe('255.0.0.2:3306');
  });

  test('that is full is followed by the next one', () => {
    const ranges = ['10.1.2.0/30', '10.1.3.0/30']
      .map(parseRange)
      .filter((each) => each !== undefined);
    const taken = new Set(['10.1.2.1', '10.1.2.2', '10.1.3.1']);
    expect(freeListen(ranges, 'POSTGRESQL', taken)).toBe('10.1.3.2:5432');
  });

  test.each([
    '10.0.0.0',
    '10.0.0.0/7',
    '10.0.0.0/31',
    '10.0.0/16',
    '::/16',
    '10.0.0.0/1e1',
    'a/16',
  ])('%s is none', (text) => expect(parseRange(text)).toBeUndefined());
});
