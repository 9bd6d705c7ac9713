/** The command line of the bench, checked once. Defaults are the bars' own conditions. */

import { Command, InvalidArgumentError, Option } from 'commander';
import { QUERY_MODES, type QueryMode } from './pgbench.ts';
import { SUBJECT_NAMES, type SubjectName } from './subject/subject.ts';

export const SCENARIO_NAMES = [
  'select1',
  'select-only',
  'tpcb',
  'connect',
  'idle-memory',
  'large-result',
  'iam-connect',
  'api-load',
  'mysql-select1',
] as const;
export type ScenarioName = (typeof SCENARIO_NAMES)[number];

/** Who connects in the scenario `connect`, and who asks in those of MySQL. */
export const LOGIN_CLIENTS = ['own', 'pgbench', 'sysbench'] as const;
export type LoginClient = (typeof LOGIN_CLIENTS)[number];

/** Which server the scenarios of MySQL are about. */
export const MYSQL_SERVERS = ['mariadb', 'mysql'] as const;
export type MysqlServerName = (typeof MYSQL_SERVERS)[number];

/** Undefined means the scenario's own default. */
export interface Options {
  readonly scenario: ScenarioName;
  readonly subjects: readonly SubjectName[] | undefined;
  readonly mode: QueryMode | undefined;
  readonly clients: number | undefined;
  readonly client: LoginClient;
  readonly threads: number;
  readonly tls: boolean;
  readonly pool: number | undefined;
  readonly seconds: number | undefined;
  readonly rounds: number;
  readonly warmup: number;
  readonly scale: number;
  readonly mebibytes: number;
  readonly calls: number;
  readonly pgbouncer: string;
  readonly postgresBin: string | undefined;
  readonly server: MysqlServerName;
  readonly save: string | true | undefined;
}

function positiveInteger(value: string): number {
  const number = Number(value);
  if (!Number.isInteger(number) || number < 1) throw new InvalidArgumentError('Not a number > 0.');
  return number;
}

function subjectList(value: string): SubjectName[] {
  return value.split(',').map((name) => {
    const known = SUBJECT_NAMES.find((subject) => subject === name.trim());
    if (!known) throw new InvalidArgumentError(`One or more of ${SUBJECT_NAMES.join(',')}.`);
    return known;
  });
}

export function parseOptions(argv: readonly string[]): Options {
  const command = new Command('npm run bench --')
    .description('Compares Berth with other proxies, side by side in one run.')
    .addOption(
      new Option('--scenario <name>', 'what to measure').choices(SCENARIO_NAMES).default('select1'),
    )
    .option('--subjects <list>', `any of ${SUBJECT_NAMES.join(',')}`, subjectList)
    .addOption(new Option('--mode <mode>', "pgbench's -M").choices(QUERY_MODES))
    .option('--clients <n>', 'concurrent clients', positiveInteger)
    .addOption(
      new Option('--client <kind>', 'who asks: connect and mysql-select1')
        .choices(LOGIN_CLIENTS)
        .default('own'),
    )
    .option('--threads <n>', "pgbench's -j", positiveInteger, 2)
    .option(
      '--tls',
      'clients use TLS: select1, select-only, connect, idle-memory and mysql-select1',
      false,
    )
    .option('--pool <n>', 'database connections of a proxy', positiveInteger)
    .option('--calls <n>', 'calls of the API per second: api-load', positiveInteger, 100)
    .option('--seconds <n>', 'length of one round', positiveInteger)
    .option('--rounds <n>', 'interleaved rounds', positiveInteger, 3)
    .option('--warmup <n>', 'seconds before the first round, per subject', positiveInteger, 10)
    .option('--scale <n>', "pgbench's -s", positiveInteger, 20)
    .option('--mebibytes <n>', 'size of a large result', positiveInteger, 1024)
    .option('--pgbouncer <command>', 'PgBouncer to compare with', process.env.PGBOUNCER)
    .option('--postgres-bin <folder>', 'PostgreSQL to use', process.env.POSTGRES_BIN)
    .addOption(
      new Option('--server <name>', 'what mysql-select1 asks')
        .choices(MYSQL_SERVERS)
        .default('mariadb'),
    )
    .option('--save [name]', 'write the result to bench/results/');
  command.parse([...argv], { from: 'user' });
  return {
    ...command.opts<Options>(),
    pgbouncer: command.opts<Options>().pgbouncer ?? 'pgbouncer',
  };
}
