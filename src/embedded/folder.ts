/** The temporary folder of a throwaway server: the account of its programs can reach it and owns it. */

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Account, giveTo, run } from './account.ts';
import type { Keeper } from './keeper.ts';

export async function makeServerFolder(
  account: Account | undefined,
  prefix: string,
): Promise<string> {
  const folder = mkdtempSync(join(await reachableTemporaryFolder(account), prefix));
  giveTo(account, folder);
  return folder;
}

async function reachableTemporaryFolder(account: Account | undefined): Promise<string> {
  const folder = tmpdir();
  if (account === undefined || folder === '/tmp') return folder;
  const isReachable = await run('test', ['-x', folder], { account, directory: '/' }).then(
    () => true,
    () => false,
  );
  return isReachable ? folder : '/tmp';
}

export function removeServerFolder(folder: string, keeper: Keeper): void {
  rmSync(folder, { recursive: true, force: true, maxRetries: 3 });
  keeper.release();
}
