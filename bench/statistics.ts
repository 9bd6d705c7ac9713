/** Order statistics. An empty list has none: the result is NaN, which reports print as a dash. */

export function sorted(values: readonly number[]): number[] {
  return [...values].sort((a, b) => a - b);
}

/** `share` is between 0 and 1; nearest rank. */
export function percentile(values: readonly number[], share: number): number {
  const ordered = sorted(values);
  const rank = Math.max(Math.ceil(share * ordered.length), 1);
  return ordered[rank - 1] ?? Number.NaN;
}

export function median(values: readonly number[]): number {
  const ordered = sorted(values);
  const middle = Math.floor(ordered.length / 2);
  const upper = ordered[middle] ?? Number.NaN;
  if (ordered.length % 2 === 1) return upper;
  return ((ordered[middle - 1] ?? Number.NaN) + upper) / 2;
}

export interface Spread {
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

export function spreadOf(values: readonly number[]): Spread {
  return { median: median(values), min: percentile(values, 0), max: percentile(values, 1) };
}
