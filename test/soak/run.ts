/**
 * `npm run soak`: bounded random abuse of Berth in front of a real PostgreSQL, on a pool far too
 * small for it. Clients are killed in every state, database connections are ended, wrong cancels
 * are sent, and the proxy's timeouts are short, so that ten minutes stand for eight hours. Every reply
 * is checked for rows of others, and memory for growth. Exit code 0 when nothing was violated. It only
 * stops what it started.
 */

import { type Database, startDatabase } from '../../bench/database.ts';
import { startSubject, whyAbsent } from '../../bench/subject/start.ts';
import type { Subject } from '../../bench/subject/subject.ts';
import { makeWorkDirectory } from '../../bench/work-directory.ts';
import { act, FIRST_VALUE, type Stage } from './actor.ts';
import { judgeAftermath } from './aftermath.ts';
import { type CancelKeys, cancelStrangers, terminateConnections } from './chaos.ts';
import { ENDINGS } from './endings.ts';
import { Findings } from './findings.ts';
import { type Growth, MemoryWatch } from './memory.ts';
import { soakMysql } from './mysql/run.ts';
import { soakWithSysbench } from './mysql/sysbench.ts';
import { COPY_TABLE } from './operations-copy.ts';
import { OWN_TABLE } from './operations-transaction.ts';
import { type Options, parseOptions } from './options.ts';
import { Random } from './random.ts';
import { sleepAgainAndAgain } from './sleepers.ts';

const CLIENTS_MAX = 1_000;
const PROGRESS_MS = 15_000;
const SLEEPERS = 2;
const MINUTES_PER_HOUR = 60;
const MIB = 1024 ** 2;
/** What the end may have over what there was when all code and caches were warm. */
const GROWTH_MAX = 0.1;

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}

async function createTables(database: Database, actors: number): Promise<void> {
  await database.admin.query(`
    create table ${OWN_TABLE} (actor int primary key, value text not null);
    insert into ${OWN_TABLE} select actor, '${FIRST_VALUE}' from generate_series(1, ${actors}) actor;
    create table ${COPY_TABLE} (marker text);
    create index on ${COPY_TABLE} (marker);
    alter table ${OWN_TABLE} owner to ${database.credentials.user};
    alter table ${COPY_TABLE} owner to ${database.credentials.user};
  `);
}

/** Everybody at once until the time is up. */
async function abuse(
  options: Options,
  database: Database,
  subject: Subject,
  findings: Findings,
): Promise<void> {
  const end = Date.now() + options.minutes * 60_000;
  const isOver = () => Date.now() >= end;
  const cancelKeys: CancelKeys = new Set();
  const { address, sessionsUrl } = subject;
  const stage: Stage = {
    address,
    credentials: database.credentials,
    findings,
    cancelKeys,
    sessionsUrl,
    isPinning: options.pinning && options.subject === 'berth',
    hasTls: options.subject === 'berth',
    endings: ENDINGS.filter(({ name }) => name === (options.ending ?? name)),
    seed: options.seed,
    isOver,
  };
  const progress = setInterval(() => {
    const left = Math.max(Math.round((end - Date.now()) / 1000), 0);
    say(
      `${left} s left: ${findings.counted('login')} logins, ${findings.violationCount} violations`,
    );
  }, PROGRESS_MS);
  const random = (stream: number) => new Random(options.seed, -stream);
  try {
    await Promise.all([
      terminateConnections(database, { findings, isOver, random: random(2) }),
      cancelStrangers(address, cancelKeys, { findings, isOver, random: random(3) }),
      ...Array.from({ length: stage.hasTls ? SLEEPERS : 0 }, (_, index) =>
        sleepAgainAndAgain(stage, random(10 + index)),
      ),
      ...Array.from({ length: options.actors }, (_, index) => act(stage, index + 1)),
    ]);
  } finally {
    clearInterval(progress);
  }
}

function judgeDisturbances(findings: Findings): void {
  const disturbed = findings.counted('disturbed');
  const terminated = findings.counted('terminated');
  if (disturbed <= terminated) return;
  // One ended connection may cost one client its session, never two.
  findings.violation('unexpected_error', `${disturbed} disturbed by ${terminated} terminations`);
}

function judgeMemory(findings: Findings, growth: Growth): void {
  const { warmBytes, endBytes } = growth;
  if (endBytes <= warmBytes * (1 + GROWTH_MAX)) return;
  findings.violation('aftermath', `the resident set has grown by ${percentOf(growth)} %`);
}

