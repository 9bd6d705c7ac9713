/** PG-73: what waits for a slow client is bounded, and stays in order. */

import { expect, test } from 'bun:test';
import { MAILBOX_BYTES_MAX, Mailbox } from '../../../src/engine/postgres/notification/mailbox.ts';

const letter = (text: string) => Buffer.from(text);

test('what is put in comes out in order, once', () => {
  const mailbox = new Mailbox();
  expect(mailbox.isEmpty).toBe(true);
  mailbox.put('a', letter('1'));
  mailbox.put('b', letter('2'));
  mailbox.put('a', letter('3'));
  expect(mailbox.isEmpty).toBe(false);
  expect(Buffer.concat(mailbox.sort(() => 'deliver')).toString()).toBe('123');
  expect(mailbox.sort(() => 'deliver')).toEqual([]);
  expect(mailbox.isEmpty).toBe(true);
});

test('what is kept stays in its place, what is discarded is gone', () => {
  const mailbox = new Mailbox();
  for (const [channel, text] of ['a1', 'b2', 'c3', 'b4'].map(([name = '', digit = '']) => [
    name,
    digit,
  ])) {
    mailbox.put(channel ?? '', letter(text ?? ''));
  }
  const sorted = mailbox.sort((name) =>
    name === 'a' ? 'deliver' : name === 'b' ? 'keep' : 'discard',
  );
  expect(Buffer.concat(sorted).toString()).toBe('1');
  expect(Buffer.concat(mailbox.sort(() => 'deliver')).toString()).toBe('24');
});

test('it takes bytes up to its limit, and has room again when they are gone', () => {
  const mailbox = new Mailbox();
  const half = Buffer.alloc(MAILBOX_BYTES_MAX / 2);
  expect(mailbox.put('a', half)).toBe(true);
  expect(mailbox.put('b', half)).toBe(true);
  expect(mailbox.put('a', letter('1'))).toBe(false);
  mailbox.sort((name) => (name === 'a' ? 'discard' : 'keep'));
  expect(mailbox.put('a', letter('1'))).toBe(true);
  expect(mailbox.put('a', half)).toBe(false);
  expect(mailbox.sort(() => 'deliver').length).toBe(2);
  expect(mailbox.put('a', half)).toBe(true);
});
