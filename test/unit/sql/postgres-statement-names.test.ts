/** PG-57: texts that are one DEALLOCATE, DISCARD ALL or EXECUTE and nothing else. */

import { expect, test } from 'bun:test';
import { type NamedStatement, recogniseNamed } from '../../../src/sql/postgres/statement-names.ts';

const deallocate = (name: string): NamedStatement => ({ kind: 'deallocate', name });

const RECOGNISED: readonly [text: string, expected: NamedStatement][] = [
  ['deallocate s1', deallocate('s1')],
  ['DEALLOCATE Prepare S1 ;', deallocate('s1')],
  [' \n\tdeallocate\r\n"S ""1""" ; ', deallocate('S "1"')],
  ['deallocate prepare', deallocate('prepare')],
  ['deallocate "all"', deallocate('all')],
  ['deallocate _a$1', deallocate('_a$1')],
  // Bytes of UTF-8 as latin1: A with a ring, and a letter whose second byte is a no-break space.
  ['deallocate \xc3\x85B\xc3\xa0', deallocate('\xc3\x85b\xc3\xa0')],
  ['-- why\ndeallocate /* what */ s1 -- when', deallocate('s1')],
  ['/*a*//**/deallocate/***/s1/*;*/;/* * / */', deallocate('s1')],
  ['deallocate all', { kind: 'deallocate_all' }],
  ['Deallocate Prepare ALL;', { kind: 'deallocate_all' }],
  ['discard all', { kind: 'discard_all' }],
  ['/* driver */ DISCARD ALL ;', { kind: 'discard_all' }],
  ['execute s1', { kind: 'execute', name: 's1', rest: '' }],
  ['execute "S 1" (1, $$x$$) ;', { kind: 'execute', name: 'S 1', rest: ' (1, $$x$$) ;' }],
];

test.each([...RECOGNISED])('%p', (text, expected) => {
  expect(recogniseNamed(text)).toEqual(expected);
});

test.each([
  '',
  'deallocate',
  'deallocate s1; select 1',
  'deallocate s1, s2',
  'deallocates1',
  'deallocate 1s',
  'deallocate "s1',
  'deallocate U&"s1"',
  'deallocate /* /* nested */ */ s1',
  'deallocate s1 /* open',
  'discard plans',
  'discard all; discard all',
  'execute s1(1); select 1',
  'select 1 -- deallocate s1',
  `deallocate s1 ${' '.repeat(5_000)}`,
])('not %p', (text) => {
  expect(recogniseNamed(text)).toBeUndefined();
});

test('takes no time for texts that are made to take long', () => {
  const started = performance.now();
  for (const part of [' ', '/**/', '/*', '--\n', '*/', '""', '/* */ ', '(', ';']) {
    for (const word of ['deallocate', 'discard', 'execute s']) {
      recogniseNamed(`${word}${part.repeat(4_000 / part.length - 5)}x`);
    }
  }
  expect(performance.now() - started).toBeLessThan(1_000);
});
