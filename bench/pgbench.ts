/**
 * Runs pgbench and reads what it says. Latencies are real ones of single transactions, from its log
 * of a sample of them (one in ten costs pgbench little, and every subject the same) or of all.
 * https://www.postgresql.org/docs/current/pgbench.html
 */

import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { Address, Credentials } from './wire/raw-client.ts';

export const QUERY_MODES = ['simple', 'extended', 'prepared'] as const;
export type QueryMode = (typeof QUERY_MODES)[number];

const SAMPLING_RATE = 0.1;
/** Columns of the log: time of the transaction in microseconds; when it ended, in two parts. */
const LATENCY_COLUMN = 2;
const END_SECONDS_COLUMN = 4;
const END_MICROS_COLUMN = 5;
const OUTPUT_TAIL_LENGTH = 1_500;

export interface PgbenchRequest {
  readonly address: Address;
  readonly credentials: Credentials;
  /** For logs; each run makes a folder of its own in it. */
  readonly directory: string;
  readonly hasTls?: boolean;
  readonly clients: number;
  readonly threads: number;
  readonly seconds: number;
  readonly mode: QueryMode;
  /** `-f FILE` or `-b NAME`. */
  readonly script: readonly [flag: '-f' | '-b', value: string];
  /** Every transaction is in the log instead of a sample. */
  readonly logsAll?: boolean;
  /** A new connection for every transaction when `-C` is here. */
  readonly extraFlags?: readonly string[];
}

export interface PgbenchResult {
  readonly exitCode: number;
  readonly transactions: number;
  readonly failedTransactions: number;
  readonly transactionsPerSecond: number;
  readonly latenciesMicros: readonly number[];
  /** When each of those ended, by the system's clock. */
  readonly endsMicros: readonly number[];
  /** The end of what it wrote, for when something went wrong. */
  readonly output: string;
}

/** The version of pgbench on the search path, or undefined when there is none. */
export function pgbenchVersion(): string | undefined {
  try {
    return execFileSync('pgbench', ['--version'], { encoding: 'utf8' }).trim();
  } catch {
    return undefined;
  }
}

function environmentOf(
  credentials: Credentials,
  hasTls = false,
): Record<string, string | undefined> {
  return {
    ...process.env,
    PGPASSWORD: credentials.password,
    PGSSLMODE: hasTls ? 'require' : 'disable',
    PGGSSENCMODE: 'disable',
  };
}

function addressFlags(address: Address, credentials: Credentials): string[] {
  return ['-h', address.host, '-p', String(address.port), '-U', credentials.user];
}

/** Makes pgbench's own tables, on a direct connection. */
export function initialisePgbench(address: Address, credentials: Credentials, scale: number): void {
  execFileSync(
    'pgbench',
    [...addressFlags(address, credentials), '-i', '-q', '-s', String(scale), credentials.database],
    { env: environmentOf(credentials), stdio: 'pipe' },
  );
}

export async function runPgbench(request: PgbenchRequest): Promise<PgbenchResult> {
  const logDirectory = mkdtempSync(join(request.directory, 'pgbench-'));
  const args = [
    ...addressFlags(request.address, request.credentials),
    '-n',
    ...['-c', String(request.clients)],
    ...['-j', String(request.threads)],
    ...['-T', String(request.seconds)],
    ...['-M', request.mode],
    ...request.script,
    ...['-l', `--log-prefix=${join(logDirectory, 'log')}`],
    ...(request.logsAll === true ? [] : [`--sampling-rate=${SAMPLING_RATE}`]),
    ...(request.extraFlags ?? []),
    request.credentials.database,
  ];
  const { exitCode, output } = await run(args, environmentOf(request.credentials, request.hasTls));
  const log = readLog(logDirectory);
  rmSync(logDirectory, { recursive: true });
  return {
    exitCode,
    transactions: numberAfter(output, 'number of transactions actually processed: '),
    failedTransactions: numberAfter(output, 'number of failed transactions: '),
    transactionsPerSecond: numberAfter(output, 'tps = '),
    ...log,
    output: output.slice(-OUTPUT_TAIL_LENGTH),
  };
}

function run(
  args: readonly string[],
  env: Record<string, string | undefined>,
): Promise<{ exitCode: number; output: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn('pgbench', [...args], { env, stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    const collect = (chunk: Buffer) => {
      output += chunk.toString();
    };
    child.stdout.on('data', collect);
    child.stderr.on('data', collect);
    child.once('error', reject);
    child.once('close', (code) => resolve({ exitCode: code ?? 1, output }));
  });
}

function numberAfter(output: string, label: string): number {
  const at = output.indexOf(label);
  return at < 0 ? Number.NaN : Number.parseFloat(output.slice(at + label.length));
}

function readLog(directory: string): Pick<PgbenchResult, 'latenciesMicros' | 'endsMicros'> {
  const latenciesMicros: number[] = [];
  const endsMicros: number[] = [];
  for (const name of readdirSync(directory)) {
    for (const line of readFileSync(join(directory, name), 'utf8').split('\n')) {
      const columns = line.split(' ').map(Number);
      const micros = columns[LATENCY_COLUMN] ?? Number.NaN;
      if (!(micros >= 0)) continue;
      latenciesMicros.push(micros);
      const seconds = columns[END_SECONDS_COLUMN] ?? Number.NaN;
      endsMicros.push(seconds * 1_000_000 + (columns[END_MICROS_COLUMN] ?? Number.NaN));
    }
  }
  return { latenciesMicros, endsMicros };
}
