/**
 * An IAM token from a client, by `mysql_clear_password`: only for channels that nobody can read, which the caller
 * sees to.
 */

import type { TokenCheck } from '../../../credential/token-judge.ts';
import type { ClientExchange, Step } from './client-exchange.ts';
import { withoutNul } from './expected-password.ts';

export class ClientTokenExchange implements ClientExchange {
  private readonly check: TokenCheck;

  constructor(check: TokenCheck) {
    this.check = check;
  }

  respond(answer: Buffer): Step {
    const token = withoutNul(answer);
    const why = this.check(token.toString());
    if (why === undefined) return { kind: 'done', final: undefined };
    return { kind: 'failed', why, hasPassword: token.length > 0 };
  }
}
