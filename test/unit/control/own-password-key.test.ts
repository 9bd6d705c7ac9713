/** The key that passwords are encrypted with: that it is one, and when it is kept. */

import { afterEach, beforeEach, expect, test } from 'bun:test';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ownPasswordKey } from '../../../src/control/own-password-key.ts';
import { PasswordKey } from '../../../src/engine/mysql/auth/password-key.ts';

let folder = '';
beforeEach(() => {
  folder = join(mkdtempSync(join(tmpdir(), 'berth-password-key-')), 'state');
});
afterEach(() => rmSync(join(folder, '..'), { recursive: true, force: true }));

test('MY-04 is kept for its owner only, with the public half beside it', async () => {
  const first = await ownPasswordKey(folder);
  const second = await ownPasswordKey(folder);
  expect(first.warning).toBeUndefined();
  expect(second.privateKey.reveal()).toBe(first.privateKey.reveal());
  expect(statSync(join(folder, 'password-key.pem')).mode & 0o777).toBe(0o600);
  const { publicKey } = new PasswordKey(first.privateKey);
  expect(readFileSync(join(folder, 'password-key.pub.pem'), 'utf8')).toBe(String(publicKey));
});

test('MY-04 one that cannot be used is replaced', async () => {
  const first = await ownPasswordKey(folder);
  writeFileSync(join(folder, 'password-key.pem'), 'nonsense');
  const second = await ownPasswordKey(folder);
  expect(second.privateKey.reveal()).not.toBe(first.privateKey.reveal());
  expect((await ownPasswordKey(folder)).privateKey.reveal()).toBe(second.privateKey.reveal());
});

test('MY-04 one that cannot be kept works all the same, and a warning says so', async () => {
  mkdirSync(join(folder, '..'), { recursive: true });
  writeFileSync(folder, 'a file in place of the folder');
  const { privateKey, warning } = await ownPasswordKey(folder);
  expect(new PasswordKey(privateKey).publicKey.length).toBeGreaterThan(0);
  expect(warning).toContain('the key for passwords cannot be kept');
});
