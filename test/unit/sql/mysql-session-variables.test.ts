/** The table of session variables: what is set again, what pins, and how values are written. */

import { expect, test } from 'bun:test';
import {
  assignmentOf,
  canonicalName,
  FAMILIES,
  pairOf,
  replayRank,
  treatmentOf,
} from '../../../src/sql/mysql/session-variables.ts';

test('what is a setting is set again, what is something else pins (MY-42)', () => {
  for (const name of [
    'sql_mode',
    'time_zone',
    'autocommit',
    'wsrep_OSU_method',
    'new_in_version_42',
  ]) {
    expect(treatmentOf(name)).toBe('replayed');
  }
  for (const name of ['timestamp', 'INSERT_ID', 'rand_seed1', 'pseudo_thread_id', 'profiling']) {
    expect(treatmentOf(name)).toBe('pins');
  }
  expect(treatmentOf('session_track_schema')).toBe('tracker');
  expect(treatmentOf('last_gtid')).toBe('news');
});

test('a name is in one family only', () => {
  const names = FAMILIES.flatMap((family) => family.names);
  expect(new Set(names).size).toBe(names.length);
});

test('values are written as every mode reads them', () => {
  const cases: Readonly<Record<string, readonly [string, string, string | undefined]>> = {
    number: ['sql_select_limit', '18446744073709551615', 'sql_select_limit = 18446744073709551615'],
    fraction: ['max_statement_time', '1.500000', 'max_statement_time = 1.500000'],
    text: ['time_zone', '+01:00', "time_zone = '+01:00'"],
    switch: ['optimizer_switch', 'a=on,b=off', "optimizer_switch = 'a=on,b=off'"],
    empty: ['sql_mode', '', "sql_mode = ''"],
    null: ['character_set_results', '', 'character_set_results = NULL'],
    default: ['system_versioning_asof', 'DEFAULT', 'system_versioning_asof = DEFAULT'],
    quote: ['innodb_tmpdir', "/it's", undefined],
    doubleQuote: ['innodb_tmpdir', '/"', undefined],
    backslash: ['innodb_tmpdir', '/\\', undefined],
    control: ['innodb_tmpdir', '/\n', undefined],
    umlaut: ['innodb_tmpdir', '/ü', undefined],
    name: ['a = 1, b', '1', undefined],
  };
  for (const [which, [name, value, expected]] of Object.entries(cases)) {
    expect({ which, found: assignmentOf(name, value) }).toEqual({ which, found: expected });
  }
});

test('synonyms are one variable', () => {
  expect(canonicalName('tx_isolation')).toBe(canonicalName('transaction_isolation'));
  expect(canonicalName('wsrep_OSU_method')).toBe('wsrep_osu_method');
});

test('a character set comes before its collation, and what commits comes last', () => {
  const names = ['autocommit', 'collation_connection', 'character_set_connection', 'sql_mode'];
  names.sort((a, b) => replayRank(a) - replayRank(b));
  expect(names.slice(2)).toEqual(['collation_connection', 'autocommit']);
});

test('a character set and its collation change together', () => {
  expect(pairOf('character_set_connection')).toBe('collation_connection');
  expect(pairOf(pairOf('collation_connection') ?? '')).toBe('collation_connection');
  expect(pairOf('sql_mode')).toBeUndefined();
});
