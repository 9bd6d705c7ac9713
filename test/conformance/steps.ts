/** What a conformance case does, whichever way it was written down. */

import type { BackendMessage } from '../harness/backend-messages.ts';

export type Step =
  /** Go on in another session; it is opened when it is first named. */
  | { readonly kind: 'session'; readonly name: string }
  /** End the session and open it anew. */
  | { readonly kind: 'reconnect' }
  /** Write bytes: at once, or in pieces of these lengths. */
  | { readonly kind: 'send'; readonly bytes: Buffer; readonly split: readonly number[] }
  /** Read up to the `count`th message of a type. */
  | { readonly kind: 'until'; readonly type: BackendMessage['type']; readonly count: number }
  /** Read until the connection is closed. */
  | { readonly kind: 'closed' }
  /** Cancel what the session is doing. */
  | { readonly kind: 'cancel' }
  /** A simple query and its whole answer; `copyData` is what a COPY FROM STDIN in it reads. */
  | { readonly kind: 'query'; readonly sql: string; readonly copyData: string | undefined };

export interface Case {
  readonly name: string;
  readonly steps: readonly Step[];
  /** How many database connections the case holds at once. */
  readonly connections: number;
}

/** The value of `pool: N` in the comment that begins a case. */
export function connectionsOf(text: string): number {
  return Number(/^(?:--|#) pool: (\d+)$/m.exec(text)?.[1] ?? 1);
}
