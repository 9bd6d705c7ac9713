/**
 * `npm run drill`: fails a real cluster over under load, with Berth in between, prints what happened when, and
 * judges it. Exit code 0 when all bars hold. It only stops what it started.
 */

import { Berth } from '../harness/berth.ts';
import type { Cluster, Member } from '../harness/cluster/cluster.ts';
import { findKind } from '../harness/cluster/clusters.ts';
import { makeClusterConfiguration } from '../harness/cluster/configuration.ts';
import { QueueWatch, storyOf, untilReader } from './berth-story.ts';
import { failOver } from './failover.ts';
import { FAULTS, networkOf, type Stage, startNetworks } from './faults.ts';
import { Load } from './load.ts';
import { type Options, parseOptions } from './options.ts';
import { barsOf, type Outcome, type Round, reportOf, timeline } from './report.ts';
import { makeTables } from './tables.ts';

const POOL_SIZE = 8;

/** What happens in a drill is what it is about: nothing of it is unexpected. */
const ANYTHING = /./;

async function drill(options: Options, cluster: Cluster, name: string): Promise<Outcome> {
  const isNetworkAtFault = options.fault === 'drop';
  const networks = isNetworkAtFault ? await startNetworks(cluster) : new Map();
  const stage: Stage = { cluster, networks };
  const portOf = (member: Member) =>
    isNetworkAtFault ? networkOf(stage, member).port : member.port;
  const configuration = makeClusterConfiguration(cluster, {
    portOf,
    pool: { MaxConnections: POOL_SIZE },
  });
  const berth = await Berth.start({ configuration, logLevel: 'info', expect: [ANYTHING] });
  try {
    const { direct } = options;
    const load = await Load.start({ cluster, port: berth.port, direct, portOf });
    const rounds: Round[] = [];
    while (rounds.length < options.rounds) {
      const round = await runRound(options, { stage, berth, load });
      rounds.push(round);
      say(options, timeline(round, `Failover ${rounds.length}`, options.direct));
    }
    const { length: proxied } = load.proxied;
    const writers = { proxied, direct: load.direct.length, idle: load.idle.length };
    const wrong = await load.stopAndCompare();
    const title = `Failovers of ${name}: ${FAULTS[options.fault].title}`;
    const acknowledged = load.books.acknowledged.length;
    return { title, options, rounds, writers, acknowledged, wrong };
  } finally {
    await berth.kill();
    for (const network of networks.values()) await network.stop();
  }
}

async function runRound(
  { fault, promoteAfter: promoteAfterMs }: Options,
  { stage, berth, load }: { stage: Stage; berth: Berth; load: Load },
): Promise<Round> {
  const queue = new QueueWatch(berth);
  const failover = await failOver({ stage, load, fault, promoteAfterMs });
  const queuePeak = await queue.stop();
  await untilReader(berth, failover.from, failover.at);
  return { ...failover, story: storyOf(berth, failover.at), queuePeak };
}

/** Returns the exit code. */
async function main(): Promise<number> {
  const options = parseOptions(process.argv.slice(2));
  const kind = findKind(options.engine);
  if (kind === undefined) {
    write(`No ${options.engine} on this machine; npm run servers installs one.`);
    return 1;
  }
  const { replicas, durable: isDurable } = options;
  const cluster = await kind.start({ replicas, isSynchronous: true, isDurable });
  try {
    await makeTables(cluster);
    const outcome = await drill(options, cluster, kind.name);
    if (options.json) write(JSON.stringify({ ...outcome, bars: barsOf(outcome) }, undefined, 2));
    else write(reportOf(outcome));
    return barsOf(outcome).every(({ isPassed }) => isPassed) ? 0 : 1;
  } finally {
    await cluster.stop();
  }
}

function say({ json }: Options, text: string): void {
  if (!json) write(text);
}

function write(text: string): void {
  process.stdout.write(`${text}\n`);
}

try {
  process.exit(await main());
} catch (error) {
  write(
    `The drill failed: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`,
  );
  process.exit(1);
}
