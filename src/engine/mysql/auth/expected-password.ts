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
  readonly hashes: PasswordHashes;
  private readonly isKnown: boolean;

  constructor(password: Secret | undefined) {
    this.isKnown = password !== undefined && password.reveal() !== '';
    this.hashes = hashesOf(password !== undefined && this.isKnown ? password : DECOY);
  }

  /** Whether `answer` is what the right password would have made. */
  isAnswer(answer: Buffer, right: Buffer): boolean {
    return answer.length === right.length && timingSafeEqual(answer, right) && this.isKnown;
  }

  /** Whether `password` is the right one; a NUL behind it is not part of it. */
  isPassword(password: Buffer): boolean {
    return this.isAnswer(hash('sha256', withoutNul(password)), this.hashes.sha256);
  }

  /** What a client is told that was wrong. */
  failed({ hasPassword = true } = {}): Step {
    const why = this.isKnown ? 'wrong_password' : 'unknown_user';
    return { kind: 'failed', why, hasPassword };
  }
}

export function withoutNul(password: Buffer): Buffer {
  return password.length > 0 && password[password.length - 1] === 0
    ? password.subarray(0, -1)
    : password;
}
