/** For engines without IAM tokens on either side. */

import { DatabaseTokens } from '../../src/credential/database-tokens.ts';
import { Principals } from '../../src/credential/principals.ts';
import { RateLimiter } from '../../src/credential/rate-limit.ts';
import { TokenJudge } from '../../src/credential/token-judge.ts';

/** Clients give none. */
export const NO_TOKENS = new TokenJudge({
  principals: Principals.NONE,
  limiter: new RateLimiter({ perSource: 1, overall: 1 }),
  region: 'us-east-1',
  resourceOf: (user) => user,
  hostsOf: () => [],
  now: Date.now,
});

/** For proxies that log in to databases with passwords. */
export const NO_DATABASE_TOKENS = new DatabaseTokens({
  sign: () => Promise.reject(new Error('there are no credentials')),
  region: () => 'us-east-1',
  now: () => 0,
});
