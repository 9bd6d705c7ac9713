/**
 * Transactions on the actor's own row: what was committed must be there, what was not must not.
 * The look takes the row's lock, so that it waits for a predecessor that the proxy has still to
 * roll back.
 */

import { query } from '../../bench/wire/messages.ts';
import type { Operation, RowLedger } from './operations.ts';
import type { Session } from './session.ts';

/** division_by_zero */
const DIVISION = '22012';

export const OWN_TABLE = 'soak_rows';

/** Begins and changes the own row, without an end; false when it was cancelled before. */
export async function beginUpdate(session: Session): Promise<boolean> {
  const begun = await session.exchange(query('begin'));
  if (begun.errors.length > 0) return false;
  expectStatus(session, begun.status, 'T');
  const update = `update ${OWN_TABLE} set value = '${session.marker}' where actor = ${session.actor}`;
  const reply = await session.exchange(query(`${update} returning value`));
  session.expectRows(reply, [session.marker]);
  if (reply.errors.length === 0) return true;
  await session.exchange(query('rollback'));
  return false;
}

function expectStatus(session: Session, got: string, wanted: string): void {
  if (got !== wanted) session.violation('session_state', `status ${got} instead of ${wanted}`);
}

async function commit(session: Session, ledger: RowLedger): Promise<void> {
  if (!(await beginUpdate(session))) return;
  const before = ledger.possible;
  ledger.possible = [...before, session.marker];
  const reply = await session.exchange(query('commit'));
  if (reply.errors.length > 0) return;
  ledger.possible = [session.marker];
  expectStatus(session, reply.status, 'I');
}

async function rollback(session: Session): Promise<void> {
  if (!(await beginUpdate(session))) return;
  expectStatus(session, (await session.exchange(query('rollback'))).status, 'I');
}

/** After an error nothing works until the transaction ends, and COMMIT rolls back. */
async function fail(session: Session): Promise<void> {
  if (!(await beginUpdate(session))) return;
  expectStatus(session, (await session.exchange(query('select 1 / 0'), DIVISION)).status, 'E');
  const reply = await session.exchange(query('commit'));
  expectStatus(session, reply.status, 'I');
  if (reply.tags[0] !== 'ROLLBACK')
    session.violation('lost_write', 'a failed COMMIT said otherwise');
}

async function look(session: Session, ledger: RowLedger): Promise<void> {
  const sql = `select value from ${OWN_TABLE} where actor = ${session.actor} for update`;
  const reply = await session.exchange(query(sql));
  if (reply.errors.length > 0) return;
  const value = reply.rows[0]?.[0] ?? '';
  if (!ledger.possible.includes(value)) {
    session.violation('lost_write', `found ${value}, possible were ${ledger.possible.join(' ')}`);
  }
  ledger.possible = [value];
}

const any = { needsPinning: false } as const;

export const TRANSACTION_OPERATIONS: readonly Operation[] = [
  { ...any, name: 'commit', weight: 8, run: (s, _, ledger) => commit(s, ledger) },
  { ...any, name: 'rollback', weight: 4, run: (s) => rollback(s) },
  { ...any, name: 'failed commit', weight: 4, run: (s) => fail(s) },
  { ...any, name: 'look', weight: 8, run: (s, _, ledger) => look(s, ledger) },
];
