/**
 * The password that a client has to prove. Of a user that does not exist it is a random one, so that
 * every step takes as long as with one that does; and then nothing is right.
 */

import { randomBytes, timingSafeEqual } from 'node:crypto';
import { Secret } from '../../../credential/secret.ts';
import type { Step } from './client-exchange.ts';
import { hash, hashesOf, type PasswordHashes } from './plugins.ts';

/** Nobody's. */
const DECOY = new Secret(randomBytes(16).toString('hex'));

export class ExpectedPassword {
  /** Of the password, and of those that are good beside it. */
  private readonly hashes: readonly PasswordHashes[];
  private readonly isKnown: boolean;

  constructor(password: Secret | undefined, others: readonly Secret[] = []) {
    this.isKnown = password !== undefined && password.reveal() !== '';
    const first = password !== undefined && this.isKnown ? password : DECOY;
    this.hashes = [first, ...others].map(hashesOf);
  }

  /** Whether `answer` is what the right password would have made, in the way of `make`. */
  isAnswer(answer: Buffer, make: (hashes: PasswordHashes) => Buffer): boolean {
    const isRight = this.hashes.some((hashes) => isSame(answer, make(hashes)));
    return isRight && this.isKnown;
  }

  /** Whether `password` is the right one; a NUL behind it is not part of it. */
  isPassword(password: Buffer): boolean {
    return this.isAnswer(hash('sha256', withoutNul(password)), ({ sha256 }) => sha256);
  }

  /** What a client is told that was wrong. */
  failed({ hasPassword = true } = {}): Step {
    const why = this.isKnown ? 'wrong_password' : 'unknown_user';
    return { kind: 'failed', why, hasPassword };
  }
}

function isSame(a: Buffer, b: Buffer): boolean {
  return a.length === b.length && timingSafeEqual(a, b);
}

export function withoutNul(password: Buffer): Buffer {
  return password.length > 0 && password[password.length - 1] === 0
    ? password.subarray(0, -1)
    : password;
}
