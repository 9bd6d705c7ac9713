/**
 * What the management API costs the clients of a proxy: the slowest statements of a full load, without calls of the API
 * and with many of them, in turns. Half of the calls read; the others register a DB instance and remove it, so each of
 * them is kept on the disk and applied to the proxies.
 */

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { SignatureV4 } from '@smithy/signature-v4';
import { Sha256 } from '../../src/control/aws/signature.ts';
import { watchOthers } from '../others.ts';
import { type Bar, figure, type Report } from '../report.ts';
import { percentile, spreadOf } from '../statistics.ts';
import type { Principal, Subject } from '../subject/subject.ts';
import { pgbenchWorkload, type Workload } from './rounds.ts';
import { type Bench, CLIENTS_MAX, startSubjects, stopSubjects, versionsOf } from './scenario.ts';

const RATIO_MAX = 1.2;
const PRINCIPAL: Principal = { accessKeyId: 'AKIABENCH', secretAccessKey: 'of-the-bench' };
const REGION = 'us-east-1';

interface Round {
  readonly perSecond: number;
  readonly p99Micros: number;
  readonly othersShare: number;
}

export async function apiLoad(bench: Bench): Promise<Report> {
  const { clients = 32, pool = 16, seconds = 8, rounds, warmup, calls, threads } = bench.options;
  const subjects = await startSubjects({
    bench: { ...bench, options: { ...bench.options, subjects: ['berth'] } },
    names: ['berth'],
    poolSize: pool,
    clientsMax: CLIENTS_MAX,
    principal: PRINCIPAL,
  });
  try {
    const [berth] = subjects;
    if (berth === undefined) throw new Error('there is no Berth to measure');
    const scriptFile = join(bench.directory, 'select1.sql');
    writeFileSync(scriptFile, 'select 1;\n');
    const script = ['-f', scriptFile] as const;
    const load = { clients, threads, mode: 'simple', script, logsAll: true } as const;
    const workload = pgbenchWorkload(bench, load);
    bench.say('warm-up');
    await workload(berth, warmup);
    const rows: string[][] = [];
    const ratios: number[] = [];
    for (let round = 1; round <= rounds; round++) {
      const quiet = await measure(berth, workload, seconds);
      const caller = new Caller(apiUrlOf(berth));
      const busy = await caller.during(calls, () => measure(berth, workload, seconds));
      ratios.push(busy.p99Micros / quiet.p99Micros);
      bench.say(`round ${round}: p99 ${figure(quiet.p99Micros, 0)}, ${figure(busy.p99Micros, 0)}`);
      rows.push(rowOf('none', quiet, undefined), rowOf(String(calls), busy, caller));
    }
    return {
      title: `select 1 and calls of the API, ${clients} clients, pool of ${pool}, ${bench.tls ? 'TLS' : 'plain'}`,
      columns: ['calls', 'per second', 'p99 µs', 'others %', 'calls made', 'call p99 ms'],
      rows,
      remarks: [
        'Half of the calls read, the others register a DB instance and remove it; all are signed.',
      ],
      bars: [barOf(ratios)],
      conditions: [
        ...versionsOf(subjects),
        `${rounds} rounds of ${seconds} s without and with calls, after ${warmup} s`,
      ],
    };
  } finally {
    await stopSubjects(subjects);
  }
}

async function measure(subject: Subject, workload: Workload, seconds: number): Promise<Round> {
  const othersShare = watchOthers();
  const { transactionsPerSecond, latenciesMicros } = await workload(subject, seconds);
  return {
    perSecond: transactionsPerSecond,
    p99Micros: percentile(latenciesMicros, 0.99),
    othersShare: othersShare(),
  };
}

function rowOf(calls: string, round: Round, caller: Caller | undefined): string[] {
  return [
    calls,
    figure(round.perSecond, 0),
    figure(round.p99Micros, 0),
    figure(round.othersShare * 100, 0),
    caller === undefined ? '-' : String(caller.tookMs.length),
    caller === undefined ? '-' : figure(percentile(caller.tookMs, 0.99)),
  ];
}

function barOf(ratios: readonly number[]): Bar {
  const { median, min, max } = spreadOf(ratios);
  return {
    name: 'p99 of statements, with calls / without',
    isPassed: median <= RATIO_MAX,
    figure: `${figure(median, 2)} (${figure(min, 2)}-${figure(max, 2)}), at most ${figure(RATIO_MAX, 2)}`,
  };
}

function apiUrlOf({ metricsUrl }: Subject): URL {
  if (metricsUrl === undefined) throw new Error('Berth has no API');
  return new URL('/', metricsUrl);
}

/** Calls at a steady rate, whether the calls before have been answered or not; throws when one is refused. */
class Caller {
  readonly tookMs: number[] = [];
  private readonly url: URL;
  private readonly signer = new SignatureV4({
    service: 'rds',
    region: REGION,
    credentials: PRINCIPAL,
    sha256: Sha256,
  });
  private count = 0;

  constructor(url: URL) {
    this.url = url;
  }

  async during<Result>(perSecond: number, work: () => Promise<Result>): Promise<Result> {
    const asked: Promise<void>[] = [];
    const timer = setInterval(() => asked.push(this.call()), 1000 / perSecond);
    try {
      return await work();
    } finally {
      clearInterval(timer);
      await Promise.all(asked);
    }
  }

  private async call(): Promise<void> {
    const begin = performance.now();
    const body = new URLSearchParams({ ...this.next(), Version: '2014-10-31' }).toString();
    const { host, hostname, port } = this.url;
    const signed = await this.signer.sign({
      method: 'POST',
      protocol: 'http:',
      hostname,
      port: Number(port),
      path: '/',
      headers: { host, 'content-type': 'application/x-www-form-urlencoded' },
      body,
    });
    const answer = await fetch(this.url, { method: 'POST', headers: signed.headers, body });
    const text = await answer.text();
    if (!answer.ok) throw new Error(`the API refused a call: ${text}`);
    this.tookMs.push(performance.now() - begin);
  }

  /** Those that remove come long after those that register. */
  private next(): Readonly<Record<string, string>> {
    const turn = this.count++;
    const DBInstanceIdentifier = `bench-${Math.floor(turn / 200)}-${turn % 100}`;
    const isRegistering = turn % 200 < 100;
    if (turn % 2 === 0) return { Action: READS[(turn / 2) % READS.length] ?? '', ...OF_PROXY };
    if (!isRegistering) {
      return { Action: 'DeleteDBInstance', DBInstanceIdentifier, SkipFinalSnapshot: 'true' };
    }
    const instance = { DBInstanceIdentifier, DBInstanceClass: 'db.berth', Engine: 'postgres' };
    return {
      Action: 'CreateDBInstance',
      ...instance,
      'Tags.Tag.1.Key': 'berth:address',
      'Tags.Tag.1.Value': '127.0.0.1',
    };
  }
}

const OF_PROXY = { DBProxyName: 'bench' };
const READS = [
  'DescribeDBProxies',
  'DescribeDBProxyTargets',
  'DescribeDBProxyTargetGroups',
  'DescribeDBProxyEndpoints',
];
