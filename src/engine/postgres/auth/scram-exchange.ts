/** What both roles of a SCRAM exchange share: how a step ends, how a nonce is made, how a channel is bound. */

import { randomBytes } from 'node:crypto';

export type ScramFailure = 'malformed' | 'wrong_proof';

export type ScramStep =
  | { readonly kind: 'message'; readonly message: Uint8Array }
  | { readonly kind: 'failed'; readonly why: ScramFailure };

export const MALFORMED: ScramStep = { kind: 'failed', why: 'malformed' };
export const WRONG_PROOF: ScramStep = { kind: 'failed', why: 'wrong_proof' };

/** The only channel binding that PostgreSQL has, RFC 5929 section 4: a hash of the certificate. */
export const TLS_SERVER_END_POINT = 'tls-server-end-point';

/** As many random bytes as PostgreSQL's SCRAM_RAW_NONCE_LEN. */
const NONCE_BYTES = 18;

export function randomNonce(): string {
  return randomBytes(NONCE_BYTES).toString('base64');
}
