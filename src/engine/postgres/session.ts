/** A client after its login, as the engine sees it, whatever the client came for. */

import type { BerthError } from '../../base/errors.ts';
import type { ClientConnectionId } from '../../base/ids.ts';
import type { SessionDescription } from '../../observe/descriptions.ts';
import type { ClientCloseReason } from '../../observe/reasons.ts';
import type { UserPool } from './user-pool.ts';

/**
 * The process ids that clients are given begin here: above those of any system (2^22 on Linux), so
 * that `pg_terminate_backend` with one of them hits nobody.
 */
const PROCESS_ID_FIRST = 2 ** 30;

/** What a client is told to be its server process. */
export function processIdOf(client: ClientConnectionId): number {
  return PROCESS_ID_FIRST + (client % PROCESS_ID_FIRST);
}

export interface Session {
  readonly id: ClientConnectionId;
  /** Names the session in a CancelRequest. */
  readonly processId: number;
  /** The virtual cancel key: what the client was given in BackendKeyData, as latin1. */
  readonly cancelKey: string;
  readonly isEncrypted: boolean;
  /** The pool that it borrows from, unless it has a connection to itself. */
  readonly userPool: UserPool | undefined;
  readonly isPinned: boolean;
  /** Tells of each statement. */
  isDebugLogged: boolean;
  readonly isHolding: boolean;
  /** What it is now, for people who ask. */
  describe(): SessionDescription;
  /** A CancelRequest with this session's key. `done` when everything that follows from it is over. */
  cancel(done: () => void): void;
  /** Ends the session at the next moment when nothing is in flight. */
  drain(): void;
  /** Ends the session now, after telling the client why. */
  close(reason: ClientCloseReason, error?: BerthError): void;
}
