/** Writes that are put on the disk without anybody waiting who need not. */

import { afterEach, beforeEach, expect, test } from 'bun:test';
import { appendFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DiskFlush } from '../../../src/control/state/disk-flush.ts';

let folder = '';
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'berth-flush-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

test('resolves for all that was written before, and at once when nothing was', async () => {
  const file = join(folder, 'log');
  const flush = new DiskFlush(file, folder);
  await flush.flushed();
  writeFileSync(file, '');
  const waiting: Promise<void>[] = [];
  for (let round = 0; round < 20; round++) {
    appendFileSync(file, 'a line');
    flush.written();
    waiting.push(flush.flushed());
  }
  await Promise.all(waiting);
  await flush.flushed();
  expect(flush.failure).toBeUndefined();
  flush.close();
});

test('fails for good once it has failed', async () => {
  const file = join(folder, 'log');
  const flush = new DiskFlush(file, folder);
  flush.written();
  await expect(Promise.all([flush.flushed(), flush.flushed()])).rejects.toThrow('ENOENT');
  writeFileSync(file, 'too late');
  flush.written();
  await expect(flush.flushed()).rejects.toThrow('ENOENT');
  expect(flush.failure).toBeDefined();
  flush.close();
});

test('lets go of what waits when it is closed', async () => {
  const file = join(folder, 'log');
  writeFileSync(file, '');
  const flush = new DiskFlush(file, folder);
  flush.written();
  const waiting = flush.flushed();
  flush.close();
  await waiting;
  flush.close();
});
