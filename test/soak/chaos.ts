/**
 * What happens to the actors from outside: their proxy's database connections are ended by an
 * administrator, and strangers send cancel requests with keys that are not theirs.
 */

import { setTimeout as sleep } from 'node:timers/promises';
import { type Database, UNPOOLED_NAMES } from '../../bench/database.ts';
import type { CancelKey } from '../../bench/wire/messages.ts';
import { type Address, RawClient } from '../../bench/wire/raw-client.ts';
import type { Findings } from './findings.ts';
import type { Random } from './random.ts';

/** Keys of sessions that are logged in now. */
export type CancelKeys = Set<CancelKey>;

const TERMINATE_PAUSE_MS = { least: 100, most: 1_500 };
const CANCEL_PAUSE_MS = { least: 20, most: 300 };
const INT32_MAX = 2 ** 31 - 1;

interface ChaosRequest {
  readonly findings: Findings;
  readonly random: Random;
  isOver(): boolean;
}

/** Ends one of the proxy's database connections, again and again. */
export async function terminateConnections(
  database: Database,
  { findings, random, isOver }: ChaosRequest,
): Promise<void> {
  while (!isOver()) {
    await sleep(random.between(TERMINATE_PAUSE_MS.least, TERMINATE_PAUSE_MS.most));
    const { rows } = await database.admin.query<{ pid: number }>(
      `select pid from pg_stat_activity
       where usename = $1 and application_name <> all($2) order by backend_start`,
      [database.credentials.user, UNPOOLED_NAMES],
    );
    if (rows.length === 0 || isOver()) continue;
    const { pid } = random.pick(rows);
    const result = await database.admin.query<{ done: boolean }>(
      'select pg_terminate_backend($1) as done',
      [pid],
    );
    if (result.rows[0]?.done) findings.count('terminated');
  }
}

/** Cancel requests that must hit nobody: unknown keys, and known ones with the wrong secret. */
export async function cancelStrangers(
  address: Address,
  cancelKeys: CancelKeys,
  { findings, random, isOver }: ChaosRequest,
): Promise<void> {
  while (!isOver()) {
    await sleep(random.between(CANCEL_PAUSE_MS.least, CANCEL_PAUSE_MS.most));
    const known = [...cancelKeys];
    const isGuess = known.length === 0 || random.chance(0.5);
    const key: CancelKey = isGuess
      ? { processId: random.between(1, INT32_MAX), secret: random.between(1, INT32_MAX) }
      : wrong(random.pick(known), random);
    try {
      const messenger = await RawClient.open(address);
      await messenger.cancel(key);
      messenger.end();
      findings.count('wrong cancel');
    } catch {
      findings.count('wrong cancel not delivered');
    }
  }
}

function wrong(key: CancelKey, random: Random): CancelKey {
  return { processId: key.processId, secret: key.secret ^ random.between(1, INT32_MAX) };
}
