/**
 * SCRAM-SHA-256 towards a client: the frames of the exchange (SASLInitialResponse, SASLResponse)
 * around `ScramServer`. Channel binding is offered when the hash of our certificate is given.
 * https://www.postgresql.org/docs/current/sasl-authentication.html
 */

import type { Secret } from '../../../credential/secret.ts';
import {
  AUTHENTICATION_SASL_CONTINUE,
  AUTHENTICATION_SASL_FINAL,
  authentication,
  authenticationSasl,
  readSaslInitialResponse,
} from './authentication-message.ts';
import type { ClientExchange, LoginFailure, Step } from './client-exchange.ts';
import type { ScramFailure } from './scram-exchange.ts';
import {
  SCRAM_MESSAGE_BYTES_MAX,
  SCRAM_SHA_256,
  SCRAM_SHA_256_PLUS,
  type ScramMechanism,
} from './scram-message.ts';
import { ScramServer } from './scram-server.ts';
import type { ScramVerifier, ScramVerifiers } from './scram-verifiers.ts';

export interface ClientScramOptions {
  readonly user: string;
  readonly password: Secret | undefined;
  /** Good as well; default: none. */
  readonly others?: readonly Secret[];
  readonly verifiers: ScramVerifiers;
  readonly serverEndPoint: Uint8Array | undefined;
}

/**
 * - `mechanism`: the client has to choose one.
 * - `first`: it chose one without sending client-first, which comes next, by itself.
 * - `deriving`: client-first is here, the verifier is not; nothing may come.
 * - `final`: server-first went out, client-final comes next.
 * - `over`: nothing may come.
 */
type State =
  | { readonly kind: 'mechanism' | 'deriving' | 'over' }
  | { readonly kind: 'first'; readonly mechanism: ScramMechanism }
  | { readonly kind: 'final'; readonly server: ScramServer };

const OVER: State = { kind: 'over' };
const DERIVING: State = { kind: 'deriving' };

export class ClientScramExchange implements ClientExchange {
  readonly responseBytesMax = SCRAM_MESSAGE_BYTES_MAX;
  readonly #options: ClientScramOptions;
  readonly #offered: readonly ScramMechanism[];
  #state: State = { kind: 'mechanism' };

  constructor(options: ClientScramOptions) {
    this.#options = options;
    this.#offered =
      options.serverEndPoint === undefined ? [SCRAM_SHA_256] : [SCRAM_SHA_256_PLUS, SCRAM_SHA_256];
  }

  begin(): Uint8Array {
    return authenticationSasl(this.#offered);
  }

  respond(body: Uint8Array): Step | Promise<Step> {
    const state = this.#state;
    this.#state = OVER;
    switch (state.kind) {
      case 'mechanism':
        return this.#chooseMechanism(body);
      case 'first':
        return this.#start(state.mechanism, body);
      case 'final':
        return this.#finish(state.server, body);
      case 'deriving':
      case 'over':
        return this.#failed('malformed');
    }
  }

  #chooseMechanism(body: Uint8Array): Step | Promise<Step> {
    const initial = readSaslInitialResponse(body);
    const mechanism = this.#offered.find((offered) => offered === initial?.mechanism);
    if (initial === undefined || mechanism === undefined) return this.#failed('malformed');
    if (initial.response !== undefined) return this.#start(mechanism, initial.response);
    this.#state = { kind: 'first', mechanism };
    return { kind: 'continue', body: authentication(AUTHENTICATION_SASL_CONTINUE) };
  }

  #start(mechanism: ScramMechanism, clientFirst: Uint8Array): Step | Promise<Step> {
    const verifier = this.#verifier();
    if (!(verifier instanceof Promise)) return this.#answer(mechanism, verifier, clientFirst);
    this.#state = DERIVING;
    // The caller may overwrite its buffer before the verifier is here.
    return this.#answerLater(mechanism, verifier, Buffer.from(clientFirst));
  }

  /** With the keys of all passwords that are good: the salt is the same for each. */
  #verifier(): ScramVerifier | Promise<ScramVerifier> {
    const { user, password, others = [], verifiers } = this.#options;
    const current = verifiers.verifierFor(user, password);
    if (others.length === 0) return current;
    const beside = others.map((other) => verifiers.verifierFor(user, other));
    return withOthers(current, beside);
  }

  async #answerLater(
    mechanism: ScramMechanism,
    pending: Promise<ScramVerifier>,
    clientFirst: Uint8Array,
  ): Promise<Step> {
    const verifier = await pending;
    if (this.#state !== DERIVING) return this.#failed('malformed');
    return this.#answer(mechanism, verifier, clientFirst);
  }

  #answer(mechanism: ScramMechanism, verifier: ScramVerifier, clientFirst: Uint8Array): Step {
    const { serverEndPoint } = this.#options;
    const server = new ScramServer({ verifier, mechanism, serverEndPoint });
    const step = server.start(clientFirst);
    this.#state = step.kind === 'message' ? { kind: 'final', server } : OVER;
    if (step.kind === 'failed') return this.#failed(step.why);
    return { kind: 'continue', body: authentication(AUTHENTICATION_SASL_CONTINUE, step.message) };
  }

  #finish(server: ScramServer, clientFinal: Uint8Array): Step {
    const step = server.finish(clientFinal);
    if (step.kind === 'failed') return this.#failed(step.why);
    return { kind: 'done', final: authentication(AUTHENTICATION_SASL_FINAL, step.message) };
  }

  #failed(failure: ScramFailure): Step {
    return { kind: 'failed', why: this.#reason(failure) };
  }

  #reason(failure: ScramFailure): LoginFailure {
    if (failure === 'malformed') return 'malformed_response';
    return this.#options.password === undefined ? 'unknown_user' : 'wrong_password';
  }
}

async function withOthers(
  current: ScramVerifier | Promise<ScramVerifier>,
  beside: readonly (ScramVerifier | Promise<ScramVerifier>)[],
): Promise<ScramVerifier> {
  const others = await Promise.all(beside);
  return { ...(await current), otherKeys: others.map(({ keys }) => keys) };
}
