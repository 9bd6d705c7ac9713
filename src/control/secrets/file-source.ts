/**
 * A secret in a file, as JSON, or in a folder with the files `username` and `password`, as Kubernetes puts
 * secrets there.
 */

import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { Secret } from '../../credential/secret.ts';
import { type LoginSecret, readLoginSecret } from './lookup.ts';
import type { SecretSource } from './polled-secrets.ts';

/** Files are cheap to read. */
const INTERVAL_MS = 2_000;
const FILE_BYTES_MAX = 1024 * 1024;

export function fileSource(path: string): SecretSource {
  return {
    key: `file ${path}`,
    intervalMs: INTERVAL_MS,
    read: async () => ({ current: await readSecretFile(path) }),
  };
}

/** Rejects with an error whose message says what is wrong, and no secret. */
export async function readSecretFile(path: string): Promise<LoginSecret> {
  const found = await stat(path).catch((error: unknown) => unreadable(path, error));
  if (found.isDirectory()) {
    const username = await readLine(join(path, 'username'));
    const password = await readLine(join(path, 'password'));
    if (username === '' || password === '') throw new Error(`${path} has an empty file`);
    return { username, password: new Secret(password) };
  }
  const secret = readLoginSecret(await readText(path));
  if (secret === undefined) throw new Error(`${path} is not JSON with username and password`);
  return secret;
}

/** Who writes such a file with an editor cannot help the last line break. */
async function readLine(path: string): Promise<string> {
  return (await readText(path)).replace(/\r?\n$/, '');
}

async function readText(path: string): Promise<string> {
  const bytes = await readFile(path).catch((error: unknown) => unreadable(path, error));
  if (bytes.length > FILE_BYTES_MAX) throw new Error(`${path} is too large for a secret`);
  return bytes.toString('utf8');
}

function unreadable(path: string, error: unknown): never {
  const code = error instanceof Error && 'code' in error ? String(error.code) : 'failed';
  throw new Error(`${path} cannot be read: ${code}`);
}
