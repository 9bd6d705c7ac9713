/**
 * The variables of a session that differ from what a connection has after COM_RESET_CONNECTION, as the
 * server itself reports them: an immutable map. Two sessions with equal settings can share a connection
 * as it is; for others one SET makes it the session's.
 */

/** `name` is the server's own, in lower case; `value` as it reports it. */
export type Variables = ReadonlyMap<string, string>;

/** Integers and decimals are written as they are; for a number in quotes the server finds a wrong type. */
const NUMBER = /^-?\d{1,20}(\.\d{1,10})?$/;
/** What the server reports for a variable that is NULL is the empty text, and these are never empty. */
const NULL_WHEN_EMPTY: ReadonlySet<string> = new Set(['character_set_results']);
/** One sets the other as well, so the order counts: what is later wins. */
const LATER: readonly string[] = [
  'character_set_client',
  'character_set_results',
  'character_set_connection',
  'collation_connection',
];

export class SessionSettings {
  static readonly NONE = new SessionSettings(new Map());
  /** Equal for equal settings. */
  readonly key: string;
  readonly values: Variables;

  private constructor(values: Variables) {
    this.values = values;
    this.key = JSON.stringify([...values].sort(([a], [b]) => (a < b ? -1 : 1)));
  }

  static of(values: Variables): SessionSettings {
    return values.size === 0 ? SessionSettings.NONE : new SessionSettings(values);
  }

  get(name: string): string | undefined {
    return this.values.get(name);
  }

  equals(other: SessionSettings): boolean {
    return this === other || this.key === other.key;
  }

  with(name: string, value: string): SessionSettings {
    if (this.values.get(name) === value) return this;
    return new SessionSettings(new Map(this.values).set(name, value));
  }

  withAll(values: Variables): SessionSettings {
    return new SessionSettings(new Map([...this.values, ...values]));
  }

  without(names: Iterable<string>): SessionSettings {
    const values = new Map(this.values);
    for (const name of names) values.delete(name);
    return values.size === this.values.size ? this : SessionSettings.of(values);
  }

  /** The text that makes a connection which has `actual` have these; `undefined` when it has them. */
  replayFrom(actual: SessionSettings): string | undefined {
    const changes = new Map<string, string>();
    for (const name of actual.values.keys()) {
      if (!this.values.has(name)) changes.set(name, 'DEFAULT');
    }
    for (const [name, value] of this.values) {
      if (actual.values.get(name) !== value) changes.set(name, literal(name, value));
    }
    // A change of the character set drags the collation along.
    const collation = this.values.get('collation_connection');
    if (changes.has('character_set_connection') && collation !== undefined) {
      changes.set('collation_connection', literal('collation_connection', collation));
    }
    if (changes.size === 0) return undefined;
    const ordered = [...changes].sort(([a], [b]) => LATER.indexOf(a) - LATER.indexOf(b));
    return `SET SESSION ${ordered.map(([name, value]) => `${name}=${value}`).join(', ')}`;
  }
}

/** A value as it is written in SQL, whatever SQL mode is in force. */
function literal(name: string, value: string): string {
  if (value === '' && NULL_WHEN_EMPTY.has(name)) return 'NULL';
  if (NUMBER.test(value)) return value;
  if (/^[\w,:+./ -]*$/.test(value)) return `'${value}'`;
  // Neither backslashes nor quotes mean anything here.
  return `CONVERT(x'${Buffer.from(value).toString('hex')}' USING utf8mb4)`;
}
