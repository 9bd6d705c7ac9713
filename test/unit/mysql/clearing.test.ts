/** Which statements end a pin, and which only look like it. */

import { expect, test } from 'bun:test';
import { clearedBy } from '../../../src/engine/mysql/clearing.ts';

test.each([
  ['UNLOCK TABLES', 'table_lock'],
  ['  unlock table ; ', 'table_lock'],
  ['SELECT RELEASE_ALL_LOCKS()', 'user_level_lock'],
  ['do release_all_locks( )', 'user_level_lock'],
  ["XA COMMIT 'a' ONE PHASE", 'xa'],
  ["xa rollback 'a'", 'xa'],
] as const)('MY-43 %s', (text, reason) => {
  expect(clearedBy(text)).toBe(reason);
});

test.each([
  'UNLOCK TABLES; LOCK TABLES t READ',
  'LOCK TABLES t READ',
  "SELECT RELEASE_LOCK('a')",
  "SELECT RELEASE_ALL_LOCKS(), GET_LOCK('a', 0)",
  "XA PREPARE 'a'",
  "XA COMMIT 'a'; XA START 'b'",
  'DROP TEMPORARY TABLE t',
])('MY-43 not %s', (text) => {
  expect(clearedBy(text)).toBeUndefined();
});
