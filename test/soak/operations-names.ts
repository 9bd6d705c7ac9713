/**
 * Prepared statements under names that nobody has thought of, with texts that come once and never
 * again, more of them than any cache keeps, and every way to be rid of them.
 */

import {
  bind,
  closeStatement,
  describeStatement,
  execute,
  parse,
  query,
  sync,
} from '../../bench/wire/messages.ts';
import type { Operation } from './operations.ts';
import type { Random } from './random.ts';
import type { Session } from './session.ts';

const NAME_LENGTH_MAX = 60;
const LETTERS = 'aB0_ -.~"\'$;é€☃';
/** Also names that the proxy or a driver could have. */
const TELLING_NAMES = ['berth_1', 'berth_0', 'berth_~x', 'S_1', '__asyncpg_stmt_1__', 'p1', 'x'];
const PADDING_MAX = 2_000;
/** More than a connection keeps. */
const FLOOD_MAX = 260;
/** So that one session does not keep the memory of all. */
const NAMED_MAX = 300;

function nameFrom(random: Random): string {
  if (random.chance(0.2)) return random.pick(TELLING_NAMES);
  const letters = [...LETTERS];
  const length = random.between(1, NAME_LENGTH_MAX);
  return Array.from({ length }, () => random.pick(letters)).join('');
}

/** A text that nobody else has. */
function textFor(session: Session, random: Random, number = 0): string {
  const padding = 'p'.repeat(random.between(0, PADDING_MAX));
  return `select '${session.marker}' /* ${number} ${padding} */`;
}

async function forget(session: Session, names: readonly string[]): Promise<void> {
  for (const name of names) session.named.delete(name);
  session.client.send(...names.map(closeStatement), sync());
  // A cancel may hit this one instead; then some are left, whose names nobody uses as known.
  await session.collect();
}

async function prepareRandom(session: Session, random: Random): Promise<void> {
  const name = nameFrom(random);
  const { marker, named } = session;
  const messages = [closeStatement(name), parse(name, textFor(session, random))];
  if (random.chance(0.5)) messages.push(describeStatement(name));
  session.client.send(...messages, bind(name, []), execute(), sync());
  const reply = await session.collect();
  if (reply.errors.length > 0) return forget(session, [name]);
  session.expectRows(reply, [marker]);
  if (named.size < NAMED_MAX) named.set(name, marker);
  else await forget(session, [...named.keys(), name]);
}

async function flood(session: Session, random: Random): Promise<void> {
  const { marker } = session;
  const count = random.between(20, FLOOD_MAX);
  const names = Array.from({ length: count }, (_, n) => `${marker} ${n}`);
  session.client.send(
    ...names.map((name, n) => parse(name, textFor(session, random, n))),
    ...names.flatMap((name) => [bind(name, []), execute()]),
    sync(),
  );
  const reply = await session.collect();
  session.expectRows(
    reply,
    Array.from({ length: count }, () => marker),
  );
  // Otherwise they go when the session does.
  if (reply.errors.length > 0 || random.chance(0.7)) await forget(session, names);
}

/** A name that was prepared, and one that was not. */
async function deallocate(session: Session, random: Random): Promise<void> {
  const known = [...session.named.keys()].filter((name) => !name.includes('"'));
  const name = known.length > 0 ? random.pick(known) : undefined;
  if (name === undefined || random.chance(0.3)) {
    const reply = await session.exchange(query('deallocate all'));
    if (reply.errors.length > 0) return;
    session.named.clear();
    session.state.prepared = undefined;
    return;
  }
  const reply = await session.exchange(query(`deallocate "${name}"`));
  if (reply.errors.length === 0) session.named.delete(name);
}

const any = { needsPinning: false } as const;

export const NAME_OPERATIONS: readonly Operation[] = [
  { ...any, name: 'random name', weight: 8, run: prepareRandom },
  { ...any, name: 'flood of names', weight: 1, run: flood },
  { ...any, name: 'deallocate', weight: 3, run: deallocate },
];
