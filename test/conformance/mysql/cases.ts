/** Finds the cases: `sql/*.sql` and `raw/*.txt`. Adding one needs no code. */

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseRawCase } from './raw-case.ts';
import { parseSqlCase } from './sql-case.ts';
import type { Case } from './steps.ts';

export function readCases(): Case[] {
  return [...readFolder('sql', '.sql', parseSqlCase), ...readFolder('raw', '.txt', parseRawCase)];
}

function readFolder(
  folder: string,
  ending: string,
  parse: (name: string, text: string) => Case,
): Case[] {
  const path = join(import.meta.dir, folder);
  const files = readdirSync(path).filter((file) => file.endsWith(ending));
  return files.sort().map((file) => {
    const name = `${folder}/${file}`;
    try {
      return parse(name, readFileSync(join(path, file), 'utf8'));
    } catch (cause) {
      throw new Error(`read ${name}`, { cause });
    }
  });
}
