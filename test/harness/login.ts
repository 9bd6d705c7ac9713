/**
 * The client's side of PostgreSQL's logins: cleartext, MD5 and SCRAM-SHA-256 (RFC 5802, without
 * channel binding). Given the server's Authentication message, says what to send.
 */

import { createHash, createHmac, pbkdf2Sync, randomBytes, timingSafeEqual } from 'node:crypto';
import * as frontend from './frontend-messages.ts';

const OK = 0;
const CLEARTEXT = 3;
const MD5 = 5;
const SASL = 10;
const SASL_CONTINUE = 11;
const SASL_FINAL = 12;
const GS2_HEADER = 'n,,';

export class Login {
  readonly #user: string;
  readonly #password: string;
  #clientFirst = '';
  #serverSignature = Buffer.alloc(0);
  /** What the server asked for, in order. */
  readonly methods: string[] = [];

  constructor(user: string, password: string) {
    this.#user = user;
    this.#password = password;
  }

  /** The answer to an Authentication message; undefined when none is due. */
  answer(body: Buffer): Buffer | undefined {
    const rest = body.subarray(4);
    switch (body.readInt32BE(0)) {
      case OK:
        return undefined;
      case CLEARTEXT:
        this.methods.push('password');
        return frontend.password(this.#password);
      case MD5:
        this.methods.push('md5');
        return frontend.password(this.#md5(rest));
      case SASL:
        this.methods.push('scram-sha-256');
        return this.#scramFirst();
      case SASL_CONTINUE:
        return this.#scramFinal(rest.toString());
      case SASL_FINAL:
        this.#verify(rest.toString());
        return undefined;
      default:
        throw new Error(`unknown authentication request ${body.toString('hex')}`);
    }
  }

  #md5(salt: Buffer): string {
    const inner = createHash('md5').update(this.#password + this.#user);
    const outer = createHash('md5').update(inner.digest('hex')).update(salt);
    return `md5${outer.digest('hex')}`;
  }

  #scramFirst(): Buffer {
    this.#clientFirst = `n=,r=${randomBytes(18).toString('base64')}`;
    return frontend.saslInitialResponse('SCRAM-SHA-256', GS2_HEADER + this.#clientFirst);
  }

  #scramFinal(serverFirst: string): Buffer {
    const { r: nonce = '', s: salt = '', i: iterations = '' } = scramFields(serverFirst);
    const salted = pbkdf2Sync(
      this.#password,
      Buffer.from(salt, 'base64'),
      Number(iterations),
      32,
      'sha256',
    );
    const clientKey = hmac(salted, 'Client Key');
    const storedKey = createHash('sha256').update(clientKey).digest();
    const withoutProof = `c=${Buffer.from(GS2_HEADER).toString('base64')},r=${nonce}`;
    const signed = `${this.#clientFirst},${serverFirst},${withoutProof}`;
    const signature = hmac(storedKey, signed);
    const proof = clientKey.map((byte, index) => byte ^ (signature[index] ?? 0));
    this.#serverSignature = hmac(hmac(salted, 'Server Key'), signed);
    return frontend.saslResponse(`${withoutProof},p=${Buffer.from(proof).toString('base64')}`);
  }

  /** The server must prove that it knows the password too. */
  #verify(serverFinal: string): void {
    const signature = Buffer.from(scramFields(serverFinal).v ?? '', 'base64');
    const isEqual =
      signature.length === this.#serverSignature.length &&
      timingSafeEqual(signature, this.#serverSignature);
    if (!isEqual) throw new Error(`the server does not know the password: ${serverFinal}`);
  }
}

function hmac(key: Buffer, text: string): Buffer<ArrayBuffer> {
  return createHmac('sha256', key).update(text).digest();
}

function scramFields(text: string): Record<string, string> {
  return Object.fromEntries(text.split(',').map((field) => [field[0] ?? '', field.slice(2)]));
}
