/**
 * What a client that does nothing costs in memory, and whether a crowd of them disturbs those that
 * work. Memory is the growth of the proxy's resident set; a first small crowd comes and goes before,
 * so that what a process needs once is not charged to the clients.
 */

import { cpuMicrosOf, residentBytesOf } from '../process-usage.ts';
import { type Bar, figure, mebibytes, type Report } from '../report.ts';
import type { Subject } from '../subject/subject.ts';
import { columnsOf } from '../wire/frames.ts';
import { query } from '../wire/messages.ts';
import { RawClient, ServerError } from '../wire/raw-client.ts';
import { type Bench, CLIENTS_MAX, startSubjects, stopSubjects, versionsOf } from './scenario.ts';

const BYTES_PER_CLIENT_MAX = 3 * 1024;
const TLS_BYTES_PER_CLIENT_MAX = 12 * 1024;
const WORKING_CLIENTS = 500;
const CONNECTING_AT_ONCE = 50;
/** As many as make a heap that is not new any more. */
const WARM_UP_CLIENTS = 1_500;
const SETTLE_MS = 3_000;
const WORK_DEADLINE_MS = 30_000;

interface Outcome {
  readonly subject: Subject;
  readonly bytesPerClient: number;
  readonly residentBytes: readonly number[];
  readonly queries: number;
  readonly microsPerQuery: number;
  readonly errors: readonly string[];
}

export async function idleMemory(bench: Bench): Promise<Report> {
  const { clients = 5_000, pool = 20, seconds = 10 } = bench.options;
  const subjects = await startSubjects({
    bench,
    names: ['pgbouncer', 'floor', 'berth'],
    poolSize: pool,
    clientsMax: CLIENTS_MAX,
  });
  try {
    const outcomes: Outcome[] = [];
    for (const subject of subjects) outcomes.push(await measure(bench, subject));
    const bytesMax = bench.tls ? TLS_BYTES_PER_CLIENT_MAX : BYTES_PER_CLIENT_MAX;
    return {
      title: `${clients} clients, ${WORKING_CLIENTS} of them working, pool of ${pool}, ${bench.tls ? 'TLS' : 'plain'}`,
      columns: [
        'subject',
        'bytes per idle client',
        'MiB before',
        'idle',
        'working',
        'queries/s',
        'CPU µs',
        'errors',
      ],
      rows: outcomes.map((outcome) => rowOf(outcome, seconds)),
      remarks: [
        `Resident set ${SETTLE_MS / 1000} s after the last change; the kernel's own memory is not in it.`,
      ],
      bars: outcomes.flatMap((outcome) => barsOf(outcome, bytesMax)),
      conditions: versionsOf(subjects),
    };
  } finally {
    await stopSubjects(subjects);
  }
}

async function measure(bench: Bench, subject: Subject): Promise<Outcome> {
  const { clients: count = 5_000, seconds = 10 } = bench.options;
  const { pid } = subject;
  if (pid === undefined) throw new Error('idle-memory needs a proxy');
  const errors: string[] = [];
  bench.say(`${subject.name}: warm-up with ${WARM_UP_CLIENTS} clients`);
  const first = await connectMany(subject, bench, WARM_UP_CLIENTS, errors);
  await work(first, 1, errors);
  for (const client of first) client.terminate();
  await Bun.sleep(SETTLE_MS);
  const before = residentBytesOf(pid);
  bench.say(`${subject.name}: ${count} clients`);
  const clients = await connectMany(subject, bench, count, errors);
  await Bun.sleep(SETTLE_MS);
  const idle = residentBytesOf(pid);
  bench.say(`${subject.name}: ${WORKING_CLIENTS} of them work for ${seconds} s`);
  const cpuBefore = cpuMicrosOf(pid);
  const queries = await work(clients.slice(0, WORKING_CLIENTS), seconds, errors);
  const microsPerQuery = (cpuMicrosOf(pid) - cpuBefore) / queries;
  const working = residentBytesOf(pid);
  const ended = clients.filter((client) => client.hasEnded).length;
  if (ended > 0) errors.push(`${ended} clients were disconnected`);
  for (const client of clients) client.terminate();
  await Bun.sleep(SETTLE_MS);
  for (const error of new Set(errors)) bench.say(`${subject.name}: ${error}`);
  const bytesPerClient = (idle - before) / count;
  return {
    subject,
    bytesPerClient,
    residentBytes: [before, idle, working],
    queries,
    microsPerQuery,
    errors,
  };
}

async function connectMany(
  { address }: Subject,
  { database, tls }: Bench,
  count: number,
  errors: string[],
): Promise<RawClient[]> {
  const clients: RawClient[] = [];
  let started = 0;
  const worker = async () => {
    while (started < count) {
      started++;
      try {
        clients.push(await RawClient.connect(address, database.credentials, tls !== undefined));
      } catch (error) {
        errors.push(`connect: ${error instanceof Error ? error.message : String(error)}`);
      }
    }
  };
  await Promise.all(Array.from({ length: CONNECTING_AT_ONCE }, worker));
  return clients;
}

/** Lets all of the clients ask, one query after the other; returns how many were answered. */
async function work(
  clients: readonly RawClient[],
  seconds: number,
  errors: string[],
): Promise<number> {
  let answered = 0;
  const end = Date.now() + seconds * 1000;
  const one = async (client: RawClient, index: number) => {
    try {
      for (let count = 0; Date.now() < end; count++) {
        await ask(client, `${index}.${count}`);
        answered++;
      }
    } catch (error) {
      errors.push(`query: ${error instanceof Error ? error.message : String(error)}`);
    }
  };
  const watchdog = setTimeout(
    () => {
      for (const client of clients) client.reset();
    },
    seconds * 1000 + WORK_DEADLINE_MS,
  );
  await Promise.all(clients.map(one));
  clearTimeout(watchdog);
  return answered;
}

async function ask(client: RawClient, marker: string): Promise<void> {
  client.send(query(`select '${marker}'`));
  for (;;) {
    const { type, body } = await client.receive();
    if (type === 'E') throw new ServerError(body);
    if (type === 'D' && columnsOf(body)[0] !== marker) throw new Error("another client's row");
    if (type === 'Z') return;
  }
}

function rowOf(outcome: Outcome, seconds: number): string[] {
  return [
    outcome.subject.name,
    figure(outcome.bytesPerClient, 0),
    ...outcome.residentBytes.map(mebibytes),
    figure(outcome.queries / seconds, 0),
    figure(outcome.microsPerQuery),
    String(outcome.errors.length),
  ];
}

function barsOf({ subject, bytesPerClient, errors }: Outcome, bytesMax: number): Bar[] {
  if (subject.name !== 'berth') return [];
  return [
    {
      name: 'memory per idle client',
      isPassed: bytesPerClient <= bytesMax,
      figure: `${figure(bytesPerClient, 0)} bytes, at most ${bytesMax}`,
    },
    { name: 'no error', isPassed: errors.length === 0, figure: `${errors.length} errors` },
  ];
}
