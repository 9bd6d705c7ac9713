/** Simple queries: rows, several statements, large and slow readers, errors, notices, cancels. */

import { query } from '../../bench/wire/messages.ts';
import type { Operation } from './operations.ts';
import type { Session } from './session.ts';

/** raise_exception */
const RAISED = 'P0001';

function repeated(value: string, count: number): string[] {
  return Array.from({ length: count }, () => value);
}

export async function selectRows(session: Session, count: number): Promise<void> {
  const { marker } = session;
  const sql = `select '${marker}' from generate_series(1, ${count})`;
  session.expectRows(await session.exchange(query(sql)), repeated(marker, count));
}

async function raise(session: Session): Promise<void> {
  const { marker } = session;
  const sql = `do $$ begin raise exception '${marker}'; end $$`;
  const reply = await session.exchange(query(sql), RAISED);
  const isOurs = reply.errors.some((error) => error.message === marker);
  const isCancelled = reply.errors.some((error) => error.sqlState !== RAISED);
  if (!isOurs && !isCancelled) session.violation('wrong_rows', 'the error did not come');
}

async function notice(session: Session): Promise<void> {
  const { marker } = session;
  const sql = `do $$ begin raise notice '${marker}'; end $$`;
  const reply = await session.exchange(query(sql));
  if (reply.errors.length === 0 && !reply.notices.includes(marker)) {
    session.violation('wrong_rows', 'the notice did not come');
  }
}

/** Cancels a statement of its own after a while: while queued, running or just over. */
async function cancelOwn(session: Session, delayMs: number): Promise<void> {
  const { marker } = session;
  session.expectCancel();
  session.client.send(query(`select '${marker}', pg_sleep(0.3)`));
  const cancelled = Bun.sleep(delayMs).then(() => session.client.cancel());
  try {
    const reply = await session.collect();
    session.findings.count(reply.errors.length > 0 ? 'cancel hit' : 'cancel missed');
    session.expectRows(reply, [marker]);
  } finally {
    await cancelled.catch(() => undefined);
  }
}

/** A result larger than every buffer, to a reader that stops for a while in the middle. */
async function readSlowly(session: Session, rowLength: number, pauseMs: number): Promise<void> {
  const { marker } = session;
  const count = 40;
  const filler = `repeat('x', ${rowLength})`;
  session.client.send(query(`select '${marker}', ${filler} from generate_series(1, ${count})`));
  session.client.pause();
  await Bun.sleep(pauseMs);
  session.client.resume();
  const reply = await session.collect();
  session.expectRows(reply, repeated(marker, count));
  const isWhole = reply.rows.every((row) => row[1]?.length === rowLength);
  if (!isWhole) session.violation('wrong_rows', 'a long value was cut');
}

async function sendLarge(session: Session, length: number): Promise<void> {
  const { marker } = session;
  const sql = `select '${marker}', length('${'y'.repeat(length)}')`;
  const reply = await session.exchange(query(sql));
  session.expectRows(reply, [marker]);
  if (reply.errors.length === 0 && reply.rows[0]?.[1] !== String(length)) {
    session.violation('wrong_rows', 'a long statement was cut');
  }
}

async function severalStatements(session: Session): Promise<void> {
  const { marker } = session;
  const sql = `select '${marker}'; select '${marker}' where false; select '${marker}'`;
  session.expectRows(await session.exchange(query(sql)), repeated(marker, 2));
}

async function emptyQuery(session: Session): Promise<void> {
  session.expectRows(await session.exchange(query('')), []);
}

const any = { needsPinning: false } as const;

export const SIMPLE_OPERATIONS: readonly Operation[] = [
  { ...any, name: 'select', weight: 20, run: (s, random) => selectRows(s, random.between(1, 60)) },
  { ...any, name: 'several', weight: 5, run: (s) => severalStatements(s) },
  { ...any, name: 'empty', weight: 1, run: (s) => emptyQuery(s) },
  { ...any, name: 'raise', weight: 5, run: (s) => raise(s) },
  { ...any, name: 'notice', weight: 4, run: (s) => notice(s) },
  { ...any, name: 'cancel', weight: 6, run: (s, random) => cancelOwn(s, random.between(0, 120)) },
  {
    ...any,
    name: 'slow reader',
    weight: 2,
    run: (s, random) => readSlowly(s, random.between(1_000, 100_000), random.between(1, 200)),
  },
  {
    ...any,
    name: 'large statement',
    weight: 2,
    run: (s, random) => sendLarge(s, random.between(10_000, 1_000_000)),
  },
];
