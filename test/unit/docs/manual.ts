/** A manual of an API: a section for each operation, and tables whose first cells are names. */

import { readFileSync } from 'node:fs';

export class Manual {
  readonly text: string;

  /** `name`: of a file in docs/. */
  constructor(name: string) {
    this.text = readFileSync(new URL(`../../../docs/${name}`, import.meta.url), 'utf8');
  }

  /** What stands under `heading`, up to the next one. */
  sectionOf(heading: string): string {
    const [, rest = ''] = this.text.split(`\n${heading}\n`);
    return rest.split(/\n##/)[0] ?? '';
  }

  /** The operations that have a section. */
  get operations(): string[] {
    return [...this.text.matchAll(/^### `(\w+)`$/gm)].map(([, name = '']) => name);
  }

  /** Each fault and its status. */
  get faults(): Readonly<Record<string, number>> {
    const rows = [...this.sectionOf('## Faults').matchAll(/^\| `(\w+)` \| (\d+) \|/gm)];
    return Object.fromEntries(rows.map(([, code, status]) => [code, Number(status)]));
  }
}

/** Names in the first cells of a section's tables. */
export function firstCells(section: string): string[] {
  const rows = section.split('\n').filter((line) => /^\| `/.test(line));
  return rows.flatMap((row) =>
    [...(row.split('|')[1] ?? '').matchAll(/`(\w+)`/g)].map(([, name = '']) => name),
  );
}
