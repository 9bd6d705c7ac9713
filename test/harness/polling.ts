/** For what has no event to wait for: looks again and again, until a deadline. */

import type { Berth } from './berth.ts';
import { EVENT_DEADLINE_MS } from './deadline.ts';

const LOOK_AGAIN_MS = 10;

/** Resolves with the first defined answer of `look`. */
export async function eventually<T>(
  look: () => T | undefined | Promise<T | undefined>,
  what: string,
  deadlineMs = EVENT_DEADLINE_MS,
): Promise<T> {
  const deadline = performance.now() + deadlineMs;
  for (;;) {
    const answer = await look();
    if (answer !== undefined) return answer;
    if (performance.now() > deadline) throw new Error(`not within ${deadlineMs} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, LOOK_AGAIN_MS));
  }
}

/** Resolves when a metric of the proxy, summed over the labels that are not given, has this value. */
export async function untilMetric(
  berth: Berth,
  name: string,
  value: number,
  labels: Readonly<Record<string, string>> = {},
): Promise<void> {
  const look = async () => ((await berth.metric(name, labels)) === value ? true : undefined);
  await eventually(look, `${name} is ${value}`);
}
