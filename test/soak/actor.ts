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
import { loginBadly } from './bad-logins.ts';
import type { CancelKeys } from './chaos.ts';
import type { Ending } from './endings.ts';
import type { Findings } from './findings.ts';
import { OPERATIONS, type Operation, type RowLedger } from './operations.ts';
import { Random } from './random.ts';
import { BORROW_TIMEOUT, Disturbed, Session, TimedOut } from './session.ts';
import { whereStuck } from './stuck.ts';

const OPERATIONS_MAX = 15;
const PAUSE_MAX_MS = 40;
const TLS_SHARE = 0.15;
const WATCHDOG_MS = 60_000;
/** A login may find its database connection ended: what Berth and PgBouncer say then. */
const LOGIN_DISTURBANCES: ReadonlySet<string> = new Set(['57P01', '08006', '08001', '08P01']);

export interface Stage {
  readonly address: Address;
  readonly credentials: Credentials;
  readonly findings: Findings;
  readonly cancelKeys: CancelKeys;
  readonly isPinning: boolean;
  /** Where the subject lists its sessions, if it does. */
  readonly sessionsUrl: string | undefined;
  /** The subject takes TLS, and some of its clients use it. */
  readonly hasTls: boolean;
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
    const client = await login(stage, random.chance(TLS_SHARE));
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
      await watched(stage, session, operation.name, () => operation.run(session, random, ledger));
      findings.count(`operation ${operation.name}`);
      if (random.chance(0.4)) await sleep(random.between(0, PAUSE_MAX_MS));
    }
    const ending = random.pickWeighted(stage.endings);
    await watched(stage, session, ending.name, () => ending.run(session, random, ledger));
    findings.count(`ending ${ending.name}`);
  } catch (error) {
    if (!(error instanceof Disturbed)) throw error;
    findings.count(error instanceof TimedOut ? 'borrow timeout' : 'disturbed');
  } finally {
    if (cancelKey) cancelKeys.delete(cancelKey);
    session.client.reset();
  }
}

async function watched(
  stage: Stage,
  session: Session,
  doing: string,
  run: () => Promise<void>,
): Promise<void> {
  session.begin(doing);
  const watchdog = setTimeout(() => void cut(stage, session), WATCHDOG_MS);
  try {
    await run();
  } finally {
    clearTimeout(watchdog);
  }
}

async function cut({ sessionsUrl }: Stage, session: Session): Promise<void> {
  const { client } = session;
  const where = await whereStuck(client.localPort, sessionsUrl).catch(String);
  session.violation('stuck', `no end after ${WATCHDOG_MS / 1000} s: ${where}`);
  client.reset();
}

async function login(stage: Stage, wantsTls: boolean): Promise<RawClient | undefined> {
  const hasTls = wantsTls && stage.hasTls;
  try {
    const client = await RawClient.connect(stage.address, stage.credentials, hasTls);
    stage.findings.count(hasTls ? 'login with TLS' : 'login');
    return client;
  } catch (error) {
    const sqlState = error instanceof ServerError ? error.sqlState : '';
    const words = error instanceof Error ? error.message : String(error);
    if (sqlState === BORROW_TIMEOUT) stage.findings.count('borrow timeout');
    else if (LOGIN_DISTURBANCES.has(sqlState)) stage.findings.count('disturbed');
    else stage.findings.violation('login', `${sqlState} ${words}`);
    // Not to spin when nothing listens any more.
    await sleep(PAUSE_MAX_MS);
    return undefined;
  }
}
