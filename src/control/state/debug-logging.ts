/**
 * Until when DebugLogging is on: RDS Proxy switches it off by itself after a day. For proxies of the file the state
 * directory keeps when the file first said so, and forgets it when the file does not say so any more.
 */

import type { Configuration } from '../config-file.ts';
import { declaredId } from './arns.ts';
import type { ProxyRecord, StateRecord } from './records.ts';
import type { Change } from './state-store.ts';

const DEBUG_LOGGING_MS = 24 * 3_600_000;

/** What becomes of `before`, the time at which it ends, when somebody says that it is to be `isOn`. */
export function debugLoggingUntil(
  isOn: boolean | undefined,
  before: string | undefined,
  now = Date.now(),
): string | undefined {
  if (isOn === undefined) return before;
  if (!isOn) return undefined;
  // It is on for a day from when it was switched on, however often it is said again.
  return isDebugLogging(before, now) ? before : new Date(now + DEBUG_LOGGING_MS).toISOString();
}

export function isDebugLogging(until: ProxyRecord['debugLoggingUntil'], now = Date.now()): boolean {
  return until !== undefined && Date.parse(until) > now;
}

/** What has to be kept, and what not any more, so that `until` is right for `configuration`. */
export function debugLoggingChanges(
  { debugLoggedProxies }: Configuration,
  records: readonly StateRecord[],
): readonly Change[] {
  const wanted = new Set([...debugLoggedProxies].map((name) => declaredId('proxy', name)));
  const kept = records.filter((record) => record.kind === 'debug-logging');
  const isKept = new Set(kept.map(({ id }) => id));
  const until = new Date(Date.now() + DEBUG_LOGGING_MS).toISOString();
  return [
    ...kept.filter(({ id }) => !wanted.has(id)).map((remove) => ({ remove })),
    ...[...wanted]
      .filter((id) => !isKept.has(id))
      .map((id) => ({ put: { kind: 'debug-logging' as const, id, until } })),
  ];
}
