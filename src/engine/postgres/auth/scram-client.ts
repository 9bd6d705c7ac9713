/**
 * SCRAM-SHA-256 as the side that knows the password: towards databases. RFC 5802 and 7677, strict as
 * libpq is (src/interfaces/libpq/fe-auth-scram.c). One object for one login; the methods are
 * called once and in order. The database has proved that it knows the password too only when
 * `verify` has returned true.
 */

import { timingSafeEqual } from 'node:crypto';
import type { Secret } from '../../../credential/secret.ts';
import { MALFORMED, randomNonce, type ScramStep, TLS_SERVER_END_POINT } from './scram-exchange.ts';
import type { ScramKeyCache } from './scram-key-cache.ts';
import {
  authMessageOf,
  bindingInput,
  bytesOf,
  readServerFinal,
  readServerFirst,
  SCRAM_ITERATIONS_MAX,
  type ServerFirst,
  textOf,
  writeClientFinal,
} from './scram-message.ts';

/** What we say of channel binding, RFC 5802 section 6. */
export type ClientBinding =
  /** We do not bind. */
  | { readonly flag: 'n' }
  /** We would, but the database did not offer SCRAM-SHA-256-PLUS. */
  | { readonly flag: 'y' }
  /** SCRAM-SHA-256-PLUS; the hash of the database's certificate. */
  | { readonly flag: 'p'; readonly serverEndPoint: Uint8Array };

export interface ScramClientOptions {
  readonly password: Secret;
  readonly keys: ScramKeyCache;
  readonly binding?: ClientBinding;
  readonly nonce?: string;
}

type State =
  | { readonly kind: 'new' | 'sent_first' | 'deriving' | 'over' }
  | { readonly kind: 'sent_final'; readonly expectedSignature: Uint8Array };

export class ScramClient {
  readonly #password: Secret;
  readonly #keys: ScramKeyCache;
  readonly #nonce: string;
  readonly #gs2Header: string;
  readonly #bindingInput: string;
  #state: State = { kind: 'new' };

  constructor(options: ScramClientOptions) {
    const binding = options.binding ?? { flag: 'n' };
    this.#password = options.password;
    this.#keys = options.keys;
    this.#nonce = options.nonce ?? randomNonce();
    this.#gs2Header = binding.flag === 'p' ? `p=${TLS_SERVER_END_POINT},,` : `${binding.flag},,`;
    const channel = binding.flag === 'p' ? binding.serverEndPoint : undefined;
    this.#bindingInput = bindingInput(this.#gs2Header, channel);
  }

  /** client-first. The user name in it is empty: PostgreSQL has it from the start-up packet. */
  first(): Uint8Array {
    this.#state = { kind: this.#state.kind === 'new' ? 'sent_first' : 'over' };
    return bytesOf(this.#gs2Header + this.#firstBare);
  }

  /** Takes server-first, answers client-final. */
  async continue(message: Uint8Array): Promise<ScramStep> {
    const isExpected = this.#state.kind === 'sent_first';
    this.#state = { kind: 'over' };
    const text = textOf(message);
    const serverFirst = text === undefined ? undefined : readServerFirst(text);
    if (!isExpected || text === undefined || serverFirst === undefined) return MALFORMED;
    if (!this.#isAcceptable(serverFirst)) return MALFORMED;
    this.#state = { kind: 'deriving' };
    const { salt, iterations, nonce } = serverFirst;
    const keys = await this.#keys.keysFor(this.#password, salt, iterations);
    // Somebody went on without waiting for us.
    if (this.#state.kind !== 'deriving') return MALFORMED;
    const withoutProof = `c=${this.#bindingInput},r=${nonce}`;
    const authMessage = authMessageOf(this.#firstBare, text, withoutProof);
    this.#state = { kind: 'sent_final', expectedSignature: keys.serverSignature(authMessage) };
    const final = writeClientFinal(withoutProof, keys.clientProof(authMessage));
    return { kind: 'message', message: bytesOf(final) };
  }

  /** Takes server-final: whether the database knows the password. */
  verify(message: Uint8Array): boolean {
    const state = this.#state;
    this.#state = { kind: 'over' };
    const signature = readServerFinal(textOf(message) ?? '');
    if (state.kind !== 'sent_final' || signature === undefined) return false;
    return timingSafeEqual(signature, state.expectedSignature);
  }

  get #firstBare(): string {
    return `n=,r=${this.#nonce}`;
  }

  /** The nonce must be ours and then some of theirs, or an old exchange could be replayed to us. */
  #isAcceptable({ nonce, iterations }: ServerFirst): boolean {
    const isExtended = nonce.length > this.#nonce.length && nonce.startsWith(this.#nonce);
    return isExtended && iterations <= SCRAM_ITERATIONS_MAX;
  }
}
