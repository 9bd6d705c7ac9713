/** `mysql_native_password` and, over channels that nobody can read, `mysql_clear_password`, towards a client. */

import type { ClientExchange, Step } from './client-exchange.ts';
import { type ExpectedPassword, withoutNul } from './expected-password.ts';
import { NATIVE_BYTES, nativeAnswer } from './plugins.ts';

const DONE: Step = { kind: 'done', final: undefined };

export class ClientNativeExchange implements ClientExchange {
  private readonly expected: ExpectedPassword;
  private readonly scramble: Uint8Array;

  constructor(expected: ExpectedPassword, scramble: Uint8Array) {
    this.expected = expected;
    this.scramble = scramble;
  }

  respond(answer: Buffer): Step {
    const { expected } = this;
    if (answer.length === 0) return expected.failed({ hasPassword: false });
    if (answer.length !== NATIVE_BYTES) return MALFORMED;
    const isRight = expected.isAnswer(answer, (hashes) => nativeAnswer(hashes, this.scramble));
    return isRight ? DONE : expected.failed();
  }
}

export class ClientClearExchange implements ClientExchange {
  private readonly expected: ExpectedPassword;

  constructor(expected: ExpectedPassword) {
    this.expected = expected;
  }

  respond(answer: Buffer): Step {
    const hasPassword = withoutNul(answer).length > 0;
    return this.expected.isPassword(answer) ? DONE : this.expected.failed({ hasPassword });
  }
}

const MALFORMED: Step = { kind: 'failed', why: 'malformed_response', hasPassword: true };
