/**
 * The parameters that a database reports (ParameterStatus), as an immutable value. A connection and a
 * client each point to one; while they point to the same, the client knows the truth and the hot path
 * compares nothing.
 *
 * Names and values are latin1 strings: one character per byte, whatever the encoding.
 */

import { parameterStatus } from './wire/backend.ts';

export class ReportedParameters {
  static readonly NONE = new ReportedParameters(new Map());

  private readonly values: ReadonlyMap<string, string>;
  private readonly changes = new Map<string, ReportedParameters>();

  private constructor(values: ReadonlyMap<string, string>) {
    this.values = values;
  }

  get(name: string): string | undefined {
    return this.values.get(name);
  }

  /** This set with one value changed; the same change gives the same object while it is remembered. */
  with(name: string, value: string): ReportedParameters {
    if (this.values.get(name) === value) return this;
    const key = `${name}\0${value}`;
    const known = this.changes.get(key);
    if (known !== undefined) return known;
    const changed = new ReportedParameters(new Map(this.values).set(name, value));
    if (this.changes.size >= CHANGES_REMEMBERED_MAX) this.changes.clear();
    this.changes.set(key, changed);
    return changed;
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
