/**
 * KILL and COM_PROCESS_KILL of the proxy's own clients, by the numbers in their greetings. As a server
 * does: one's own connections, and nobody else's.
 */

import { BerthError } from '../../base/errors.ts';
import { killTargetsIn } from '../../sql/mysql/classify.ts';
import type { Syntax } from '../../sql/mysql/syntax.ts';
import type { Session } from './session.ts';

/** Between KILL and the number, other words but HARD and SOFT. */
const KILL_QUERY = /\bquery\b/i;

export interface Kill {
  readonly id: number;
  readonly isQueryOnly: boolean;
}

/** What a text kills, if that is one number. */
export function killIn(bytes: Buffer, from: number, to: number, syntax: Syntax): Kill | undefined {
  const [target, ...others] = killTargetsIn(bytes, from, to, syntax);
  if (target === undefined || others.length > 0) return undefined;
  const id = Number(bytes.toString('latin1', from + target.from, from + target.to));
  const isQueryOnly = KILL_QUERY.test(bytes.toString('latin1', from, from + target.from));
  return { id, isQueryOnly };
}

/** `killer` kills `target`, which is the one with that number. Returns what it is told instead of OK. */
export function kill(
  killer: Session,
  target: Session | undefined,
  { id, isQueryOnly }: Kill,
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
