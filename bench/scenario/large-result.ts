/**
 * A gibibyte in each direction through a proxy that must not keep it: a reader that stops in the
 * middle of a large result, then a COPY that comes faster than the database takes it. What counts
 * is how far the proxy's resident set rises above where it was.
 */

import { numberFrom } from '../database.ts';
import { peakResidentBytesOf, resetPeakOf, residentBytesOf } from '../process-usage.ts';
import { type Bar, mebibytes, type Report } from '../report.ts';
import type { Subject } from '../subject/subject.ts';
import { copyData, copyDone, query } from '../wire/messages.ts';
import { RawClient, ServerError } from '../wire/raw-client.ts';
import { type Bench, CLIENTS_MAX, startSubjects, stopSubjects, versionsOf } from './scenario.ts';

const MIB = 1024 ** 2;
const GROWTH_BYTES_MAX = 32 * MIB;
const STALL_MS = 8_000;
const SETTLE_MS = 2_000;
const COPY_ROW_LENGTH = 65_536;
const READ_DEADLINE_MS = 120_000;

interface Outcome {
  readonly subject: Subject;
  readonly readGrowth: number;
  /** At the end of the stall: what the proxy holds for a reader that does not read. */
  readonly stalledGrowth: number;
  readonly copyGrowth: number;
  readonly readSeconds: number;
  readonly copySeconds: number;
  readonly areBytesComplete: boolean;
}

export async function largeResult(bench: Bench): Promise<Report> {
  const { mebibytes: size, pool = 4 } = bench.options;
  const subjects = await startSubjects({
    bench,
    names: ['pgbouncer', 'berth'],
    poolSize: pool,
    clientsMax: CLIENTS_MAX,
  });
  try {
    const outcomes: Outcome[] = [];
    for (const subject of subjects) outcomes.push(await measure(bench, subject));
    return {
      title: `${size} MiB to a reader that stalls, then ${size} MiB of COPY in`,
      columns: ['subject', 'growth MiB stalled', 'reading', 's', 'copying', 's', 'complete'],
      rows: outcomes.map(rowOf),
      remarks: [`The reader stops for ${STALL_MS / 1000} s after the first bytes.`],
      bars: outcomes.flatMap(barsOf),
      conditions: versionsOf(subjects),
    };
  } finally {
    await stopSubjects(subjects);
  }
}

async function measure(bench: Bench, subject: Subject): Promise<Outcome> {
  const { pid, address } = subject;
  if (pid === undefined) throw new Error('large-result needs a proxy');
  const size = bench.options.mebibytes;
  const warmUp = await RawClient.connect(address, bench.database.credentials);
  await readStalling(warmUp, { size: 64, stallMs: 0, stalled: () => undefined });
  warmUp.terminate();
  await Bun.sleep(SETTLE_MS);

  bench.say(`${subject.name}: reading ${size} MiB`);
  const before = residentBytesOf(pid);
  let stalledBytes = before;
  const reading = await growthDuring(pid, async () => {
    const client = await RawClient.connect(address, bench.database.credentials);
    const stalled = () => {
      stalledBytes = residentBytesOf(pid);
    };
    const received = await readStalling(client, { size, stallMs: STALL_MS, stalled });
    client.terminate();
    return received;
  });
  bench.say(`${subject.name}: copying ${size} MiB`);
  await bench.database.admin.query(
    'drop table if exists large; create unlogged table large (line text); alter table large owner to bench',
  );
  const copying = await growthDuring(pid, async () => {
    const client = await RawClient.connect(address, bench.database.credentials);
    await copyIn(client, size);
    client.terminate();
  });
  const rows = await numberFrom(
    bench.database,
    'select count(*) from large where length(line) = $1',
    [COPY_ROW_LENGTH - 1],
  );
  await bench.database.admin.query('drop table large');
  const isReadComplete = reading.result > size * MIB;
  const isCopyComplete = rows === (size * MIB) / COPY_ROW_LENGTH;
  return {
    subject,
    stalledGrowth: stalledBytes - before,
    readGrowth: reading.growth,
    copyGrowth: copying.growth,
    readSeconds: reading.seconds,
    copySeconds: copying.seconds,
    areBytesComplete: isReadComplete && isCopyComplete,
  };
}

