/**
 * SCRAM-SHA-256 as the side that knows a verifier: towards clients. RFC 5802 and 7677, and where
 * they leave room, src/backend/libpq/auth-scram.c: the user name inside the exchange is ignored.
 * One object for one login; each method is called once and in order, anything else is malformed.
 * With a mock verifier the exchange runs to its end and fails there.
 */

import {
  MALFORMED,
  randomNonce,
  type ScramStep,
  TLS_SERVER_END_POINT,
  WRONG_PROOF,
} from './scram-exchange.ts';
import {
  authMessageOf,
  bindingInput,
  bytesOf,
  type ClientFirst,
  readClientFinal,
  readClientFirst,
  SCRAM_SHA_256_PLUS,
  type ScramMechanism,
  textOf,
  writeServerFinal,
  writeServerFirst,
} from './scram-message.ts';
import type { ScramVerifier } from './scram-verifiers.ts';

export interface ScramServerOptions {
  readonly verifier: ScramVerifier;
  /** The one that the client chose among those that it was offered. */
  readonly mechanism: ScramMechanism;
  /** The hash of our certificate if SCRAM-SHA-256-PLUS was offered, else absent. */
  readonly serverEndPoint?: Uint8Array | undefined;
  readonly nonce?: string;
}

type State =
  | { readonly kind: 'new' }
  | {
      readonly kind: 'started';
      readonly clientFirst: ClientFirst;
      readonly serverFirst: string;
      readonly nonce: string;
    }
  | { readonly kind: 'over' };

const OVER: State = { kind: 'over' };

export class ScramServer {
  readonly #verifier: ScramVerifier;
  readonly #mechanism: ScramMechanism;
  readonly #serverEndPoint: Uint8Array | undefined;
  readonly #nonce: string;
  #state: State = { kind: 'new' };

  constructor(options: ScramServerOptions) {
    this.#verifier = options.verifier;
    this.#mechanism = options.mechanism;
    this.#serverEndPoint = options.serverEndPoint;
    this.#nonce = options.nonce ?? randomNonce();
  }

  /** Takes client-first, answers server-first. */
  start(message: Uint8Array): ScramStep {
    const isExpected = this.#state.kind === 'new';
    this.#state = OVER;
    const clientFirst = isExpected ? readClientFirst(textOf(message) ?? '') : undefined;
    if (clientFirst === undefined || !this.#isBindingAllowed(clientFirst)) return MALFORMED;
    const { salt, iterations } = this.#verifier;
    const nonce = clientFirst.nonce + this.#nonce;
    const serverFirst = writeServerFirst(nonce, salt, iterations);
    this.#state = { kind: 'started', clientFirst, serverFirst, nonce };
    return { kind: 'message', message: bytesOf(serverFirst) };
  }

  /** Takes client-final, answers server-final. */
  finish(message: Uint8Array): ScramStep {
    const state = this.#state;
    this.#state = OVER;
    const final = readClientFinal(textOf(message) ?? '');
    if (state.kind !== 'started' || final === undefined) return MALFORMED;
    if (final.nonce !== state.nonce) return MALFORMED;
    if (final.binding !== this.#expectedBinding(state.clientFirst)) return MALFORMED;
    return this.#check(state.clientFirst.bare, state.serverFirst, final);
  }

  #check(
    clientFirstBare: string,
    serverFirst: string,
    final: { readonly withoutProof: string; readonly proof: Uint8Array },
  ): ScramStep {
    const { keys, otherKeys = [], isMock } = this.#verifier;
    const authMessage = authMessageOf(clientFirstBare, serverFirst, final.withoutProof);
    const proven = [keys, ...otherKeys].find((each) => each.isProvenBy(final.proof, authMessage));
    if (proven === undefined || isMock) return WRONG_PROOF;
    const signature = proven.serverSignature(authMessage);
    return { kind: 'message', message: bytesOf(writeServerFinal(signature)) };
  }

  /**
   * RFC 5802 section 6. `p` goes with PLUS and only with it. `y`, "I could, but you did not offer
   * it", is a lie when we did: somebody in between took PLUS off the list.
   */
  #isBindingAllowed({ bindingFlag, bindingName }: ClientFirst): boolean {
    const isOffered = this.#serverEndPoint !== undefined;
    if (this.#mechanism === SCRAM_SHA_256_PLUS) {
      return isOffered && bindingFlag === 'p' && bindingName === TLS_SERVER_END_POINT;
    }
    return bindingFlag === 'n' || (bindingFlag === 'y' && !isOffered);
  }

  #expectedBinding({ gs2Header, bindingFlag }: ClientFirst): string {
    return bindingInput(gs2Header, bindingFlag === 'p' ? this.#serverEndPoint : undefined);
  }
}
