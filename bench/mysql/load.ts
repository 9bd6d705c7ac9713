/** Clients that all ask `select 1`: the bench's own, or sysbench where it is installed. */

import { execFileSync, spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Work, Workload } from '../scenario/rounds.ts';
import type { AnyBench } from '../scenario/scenario.ts';
import { LoadClient } from './client.ts';

const SQL = 'select 1';
const MICROS = 1000;
/** Sysbench's own histogram of latencies: `  0.987 |*****   1234`. */
const HISTOGRAM_LINE = /^\s*([\d.]+) \|\**\s+(\d+)$/gm;
const SCRIPT = `function thread_init()
  connection = sysbench.sql.driver():connect()
end
function event()
  connection:query("${SQL}")
end
`;
const OUTPUT_TAIL_LENGTH = 1_500;

export function sysbenchVersion(): string | undefined {
  try {
    return execFileSync('sysbench', ['--version'], { encoding: 'utf8', stdio: 'pipe' }).trim();
  } catch {
    return undefined;
  }
}

/** One process without threads: its own cost is the same for all subjects. */
export function ownWorkload({ database, tls }: AnyBench, clients: number): Workload {
  return async ({ address, name }, seconds): Promise<Work> => {
    const hasTls = tls !== undefined && name !== 'direct';
    const { credentials } = database;
    const connect = () => LoadClient.connect({ address, credentials, hasTls });
    const connected = await Promise.all(Array.from({ length: clients }, connect));
    const latenciesMicros: number[] = [];
    const begin = performance.now();
    const end = begin + seconds * 1000;
    const ask = (client: LoadClient) => {
      let asked = performance.now();
      return client.repeat(SQL, () => {
        const now = performance.now();
        latenciesMicros.push((now - asked) * MICROS);
        asked = now;
        return now < end;
      });
    };
    await Promise.all(connected.map(ask));
    const tookSeconds = (performance.now() - begin) / 1000;
    for (const client of connected) client.end();
    const transactions = latenciesMicros.length;
    return { transactions, transactionsPerSecond: transactions / tookSeconds, latenciesMicros };
  };
}

export function sysbenchWorkload(bench: AnyBench, clients: number): Workload {
  const script = join(bench.directory, 'select1.lua');
  writeFileSync(script, SCRIPT);
  const { user, password, database } = bench.database.credentials;
  return async ({ address, name }, seconds): Promise<Work> => {
    const output = await runSysbench([
      script,
      `--threads=${clients}`,
      `--time=${seconds}`,
      '--events=0',
      '--histogram=on',
      `--mysql-host=${address.host}`,
      `--mysql-port=${address.port}`,
      `--mysql-user=${user}`,
      `--mysql-password=${password}`,
      `--mysql-db=${database}`,
      'run',
    ]);
    const transactions = Number(/^\s*total:\s+(\d+)$/m.exec(output)?.[1]);
    const perSecond = /^\s*queries:\s+\d+\s+\(([\d.]+) per sec/m.exec(output)?.[1];
    if (!(transactions > 0)) throw new Error(`sysbench counted nothing through ${name}: ${output}`);
    return {
      transactions,
      transactionsPerSecond: Number(perSecond),
      latenciesMicros: latenciesOf(output),
    };
  };
}

/** As many values as the histogram counted, in hundreds: enough for percentiles. */
function latenciesOf(output: string): number[] {
  const latencies: number[] = [];
  for (const [, milliseconds, count] of output.matchAll(HISTOGRAM_LINE)) {
    const times = Math.ceil(Number(count) / 100);
    for (let time = 0; time < times; time++) latencies.push(Number(milliseconds) * MICROS);
  }
  return latencies;
}

function runSysbench(args: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn('sysbench', [...args], { stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    const collect = (chunk: Buffer) => {
      output += chunk.toString();
    };
    child.stdout.on('data', collect);
    child.stderr.on('data', collect);
    child.once('error', reject);
    child.once('close', (code) => {
      if (code === 0) resolve(output);
      else reject(new Error(`sysbench failed: ${output.slice(-OUTPUT_TAIL_LENGTH)}`));
    });
  });
}
