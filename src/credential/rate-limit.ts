/**
 * How much may be asked for per second: by each source, and by all together. A source that has asked for nothing
 * lately may ask for a second's worth at once. Pure, but for what it counts.
 */

/** Sources remembered; beyond these, all that are new share what is left of the whole. */
const SOURCES_MAX = 10_000;

export interface RateLimits {
  /** Per second. */
  readonly perSource: number;
  readonly overall: number;
}

interface Bucket {
  left: number;
  filledAt: number;
}

export class RateLimiter {
  private readonly limits: RateLimits;
  private readonly overall: Bucket;
  private readonly sources = new Map<string, Bucket>();

  constructor(limits: RateLimits) {
    this.limits = limits;
    this.overall = { left: limits.overall, filledAt: 0 };
  }

  /** Whether `source` may go on. `now` is milliseconds, and never goes back. */
  take(source: string, now: number): boolean {
    const { overall, perSource } = this.limits;
    const bucket = this.bucketOf(source, now);
    fill(this.overall, overall, now);
    if (this.overall.left < 1) return false;
    if (bucket !== undefined) {
      fill(bucket, perSource, now);
      if (bucket.left < 1) return false;
      bucket.left--;
    }
    this.overall.left--;
    return true;
  }

  private bucketOf(source: string, now: number): Bucket | undefined {
    const known = this.sources.get(source);
    if (known !== undefined) return known;
    if (this.sources.size >= SOURCES_MAX) this.forgetFull(now);
    if (this.sources.size >= SOURCES_MAX) return undefined;
    const bucket = { left: this.limits.perSource, filledAt: now };
    this.sources.set(source, bucket);
    return bucket;
  }

  /** Who has asked for nothing in the last second is as good as new. */
  private forgetFull(now: number): void {
    for (const [source, bucket] of this.sources) {
      if (now - bucket.filledAt >= 1_000) this.sources.delete(source);
    }
  }
}

function fill(bucket: Bucket, perSecond: number, now: number): void {
  bucket.left = Math.min(perSecond, bucket.left + ((now - bucket.filledAt) / 1_000) * perSecond);
  bucket.filledAt = now;
}
