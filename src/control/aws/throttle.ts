/**
 * How many requests the APIs take: what they do is done by the same process that serves clients, so nobody
 * may keep it busy. Each caller has a bucket of its own, so that one does not lock out another.
 */

import { Fault } from './fault.ts';

/** Per second and caller; as many as the API is measured with, twice. */
export const REQUESTS_PER_S = 200;
/** What a caller who was quiet may send at once. */
export const BURST_MAX = 400;
/** Callers; beyond it all begin anew, with full buckets. */
const CALLERS_MAX = 10_000;

interface Bucket {
  left: number;
  filledAt: number;
}

export class Throttle {
  private readonly now: () => number;
  private readonly buckets = new Map<string, Bucket>();

  /** Milliseconds. */
  constructor(now: () => number = () => performance.now()) {
    this.now = now;
  }

  /** Throws `Fault` when `caller` has to wait. */
  admit(caller: string): void {
    const now = this.now();
    const bucket = this.bucketOf(caller, now);
    const filled = bucket.left + ((now - bucket.filledAt) / 1_000) * REQUESTS_PER_S;
    bucket.left = Math.min(BURST_MAX, filled);
    bucket.filledAt = now;
    if (bucket.left < 1) throw new Fault('Throttling', 'Rate exceeded');
    bucket.left--;
  }

  private bucketOf(caller: string, now: number): Bucket {
    const known = this.buckets.get(caller);
    if (known !== undefined) return known;
    if (this.buckets.size >= CALLERS_MAX) this.buckets.clear();
    const bucket = { left: BURST_MAX, filledAt: now };
    this.buckets.set(caller, bucket);
    return bucket;
  }
}
