/** The command line of the drill. */

import { Command, InvalidArgumentError, Option } from 'commander';
import type { ClusterEngine } from '../harness/cluster/cluster.ts';
import { FAULT_NAMES, type FaultName } from './faults.ts';

export interface Options {
  readonly engine: ClusterEngine;
  readonly fault: FaultName;
  readonly rounds: number;
  readonly replicas: number;
  readonly promoteAfter: number;
  /** False leaves out the clients without a proxy. */
  readonly direct: boolean;
  /** The databases wait for the disk. */
  readonly durable: boolean;
  readonly json: boolean;
}

function count(value: string): number {
  const number = Number(value);
  if (!Number.isInteger(number) || number < 0) throw new InvalidArgumentError('Not a number.');
  return number;
}

function atLeastOne(value: string): number {
  if (count(value) < 1) throw new InvalidArgumentError('Not a number above 0.');
  return count(value);
}

const DEFAULTS = { rounds: 3, replicas: 2, promoteAfterMs: 1_000 };

export function parseOptions(argv: readonly string[]): Options {
  const command = new Command('npm run drill --')
    .description('Fails a real cluster over, again and again, and shows what its clients saw.')
    .addOption(
      new Option('--engine <name>', 'the database')
        .choices(['postgres', 'mariadb', 'mysql'])
        .default('postgres'),
    )
    .addOption(
      new Option('--fault <name>', 'what befalls the writer').choices(FAULT_NAMES).default('kill'),
    )
    .option('--rounds <n>', 'how many failovers', atLeastOne, DEFAULTS.rounds)
    .option('--replicas <n>', 'replicas of the writer', atLeastOne, DEFAULTS.replicas)
    .option(
      '--promote-after <ms>',
      'from the fault to the promotion of a replica',
      count,
      DEFAULTS.promoteAfterMs,
    )
    .option('--no-direct', 'leave out the clients that connect directly')
    .option('--durable', 'let the databases wait for the disk at every commit', false)
    .option('--json', 'print the result as JSON', false);
  command.parse([...argv], { from: 'user' });
  return command.opts<Options>();
}
