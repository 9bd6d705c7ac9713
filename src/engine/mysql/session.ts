/** A client after its login, as the engine sees it. */

import type { BerthError } from '../../base/errors.ts';
import type { ClientConnectionId } from '../../base/ids.ts';
import type { SessionDescription } from '../../observe/descriptions.ts';
import type { ClientCloseReason } from '../../observe/reasons.ts';
import type { UserPool } from './user-pool.ts';

/**
 * The numbers that clients are given begin here, far above those of a server's own threads: so that KILL
 * with one of them hits nobody else, also not past the proxy.
 */
const THREAD_ID_FIRST = 2 ** 30;

let lastThread = 0;

/** What the next client is told to be its thread. */
export function nextThreadId(): number {
  lastThread = (lastThread + 1) % THREAD_ID_FIRST;
  return THREAD_ID_FIRST + lastThread;
}

export interface Session {
  readonly id: ClientConnectionId;
  /** The number in its greeting, which KILL names. */
  readonly threadId: number;
  readonly isEncrypted: boolean;
  /** The pool that it borrows from. */
  readonly userPool: UserPool;
  readonly isPinned: boolean;
  /** Tells of each statement. */
  isDebugLogged: boolean;
  readonly isHolding: boolean;
  /** What it is now, for people who ask. */
  describe(): SessionDescription;
  /** Somebody kills what it runs. `done` when everything that follows from it is over. */
  cancel(done: () => void): void;
  /** Ends the session at the next moment when nothing is in flight. */
  drain(): void;
  /** Ends the session now, after telling the client why. */
  close(reason: ClientCloseReason, error?: BerthError): void;
}
