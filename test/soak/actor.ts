/**
 * One simulated user: logs in, does a few random things, leaves in a random way, and comes back,
 * until the soak is over. An operation that does not end is a finding, not a hang: the watchdog
 * cuts its connection.
 */

import { setTimeout as sleep } from 'node:timers/promises';
import {
  type Address,
  type Credentials,
  RawClient,
  ServerError,
} from '../../bench/wire/raw-client.ts';
import type { CancelKeys } from './chaos.ts';
import type { Ending } from './endings.ts';
import type { Findings } from './findings.ts';
import { OPERATIONS, type Operation, type RowLedger } from './operations.ts';
import { Random } from './random.ts';
import { Disturbed, Session } from './session.ts';

const OPERATIONS_MAX = 15;
const PAUSE_MAX_MS = 40;
const WATCHDOG_MS = 60_000;
/** A login may find its database connection ended: what Berth and PgBouncer say then. */
const LOGIN_DISTURBANCES: ReadonlySet<string> = new Set(['57P01', '08006', '08001', '08P01']);

export interface Stage {
  readonly address: Address;
  readonly credentials: Credentials;
  readonly findings: Findings;
  readonly cancelKeys: CancelKeys;
  readonly isPinning: boolean;
  readonly endings: readonly Ending[];
  readonly seed: number;
  isOver(): boolean;
}

/** What the actor's own row holds before its first commit. */
export const FIRST_VALUE = 'first';

export async function act(stage: Stage, actor: number): Promise<void> {
  const random = new Random(stage.seed, actor);
  const ledger: RowLedger = { possible: [FIRST_VALUE] };
  const operations = OPERATIONS.filter(({ needsPinning }) => stage.isPinning || !needsPinning);
  for (let number = 1; !stage.isOver(); number++) {
    if (random.chance(0.05)) await loginBadly(stage, random);
    const client = await login(stage);
    if (!client) continue;
    const session = new Session(client, actor, number, stage.findings);
    await live(stage, session, { random, ledger, operations });
  }
}

interface Life {
  readonly random: Random;
  readonly ledger: RowLedger;
  readonly operations: readonly Operation[];
}

async function live(stage: Stage, session: Session, life: Life): Promise<void> {
  const { random, ledger, operations } = life;
  const { findings, cancelKeys } = stage;
  const { cancelKey } = session.client;
  if (cancelKey) cancelKeys.add(cancelKey);
  try {
    for (let left = random.between(0, OPERATIONS_MAX); left > 0 && !stage.isOver(); left--) {
      const operation = random.pickWeighted(operations);
      await watched(session, operation.name, () => operation.run(session, random, ledger));
      findings.count(`operation ${operation.name}`);
      if (random.chance(0.4)) await sleep(random.between(0, PAUSE_MAX_MS));
    }
    const ending = random.pickWeighted(stage.endings);
    await watched(session, ending.name, () => ending.run(session, random, ledger));
    findings.count(`ending ${ending.name}`);
  } catch (error) {
    if (!(error instanceof Disturbed)) throw error;
    findings.count('disturbed');
  } finally {
    if (cancelKey) cancelKeys.delete(cancelKey);
    session.client.reset();
  }
}

async function watched(session: Session, doing: string, run: () => Promise<void>): Promise<void> {
  session.begin(doing);
  const watchdog = setTimeout(() => {
    session.violation('stuck', `no end after ${WATCHDOG_MS / 1000} s`);
    session.client.reset();
  }, WATCHDOG_MS);
  try {
    await run();
  } finally {
    clearTimeout(watchdog);
  }
}

async function login(stage: Stage): Promise<RawClient | undefined> {
  try {
    const client = await RawClient.connect(stage.address, stage.credentials);
    stage.findings.count('login');
    return client;
  } catch (error) {
    const sqlState = error instanceof ServerError ? error.sqlState : '';
    const words = error instanceof Error ? error.message : String(error);
    if (LOGIN_DISTURBANCES.has(sqlState)) stage.findings.count('disturbed');
    else stage.findings.violation('login', `${sqlState} ${words}`);
    // Not to spin when nothing listens any more.
    await sleep(PAUSE_MAX_MS);
    return undefined;
  }
}

/** Logins that must not succeed, or that never finish. */
async function loginBadly(stage: Stage, random: Random): Promise<void> {
  const { address, credentials, findings } = stage;
  findings.count('bad login');
  const half = await RawClient.open(address).catch(() => undefined);
  half?.send(Buffer.from([0, 0, 0, random.between(8, 60), 0, 3, 0, 0, 0x75]));
  await sleep(random.between(0, 10));
  half?.reset();
  try {
    const client = await RawClient.connect(address, { ...credentials, password: 'not this' });
    client.reset();
    findings.violation('login', 'a wrong password was accepted');
  } catch {
    findings.count('wrong password refused');
  }
}
