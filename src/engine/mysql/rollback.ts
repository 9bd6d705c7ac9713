/** Whether a command is a COM_QUERY that does nothing but roll back. */

import { COM_QUERY } from './wire/capabilities.ts';
import { queryTextAt } from './wire/commands.ts';
import { HEADER_BYTES, payloadLengthAt } from './wire/packets.ts';

const ROLLBACK = /^\s*(?:\/\*[^*!]*\*\/\s*)?rollback(?:\s+work)?\s*;?\s*$/i;
/** A text that is one is not longer. */
const TEXT_MAX = 200;

/** The command is the one that `bytes` begin with. */
export function isRollback(bytes: Buffer, capabilities: number): boolean {
  const end = HEADER_BYTES + payloadLengthAt(bytes, 0);
  if (bytes[HEADER_BYTES] !== COM_QUERY || end > bytes.length) return false;
  const textAt = queryTextAt(bytes, HEADER_BYTES, end, capabilities);
  if (textAt < 0 || end - textAt > TEXT_MAX) return false;
  return ROLLBACK.test(bytes.toString('latin1', textAt, end));
}
