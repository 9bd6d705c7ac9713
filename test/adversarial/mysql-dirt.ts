/**
 * What a session of MySQL or MariaDB could have left in its connection: SQL, chosen at random. All of it is
 * allowed to any user, none of it is seen by other connections, and COM_RESET_CONNECTION must undo it.
 */

import type { Random } from '../soak/random.ts';

const CHANCE = 0.5;
const SETTING_CHANCE = 0.3;

/** Values that differ from what a fresh connection has; both products know all of them. */
const SETTINGS: Readonly<Record<string, readonly string[]>> = {
  sql_mode: ["'ANSI'", "''", "'NO_BACKSLASH_ESCAPES,ANSI_QUOTES'"],
  time_zone: ["'+05:45'", "'-03:30'"],
  autocommit: ['0'],
  wait_timeout: ['4321'],
  group_concat_max_len: ['17'],
  foreign_key_checks: ['0'],
  unique_checks: ['0'],
  sql_safe_updates: ['1'],
  max_join_size: ['10000'],
  sql_select_limit: ['1'],
  character_set_client: ['latin1'],
  character_set_results: ['latin1', 'NULL'],
  collation_connection: ["'latin1_bin'"],
  lc_time_names: ["'de_DE'"],
  transaction_isolation: ["'SERIALIZABLE'"],
  auto_increment_increment: ['7'],
  div_precision_increment: ['9'],
  timestamp: ['1'],
  insert_id: ['77'],
};

/** One statement for each: several in one text are not always allowed. */
export function mysqlDirt(random: Random): string[] {
  const others = [
    `set @adversary = 1, @a = 'adversary', @left = 2`,
    `prepare adversary from 'select 1'`,
    `prepare s from 'select ''adversary'''`,
    `select get_lock('adversary-${random.between(1, 1_000_000)}', 0)`,
    `set transaction isolation level serializable, read only`,
    `select last_insert_id(4711)`,
  ].filter(() => random.chance(CHANCE));
  const settings = Object.entries(SETTINGS)
    .filter(() => random.chance(SETTING_CHANCE))
    .map(([name, values]) => `set session ${name} = ${random.pick(values)}`);
  return [...others, ...settings];
}
