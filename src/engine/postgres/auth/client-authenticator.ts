/**
 * Logs one client in: says what to send it and judges what it answers, message bodies in and out;
 * sockets, deadlines and error texts are the caller's. A user that does not exist goes through the
 * same messages as one that does and fails at the same point; only `why` tells them apart, and
 * that is for the log, never for the client.
 */

import {
  acceptedBeside,
  type ClientPasswordAuthType,
  type UserCredential,
} from '../../../credential/credentials.ts';
import type { TokenCheck } from '../../../credential/token-judge.ts';
import type { ClientExchange, LoginFailure, Step } from './client-exchange.ts';
import { ClientMd5Exchange } from './client-md5-exchange.ts';
import { ClientScramExchange } from './client-scram-exchange.ts';
import { ClientTokenExchange } from './client-token-exchange.ts';
import { type ScramVerifiers, sharedVerifiers } from './scram-verifiers.ts';

export type { LoginFailure, Step };

export interface ClientAuthenticatorOptions {
  readonly user: string;
  readonly credential: Pick<UserCredential, 'password' | 'others'> | undefined;
  /** `Credentials.authTypeFor(user)`. */
  readonly method: ClientPasswordAuthType;
  /** The user has to give an IAM token, over a channel that nobody can read. */
  readonly checkToken?: TokenCheck | undefined;
  /** Default: those of the process. */
  readonly verifiers?: ScramVerifiers;
  /** The hash of our certificate (RFC 5929 section 4.1); given, SCRAM-SHA-256-PLUS is offered. */
  readonly serverEndPoint?: Uint8Array;
}

export class ClientAuthenticator {
  readonly #exchange: ClientExchange;
  #wasTooLong = false;

  constructor(options: ClientAuthenticatorOptions) {
    this.#exchange = exchangeFor(options);
  }

  /** No body of a `p` message may be longer; the caller need not read one that says it is. */
  get responseBytesMax(): number {
    return this.#exchange.responseBytesMax;
  }

  /** The body of the `R` message that asks for the password. */
  begin(): Uint8Array {
    return this.#exchange.begin();
  }

  /**
   * Takes the body of a `p` message; keeps nothing of it. A promise only while keys are derived
   * for the first time; a response that comes before that promise has settled fails the login.
   */
  respond(body: Uint8Array): Step | Promise<Step> {
    if (body.length > this.responseBytesMax) this.#wasTooLong = true;
    if (this.#wasTooLong) return MALFORMED_RESPONSE;
    return this.#exchange.respond(body);
  }
}

const MALFORMED_RESPONSE: Step = { kind: 'failed', why: 'malformed_response' };

function exchangeFor(options: ClientAuthenticatorOptions): ClientExchange {
  const { user, serverEndPoint, verifiers = sharedVerifiers } = options;
  const password = options.credential?.password;
  const others = acceptedBeside(options.credential, Date.now());
  if (options.checkToken !== undefined) return new ClientTokenExchange(options.checkToken);
  switch (options.method) {
    // The configuration keeps the types of the other engine family out.
    case 'MYSQL_CACHING_SHA2_PASSWORD':
    case 'MYSQL_NATIVE_PASSWORD':
    case 'POSTGRES_SCRAM_SHA_256':
      return new ClientScramExchange({ user, password, others, verifiers, serverEndPoint });
    case 'POSTGRES_MD5':
      return new ClientMd5Exchange({ user, password, others });
  }
}
