/**
 * Logs the proxy in to a database: takes the bodies of its `R` messages and says what to send as
 * `p`, or that the login is complete. Understands trust, cleartext, MD5 and SCRAM-SHA-256. After a
 * SCRAM exchange AuthenticationOk counts only when the database has proved that it knows the
 * password too; and what was begun in one way cannot be ended in another.
 */

import type { Secret } from '../../../credential/secret.ts';
import {
  AUTHENTICATION_CLEARTEXT_PASSWORD,
  AUTHENTICATION_MD5_PASSWORD,
  AUTHENTICATION_OK,
  AUTHENTICATION_SASL,
  AUTHENTICATION_SASL_CONTINUE,
  AUTHENTICATION_SASL_FINAL,
  passwordMessage,
  readAuthentication,
  readMechanisms,
  saslInitialResponse,
} from './authentication-message.ts';
import { MD5_SALT_BYTES, md5Response } from './md5.ts';
import { type ClientBinding, ScramClient } from './scram-client.ts';
import { databaseKeys, type ScramKeyCache } from './scram-key-cache.ts';
import { SCRAM_SHA_256, SCRAM_SHA_256_PLUS } from './scram-message.ts';

/** What libpq accepts as an `R` message, PQconnectPoll in src/interfaces/libpq/fe-connect.c. */
export const AUTHENTICATION_BYTES_MAX = 2000;

export type DatabaseLoginFailure =
  /** GSSAPI, SSPI, Kerberos, or a code we do not know. */
  | 'unsupported_method'
  /** SASL, but SCRAM-SHA-256 is not among the mechanisms. */
  | 'unsupported_mechanism'
  | 'cleartext_refused'
  /** We have a token, which is given in clear or not at all. */
  | 'token_not_asked_for'
  /** The database did not prove that it knows the password, or tried to do without. */
  | 'database_not_verified'
  /** Not a message of the protocol, out of order, or beyond a limit. */
  | 'malformed_message';

export type DatabaseLoginStep =
  /** Send `body` as a `p` message and wait for the next `R`. */
  | { readonly kind: 'send'; readonly body: Uint8Array }
  /** Nothing to send; wait for the next `R`. */
  | { readonly kind: 'wait' }
  | { readonly kind: 'ok' }
  | { readonly kind: 'failed'; readonly why: DatabaseLoginFailure };

export interface DatabaseAuthenticatorOptions {
  readonly user: string;
  readonly password: Secret;
  /** Default: those of the process. */
  readonly keys?: ScramKeyCache;
  /** Whether the database may have the password as it is. Default: yes. */
  readonly allowCleartext?: boolean;
  /** The password is an IAM token. Default: no. */
  readonly isToken?: boolean;
  /** The hash of the database's certificate, over TLS; with it SCRAM is bound to the channel. */
  readonly serverEndPoint?: Uint8Array;
}

/**
 * - `new`: nothing was asked yet; AuthenticationOk now is trust.
 * - `sent_password`: cleartext or MD5 went out, only AuthenticationOk may come.
 * - `scram_first`, `scram_final`: our message went out, the answer to it comes next.
 * - `verified`: the database knows the password, only AuthenticationOk may come.
 * - `busy`: deriving keys; nothing may come.
 */
type State =
  | { readonly kind: 'new' | 'sent_password' | 'verified' | 'busy' | 'over' }
  | { readonly kind: 'scram_first' | 'scram_final'; readonly scram: ScramClient };

const OVER: State = { kind: 'over' };
const BUSY: State = { kind: 'busy' };

export class DatabaseAuthenticator {
  readonly #options: DatabaseAuthenticatorOptions;
  #state: State = { kind: 'new' };

  constructor(options: DatabaseAuthenticatorOptions) {
    this.#options = options;
  }

