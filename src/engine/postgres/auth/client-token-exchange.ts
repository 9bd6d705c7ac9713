/**
 * An IAM token from a client, as a password in clear: only for channels that nobody can read, which the caller
 * sees to.
 */

import type { TokenCheck } from '../../../credential/token-judge.ts';
import {
  AUTHENTICATION_CLEARTEXT_PASSWORD,
  authentication,
  readPasswordMessage,
} from './authentication-message.ts';
import type { ClientExchange, Step } from './client-exchange.ts';

/** PG_MAX_AUTH_TOKEN_LENGTH of src/include/libpq/auth.h: also the length of the longest password. */
const PASSWORD_MESSAGE_BYTES_MAX = 65_535;

export class ClientTokenExchange implements ClientExchange {
  readonly responseBytesMax = PASSWORD_MESSAGE_BYTES_MAX;
  readonly #check: TokenCheck;
  #isOver = false;

  constructor(check: TokenCheck) {
    this.#check = check;
  }

  begin(): Uint8Array {
    return authentication(AUTHENTICATION_CLEARTEXT_PASSWORD);
  }

  respond(body: Uint8Array): Step {
    const token = this.#isOver ? undefined : readPasswordMessage(body);
    this.#isOver = true;
    if (token === undefined) return { kind: 'failed', why: 'malformed_response' };
    const why = this.#check(token.toString());
    return why === undefined ? { kind: 'done', final: undefined } : { kind: 'failed', why };
  }
}
