/**
 * MD5 towards a client. The secret holds the password itself, so nothing is stored hashed. Unknown
 * users, and users with an empty password, are compared with the answer to a random password, and
 * fail whatever they sent.
 */

import { randomBytes } from 'node:crypto';
import { Secret } from '../../../credential/secret.ts';
import {
  AUTHENTICATION_MD5_PASSWORD,
  authentication,
  readPasswordMessage,
} from './authentication-message.ts';
import type { ClientExchange, Step } from './client-exchange.ts';
import { isMd5Response, MD5_SALT_BYTES, md5Response } from './md5.ts';

/** PG_MAX_AUTH_TOKEN_LENGTH of src/include/libpq/auth.h: also the length of the longest password. */
const PASSWORD_MESSAGE_BYTES_MAX = 65_535;

export interface ClientMd5Options {
  readonly user: string;
  readonly password: Secret | undefined;
  /** Good as well; default: none. */
  readonly others?: readonly Secret[];
}

export class ClientMd5Exchange implements ClientExchange {
  readonly responseBytesMax = PASSWORD_MESSAGE_BYTES_MAX;
  readonly #user: string;
  readonly #password: Secret | undefined;
  readonly #others: readonly Secret[];
  readonly #salt = randomBytes(MD5_SALT_BYTES);
  #isOver = false;

  constructor({ user, password, others = [] }: ClientMd5Options) {
    this.#user = user;
    this.#password = password;
    this.#others = others;
  }

  begin(): Uint8Array {
    return authentication(AUTHENTICATION_MD5_PASSWORD, this.#salt);
  }

  respond(body: Uint8Array): Step {
    const response = this.#isOver ? undefined : readPasswordMessage(body);
    this.#isOver = true;
    if (response === undefined) return { kind: 'failed', why: 'malformed_response' };
    const isUsable = this.#password !== undefined && this.#password.reveal() !== '';
    const password = isUsable ? this.#password : undefined;
    const isRight = [password ?? randomPassword(), ...this.#others].some((each) =>
      isMd5Response(response, md5Response(this.#user, each, this.#salt)),
    );
    if (isRight && isUsable) return { kind: 'done', final: undefined };
    return { kind: 'failed', why: this.#password ? 'wrong_password' : 'unknown_user' };
  }
}

function randomPassword(): Secret {
  return new Secret(randomBytes(16).toString('hex'));
}