async function growthDuring<Result>(
  pid: number,
  doing: () => Promise<Result>,
): Promise<{ growth: number; seconds: number; result: Result }> {
  resetPeakOf(pid);
  const before = residentBytesOf(pid);
  const started = Date.now();
  const result = await doing();
  const seconds = (Date.now() - started) / 1000;
  return { growth: peakResidentBytesOf(pid) - before, seconds, result };
}

interface StallingRead {
  /** Mebibytes. */
  readonly size: number;
  readonly stallMs: number;
  /** Called at the end of the stall. */
  stalled(): void;
}

/** Asks for rows of a mebibyte, stops after the first bytes, then reads on; returns bytes received. */
function readStalling(client: RawClient, request: StallingRead): Promise<number> {
  const { size, stallMs, stalled } = request;
  // ReadyForQuery is the last message and never part of a row of the letter x.
  const ready = Buffer.from([0x5a, 0, 0, 0, 5, 0x49]);
  return new Promise((resolve, reject) => {
    let received = 0;
    let tail = Buffer.alloc(0);
    const deadline = setTimeout(() => {
      client.reset();
      reject(new Error(`only ${received} bytes came`));
    }, READ_DEADLINE_MS + stallMs);
    client.onBytes = (chunk) => {
      if (received === 0 && stallMs > 0) {
        client.pause();
        setTimeout(() => {
          stalled();
          client.resume();
        }, stallMs);
      }
      received += chunk.length;
      tail = Buffer.concat([tail, chunk.subarray(-ready.length)]).subarray(-ready.length);
      if (!tail.equals(ready)) return;
      clearTimeout(deadline);
      client.onBytes = undefined;
      resolve(received);
    };
    client.send(query(`select repeat('x', ${MIB}) from generate_series(1, ${size})`));
  });
}

async function copyIn(client: RawClient, size: number): Promise<void> {
  const line = copyData(Buffer.from(`${'x'.repeat(COPY_ROW_LENGTH - 1)}\n`));
  client.send(query('copy large from stdin'));
  await receiveUntil(client, 'G');
  for (let left = (size * MIB) / COPY_ROW_LENGTH; left > 0; left--) {
    client.send(line);
    await client.flushed();
  }
  client.send(copyDone());
  await receiveUntil(client, 'Z');
}

async function receiveUntil(client: RawClient, type: string): Promise<void> {
  for (;;) {
    const frame = await client.receive();
    if (frame.type === 'E') throw new ServerError(frame.body);
    if (frame.type === type) return;
  }
}

function rowOf(outcome: Outcome): string[] {
  return [
    outcome.subject.name,
    mebibytes(outcome.stalledGrowth),
    mebibytes(outcome.readGrowth),
    outcome.readSeconds.toFixed(1),
    mebibytes(outcome.copyGrowth),
    outcome.copySeconds.toFixed(1),
    outcome.areBytesComplete ? 'yes' : 'NO',
  ];
}

function barsOf({ subject, readGrowth, copyGrowth, areBytesComplete }: Outcome): Bar[] {
  if (subject.name !== 'berth') return [];
  const most = `under ${mebibytes(GROWTH_BYTES_MAX)} MiB`;
  return [
    {
      name: 'growth while a reader stalls',
      isPassed: readGrowth < GROWTH_BYTES_MAX,
      figure: `${mebibytes(readGrowth)} MiB, ${most}`,
    },
    {
      name: 'growth during COPY in',
      isPassed: copyGrowth < GROWTH_BYTES_MAX,
      figure: `${mebibytes(copyGrowth)} MiB, ${most}`,
    },
    {
      name: 'every byte arrived',
      isPassed: areBytesComplete,
      figure: areBytesComplete ? 'yes' : 'no',
    },
  ];
}
