/** Files that Berth makes once and keeps in the state directory, for nobody else's eyes. */

import {
  chmodSync,
  closeSync,
  fsyncSync,
  mkdirSync,
  openSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';

/** Writes `texts` by their names. Returns the system's word for what went wrong. */
export function keepFiles(
  directory: string,
  texts: Readonly<Record<string, string>>,
): string | undefined {
  try {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    chmodSync(directory, 0o700);
    for (const [name, text] of Object.entries(texts)) replace(join(directory, name), text);
    flush(directory);
    return undefined;
  } catch (error) {
    return error instanceof Error && 'code' in error ? String(error.code) : 'failed';
  }
}

/** At no time is there half a file, or one that others may read. */
function replace(file: string, text: string): void {
  const temporary = `${file}.${process.pid}`;
  try {
    writeFileSync(temporary, text, { mode: 0o600, flush: true });
    renameSync(temporary, file);
  } finally {
    rmSync(temporary, { force: true });
  }
}

/** The names in it are as safe from a crash of the machine as the files. */
function flush(directory: string): void {
  const descriptor = openSync(directory, 'r');
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}
