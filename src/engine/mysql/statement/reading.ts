/** What a text means depends on the session that prepares it: its schema and some of its variables. */

import type { Syntax } from '../../../sql/mysql/syntax.ts';
import { SessionSettings } from '../settings.ts';

/**
 * The variables that a server looks at when it prepares a statement. What it does when the statement is
 * executed follows the session's variables of then, on whichever connection.
 */
const READ_AT_PREPARE = [
  'sql_mode',
  'character_set_client',
  'character_set_connection',
  'collation_connection',
  'div_precision_increment',
  'group_concat_max_len',
  'sql_auto_is_null',
  'old_mode',
] as const;

/** The circumstances that a text is prepared in. */
export class Reading {
  /** Empty for none. */
  readonly schema: string;
  /** Of `READ_AT_PREPARE`, those that the session has. */
  readonly settings: SessionSettings;
  readonly syntax: Syntax;
  /** Equal for equal circumstances. */
  readonly key: string;

  constructor(schema: string, settings: SessionSettings, syntax: Syntax) {
    this.schema = schema;
    this.settings = settings;
    this.syntax = syntax;
    this.key = `${syntax.key}\0${schema}\0${settings.key}\0`;
  }
}

/** What a session is, as far as its texts depend on it. */
export interface Reader {
  readonly schema: string;
  readonly settings: SessionSettings;
  readonly syntax: Syntax;
}

/** The reading of one session, made anew when the session has changed. */
export class CurrentReading {
  private settings: SessionSettings | undefined = undefined;
  private current: Reading | undefined = undefined;

  of({ schema, settings, syntax }: Reader): Reading {
    const { current } = this;
    if (current !== undefined && this.settings === settings && current.schema === schema) {
      return current;
    }
    const read: [string, string][] = [];
    for (const name of READ_AT_PREPARE) {
      const value = settings.get(name);
      if (value !== undefined) read.push([name, value]);
    }
    const reading = new Reading(schema, SessionSettings.NONE.withAll(read), syntax);
    this.settings = settings;
    this.current = reading;
    return reading;
  }
}
