/** Who may connect, by ranges of addresses. */

import { describe, expect, test } from 'bun:test';
import { PRIVATE_RANGES, parseSourceRange, SourceRanges } from '../../../src/base/source-ranges.ts';

test.each([
  ['127.0.0.1', true],
  ['127.255.0.9', true],
  ['10.9.8.7', true],
  ['172.15.0.1', false],
  ['172.31.0.1', true],
  ['172.32.0.1', false],
  ['192.168.1.1', true],
  ['100.64.0.1', true],
  ['100.128.0.1', false],
  ['169.254.1.1', true],
  ['8.8.8.8', false],
  ['::ffff:10.1.1.1', true],
  ['::ffff:8.8.8.8', false],
  ['::1', true],
  ['fd00::1', true],
  ['fe80::1', true],
  ['2001:db8::1', false],
  ['', false],
  ['nonsense', false],
])('private addresses: %s %p', (address, isAdmitted) => {
  expect(new SourceRanges(PRIVATE_RANGES).admits(address)).toBe(isAdmitted);
});

test('none admit nobody, all admit everybody', () => {
  expect(new SourceRanges([]).admits('127.0.0.1')).toBe(false);
  const all = new SourceRanges(['0.0.0.0/0', '::/0']);
  for (const address of ['8.8.8.8', '2001:db8::1', '::ffff:8.8.8.8']) {
    expect(all.admits(address)).toBe(true);
  }
});

test.each([
  [PRIVATE_RANGES, false],
  [['10.1.0.0/16', 'fd12::/16', '127.0.0.1/32'], false],
  [['10.0.0.0/7'], true],
  [['8.8.8.0/24'], true],
  [['0.0.0.0/0'], true],
  [['::/0'], true],
  [[], false],
])('%j has public addresses: %p', (ranges, hasPublic) => {
  expect(new SourceRanges(ranges).hasPublic).toBe(hasPublic);
});

describe('a range', () => {
  test.each(['10.0.0.0/8', '0.0.0.0/0', '1.2.3.4/32', '::/0', 'fd00::/8', '::1/128'])(
    '%s',
    (text) => expect(parseSourceRange(text)).toBeDefined(),
  );

  test.each([
    '',
    '10.0.0.0',
    '10.0.0.0/33',
    '::1/129',
    '10.0.0/8',
    '10.0.0.0/8/8',
    '10.0.0.0/-1',
    'a/8',
    '10.0.0.0/',
    '/8',
  ])('%s is none', (text) => expect(parseSourceRange(text)).toBeUndefined());
});
