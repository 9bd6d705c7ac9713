/** The command line of the soak. PgBouncer as a subject tests the soak itself. */

import { Command, InvalidArgumentError, Option } from 'commander';
import { ENDINGS } from './endings.ts';

export interface Options {
  readonly minutes: number;
  /** What these minutes stand for: the proxy's timeouts are shortened in this relation. */
  readonly hours: number;
  readonly seed: number;
  readonly actors: number;
  readonly pool: number;
  /** False leaves out what a pool has to pin for. */
  readonly pinning: boolean;
  /** The only way in which actors leave. */
  readonly ending: string | undefined;
  readonly engine: 'postgres' | 'mariadb' | 'mysql';
  /** MySQL and MariaDB: what they are loaded with. */
  readonly load: 'abuse' | 'sysbench';
  readonly subject: 'berth' | 'pgbouncer';
  readonly pgbouncer: string;
  readonly postgresBin: string | undefined;
}

function positive(value: string): number {
  const number = Number(value);
  if (!(number > 0)) throw new InvalidArgumentError('Not a number > 0.');
  return number;
}

/** Eight hours in ten minutes. */
const HOURS_PER_MINUTE = 0.8;
const SEED_MAX = 2 ** 31;

export function parseOptions(argv: readonly string[]): Options {
  const command = new Command('npm run soak --')
    .description('Random abuse against Berth in front of a real database, every reply checked.')
    .addOption(
      new Option('--engine <name>', 'the database')
        .choices(['postgres', 'mariadb', 'mysql'])
        .default('postgres'),
    )
    .addOption(
      new Option('--load <name>', 'with MariaDB or MySQL: what does it')
        .choices(['abuse', 'sysbench'])
        .default('abuse'),
    )
    .option('--minutes <n>', 'how long', positive, 10)
    .option('--hours <n>', 'how long it would have been: timeouts are shortened alike', positive)
    .option('--seed <n>', 'chooses what every actor does', positive)
    .option('--actors <n>', 'clients at once', positive, 40)
    .option('--pool <n>', 'database connections', positive, 4)
    .option('--no-pinning', 'leave out what a pool has to pin for')
    .addOption(
      new Option('--ending <name>', 'let every actor leave in this way').choices(
        ENDINGS.map(({ name }) => name),
      ),
    )
    .addOption(
      new Option('--subject <name>', 'what to abuse')
        .choices(['berth', 'pgbouncer'])
        .default('berth'),
    )
    .option('--pgbouncer <command>', 'the PgBouncer to abuse', process.env.PGBOUNCER)
    .option('--postgres-bin <folder>', 'PostgreSQL to use', process.env.POSTGRES_BIN);
  command.parse([...argv], { from: 'user' });
  const given = command.opts<Partial<Options> & Omit<Options, 'hours' | 'seed' | 'pgbouncer'>>();
  return {
    ...given,
    postgresBin: given.postgresBin,
    ending: given.ending,
    hours: given.hours ?? given.minutes * HOURS_PER_MINUTE,
    seed: given.seed ?? Math.floor(Math.random() * SEED_MAX) + 1,
    pgbouncer: given.pgbouncer ?? 'pgbouncer',
  };
}
