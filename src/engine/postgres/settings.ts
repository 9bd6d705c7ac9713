/**
 * The settings that a session has beyond those a fresh connection of its user has: here, what the
 * client asked for in its start-up packet. An immutable value, like `ReportedParameters`: a database
 * connection carries the settings of its last session, and when the next session's differ, a replay
 * goes out in the same write as its first request.
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
  private readonly values: ReadonlyMap<string, string>;
  private readonly harsh: boolean;

  /** Names are in lower case and each comes once; names and values are latin1. */
  constructor(settings: Iterable<readonly [string, string]>) {
    this.values = new Map([...settings].sort(([a], [b]) => (a < b ? -1 : 1)));
    this.key = [...this.values].map(([name, value]) => `${name}\0${value}\0`).join('');
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
    return [...this.values]
      .filter(([name]) => !IRRELEVANT.has(name))
      .map(([name, value]) => `${name}\0${value}\0`)
      .join('');
  }

  equals(other: SessionSettings): boolean {
    return this === other || this.key === other.key;
  }

  /**
   * One simple query that takes a connection from `current` to these settings. What neither has is
   * as `base`, what the InitQuery set, or as on a fresh connection: `set_config` with NULL is RESET.
   * The calls run from left to right.
   */
  replayFrom(current: SessionSettings, base: SessionSettings): Buffer {
    const calls: string[] = [];
    for (const [name, value] of current.values) {
      const isRelative = RELATIVE.has(name) && this.values.get(name) !== value;
      if (!isRelative && this.values.has(name)) continue;
      const initial = base.values.get(name);
      calls.push(setConfig(name, initial === undefined ? 'NULL' : quoteValue(initial)));
    }
    for (const [name, value] of this.values) {
      if (current.values.get(name) !== value) calls.push(setConfig(name, quoteValue(value)));
    }
    return queryMessage(`SELECT ${calls.join(',')}`);
  }
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

function setConfig(name: string, quotedValue: string): string {
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
