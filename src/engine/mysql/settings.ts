/**
 * The variables of a session that differ from what a connection has after COM_RESET_CONNECTION, as the
 * server itself reports them: immutable. Two sessions with equal settings can share a connection as it
 * is; for others one SET makes it the session's.
 */

import {
  assignmentOf,
  canonicalName,
  pairOf,
  replayRank,
} from '../../sql/mysql/session-variables.ts';
import { defaultOf } from './base-settings.ts';

const CHARACTER_SETS = [
  'character_set_client',
  'character_set_results',
  'character_set_connection',
] as const;
const CHARSET_NAME = /^\w+$/;

interface Variable {
  /** As the server calls it, which differs between versions. */
  readonly name: string;
  readonly value: string;
}

export class SessionSettings {
  static readonly NONE = new SessionSettings(new Map());
  /** Equal for equal settings. */
  readonly key: string;
  /** By canonical name. */
  private readonly variables: ReadonlyMap<string, Variable>;

  private constructor(variables: ReadonlyMap<string, Variable>) {
    this.variables = variables;
    const values = Array.from(variables, ([name, { value }]) => [name, value]);
    this.key = JSON.stringify(values.sort(([a = ''], [b = '']) => (a < b ? -1 : 1)));
  }

  get(name: string): string | undefined {
    return this.variables.get(canonicalName(name))?.value;
  }

  equals(other: SessionSettings): boolean {
    return this === other || this.key === other.key;
  }

  with(name: string, value: string): SessionSettings {
    return this.withAll([[name, value]]);
  }

  withAll(changes: Iterable<readonly [name: string, value: string]>): SessionSettings {
    let variables: Map<string, Variable> | undefined;
    for (const [name, value] of changes) {
      const canonical = canonicalName(name);
      if ((variables ?? this.variables).get(canonical)?.value === value) continue;
      variables ??= new Map(this.variables);
      variables.set(canonical, { name, value });
    }
    return variables === undefined ? this : new SessionSettings(variables);
  }

  /** These, and what `other` has beside or instead. */
  over(other: SessionSettings): SessionSettings {
    return other.withAll(Array.from(this.variables.values(), ({ name, value }) => [name, value]));
  }

  /**
   * The text that makes a connection which has logged in with `capabilities`, and has `actual`, have these;
   * `undefined` when it has them.
   */
  replayFrom(actual: SessionSettings, capabilities: number): string | undefined {
    const changes = new Map<string, string>();
    for (const [canonical, { name }] of actual.variables) {
      if (this.variables.has(canonical)) continue;
      changes.set(canonical, `${name} = ${defaultOf(canonical, capabilities)}`);
    }
    for (const [canonical, { name, value }] of this.variables) {
      if (actual.variables.get(canonical)?.value === value) continue;
      this.assign(changes, canonical, name, value);
      // The other of the two is dragged along, and has to be put right behind it.
      const pair = this.variables.get(pairOf(canonical) ?? '');
      if (pair !== undefined) this.assign(changes, canonicalName(pair.name), pair.name, pair.value);
    }
    if (changes.size === 0) return undefined;
    const names = this.namesOf(changes);
    const ordered = [...changes].sort(([a], [b]) => replayRank(a) - replayRank(b));
    const assignments = ordered.map(([, assignment]) => assignment).join(', ');
    if (names === undefined) return `SET SESSION ${assignments}`;
    return changes.size === 0 ? `SET ${names}` : `SET ${names}, SESSION ${assignments}`;
  }

  /**
   * SET NAMES, if that is what the character set is to be; takes what it does out of `changes`. The results
   * of MySQL tell the collation that it was given with, which no variable shows.
   */
  private namesOf(changes: Map<string, string>): string | undefined {
    const [charset, ...others] = CHARACTER_SETS.map((name) => this.get(name));
    const collation = this.get('collation_connection');
    if (charset === undefined || collation === undefined) return undefined;
    if (others.some((other) => other !== charset)) return undefined;
    if (!CHARSET_NAME.test(charset) || !CHARSET_NAME.test(collation)) return undefined;
    const set = [...CHARACTER_SETS, 'collation_connection'];
    if (!set.some((name) => changes.has(name))) return undefined;
    for (const name of set) changes.delete(name);
    return `NAMES ${charset} COLLATE ${collation}`;
  }

  private assign(
    changes: Map<string, string>,
    canonical: string,
    name: string,
    value: string,
  ): void {
    const assignment = assignmentOf(name, value);
    // Whoever learnt it has looked.
    if (assignment === undefined) throw new Error(`the variable ${name} cannot be set again`);
    changes.set(canonical, assignment);
  }
}
