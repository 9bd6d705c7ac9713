/**
 * When to try again after an attempt to open a connection failed: doubling delays with jitter,
 * forgotten at the first success. Attempts that were under way together count as one failure,
 * otherwise a few parallel ones would jump to the longest delay at once.
 */

import type { OpenFailure, PoolSettings } from './contract.ts';

export class Backoff {
  /** Failed rounds since the last success. */
  failures = 0;
  /** Wheel time before which nothing is tried. */
  retryAt = 0;
  /** Why the last attempt failed; undefined after a success. */
  lastFailure: OpenFailure | undefined = undefined;
  private failedAt = Number.NEGATIVE_INFINITY;

  failed(
    failure: OpenFailure,
    times: { readonly startedAt: number; readonly now: number },
    settings: PoolSettings,
    random: () => number,
  ): void {
    this.lastFailure = failure;
    if (this.failures > 0 && times.startedAt <= this.failedAt) return;
    this.failedAt = times.now;
    this.failures++;
    const grown = settings.backoffFirstMs * 2 ** (this.failures - 1);
    const delayMs = Math.min(grown, settings.backoffMaxMs) * (0.5 + random() / 2);
    // At least 1 ms, so that a later attempt can be told from one of the same round.
    this.retryAt = times.now + Math.max(1, delayMs);
  }

  succeeded(): void {
    this.failures = 0;
    this.retryAt = 0;
    this.lastFailure = undefined;
  }
}
