/** Settings, set and reset in every way, and looked at: a session has what it set and nothing else. */

import { query } from '../../bench/wire/messages.ts';
import type { Operation } from './operations.ts';
import type { Random } from './random.ts';
import type { Session } from './session.ts';

/** Values as pg_settings shows them. None of them changes what the other operations expect. */
const SETTINGS: Readonly<Record<string, readonly string[]>> = {
  TimeZone: ['Asia/Tokyo', 'Europe/Paris', 'UTC'],
  IntervalStyle: ['iso_8601', 'sql_standard'],
  DateStyle: ['SQL, DMY', 'German, DMY'],
  bytea_output: ['escape', 'hex'],
  extra_float_digits: ['0', '2'],
  search_path: ['public', 'pg_catalog, public'],
  client_encoding: ['LATIN1', 'UTF8'],
  default_transaction_isolation: ['repeatable read', 'read committed'],
  statement_timeout: ['600000', '900000'],
  lock_timeout: ['600000'],
  plan_cache_mode: ['force_custom_plan', 'force_generic_plan'],
  enable_seqscan: ['off', 'on'],
  work_mem: ['1024', '2048'],
};

const NAMES = Object.keys(SETTINGS);

function choose(random: Random): { name: string; value: string } {
  const name = random.pick(NAMES);
  return { name, value: random.pick(SETTINGS[name] ?? []) };
}

/** `null` sets it back. Values with commas are lists, which SET would take for one name in quotes. */
function statement(random: Random, name: string, value: string | null): string {
  if (value === null) return random.chance(0.5) ? `reset ${name}` : `set ${name} to default`;
  const form = value.includes(',') ? 0 : random.between(0, 2);
  if (form === 1) return `set ${name} to '${value}'`;
  if (form === 2) return `set session ${name} = '${value}'`;
  return `select set_config('${name}', '${value}', false)`;
}

async function set(session: Session, random: Random): Promise<void> {
  const { name, value } = choose(random);
  const reply = await session.exchange(query(statement(random, name, value)));
  if (reply.errors.length === 0) session.state.settings.set(name, value);
  await lookAt(session, name);
}

async function reset(session: Session, random: Random): Promise<void> {
  const { name } = choose(random);
  const reply = await session.exchange(query(statement(random, name, null)));
  if (reply.errors.length === 0) session.state.settings.delete(name);
  await lookAt(session, name);
}

async function resetAll(session: Session): Promise<void> {
  const reply = await session.exchange(query('reset all'));
  if (reply.errors.length > 0) return;
  session.state.settings.clear();
  session.state.owner = '';
}

/** Set for a while: nothing is left when the transaction is over. */
async function setAndUndo(session: Session, random: Random): Promise<void> {
  const { name, value } = choose(random);
  const isLocal = random.chance(0.5);
  const sql = `select set_config('${name}', '${value}', ${isLocal})`;
  const end = isLocal && random.chance(0.5) ? 'commit' : 'rollback';
  const begun = await session.exchange(query('begin'));
  if (begun.errors.length > 0) return;
  await session.exchange(query(sql));
  await session.exchange(query(end));
  if (session.isCancelPossible) await session.exchange(query('rollback'));
  await lookAt(session, name);
}

async function lookAt(session: Session, name: string): Promise<void> {
  const sql = `select setting, reset_val from pg_catalog.pg_settings where name = '${name}'`;
  const reply = await session.exchange(query(sql));
  if (reply.errors.length > 0) return;
  const [setting = '', initial = ''] = reply.rows[0] ?? [];
  const expected = session.state.settings.get(name) ?? initial;
  if (setting === expected) return;
  session.violation('session_state', `${name} is ${setting}, should be ${expected}`);
}

const pins = { needsPinning: true } as const;

export const SETTING_OPERATIONS: readonly Operation[] = [
  { ...pins, name: 'set at random', weight: 4, run: set },
  { ...pins, name: 'reset at random', weight: 2, run: reset },
  { ...pins, name: 'reset all', weight: 1, run: (s) => resetAll(s) },
  { ...pins, name: 'set and undo', weight: 3, run: setAndUndo },
  {
    needsPinning: false,
    name: 'look at a setting',
    weight: 4,
    run: (s, random) => lookAt(s, random.pick(NAMES)),
  },
];
