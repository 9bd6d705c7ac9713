/**
 * How evenly a crowd is served, from the log of all its transactions. The plain p99 / p50 also has
 * in it how much the machine's speed changed during the round: when it serves half as much for a
 * while, everybody waits twice as long, in the fairest of queues. These two figures leave most of that out.
 */

import { median, percentile, sorted } from './statistics.ts';

/** The answers of one round: how long each took, and when it came. */
export interface Answers {
  readonly latenciesMicros: readonly number[];
  readonly endsMicros: readonly number[];
}

const SECOND_MICROS = 1_000_000;
/** A second at the edge of the round with fewer answers than this says nothing of its hundredth. */
const ANSWERS_MIN = 1_000;

function tailOf(values: readonly number[]): number {
  return percentile(values, 0.99) / percentile(values, 0.5);
}

/** p99 / p50 of the latencies within each second; the median of the seconds. */
export function tailWithinSeconds({ latenciesMicros, endsMicros }: Answers): number {
  const first = endsMicros.reduce((least, end) => Math.min(least, end), Number.POSITIVE_INFINITY);
  const seconds = new Map<number, number[]>();
  latenciesMicros.forEach((latency, index) => {
    const second = Math.floor(((endsMicros[index] ?? first) - first) / SECOND_MICROS);
    const ofSecond = seconds.get(second);
    if (ofSecond === undefined) seconds.set(second, [latency]);
    else ofSecond.push(latency);
  });
  const full = [...seconds.values()].filter((each) => each.length >= ANSWERS_MIN);
  return median(full.map(tailOf));
}

/**
 * p99 / p50 of how many others were answered between a request and its answer: the latency counted
 * in turns of the queue instead of time. In a queue that nobody jumps it is close to 1.
 */
export function tailInTurns({ latenciesMicros, endsMicros }: Answers): number {
  const ordered = sorted(endsMicros);
  const turns = latenciesMicros.map((latency, index) => {
    const end = endsMicros[index] ?? Number.NaN;
    return rankOf(ordered, end) - rankOf(ordered, end - latency);
  });
  return tailOf(turns);
}

/** How many of `ordered` are smaller. */
function rankOf(ordered: readonly number[], value: number): number {
  let low = 0;
  let high = ordered.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((ordered[middle] ?? Number.POSITIVE_INFINITY) < value) low = middle + 1;
    else high = middle;
  }
  return low;
}
