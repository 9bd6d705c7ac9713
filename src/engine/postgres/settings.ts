/**
 * The settings that a session has beyond those a fresh connection of its user has: what the client
 * asked for in its start-up packet, and what it has set since, as the database tells it
 * (`audit.ts`). An immutable value, like `ReportedParameters`: a database connection carries the
 * settings of its last session, and when the next session's differ, a replay goes out in the same
 * write as its first request.
 *
 * The replay runs before any statement of the client and names everything by schema, so that nothing
 * of one client's settings can steer what is run for another (CVE-2025-12819).
 */

import { queryMessage } from './wire/frontend.ts';

/** They end what runs, whoever sent it. */
const TIMEOUTS = ['statement_timeout', 'transaction_timeout'] as const;
const SHORT_MS = 1_000;
const UNIT_MS: Readonly<Record<string, number>> = {
  us: 0.001,
  ms: 1,
  s: 1_000,
  min: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};

/** Whether a duration, as PostgreSQL writes it, is short or cannot be read here. 0 is no timeout. */
function isShort(duration: string | undefined): boolean {
  if (duration === undefined) return false;
  const [, amount, unit = 'ms'] = /^\s*(\d+)\s*(us|ms|s|min|h|d)?\s*$/.exec(duration) ?? [];
  const durationMs = Number(amount) * (UNIT_MS[unit] ?? 0);
  return !(durationMs === 0 || durationMs >= SHORT_MS);
}

export class SessionSettings {
  static readonly NONE = new SessionSettings([]);

  /** Equal keys, equal settings. */
  readonly key: string;
  private readonly values: ReadonlyMap<string, string | undefined>;
  private readonly harsh: boolean;
  private knownVariant: string | undefined = undefined;

  /**
   * Names are in lower case and each comes once; names and values are latin1. `undefined`: reset,
   * where the InitQuery had set it.
   */
  constructor(settings: Iterable<readonly [string, string | undefined]>) {
    this.values = new Map([...settings].sort(([a], [b]) => (a < b ? -1 : 1)));
    this.key = [...this.values].map(keyOf).join('');
    this.harsh = TIMEOUTS.some((name) => isShort(this.values.get(name)));
  }

  /**
   * Statements end so soon under these settings that one of ours might. A connection that had them is
   * reset before anybody else gets it, where an end hurts nobody.
   */
  get isHarsh(): boolean {
    return this.harsh;
  }

  get isNone(): boolean {
    return this.values.size === 0;
  }

  get(name: string): string | undefined {
    return this.values.get(name);
  }

  /**
   * What of the settings may decide the meaning of a statement's text: names are looked up and
   * constants are read when it is prepared (`search_path`, `TimeZone`, `DateStyle`, the encoding).
   */
  get variant(): string {
    this.knownVariant ??= [...this.values]
      .filter(([name]) => !IRRELEVANT.has(name))
      .map(keyOf)
      .join('');
    return this.knownVariant;
  }

  /** The settings whose names have a dot: the database does not list those of applications. */
  get customNames(): string[] {
    return [...this.values.keys()].filter((name) => name.includes('.'));
  }

  /** Of a connection that reports `found` as set in its session, on top of `base`. */
  static found(found: ReadonlyMap<string, string>, base: SessionSettings): SessionSettings {
    const values = new Map<string, string | undefined>();
    for (const [name, value] of found) if (base.values.get(name) !== value) values.set(name, value);
    for (const name of base.values.keys()) if (!found.has(name)) values.set(name, undefined);
    return values.size === 0 ? SessionSettings.NONE : new SessionSettings(values);
  }

  /** RESET goes back to what the client asked for in its start-up packet. */
  withInitial(initial: SessionSettings): SessionSettings {
    const missing = [...initial.values].filter(([name]) => this.values.get(name) === undefined);
    return missing.length === 0 ? this : new SessionSettings(new Map([...this.values, ...missing]));
  }

  /** To change the role may fail, and then nothing may run in the role that it was before. */
  hasRoleOf(other: SessionSettings): boolean {
    return this.values.get(ROLE) === other.values.get(ROLE);
  }

  equals(other: SessionSettings): boolean {
    return this === other || this.key === other.key;
  }

  /**
   * One simple query that takes a connection from `current` to these settings. What neither has is
   * as `base`, what the InitQuery set, or as on a fresh connection: `set_config` with NULL is RESET.
   * The calls run from left to right: as the user that logged in, and in the session's role at last.
   */
  replayFrom(current: SessionSettings, base: SessionSettings): Buffer {
    const calls: string[] = [];
    const isRoleLeft = current.values.has(ROLE) && !this.hasRoleOf(current);
    if (isRoleLeft) calls.push(setConfig(ROLE, base.values.get(ROLE)));
    for (const [name, value] of current.values) {
      if (name === ROLE) continue;
      const isRelative = RELATIVE.has(name) && this.values.get(name) !== value;
      if (isRelative || !this.values.has(name)) calls.push(setConfig(name, base.values.get(name)));
    }
    for (const [name, value] of this.values) {
      const isThere =
        current.values.get(name) === value && (value !== undefined || current.values.has(name));
      if (name !== ROLE && !isThere) calls.push(setConfig(name, value));
    }
    const role = this.values.get(ROLE);
    if (role !== undefined && !this.hasRoleOf(current)) calls.push(setConfig(ROLE, role));
    return queryMessage(`SELECT ${calls.join(',')}`);
  }
}

const ROLE = 'role';

function keyOf([name, value]: readonly [string, string | undefined]): string {
  return value === undefined ? `${name}\0\x01` : `${name}\0${value}\0`;
}

/** Settings that differ from client to client and leave the meaning of a text alone. */
const IRRELEVANT: ReadonlySet<string> = new Set([
  'application_name',
  'idle_in_transaction_session_timeout',
  'idle_session_timeout',
  'lock_timeout',
  'statement_timeout',
  'transaction_timeout',
]);

/** Settings of which a value may name only a part; the other part stays as it was. */
const RELATIVE: ReadonlySet<string> = new Set(['datestyle']);

/** `undefined`: RESET. */
function setConfig(name: string, value: string | undefined): string {
  const quotedValue = value === undefined ? 'NULL' : quoteValue(value);
  return `pg_catalog.set_config(${quoteValue(name)},${quotedValue},false)`;
}

/**
 * An escape string, which means the same whatever `standard_conforming_strings` says. Bytes beyond
 * ASCII are written as octal escapes: they reach the server as the bytes of the start-up packet
 * would, and no client encoding can make a quote out of them.
 */
function quoteValue(value: string): string {
  let quoted = "E'";
  for (const character of value) {
    const code = character.charCodeAt(0);
    if (code < 0x20 || code > 0x7e) quoted += `\\${code.toString(8).padStart(3, '0')}`;
    else if (character === "'") quoted += "''";
    else if (character === '\\') quoted += '\\\\';
    else quoted += character;
  }
  return `${quoted}'`;
}

/** Settings are kept byte for byte. */
export function latin1(text: string): string {
  return Buffer.from(text).toString('latin1');
}
