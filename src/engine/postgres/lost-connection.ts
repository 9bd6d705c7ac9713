/** What a client is told when the database connection that it uses is lost, and it goes on. */

import { BerthError } from '../../base/errors.ts';
import type { OwedAfterLoss } from './ledger.ts';
import { errorResponse, lastWordAsError, READY_FAILED, READY_IDLE } from './wire/backend.ts';
import { queryMessage } from './wire/frontend.ts';

/**
 * Makes a failed transaction of the one that was lost: there is no such savepoint. Its name is for those
 * who find it in the log of the database.
 */
export const FAILED_TRANSACTION = queryMessage(
  'BEGIN; ROLLBACK TO SAVEPOINT "berth: the transaction was lost with its connection"',
);

/** The error of the database, if it has said why, in the severity of one that the client outlives. */
export function lostError(
  code: 'request_lost' | 'transaction_lost',
  lastWord: Uint8Array | undefined,
): Uint8Array {
  const error = new BerthError(code);
  if (lastWord === undefined) return errorResponse('ERROR', error);
  return lastWordAsError(lastWord, error.message);
}

/** A transaction was open before all that was lost, and is for the client behind it. */
interface Openness {
  readonly wasOpen: boolean;
  readonly isOpen: boolean;
}

export function repliesAfterLoss(
  replies: OwedAfterLoss['replies'],
  error: Uint8Array,
  { wasOpen, isOpen }: Openness,
): Buffer {
  const lastReady = replies.lastIndexOf('ready');
  const messages = replies.map((reply, at) => {
    if (reply === 'error') return error;
    return (at === lastReady ? isOpen : wasOpen || isOpen) ? READY_FAILED : READY_IDLE;
  });
  return Buffer.concat(messages);
}
