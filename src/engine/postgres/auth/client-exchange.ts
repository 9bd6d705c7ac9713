/**
 * One way of asking a client for its password, SCRAM or MD5, as `ClientAuthenticator` uses it: a
 * body that opens the exchange, then a step for each response until one is not `continue`.
 */

import type { LoginFailure } from '../../token-login.ts';

export type { LoginFailure };

export type Step =
  /** Send `body` as an `R` message and wait for the next `p`. */
  | { readonly kind: 'continue'; readonly body: Uint8Array }
  /** The client is who it says. Send `final`, if any, as an `R` message, then AuthenticationOk. */
  | { readonly kind: 'done'; readonly final: Uint8Array | undefined }
  | { readonly kind: 'failed'; readonly why: LoginFailure };

/** One way of asking for a password. */
export interface ClientExchange {
  readonly responseBytesMax: number;
  begin(): Uint8Array;
  respond(body: Uint8Array): Step | Promise<Step>;
}