function percentOf({ warmBytes, endBytes }: Growth): string {
  return ((endBytes / warmBytes - 1) * 100).toFixed(1);
}

function summarise(findings: Findings, growth: Growth): void {
  say(`operations: ${findings.summaryOf('operation ')}`);
  say(`sleepers: ${findings.summaryOf('asleep ')}`);
  say(`endings: ${findings.summaryOf('ending ')}`);
  const numbers = [
    'login',
    'login with TLS',
    'borrow timeout',
    'bad login',
    'wrong password refused',
    'terminated',
    'disturbed',
    'disturbed with an error',
    'disturbed without a word',
    'kill hit',
    'kill missed',
    'cancel hit',
    'cancel missed',
    'wrong cancel',
    'wrong cancel not delivered',
    'tolerated second_fatal',
  ];
  say(numbers.map((what) => `${what} ${findings.counted(what)}`).join(', '));
  const [warm, end] = [growth.warmBytes, growth.endBytes].map((bytes) => (bytes / MIB).toFixed(1));
  say(`resident set: warm ${warm} MiB, at the end ${end} MiB, ${percentOf(growth)} % growth`);
  say(`over the time, in MiB: ${growth.course.map((bytes) => Math.round(bytes / MIB)).join(' ')}`);
  conclude(findings);
}

/** Returns the exit code. */
function conclude(findings: Findings): number {
  for (const line of findings.violationLines()) say(line);
  const { violationCount } = findings;
  say(violationCount === 0 ? 'PASS no violation' : `FAIL ${violationCount} violations`);
  return violationCount === 0 ? 0 : 1;
}

async function soak(options: Options, directory: string, findings: Findings): Promise<void> {
  const database = await startDatabase({ binDirectory: options.postgresBin });
  try {
    await createTables(database, options.actors);
    const { subject: name, pool: poolSize } = options;
    const haste = (options.hours * MINUTES_PER_HOUR) / options.minutes;
    const clientsMax = CLIENTS_MAX;
    const request = { database, directory, poolSize, clientsMax, tls: undefined, haste };
    const subject = await startSubject(name, request, options);
    try {
      say(`${subject.version}, PostgreSQL ${database.version}, pool of ${poolSize}`);
      const memory = new MemoryWatch(subject.pid ?? process.pid);
      await abuse(options, database, subject, findings);
      const growth = memory.stop();
      await judgeAftermath({ database, subject, poolSize, findings });
      judgeDisturbances(findings);
      judgeMemory(findings, growth);
      summarise(findings, growth);
    } finally {
      await subject.stop();
    }
  } finally {
    await database.stop();
  }
}

async function mainMysql(
  engine: 'mariadb' | 'mysql',
  { minutes, actors, pool, seed, load }: Options,
): Promise<number> {
  const product = engine === 'mariadb' ? 'MariaDB' : 'MySQL';
  say(`${product}, ${minutes} minutes, ${actors} actors, pool of ${pool}, --seed ${seed}`);
  const findings = new Findings([]);
  const absent = `Nothing to abuse: no ${product} on this machine; npm run servers installs one.`;
  if (load === 'sysbench') {
    if (!(await soakWithSysbench({ product, minutes }, findings, say))) {
      say(absent);
      return 1;
    }
    return conclude(findings);
  }
  const growth = await soakMysql({ product, minutes, actors, pool, seed }, findings);
  if (growth === undefined) {
    say(absent);
    return 1;
  }
  judgeMemory(findings, growth);
  summarise(findings, growth);
  return findings.violationCount === 0 ? 0 : 1;
}

async function main(): Promise<number> {
  const options = parseOptions(process.argv.slice(2));
  const { engine } = options;
  if (engine !== 'postgres') return await mainMysql(engine, options);
  const absent = whyAbsent(options.subject, options);
  if (absent !== undefined) {
    say(`Nothing to abuse: ${absent}.`);
    return 1;
  }
  say(
    `${options.minutes} minutes for ${options.hours} hours, ${options.actors} actors, --seed ${options.seed}`,
  );
  const findings = new Findings(options.subject === 'berth' ? [] : ['second_fatal']);
  const directory = makeWorkDirectory();
  await soak(options, directory.path, findings);
  if (findings.violationCount === 0) return 0;
  directory.keep();
  say(`Its configuration and log are in ${directory.path}`);
  return 1;
}

try {
  process.exit(await main());
} catch (error) {
  say(
    `The soak failed: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`,
  );
  process.exit(1);
}
