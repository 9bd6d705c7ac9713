/** For engines whose clients give no IAM tokens. */

import { Principals } from '../../src/credential/principals.ts';
import { RateLimiter } from '../../src/credential/rate-limit.ts';
import { TokenJudge } from '../../src/credential/token-judge.ts';

export const NO_TOKENS = new TokenJudge({
  principals: Principals.NONE,
  limiter: new RateLimiter({ perSource: 1, overall: 1 }),
  region: 'us-east-1',
  resourceOf: (user) => user,
  hostsOf: () => [],
  now: Date.now,
});
