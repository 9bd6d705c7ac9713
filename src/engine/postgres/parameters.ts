/**
 * The parameters that a database reports (ParameterStatus), as an immutable value. A connection and a
 * client each point to one; while they point to the same, the client knows the truth and the hot path
 * compares nothing.
 *
 * Names and values are latin1 strings: one character per byte, whatever the encoding.
 */

import type { StringSyntax } from '../../sql/postgres/scanner.ts';
import { parameterStatus } from './wire/backend.ts';

/**
 * Encodings in which the second byte of a character may be an ASCII one, such as a backslash or a
 * quote. https://www.postgresql.org/docs/current/multibyte.html (those that no server may use)
 */
const CLIENT_ONLY_ENCODINGS: ReadonlySet<string> = new Set([
  'BIG5',
  'GB18030',
  'GBK',
  'JOHAB',
  'SHIFT_JIS_2004',
  'SJIS',
  'UHC',
]);

export class ReportedParameters {
  static readonly NONE = new ReportedParameters(new Map());

  /** How the database reads a string constant. */
  readonly stringSyntax: StringSyntax;
  /** Whether a byte below 0x80 in a text is always that character; else a quote may not be one. */
  readonly isTextReadable: boolean;
  private readonly values: ReadonlyMap<string, string>;
  private readonly changes = new Map<string, ReportedParameters>();

  constructor(values: ReadonlyMap<string, string>) {
    this.values = values;
    this.stringSyntax = values.get('standard_conforming_strings') === 'on' ? 'standard' : 'unsure';
    this.isTextReadable = !CLIENT_ONLY_ENCODINGS.has(values.get('client_encoding') ?? '');
  }

  get(name: string): string | undefined {
    return this.values.get(name);
  }

  /** This set with one value changed; the same values give the same object while it is remembered. */
  with(name: string, value: string): ReportedParameters {
    if (this.values.get(name) === value) return this;
    const change = `${name}\0${value}`;
    const known = this.changes.get(change);
    if (known !== undefined) return known;
    const changed = remembered(new Map(this.values).set(name, value));
    if (this.changes.size >= CHANGES_REMEMBERED_MAX) this.changes.clear();
    this.changes.set(change, changed);
    return changed;
  }

  /** Forgets where changes lead to. */
  forget(): void {
    this.changes.clear();
  }

  /** The messages that take somebody who knows `known` to this set; empty when nothing differs. */
  differencesFrom(known: ReportedParameters): Buffer[] {
    if (known === this) return [];
    const messages: Buffer[] = [];
    for (const [name, value] of this.values) {
      if (known.values.get(name) !== value) messages.push(parameterStatus(name, value));
    }
    return messages;
  }
}

/** A client that changes its `application_name` all the time must not grow this without end. */
const CHANGES_REMEMBERED_MAX = 256;

/**
 * The sets by their values. A set that is reached in two ways, or again, is one object; otherwise
 * two clients that alternate would make new ones, each known to the one before it, for ever.
 */
const SETS = new Map<string, ReportedParameters>();
const SETS_MAX = 4_096;

function remembered(values: ReadonlyMap<string, string>): ReportedParameters {
  const key = [...values]
    .map(([name, value]) => `${name}\0${value}\0`)
    .sort()
    .join('');
  let set = SETS.get(key);
  if (set !== undefined) return set;
  if (SETS.size >= SETS_MAX) forgetAll();
  set = new ReportedParameters(values);
  SETS.set(key, set);
  return set;
}

/** What is still in use lives on with whoever uses it; equal sets made later are other objects. */
function forgetAll(): void {
  for (const set of SETS.values()) set.forget();
  ReportedParameters.NONE.forget();
  SETS.clear();
}
