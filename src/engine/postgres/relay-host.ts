/** What the parts of the relay have in common: the session as they see it, and what they answer. */

import type { PinReason } from '../../observe/reasons.ts';
import type { Effects } from '../../sql/postgres/effects.ts';
import type { StringSyntax } from '../../sql/postgres/scanner.ts';
import type { BoundParameters } from './wire/bound-parameters.ts';

/** The session, as the relay sees it. */
export interface RelayHost {
  /**
   * Borrows a connection and calls `Relay.attach`; or returns false, and has kept `rest` for later or has
   * answered the message that it begins with and seen to the others.
   */
  acquire(rest: Buffer): boolean;
  /** Keeps `rest` until the database has answered more. */
  wait(rest: Buffer): void;
  terminated(): void;
  violated(what: string): void;
  /** Something happened that ties the session to its connection. `text` is the statement. */
  pin(reason: PinReason, text: Uint8Array): void;
  /**
   * A statement with `effects` is about to run. `text` is empty when it was not kept. `parameters` are
   * good until this returns.
   */
  suspect(effects: Effects, text: Uint8Array, parameters?: BoundParameters): void;
  /** A DISCARD ALL is about to run. */
  discarding(): void;
  requested(): void;
  /** Something of this session alone may be on the connection. */
  readonly mayHaveLeft: boolean;
  /** How the database reads string constants. */
  readonly stringSyntax: StringSyntax;
  /** The client listens by way of a hub, and has to be told what it runs. */
  readonly isListening: boolean;
  /** A LISTEN is about to be sent. Returns false when it has to wait, for a hub or for an answer. */
  mayListen(text: string): boolean;
  /** A listening client's text is about to be run. */
  running(text: string): void;
  /** Debug logging is on, and has to be told what runs. */
  readonly isDebugLogged: boolean;
  /** A statement is about to be sent. Of one that is too large to be kept this is the beginning. */
  sending(text: Uint8Array): void;
  /** A Sync ended the skipping that `Relay.skip` began. */
  skipped(): void;
}

/** Instead of where the next run of bytes begins: the message cannot go yet, and nothing of it was noted. */
export const WAIT = -1;
/** The same, and what was before the message has been emitted. */
export const WAIT_FOR_CHECK = -2;
