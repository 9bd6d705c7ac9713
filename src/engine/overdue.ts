/** What ends a client that is silent for too long, or has been there for too long. */

import { BerthError } from '../base/errors.ts';
import type { ClientCloseReason } from '../observe/reasons.ts';
import type { EngineSettings } from './contract.ts';

export interface Overdue {
  readonly reason: ClientCloseReason;
  readonly error: BerthError;
}

/** A client that keeps its database connection waiting. `undefined`: it may take longer. */
export function overdueBorrower(limits: EngineSettings, silentMs: number): Overdue | undefined {
  if (silentMs < limits.borrowedIdleTimeoutMs) return undefined;
  const reason = 'borrowed_idle_timeout';
  const seconds = limits.borrowedIdleTimeoutMs / 1000;
  return { reason, error: new BerthError(reason, { params: { seconds } }) };
}

/** A client of which nothing is in flight. `ageMs`: since it has logged in. */
export function overdueIdler(
  limits: EngineSettings,
  silentMs: number,
  ageMs: number,
): Overdue | undefined {
  if (silentMs >= limits.idleClientTimeoutMs) {
    const seconds = limits.idleClientTimeoutMs / 1000;
    const error = new BerthError('idle_client_timeout', { params: { seconds } });
    return { reason: 'idle_timeout', error };
  }
  if (ageMs < limits.clientLifetimeMs) return undefined;
  const hours = limits.clientLifetimeMs / 3_600_000;
  return { reason: 'lifetime', error: new BerthError('client_lifetime', { params: { hours } }) };
}
