/**
 * `caching_sha2_password` towards a client. A server that has seen the password lets an answer that
 * fits it in at once (the fast path). An answer that does not is no proof of a wrong password to a server,
 * which stores only a hash and may have the former one in mind, so it asks for the password itself:
 * in clear where nobody can read it, else under our RSA key. We ask too, and find it wrong
 * then: clients see the very messages of a server, and whoever answers the scramble in a way of its own
 * still gets in with the right password.
 * https://dev.mysql.com/doc/dev/mysql-server/latest/page_caching_sha2_authentication_exchanges.html
 */

import type { ClientExchange, Step } from './client-exchange.ts';
import { type ExpectedPassword, withoutNul } from './expected-password.ts';
import type { PasswordKey } from './password-key.ts';
import {
  CACHING_SHA2_BYTES,
  CACHING_SHA2_REQUEST_KEY,
  cachingSha2Answer,
  FAST_AUTH_SUCCESS,
  PERFORM_FULL_AUTHENTICATION,
} from './plugins.ts';

export interface CachingSha2Options {
  readonly expected: ExpectedPassword;
  readonly scramble: Uint8Array;
  /** Nobody can read what the client sends. */
  readonly isSecure: boolean;
  readonly passwordKey: PasswordKey;
}

const DONE: Step = { kind: 'done', final: undefined };
const KNOWN: Step = { kind: 'done', final: Buffer.of(FAST_AUTH_SUCCESS) };
const ASK: Step = { kind: 'more', data: Buffer.of(PERFORM_FULL_AUTHENTICATION) };
const MALFORMED: Step = { kind: 'failed', why: 'malformed_response', hasPassword: true };

/**
 * - `answer`: the client answers the scramble.
 * - `password`: it was asked for the password, and may ask for the key first.
 * - `encrypted`: it has the key.
 */
type State = 'answer' | 'password' | 'encrypted' | 'over';

export class ClientCachingSha2Exchange implements ClientExchange {
  private readonly options: CachingSha2Options;
  private state: State = 'answer';

  constructor(options: CachingSha2Options) {
    this.options = options;
  }

  respond(answer: Buffer): Step {
    const { state } = this;
    this.state = 'over';
    switch (state) {
      case 'answer':
        return this.answered(answer);
      case 'password':
        return this.passwordReceived(answer);
      case 'encrypted':
        return this.encryptedReceived(answer);
      case 'over':
        return MALFORMED;
    }
  }

  private answered(answer: Buffer): Step {
    const { expected, scramble } = this.options;
    if (withoutNul(answer).length === 0) return expected.failed({ hasPassword: false });
    if (answer.length !== CACHING_SHA2_BYTES) return MALFORMED;
    if (expected.isAnswer(answer, (hashes) => cachingSha2Answer(hashes, scramble))) return KNOWN;
    this.state = 'password';
    return ASK;
  }

  private passwordReceived(answer: Buffer): Step {
    const { isSecure, passwordKey } = this.options;
    if (answer.length === 1 && answer[0] === CACHING_SHA2_REQUEST_KEY) {
      this.state = 'encrypted';
      return { kind: 'more', data: passwordKey.publicKey };
    }
    // Who kept the key of an earlier login does not ask for it.
    return isSecure ? this.judge(answer) : this.encryptedReceived(answer);
  }

  private encryptedReceived(answer: Buffer): Step {
    const { passwordKey, scramble, expected } = this.options;
    const password = passwordKey.decrypt(answer, scramble);
    return password === undefined ? expected.failed() : this.judge(password);
  }

  private judge(password: Buffer): Step {
    const { expected } = this.options;
    return expected.isPassword(password) ? DONE : expected.failed();
  }
}
