/**
 * `npm run bench`: one scenario, all subjects in front of one throwaway database, one report.
 * Exit code 0 when every bar that could be judged passes, 1 otherwise. It only stops what it
 * started. `npm run bench -- --help` lists scenarios and flags.
 */

import { startDatabase } from './database.ts';
import { describeMachine } from './machine.ts';
import { startMysqlDatabase } from './mysql/database.ts';
import { mysqlSelect1 } from './mysql/select1.ts';
import { type Options, parseOptions, type ScenarioName } from './options.ts';
import { pgbenchVersion } from './pgbench.ts';
import { type Report, render, save } from './report.ts';
import { apiLoad } from './scenario/api-load.ts';
import { connect } from './scenario/connect.ts';
import { iamConnect } from './scenario/iam-connect.ts';
import { idleMemory } from './scenario/idle-memory.ts';
import { largeResult } from './scenario/large-result.ts';
import type { Bench } from './scenario/scenario.ts';
import { select1, selectOnly } from './scenario/select1.ts';
import { tpcb } from './scenario/tpcb.ts';
import { makeBenchTls } from './tls.ts';
import { makeWorkDirectory } from './work-directory.ts';

type PostgresScenario = Exclude<ScenarioName, 'mysql-select1'>;

const SCENARIOS: Readonly<Record<PostgresScenario, (bench: Bench) => Promise<Report>>> = {
  select1,
  'select-only': selectOnly,
  tpcb,
  connect,
  'idle-memory': idleMemory,
  'large-result': largeResult,
  'iam-connect': iamConnect,
  'api-load': apiLoad,
};

const KNOWS_TLS: readonly ScenarioName[] = [
  'select1',
  'select-only',
  'connect',
  'idle-memory',
  'api-load',
  'mysql-select1',
];
const NEEDS_PGBENCH: readonly ScenarioName[] = ['select1', 'select-only', 'tpcb', 'api-load'];

function needsPgbench({ scenario, client }: Options): boolean {
  return NEEDS_PGBENCH.includes(scenario) || (scenario === 'connect' && client === 'pgbench');
}

function say(line: string): void {
  process.stderr.write(`${line}\n`);
}

function measure(options: Options): Promise<Report> {
  const { scenario } = options;
  return scenario === 'mysql-select1'
    ? measureMysql(options)
    : measurePostgres(options, SCENARIOS[scenario]);
}

async function measureMysql(options: Options): Promise<Report> {
  const { path: directory } = makeWorkDirectory();
  await using database = await startMysqlDatabase(options.server);
  const tls = options.tls ? await makeBenchTls(directory) : undefined;
  const report = await mysqlSelect1({ options, database, directory, tls, say });
  return { ...report, conditions: [...report.conditions, database.version, describeMachine()] };
}

async function measurePostgres(
  options: Options,
  scenario: (bench: Bench) => Promise<Report>,
): Promise<Report> {
  const { path: directory } = makeWorkDirectory();
  const database = await startDatabase({ binDirectory: options.postgresBin });
  try {
    // Nobody is asked for a token without TLS.
    const tls =
      options.tls || options.scenario === 'iam-connect' ? await makeBenchTls(directory) : undefined;
    const report = await scenario({ options, database, directory, tls, say });
    const general = [`PostgreSQL ${database.version}`, describeMachine()];
    const pgbench = pgbenchVersion();
    if (pgbench !== undefined && needsPgbench(options)) general.push(pgbench);
    return { ...report, conditions: [...report.conditions, ...general] };
  } finally {
    await database.stop();
  }
}

async function main(): Promise<number> {
  const options = parseOptions(process.argv.slice(2));
  if (needsPgbench(options) && pgbenchVersion() === undefined) {
    say(`The scenario ${options.scenario} needs pgbench on the search path.`);
    return 1;
  }
  if (options.tls && !KNOWS_TLS.includes(options.scenario)) {
    say(`The scenario ${options.scenario} has no TLS.`);
    return 1;
  }
  const report = await measure(options);
  process.stdout.write(render(report));
  if (options.save !== undefined) {
    const name = options.save === true ? options.scenario : options.save;
    say(`Saved ${save(report, name, new Date())}`);
  }
  if (report.rows.length === 0) say('Nothing was measured.');
  return report.rows.length > 0 && report.bars.every((bar) => bar.isPassed) ? 0 : 1;
}

try {
  process.exit(await main());
} catch (error) {
  say(`The bench failed: ${error instanceof Error ? error.message : String(error)}`);
  process.exit(1);
}
