/**
 * Reads `postgres-corpus.txt`: statements written for the tests, with the effects they must have.
 * A record that does not say what it expects, or expects a reason that does not exist, is an error.
 */

import { readFileSync } from 'node:fs';
import { SQL_PIN_REASONS } from '../../../src/sql/postgres/effects.ts';

const FLAGS = ['syntax-error', 'no-call', 'no-oracle'] as const;
type Flag = (typeof FLAGS)[number];

export interface CorpusRecord {
  readonly text: string;
  readonly bytes: Uint8Array;
  readonly reasons: readonly string[];
  readonly flags: readonly Flag[];
}

/** The bytes of a text, as they are in a message. */
export function encode(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

function parseRecord(record: string): CorpusRecord {
  const end = record.indexOf('\n');
  const head = /^([a-z_, ]+?)(?: \[([a-z-]+)\])?$/.exec(record.slice(0, end));
  if (head === null) throw new Error(`corpus: unreadable record: ${record}`);
  const text = record.slice(end + 1).replace(/\n$/, '');
  const reasons = head[1] === 'plain' ? [] : (head[1] ?? '').split(', ');
  const flags = FLAGS.filter((flag) => flag === head[2]);
  const isUnknownReason = (reason: string) => !SQL_PIN_REASONS.some((known) => known === reason);
  if (reasons.some(isUnknownReason) || (head[2] !== undefined && flags.length === 0)) {
    throw new Error(`corpus: unknown reason or flag: ${record}`);
  }
  return { text, bytes: encode(text), reasons, flags };
}

const file = new URL('postgres-corpus.txt', import.meta.url);

export const corpus: readonly CorpusRecord[] = readFileSync(file, 'utf8')
  .split(/^%% /m)
  .slice(1)
  .map(parseRecord);

/** The records that PostgreSQL's own parser can be asked about. */
export const valid = corpus.filter(
  ({ flags }) => !flags.includes('syntax-error') && !flags.includes('no-oracle'),
);
