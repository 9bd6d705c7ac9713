/**
 * How an actor leaves: politely, or in every state a client can be killed in. None of these waits
 * for the proxy to notice. An ending that changes the actor's row tells the ledger.
 */

import {
  bind,
  closeStatement,
  copyData,
  describePortal,
  describeStatement,
  execute,
  flush,
  parse,
  query,
  sync,
  terminate,
} from '../../bench/wire/messages.ts';
import type { RowLedger } from './operations.ts';
import { beginCopy } from './operations-copy.ts';
import { beginUpdate } from './operations-transaction.ts';
import type { Random } from './random.ts';
import type { Session } from './session.ts';

export interface Ending {
  readonly name: string;
  readonly weight: number;
  /** Leaves the connection closed. */
  run(session: Session, random: Random, ledger: RowLedger): Promise<void>;
}

/** Cuts the bytes somewhere inside, never at an end. */
function cut(bytes: Buffer, random: Random): Buffer {
  return bytes.subarray(0, random.between(1, bytes.length - 1));
}

async function inMessage({ client, marker }: Session, random: Random): Promise<void> {
  const sql = random.chance(0.5) ? `select '${marker}'` : `select '${'z'.repeat(100_000)}'`;
  client.send(cut(query(sql), random));
  await Bun.sleep(random.between(0, 30));
  client.reset();
}

async function afterParse({ client, marker }: Session, random: Random): Promise<void> {
  client.send(parse('', `select '${marker}'`));
  if (random.chance(0.5)) client.send(flush());
  if (random.chance(0.5)) client.send(bind('', []), execute(), flush());
  await Bun.sleep(random.between(0, 30));
  client.reset();
}

/** A batch that ends after any of its messages, or in the middle of the next. */
async function inBatch({ client, marker }: Session, random: Random): Promise<void> {
  const name = random.chance(0.5) ? '' : `left ${marker}`;
  const batch = [
    parse(name, `select '${marker}' from generate_series(1, 5)`),
    describeStatement(name),
    bind(name, []),
    describePortal(),
    execute(2),
    flush(),
    execute(),
    closeStatement(name),
    sync(),
    query('begin'),
    parse('', `select '${marker}'`),
    bind('', []),
    execute(),
    sync(),
    query('commit'),
  ];
  const count = random.between(1, batch.length - 1);
  const next = batch[count];
  client.send(...batch.slice(0, count));
  if (next !== undefined && random.chance(0.3)) client.send(cut(next, random));
  await Bun.sleep(random.between(0, 20));
  client.reset();
}

async function duringCopyIn(session: Session, random: Random): Promise<void> {
  if (!(await beginCopy(session))) return session.client.reset();
  const data = copyData(Buffer.from(`${session.marker}\n`.repeat(2_000)));
  session.client.send(data);
  if (random.chance(0.7)) session.client.send(cut(data, random));
  await Bun.sleep(random.between(0, 10));
  session.client.reset();
}

async function duringCopyOut({ client, marker }: Session, random: Random): Promise<void> {
  const select = `select '${marker}' from generate_series(1, 200000)`;
  client.send(query(`copy (${select}) to stdout`));
  await Bun.sleep(random.between(0, 60));
  client.reset();
}

async function duringResult({ client, marker }: Session, random: Random): Promise<void> {
  const rows = `select '${marker}', repeat('x', 50000) from generate_series(1, 200)`;
  client.send(query(rows));
  if (random.chance(0.5)) client.pause();
  await Bun.sleep(random.between(0, 60));
  client.reset();
}

async function whileRunning({ client, marker }: Session, random: Random): Promise<void> {
  client.send(query(`select '${marker}', pg_sleep(0.5)`));
  await Bun.sleep(random.between(0, 100));
  client.reset();
}

/** Asked and gone in the same moment: in a busy pool, while it waits. */
async function whileQueued({ client, marker }: Session, random: Random): Promise<void> {
  client.send(query(`select '${marker}'`));
  if (random.chance(0.5)) await Bun.sleep(1);
  client.reset();
}

async function inTransaction(session: Session, random: Random): Promise<void> {
  if (await beginUpdate(session)) await Bun.sleep(random.between(0, 30));
  if (random.chance(0.3)) session.client.end();
  else session.client.reset();
}

async function inFailedTransaction(session: Session): Promise<void> {
  if (await beginUpdate(session)) session.client.send(query('select 1 / 0'));
  session.client.reset();
}

/** The row's lock is held until the COMMIT is done or dropped, so the next look sees which. */
async function afterCommit(session: Session, _: Random, ledger: RowLedger): Promise<void> {
  if (await beginUpdate(session)) {
    ledger.possible = [...ledger.possible, session.marker];
    session.client.send(query('commit'));
  }
  session.client.reset();
}

/** Terminate in the same packet as a statement whose answer nobody waits for. */
async function terminateBehindQuery({ client, marker }: Session): Promise<void> {
  client.send(query(`select '${marker}'`), terminate());
  client.end();
}

async function cancelAndLeave({ client, marker }: Session, random: Random): Promise<void> {
  client.send(query(`select '${marker}', pg_sleep(0.5)`));
  await Bun.sleep(random.between(0, 50));
  const cancelled = client.cancel().catch(() => undefined);
  client.reset();
  await cancelled;
}

/** Bytes that are no message; the proxy must hang up, and hurt nobody else. */
async function garbage({ client }: Session, random: Random): Promise<void> {
  client.send(Buffer.from(Array.from({ length: 40 }, () => random.between(0, 255))));
  await Bun.sleep(random.between(0, 30));
  client.reset();
}

export const ENDINGS: readonly Ending[] = [
  { name: 'terminate', weight: 20, run: async ({ client }) => client.terminate() },
  { name: 'FIN while idle', weight: 5, run: async ({ client }) => client.end() },
  { name: 'RST while idle', weight: 5, run: async ({ client }) => client.reset() },
  { name: 'RST in a message', weight: 8, run: inMessage },
  { name: 'RST after Parse', weight: 8, run: afterParse },
  { name: 'RST in a batch', weight: 12, run: inBatch },
  { name: 'RST during COPY in', weight: 6, run: duringCopyIn },
  { name: 'RST during COPY out', weight: 6, run: duringCopyOut },
  { name: 'RST during a result', weight: 6, run: duringResult },
  { name: 'RST while running', weight: 5, run: whileRunning },
  { name: 'RST while queued', weight: 8, run: whileQueued },
  { name: 'gone in a transaction', weight: 8, run: inTransaction },
  { name: 'RST in a failed transaction', weight: 4, run: inFailedTransaction },
  { name: 'RST after COMMIT', weight: 6, run: afterCommit },
  { name: 'Terminate behind a query', weight: 4, run: terminateBehindQuery },
  { name: 'cancel and RST', weight: 4, run: cancelAndLeave },
  { name: 'garbage', weight: 2, run: garbage },
];
