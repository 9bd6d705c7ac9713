/** COPY in both directions: complete, given up, and refused by the database. */

import { copyData, copyDone, copyFail, query } from '../../bench/wire/messages.ts';
import type { Operation } from './operations.ts';
import type { Random } from './random.ts';
import type { Session } from './session.ts';

/** query_canceled: what PostgreSQL calls a CopyFail. */
const COPY_FAILED = '57014';
/** bad_copy_file_format */
const BAD_FORMAT = '22P04';

export const COPY_TABLE = 'soak_copied';

async function copyOut(session: Session, count: number): Promise<void> {
  const { marker } = session;
  const select = `select '${marker}' from generate_series(1, ${count})`;
  const reply = await session.exchange(query(`copy (${select}) to stdout`));
  if (reply.errors.length > 0) return;
  const lines = reply.copied.join('');
  if (lines !== `${marker}\n`.repeat(count)) {
    session.violation('wrong_rows', `COPY out gave ${reply.copied.length} of ${count} lines`);
  }
}

/** Starts COPY IN; false when it was cancelled. */
export async function beginCopy(session: Session): Promise<boolean> {
  const sql = `copy ${COPY_TABLE} (marker) from stdin`;
  return (await session.exchange(query(sql))).status === 'G';
}

function rowsOf(session: Session, count: number): Buffer {
  return copyData(Buffer.from(`${session.marker}\n`.repeat(count)));
}

async function copyIn(session: Session, random: Random): Promise<void> {
  if (!(await beginCopy(session))) return;
  const chunks = random.between(1, 20);
  const perChunk = random.between(1, 500);
  for (let chunk = 0; chunk < chunks; chunk++) {
    session.client.send(rowsOf(session, perChunk));
    if (random.chance(0.1)) await Bun.sleep(random.between(1, 20));
  }
  const reply = await session.exchange(copyDone());
  if (reply.errors.length > 0) return;
  if (reply.tags[0] !== `COPY ${chunks * perChunk}`) {
    session.violation('wrong_rows', `COPY in said ${reply.tags[0]}`);
  }
  await expectCopied(session, chunks * perChunk);
}

async function copyGivenUp(session: Session): Promise<void> {
  if (!(await beginCopy(session))) return;
  session.client.send(rowsOf(session, 10));
  await session.exchange(copyFail(session.marker), COPY_FAILED);
  await expectCopied(session, 0);
}

/** The database refuses the data while more of it is on its way. */
async function copyRefused(session: Session): Promise<void> {
  if (!(await beginCopy(session))) return;
  session.client.send(rowsOf(session, 10), copyData(Buffer.from('too\tmany\tcolumns\n')));
  session.client.send(rowsOf(session, 2_000), rowsOf(session, 2_000));
  await session.exchange(copyDone(), BAD_FORMAT);
  await expectCopied(session, 0);
}

async function expectCopied(session: Session, count: number): Promise<void> {
  const where = `where marker = '${session.marker}'`;
  const reply = await session.exchange(query(`select count(*) from ${COPY_TABLE} ${where}`));
  session.expectRows(reply, [String(count)]);
  if (count > 0) await session.exchange(query(`delete from ${COPY_TABLE} ${where}`));
}

const any = { needsPinning: false } as const;

export const COPY_OPERATIONS: readonly Operation[] = [
  { ...any, name: 'copy out', weight: 5, run: (s, random) => copyOut(s, random.between(1, 5_000)) },
  { ...any, name: 'copy in', weight: 5, run: copyIn },
  { ...any, name: 'copy given up', weight: 2, run: (s) => copyGivenUp(s) },
  { ...any, name: 'copy refused', weight: 2, run: (s) => copyRefused(s) },
];
