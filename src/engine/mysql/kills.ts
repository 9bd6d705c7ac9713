/**
 * KILL and COM_PROCESS_KILL of the proxy's own clients, by the numbers in their greetings. As a server
 * does: one's own connections, and nobody else's.
 */

import { BerthError } from '../../base/errors.ts';
import { isOneStatement, killTargetsIn } from '../../sql/mysql/classify.ts';
import type { Syntax } from '../../sql/mysql/syntax.ts';
import type { Session } from './session.ts';

/** From KILL to before the number, at the end of a text. */
const KILL_WORDS = /\bkill(?:\s+(?:hard|soft))?(?:\s+(?:connection|query))?\s+$/i;
const QUERY = /\bquery\b/i;
/** Is answered as KILL is, and leaves as much behind: nothing. */
const NOTHING = 'do 0';

export interface Kill {
  readonly id: number;
  readonly isQueryOnly: boolean;
  /** Where it stands when the text has other statements too: those are for the database. */
  readonly among: { readonly from: number; readonly to: number } | undefined;
}

/** What a text kills, if that is a number that `isOurs`; the first of several. */
export function killIn(
  bytes: Buffer,
  from: number,
  to: number,
  syntax: Syntax,
  isOurs: (id: number) => boolean,
): Kill | undefined {
  for (const target of killTargetsIn(bytes, from, to, syntax)) {
    const numberAt = from + target.from;
    const end = from + target.to;
    const id = Number(bytes.toString('latin1', numberAt, end));
    if (!isOurs(id)) continue;
    const before = bytes.toString('latin1', from, numberAt);
    if (isOneStatement(bytes, from, to, syntax)) {
      return { id, isQueryOnly: QUERY.test(before), among: undefined };
    }
    const words = KILL_WORDS.exec(before);
    // With a comment in it the server is asked, who knows no such number.
    if (words === null) continue;
    const among = { from: from + words.index, to: end };
    return { id, isQueryOnly: QUERY.test(words[0]), among };
  }
  return undefined;
}

/** Puts a statement that does nothing in the place of a KILL that is done. */
export function replaceKill(bytes: Buffer, from: number, to: number): void {
  bytes.fill(' ', from, to);
  bytes.write(NOTHING, from, 'latin1');
}

/** `killer` kills `target`, which is the one with that number. Returns what it is told instead of OK. */
export function kill(
  killer: Session,
  target: Session | undefined,
  { id, isQueryOnly }: Pick<Kill, 'id' | 'isQueryOnly'>,
): BerthError | undefined {
  if (target === undefined) return new BerthError('thread_unknown', { params: { id } });
  if (target.userPool.pool.key.user !== killer.userPool.pool.key.user) {
    return new BerthError('thread_not_owned', { params: { id } });
  }
  if (isQueryOnly) {
    if (target === killer) return new BerthError('query_canceled');
    target.cancel(() => {});
  } else if (target === killer) {
    target.close('client_request', new BerthError('query_canceled'));
  } else {
    // A killed connection just ends.
    target.close('killed');
  }
  return undefined;
}
