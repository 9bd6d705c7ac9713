/**
 * Statements after which a reason to keep the connection is gone, whatever there was of its kind. Each has
 * to be the whole text and to have succeeded. What the connection still has beside that goes with a reset
 * before anybody else gets it, so only the session's own needs count here.
 */

import type { PinReason } from '../../observe/reasons.ts';

const CLEARING: readonly (readonly [text: RegExp, reason: PinReason])[] = [
  [/^\s*unlock\s+tables?\s*;?\s*$/i, 'table_lock'],
  [/^\s*(?:select|do)\s+release_all_locks\s*\(\s*\)\s*;?\s*$/i, 'user_level_lock'],
  [/^\s*xa\s+(?:commit|rollback)\s[^;]*;?\s*$/i, 'xa'],
];

/** What `text`, which went well, has taken away. */
export function clearedBy(text: string): PinReason | undefined {
  return CLEARING.find(([pattern]) => pattern.test(text))?.[1];
}
