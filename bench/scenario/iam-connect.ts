/**
 * New connections with IAM tokens: how many in a second, and what it costs to check one signature. The second is
 * measured inside of the bench, with the proxy's own judge and the check of its API, because beside a TLS handshake nobody
 * could see it.
 */

import { Signer } from '@aws-sdk/rds-signer';
import { SignatureV4 } from '@smithy/signature-v4';
import { authenticate, Sha256 } from '../../src/control/aws/signature.ts';
import { Principals } from '../../src/credential/principals.ts';
import { RateLimiter } from '../../src/credential/rate-limit.ts';
import { Secret } from '../../src/credential/secret.ts';
import { TokenJudge } from '../../src/credential/token-judge.ts';
import { type Bar, figure, type Report } from '../report.ts';
import { median } from '../statistics.ts';
import type { Principal } from '../subject/subject.ts';
import { query } from '../wire/messages.ts';
import { type Credentials, RawClient } from '../wire/raw-client.ts';
import { measureRounds, ROUND_COLUMNS, roundRow, type Workload } from './rounds.ts';
import { type Bench, CLIENTS_MAX, startSubjects, stopSubjects, versionsOf } from './scenario.ts';

const PER_SECOND_MIN = 500;
const CHECK_MICROS_MAX = 200;
const CHECKS = 5_000;
const REGION = 'us-east-1';
const PRINCIPAL: Principal = { accessKeyId: 'AKIABENCH', secretAccessKey: 'of-the-bench' };
/** As long as those of AWS are. */
const SESSION_TOKEN = 'a'.repeat(1_200);

export async function iamConnect(bench: Bench): Promise<Report> {
  const { clients = 16, pool = 16, seconds = 5, rounds, warmup } = bench.options;
  const subjects = await startSubjects({
    bench: { ...bench, options: { ...bench.options, subjects: ['berth'] } },
    names: ['berth'],
    poolSize: pool,
    clientsMax: CLIENTS_MAX,
    principal: PRINCIPAL,
    isIam: true,
  });
  try {
    const measured = await measureRounds(bench, subjects, seconds, withTokens(bench, clients));
    const perSecond = median(
      measured.flatMap(({ samples }) => samples.map((sample) => sample.perSecond)),
    );
    const rate: Bar = {
      name: 'new IAM connections per second',
      isPassed: perSecond >= PER_SECOND_MIN,
      figure: `${figure(perSecond, 0)}, at least ${PER_SECOND_MIN}`,
    };
    return {
      title: `connect with an IAM token, select 1, leave: ${clients} clients, pool of ${pool}, TLS`,
      columns: ROUND_COLUMNS,
      rows: measured.map(roundRow),
      remarks: [
        'Each is a TCP connect, a TLS handshake, a log-in with a token, one select 1 and the end.',
        `Checks of signatures: CPU time of ${CHECKS} in a row, of a warm process.`,
      ],
      bars: [rate, ...(await checkBars())],
      conditions: [
        ...versionsOf(subjects),
        `${rounds} rounds of ${seconds} s after ${warmup} s, the bench's own client`,
      ],
    };
  } finally {
    await stopSubjects(subjects);
  }
}

function withTokens({ database }: Bench, clients: number): Workload {
  return async ({ address: { host, port }, address }, seconds) => {
    const { user } = database.credentials;
    const password = await tokenFor(host, port, user);
    const credentials = { ...database.credentials, password };
    const latenciesMicros: number[] = [];
    const begin = performance.now();
    const end = begin + seconds * 1000;
    const one = async () => {
      for (let now = performance.now(); now < end; now = performance.now()) {
        await connectAndAsk(address, credentials);
        latenciesMicros.push((performance.now() - now) * 1000);
      }
    };
    await Promise.all(Array.from({ length: clients }, one));
    const transactions = latenciesMicros.length;
    const tookSeconds = (performance.now() - begin) / 1000;
    return { transactions, transactionsPerSecond: transactions / tookSeconds, latenciesMicros };
  };
}

async function connectAndAsk(
  address: { readonly host: string; readonly port: number },
  credentials: Credentials,
): Promise<void> {
  const client = await RawClient.connect(address, credentials, true);
  client.send(query('select 1'));
  for (;;) {
    const { type } = await client.receive();
    if (type === 'E') throw new Error('select 1 failed');
    if (type === 'Z') break;
  }
  client.terminate();
}

function tokenFor(hostname: string, port: number, username: string, sessionToken?: string) {
  const session = sessionToken === undefined ? {} : { sessionToken };
  const credentials = { ...PRINCIPAL, ...session };
  return new Signer({ hostname, port, username, region: REGION, credentials }).getAuthToken();
}

async function checkBars(): Promise<readonly Bar[]> {
  const right = await tokenFor('orders.example', 5432, 'app');
  const long = await tokenFor('orders.example', 5432, 'app', SESSION_TOKEN);
  const judge = newJudge();
  const checks: readonly (readonly [string, () => unknown])[] = [
    ['of a token', () => judge(right)],
    [
      'of a wrong token',
      () => judge(right.replace(/X-Amz-Signature=.{8}/, 'X-Amz-Signature=00000000')),
    ],
    ['of a token with a session', () => judge(long)],
    ['of a request to the API', await apiCheck()],
  ];
  const bars: Bar[] = [];
  for (const [name, check] of checks) {
    const micros = await microsOf(check);
    bars.push({
      name: `CPU µs of a check ${name}`,
      isPassed: micros <= CHECK_MICROS_MAX,
      figure: `${figure(micros)}, at most ${CHECK_MICROS_MAX}`,
    });
  }
  return bars;
}

async function microsOf(check: () => unknown): Promise<number> {
  for (let count = 0; count < CHECKS; count++) await check();
  const before = process.cpuUsage();
  for (let count = 0; count < CHECKS; count++) await check();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / CHECKS;
}

function principals(): Principals {
  const { accessKeyId, secretAccessKey } = PRINCIPAL;
  const statement = { Effect: 'Allow', Action: ['*'], Resource: ['*'] } as const;
  return new Principals([
    {
      accessKeyId,
      secretAccessKey: new Secret(secretAccessKey),
      sessionToken: undefined,
      expiresAt: undefined,
      arn: 'arn:aws:iam::000000000000:user/bench',
      statements: [statement],
    },
  ]);
}

function newJudge(): (token: string) => unknown {
  const judge = new TokenJudge({
    principals: principals(),
    limiter: new RateLimiter({ perSource: 1e9, overall: 1e9 }),
    region: REGION,
    resourceOf: (user) => `arn:aws:rds-db:${REGION}:000000000000:dbuser:prx-bench/${user}`,
    hostsOf: () => ['orders.example'],
    now: Date.now,
  });
  const local = { host: '127.0.0.1', port: 5432 };
  return (token) =>
    judge.judge({ user: 'app', token, endpoint: 'default', source: '127.0.0.1', local });
}

async function apiCheck(): Promise<() => unknown> {
  const place = { service: 'rds', region: REGION };
  const body = 'Action=DescribeDBProxies&Version=2014-10-31';
  const signer = new SignatureV4({ ...place, credentials: PRINCIPAL, sha256: Sha256 });
  const { headers } = await signer.sign({
    method: 'POST',
    protocol: 'http:',
    hostname: '127.0.0.1',
    path: '/',
    headers: { host: '127.0.0.1', 'content-type': 'application/x-www-form-urlencoded' },
    body,
  });
  const request = { method: 'POST', path: '/', headers: new Headers(headers), body };
  const known = principals();
  return () => authenticate(request, place, known, Date.now());
}
