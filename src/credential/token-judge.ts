/**
 * Judges the tokens that clients of one proxy give in place of passwords. Says no in one of a closed list of ways,
 * for the log; the client is told only that it was wrong. A token is good for any number of log-ins until it
 * expires, as in AWS.
 */

import { randomBytes } from 'node:crypto';
import { type AuthToken, isSignedWith, readAuthToken } from './auth-token.ts';
import { decisionFor, type Principals } from './principals.ts';
import type { RateLimiter, RateLimits } from './rate-limit.ts';
import { Secret } from './secret.ts';
import { identityOf } from './secret-identity.ts';

/** How far the clock of who signs may be ahead of ours. */
const TOKEN_SKEW_MAX_MS = 5 * 60_000;

/** One that is judged costs 15 to 35 µs of CPU, beside the handshake of TLS that comes before it. */
export const TOKEN_RATE_LIMITS: RateLimits = { perSource: 1_000, overall: 4_000 };

export type TokenFailure =
  | 'no_token'
  | 'unknown_key'
  | 'wrong_session_token'
  | 'wrong_signature'
  | 'wrong_region'
  | 'expired'
  | 'not_yet_valid'
  | 'session_expired'
  | 'wrong_host'
  | 'wrong_port'
  | 'wrong_user'
  | 'not_allowed'
  | 'too_many';

/** Why nobody could log in with IAM, whatever the token. */
export type IamFailure = TokenFailure | 'no_tls' | 'no_credentials' | 'password_given';

/** Says what is wrong with a token; undefined when it is right. */
export type TokenCheck = (token: string) => IamFailure | undefined;

export type TokenVerdict =
  /** Whose key it is. */
  | { readonly isOk: true; readonly arn: string }
  /** `arn` is known from the signature on. */
  | { readonly isOk: false; readonly why: TokenFailure; readonly arn?: string };

/** What a client says, and where it says it. */
export interface TokenLogin {
  readonly user: string;
  readonly token: string;
  readonly endpoint: string;
  /** The address of the client, without the port. */
  readonly source: string;
  /** Where the connection has ended, on this side. */
  readonly local: { readonly host: string; readonly port: number };
}

export interface TokenJudgeOptions {
  readonly principals: Principals;
  readonly limiter: RateLimiter;
  readonly region: string;
  /** The ARN that policies call a user of the proxy. */
  readonly resourceOf: (user: string) => string;
  /** Names, in lower case, and addresses by which an endpoint is known beside the one that was connected to. */
  readonly hostsOf: (endpoint: string) => readonly string[];
  /** Milliseconds since 1970. */
  readonly now: () => number;
}

const NOBODY = new Secret(randomBytes(30).toString('base64'));
const ACTION = 'rds-db:connect';

export class TokenJudge {
  private readonly options: TokenJudgeOptions;

  constructor(options: TokenJudgeOptions) {
    this.options = options;
  }

  judge(login: TokenLogin): TokenVerdict {
    const { limiter, now } = this.options;
    if (!limiter.take(login.source, now())) return { isOk: false, why: 'too_many' };
    const token = readAuthToken(login.token);
    return token === undefined ? { isOk: false, why: 'no_token' } : this.judgeToken(token, login);
  }

  private judgeToken(token: AuthToken, login: TokenLogin): TokenVerdict {
    const { principals, resourceOf } = this.options;
    const key = principals.find(token.accessKeyId);
    const isSigned = isSignedWith(token, key?.secretAccessKey ?? NOBODY);
    if (key === undefined) return { isOk: false, why: 'unknown_key' };
    const { arn, sessionToken } = key;
    if (!isSame(token.sessionToken, sessionToken)) {
      return { isOk: false, why: 'wrong_session_token' };
    }
    if (!isSigned) return { isOk: false, why: 'wrong_signature' };
    const why = this.whyNot(token, login, key.expiresAt);
    if (why !== undefined) return { isOk: false, why, arn };
    const decision = decisionFor(key, ACTION, resourceOf(login.user));
    return decision === 'allowed' ? { isOk: true, arn } : { isOk: false, why: 'not_allowed', arn };
  }

  /** What is wrong with a token that its owner has made. */
  private whyNot(
    token: AuthToken,
    { user, endpoint, local }: TokenLogin,
    sessionExpiresAt = Number.POSITIVE_INFINITY,
  ): TokenFailure | undefined {
    const now = this.options.now();
    const host = bareHost(token.host);
    const hosts = [bareHost(local.host), ...this.options.hostsOf(endpoint)];
    if (token.region !== this.options.region) return 'wrong_region';
    if (now >= token.expiresAt) return 'expired';
    if (now < token.signedAt - TOKEN_SKEW_MAX_MS) return 'not_yet_valid';
    if (now >= sessionExpiresAt) return 'session_expired';
    if (!hosts.includes(host)) return 'wrong_host';
    if (token.port !== local.port) return 'wrong_port';
    if (token.user !== user) return 'wrong_user';
    return undefined;
  }
}

function isSame(given: string | undefined, expected: Secret | undefined): boolean {
  if (given === undefined || expected === undefined) return given === expected;
  return identityOf(new Secret(given)) === identityOf(expected);
}

/** As names and addresses are compared: without case, brackets, the dot of the root, or IPv4 dressed as IPv6. */
export function bareHost(host: string): string {
  return host
    .toLowerCase()
    .replace(/^\[(.*)\]$/, '$1')
    .replace(/^::ffff:(?=\d+\.)/, '')
    .replace(/\.$/, '');
}
