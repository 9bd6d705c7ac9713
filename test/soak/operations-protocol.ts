/** Extended protocol: single statements, portals in parts, pipelines with errors, statements by name. */

import {
  bind,
  closeStatement,
  describePortal,
  execute,
  flush,
  parse,
  query,
  sync,
} from '../../bench/wire/messages.ts';
import type { Operation } from './operations.ts';
import type { Random } from './random.ts';
import type { Session } from './session.ts';

/** division_by_zero */
const DIVISION = '22012';
const NAMES_MAX = 5;

const ECHO = 'select $1::text';
const FAIL = "select $1::text, 1 / (length('') + 0)";

async function once(session: Session, useFlush: boolean): Promise<void> {
  const { marker } = session;
  const messages = [parse('', ECHO), bind('', [marker]), describePortal(), execute()];
  if (useFlush) messages.push(flush());
  session.client.send(...messages);
  if (useFlush) await Bun.sleep(5);
  session.client.send(sync());
  session.expectRows(await session.collect(), [marker]);
}

/** Parse alone, a pause, and only then the rest: the batch must stay on one connection. */
async function hesitating(session: Session, pauseMs: number): Promise<void> {
  const { marker } = session;
  session.client.send(parse('', ECHO), flush());
  await Bun.sleep(pauseMs);
  session.client.send(bind('', [marker]), execute());
  await Bun.sleep(pauseMs);
  session.client.send(sync());
  session.expectRows(await session.collect(), [marker]);
}

/** A portal read in two parts, which PortalSuspended separates. */
async function inParts(session: Session): Promise<void> {
  const { marker } = session;
  const sql = 'select $1::text from generate_series(1, 10)';
  session.client.send(parse('', sql), bind('', [marker]), execute(4), execute(0), sync());
  const expected = Array.from({ length: 10 }, () => marker);
  session.expectRows(await session.collect(), expected);
}

/** Many batches at once, some of which fail: each error spoils its own batch only. */
async function pipeline(session: Session, random: Random): Promise<void> {
  const { marker } = session;
  const fails = Array.from({ length: random.between(2, 12) }, () => random.chance(0.25));
  session.client.send(
    ...fails.flatMap((isFailing) => [
      parse('', isFailing ? FAIL : ECHO),
      bind('', [marker]),
      execute(),
      // Skipped up to Sync when the first failed.
      bind('', [marker]),
      execute(),
      sync(),
    ]),
  );
  for (const isFailing of fails) {
    const reply = await session.collect(isFailing ? DIVISION : undefined);
    if (!isFailing) session.expectRows(reply, [marker, marker]);
    if (isFailing && reply.rows.length > 0) session.violation('wrong_rows', 'rows after an error');
    if (isFailing && reply.errors.length !== 1) {
      session.violation('wrong_rows', `${reply.errors.length} errors for one`);
    }
  }
}

/** Simple and extended protocol in one breath. */
async function mixed(session: Session): Promise<void> {
  const { marker } = session;
  const text = `select '${marker}'`;
  session.client.send(query(text), parse('', ECHO), bind('', [marker]), execute(), sync());
  session.client.send(query(text));
  for (let count = 0; count < 3; count++) session.expectRows(await session.collect(), [marker]);
}

async function prepareNamed(session: Session, random: Random): Promise<void> {
  const name = `s${random.between(1, NAMES_MAX)}`;
  const { marker } = session;
  const known = session.named.has(name);
  const closing = known ? [closeStatement(name)] : [];
  session.client.send(...closing, parse(name, `select '${marker}'`), sync());
  const reply = await session.collect();
  // A cancelled Parse leaves it open whether the name exists; Close is allowed either way.
  if (reply.errors.length > 0) session.client.send(closeStatement(name), sync());
  if (reply.errors.length > 0) await session.collect();
  if (reply.errors.length > 0) session.named.delete(name);
  else session.named.set(name, marker);
}

async function executeNamed(session: Session, random: Random): Promise<void> {
  const names = [...session.named];
  if (names.length === 0) return prepareNamed(session, random);
  const [name, marker] = random.pick(names);
  session.client.send(bind(name, []), execute(), sync());
  session.expectRows(await session.collect(), [marker]);
}

const any = { needsPinning: false } as const;

export const PROTOCOL_OPERATIONS: readonly Operation[] = [
  { ...any, name: 'extended', weight: 12, run: (s, random) => once(s, random.chance(0.3)) },
  {
    ...any,
    name: 'hesitating batch',
    weight: 4,
    run: (s, random) => hesitating(s, random.between(0, 40)),
  },
  { ...any, name: 'portal in parts', weight: 4, run: (s) => inParts(s) },
  { ...any, name: 'pipeline', weight: 8, run: pipeline },
  { ...any, name: 'mixed pipeline', weight: 4, run: (s) => mixed(s) },
  { ...any, name: 'prepare', weight: 3, run: prepareNamed },
  { ...any, name: 'execute prepared', weight: 4, run: executeNamed },
];
