/**
 * What a pinned session has on its connection by name: locks of GET_LOCK, and statements of PREPARE. As long
 * as every text that may have made one says its name plainly, it can be told when none is left.
 *
 * https://dev.mysql.com/doc/refman/en/locking-functions.html
 * https://dev.mysql.com/doc/refman/en/sql-prepared-statements.html
 */

import { classify } from '../../sql/mysql/classify.ts';
import { Effect, type EffectSet, PLAIN } from '../../sql/mysql/effects.ts';
import type { Syntax } from '../../sql/mysql/syntax.ts';

/** Names of a kind that are remembered; with more, the session is pinned until it is reset. */
const NAMES_MAX = 32;

/** Quotes mean the same in every SQL mode and character set when nothing is in them that could end them. */
const QUOTED = `'([^'"\\\\]*)'|"([^'"\\\\]*)"`;
const NAME = '`?(\\w+)`?';
const END = '\\s*;?\\s*$';
const GET_LOCK = new RegExp(
  `^\\s*(?:select|do)\\s+get_lock\\s*\\(\\s*(?:${QUOTED})\\s*,\\s*-?[\\d.]+\\s*\\)(?:\\s+(?:as\\s+)?${NAME})?${END}`,
  'i',
);
const PREPARE = new RegExp(`^\\s*prepare\\s+${NAME}\\s+from\\s+(?:${QUOTED})${END}`, 'i');
const EXECUTE = new RegExp(`^\\s*execute\\s+${NAME}(?:\\s+using\\s+[@\\w\\s,]+)?${END}`, 'i');
const DEALLOCATE = new RegExp(`^\\s*(?:deallocate|drop)\\s+prepare\\s+${NAME}${END}`, 'i');
const PLAIN_ASCII = /^[\s\x20-\x7e]*$/;

/** Names of one kind; undefined when there may be others. */
class Names {
  private names: Set<string> | undefined = new Set();
  /** The name that was added last, unless it was there before. */
  private latest: string | undefined = undefined;
  /** The names before one was added that nobody knows. */
  private lost: Set<string> | undefined = undefined;

  get areKnown(): boolean {
    return this.names !== undefined;
  }

  get all(): readonly string[] {
    return [...(this.names ?? [])];
  }

  has(name: string): boolean {
    return this.names?.has(name) === true;
  }

  /** `undefined`: one that nobody knows. */
  add(name: string | undefined): void {
    const { names } = this;
    this.latest = undefined;
    this.lost = undefined;
    if (names === undefined) return;
    if (name === undefined || names.size >= NAMES_MAX) {
      this.lost = names;
      this.names = undefined;
    } else if (!names.has(name)) {
      this.latest = name;
      names.add(name);
    }
  }

  /** What was to make the one that was added last has failed. */
  takeBack(): void {
    if (this.lost !== undefined) this.names = this.lost;
    if (this.latest !== undefined) this.names?.delete(this.latest);
    this.lost = undefined;
    this.latest = undefined;
  }

  /** Returns whether none is left. */
  remove(name: string): boolean {
    return this.names?.delete(name) === true && this.names.size === 0;
  }

  clear(): void {
    this.names = new Set();
  }
}

export class Belongings {
  private readonly locks = new Names();
  private readonly prepared = new Names();
  /** The last text was a PREPARE, or an EXECUTE. */
  private hasPrepared = false;

  /** The last text has failed. A lock too many is not missed: the database is asked. */
  failed(): void {
    if (this.hasPrepared) this.prepared.takeBack();
    this.hasPrepared = false;
  }

  /** A text with `effects` is about to run. */
  running(effects: EffectSet, bytes: Buffer, from: number, to: number, syntax: Syntax): void {
    this.hasPrepared = (effects & Effect.sqlPrepare) !== 0;
    if ((effects & Effect.userLevelLock) !== 0) this.locks.add(lockIn(bytes, from, to));
    if (this.hasPrepared) {
      const isAlone = effects === Effect.sqlPrepare;
      this.prepared.add(isAlone ? this.preparedIn(bytes, from, to, syntax) : undefined);
    }
  }

  /** DEALLOCATE PREPARE went well: was it the last? */
  deallocates(text: string): boolean {
    const [, name] = DEALLOCATE.exec(text) ?? [];
    return name !== undefined && this.prepared.remove(name.toLowerCase());
  }

  /** Asks how many of the locks the connection has; undefined when they are not all known. */
  get lockQuestion(): string | undefined {
    const names = this.locks.all;
    if (!this.locks.areKnown || names.length === 0) return undefined;
    const each = names.map((name) => `(IS_USED_LOCK('${name}')<=>CONNECTION_ID())`);
    return `SELECT ${each.join('+')}`;
  }

  locksAreGone(): void {
    this.locks.clear();
  }

  statementsAreGone(): void {
    this.prepared.clear();
  }

  clear(): void {
    this.locksAreGone();
    this.statementsAreGone();
  }

  /** The name of what is prepared or executed; undefined if it may leave more than a prepared statement. */
  private preparedIn(bytes: Buffer, from: number, to: number, syntax: Syntax): string | undefined {
    const text = textIn(bytes, from, to);
    const [, executed] = EXECUTE.exec(text) ?? [];
    if (executed !== undefined) {
      const name = executed.toLowerCase();
      return this.prepared.has(name) ? name : undefined;
    }
    const [, name, single, double] = PREPARE.exec(text) ?? [];
    const inner = Buffer.from(single ?? double ?? '');
    if (name === undefined || classify(inner, 0, inner.length, syntax) !== PLAIN) return undefined;
    return name.toLowerCase();
  }
}

function lockIn(bytes: Buffer, from: number, to: number): string | undefined {
  const [, single, double] = GET_LOCK.exec(textIn(bytes, from, to)) ?? [];
  return single ?? double;
}

/** Empty for a text that is not to be read as it stands. */
function textIn(bytes: Buffer, from: number, to: number): string {
  const text = bytes.toString('latin1', from, to);
  return PLAIN_ASCII.test(text) ? text : '';
}