  /** Takes the body of an `R` message; keeps nothing of it. After a failure, close. */
  receive(body: Uint8Array): DatabaseLoginStep | Promise<DatabaseLoginStep> {
    const state = this.#state;
    this.#state = OVER;
    const message = body.length > AUTHENTICATION_BYTES_MAX ? undefined : readAuthentication(body);
    if (message === undefined) return failed('malformed_message');
    switch (message.code) {
      case AUTHENTICATION_OK:
        return this.#ok(state, message.data);
      case AUTHENTICATION_CLEARTEXT_PASSWORD:
        return this.#sendCleartext(state, message.data);
      case AUTHENTICATION_MD5_PASSWORD:
        return this.#sendMd5(state, message.data);
      case AUTHENTICATION_SASL:
        return this.#startScram(state, message.data);
      case AUTHENTICATION_SASL_CONTINUE:
        return this.#continueScram(state, message.data);
      case AUTHENTICATION_SASL_FINAL:
        return this.#finishScram(state, message.data);
      default:
        return failed('unsupported_method');
    }
  }

  #ok(state: State, data: Uint8Array): DatabaseLoginStep {
    if (data.length !== 0) return failed('malformed_message');
    switch (state.kind) {
      case 'new':
      case 'sent_password':
      case 'verified':
        return { kind: 'ok' };
      case 'scram_first':
      case 'scram_final':
      case 'busy':
        return failed('database_not_verified');
      case 'over':
        return failed('malformed_message');
    }
  }

  #sendCleartext(state: State, data: Uint8Array): DatabaseLoginStep {
    if (state.kind !== 'new' || data.length !== 0) return failed('malformed_message');
    if (this.#options.allowCleartext === false) return failed('cleartext_refused');
    this.#state = { kind: 'sent_password' };
    return { kind: 'send', body: passwordMessage(this.#options.password.reveal()) };
  }

  #sendMd5(state: State, salt: Uint8Array): DatabaseLoginStep {
    if (state.kind !== 'new' || salt.length !== MD5_SALT_BYTES) return failed('malformed_message');
    const { user, password, isToken = false } = this.#options;
    if (isToken) return failed('token_not_asked_for');
    this.#state = { kind: 'sent_password' };
    return { kind: 'send', body: passwordMessage(md5Response(user, password, salt)) };
  }

  #startScram(state: State, data: Uint8Array): DatabaseLoginStep {
    const mechanisms = readMechanisms(data);
    if (state.kind !== 'new' || mechanisms === undefined) return failed('malformed_message');
    if (this.#options.isToken === true) return failed('token_not_asked_for');
    const binding = this.#bindingFor(mechanisms);
    const mechanism = binding.flag === 'p' ? SCRAM_SHA_256_PLUS : SCRAM_SHA_256;
    if (!mechanisms.includes(mechanism)) return failed('unsupported_mechanism');
    const { password, keys = databaseKeys } = this.#options;
    const scram = new ScramClient({ password, keys, binding });
    this.#state = { kind: 'scram_first', scram };
    return { kind: 'send', body: saslInitialResponse(mechanism, scram.first()) };
  }

  /** Bound whenever both sides can; `y` lets the database notice that its offer was taken away. */
  #bindingFor(mechanisms: readonly string[]): ClientBinding {
    const { serverEndPoint } = this.#options;
    if (serverEndPoint === undefined) return { flag: 'n' };
    return mechanisms.includes(SCRAM_SHA_256_PLUS) ? { flag: 'p', serverEndPoint } : { flag: 'y' };
  }

  #continueScram(state: State, data: Uint8Array): DatabaseLoginStep | Promise<DatabaseLoginStep> {
    if (state.kind !== 'scram_first') return failed('malformed_message');
    this.#state = BUSY;
    return this.#answer(state.scram, data);
  }

  async #answer(scram: ScramClient, serverFirst: Uint8Array): Promise<DatabaseLoginStep> {
    const step = await scram.continue(serverFirst);
    const isExpected = this.#state === BUSY;
    this.#state = OVER;
    if (step.kind === 'failed' || !isExpected) return failed('malformed_message');
    this.#state = { kind: 'scram_final', scram };
    return { kind: 'send', body: step.message };
  }

  #finishScram(state: State, data: Uint8Array): DatabaseLoginStep {
    if (state.kind !== 'scram_final') return failed('malformed_message');
    if (!state.scram.verify(data)) return failed('database_not_verified');
    this.#state = { kind: 'verified' };
    return { kind: 'wait' };
  }
}

function failed(why: DatabaseLoginFailure): DatabaseLoginStep {
  return { kind: 'failed', why };
}
