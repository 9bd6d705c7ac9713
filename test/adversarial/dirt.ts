/**
 * What a session could have left in its connection: SQL, chosen at random. All of it is allowed to any
 * user, none of it is seen by other connections, and `DISCARD ALL` must undo it. Tables are made
 * inside of DO, where nobody who reads command tags sees it: that is not for Berth to learn from.
 */

import type { Random } from '../soak/random.ts';

/** The name of everything that has no reason to be called otherwise. */
const NAME = 'adversary';
/** Advisory locks of two numbers begin with it: not to meet those of a test. */
const LOCK_SPACE = 1_665_217_536;
/** What drivers call their prepared statements, and Berth does. */
const STATEMENT_NAMES = ['S_1', 'p1', 's1', 'stmt1', '_pg3_0', '__asyncpg_stmt_1__', 'lrupsc_1_0'];
const BERTH_STATEMENTS = 40;
/** They are what takes the longest, to make and to drop. */
const TABLES_MAX = 3;
const TABLES_CHANCE = 0.2;
const CHANCE = 0.5;
const SETTING_CHANCE = 0.3;

/** Values that differ from what a fresh connection has. */
const SETTINGS: Readonly<Record<string, readonly string[]>> = {
  TimeZone: ['Asia/Kathmandu', 'America/St_Johns', 'UTC'],
  DateStyle: ['German, DMY', 'SQL, MDY', 'Postgres, DMY'],
  IntervalStyle: ['iso_8601', 'sql_standard', 'postgres_verbose'],
  search_path: ['pg_temp, nowhere', 'nowhere', 'pg_temp, pg_catalog, information_schema'],
  standard_conforming_strings: ['off'],
  backslash_quote: ['on', 'off'],
  escape_string_warning: ['off'],
  client_encoding: ['LATIN1', 'SQL_ASCII', 'WIN1252'],
  client_min_messages: ['debug1', 'error'],
  application_name: [NAME],
  bytea_output: ['escape'],
  extra_float_digits: ['0', '-15'],
  statement_timeout: ['20s', '1min'],
  lock_timeout: ['20s'],
  idle_in_transaction_session_timeout: ['20s'],
  default_transaction_isolation: ['serializable', 'repeatable read'],
  default_transaction_read_only: ['on'],
  default_transaction_deferrable: ['on'],
  default_text_search_config: ['pg_catalog.german'],
  array_nulls: ['off'],
  transform_null_equals: ['on'],
  quote_all_identifiers: ['on'],
  check_function_bodies: ['off'],
  row_security: ['off'],
  xmloption: ['document'],
  lc_monetary: ['C'],
  plan_cache_mode: ['force_generic_plan', 'force_custom_plan'],
  enable_seqscan: ['off'],
  work_mem: ['64kB'],
};

/** Of those, what clients send with their start-up packet, and what their texts mean depends on. */
const CLIENT_SETTINGS = [
  'TimeZone',
  'DateStyle',
  'IntervalStyle',
  'search_path',
  'application_name',
  'bytea_output',
  'extra_float_digits',
  'statement_timeout',
  'default_transaction_isolation',
  'default_transaction_read_only',
];

/** A table of the session in front of each of the application's, and of what tests look into. */
const SHADOWS = `do $adversary$
declare name text;
begin
  for name in
    (select c.relname::text from pg_catalog.pg_class c
     join pg_catalog.pg_namespace n on n.oid = c.relnamespace
     where n.nspname = 'public' and c.relkind in ('r', 'v') order by random() limit ${TABLES_MAX})
    union all values ('pg_settings'), ('pg_prepared_statements'), ('pg_cursors'), ('mine')
  loop
    execute pg_catalog.format('create temporary table if not exists %I (${NAME} int)', name);
  end loop;
end $adversary$`;

/** Statements by the names of others, unless the connection has one of that name already. */
function statements(random: Random): string {
  const numbers = Array.from({ length: 5 }, () => random.between(0, BERTH_STATEMENTS));
  const names = [...STATEMENT_NAMES, ...numbers.map((number) => `berth_${number}`)];
  return `do $adversary$
declare wanted text;
begin
  for wanted in select distinct unnest(array[${names.map((name) => `'${name}'`).join()}]) loop
    if not exists (select from pg_catalog.pg_prepared_statements p where p.name = wanted) then
      execute pg_catalog.format('prepare %I as select ''${NAME}''', wanted);
    end if;
  end loop;
end $adversary$`;
}

function settings(random: Random): string[] {
  return Object.entries(SETTINGS)
    .filter(() => random.chance(SETTING_CHANCE))
    .map(([name, values]) => `select set_config('${name}', '${random.pick(values)}', false)`);
}

/** One simple query. */
export function dirt(random: Random): string {
  const others = [
    statements(random),
    `listen ${NAME}; listen "${random.between(1, 9)}"; notify ${NAME}, 'from before'`,
    `select pg_try_advisory_lock(${LOCK_SPACE}, ${random.between(1, 1_000_000)})`,
    `select pg_try_advisory_lock_shared(${LOCK_SPACE}, ${random.between(1, 1_000_000)})`,
    `declare ${NAME} cursor with hold for select generate_series(1, 10)`,
    'declare c binary cursor with hold for select 1',
    'set session authorization default; set role none',
    'do $$ begin execute pg_catalog.format($f$ set role %I $f$, session_user); end $$',
    'set session characteristics as transaction isolation level repeatable read, read only',
  ].filter(() => random.chance(CHANCE));
  if (random.chance(TABLES_CHANCE)) others.push(SHADOWS);
  // Settings come last: what comes before would have to cope with them; and nothing is found where
  // the last session looked for it.
  return [
    'set search_path = pg_catalog',
    'close all',
    ...others,
    ...settings(random),
    `set ${NAME}.was = 'here'`,
  ].join(';\n');
}

/** The start-up settings of a client that is not there, names in lower case. */
export function clientSettings(random: Random): [string, string][] {
  return CLIENT_SETTINGS.filter(() => random.chance(SETTING_CHANCE)).map((name) => [
    name.toLowerCase(),
    random.pick(SETTINGS[name] ?? []),
  ]);
}
