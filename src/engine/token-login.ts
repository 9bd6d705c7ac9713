/** Log-ins with IAM tokens, whatever the engine: who is asked for one, what is checked, and what is told. */

import { BerthError } from '../base/errors.ts';
import type { Credentials } from '../credential/credentials.ts';
import type { IamFailure, TokenVerdict } from '../credential/token-judge.ts';
import type { Stream } from '../net/stream.ts';
import type { PasswordFailure } from '../observe/events.ts';
import type { EngineSettings } from './contract.ts';

export interface JudgedToken {
  /** What is wrong; undefined: nothing. */
  readonly why: IamFailure | undefined;
  /** Who has signed it, when that is certain. */
  readonly principal: string | undefined;
}

export function judgeToken(
  { tokens }: EngineSettings,
  credentials: Credentials,
  stream: Stream,
  login: { readonly user: string; readonly endpoint: string; readonly token: string },
): JudgedToken {
  const { local } = stream;
  const { user } = login;
  const verdict = tokens.judge({ ...login, local, source: stream.remoteHost ?? '' });
  return { why: whyNot(verdict, credentials, user), principal: verdict.arn };
}

function whyNot(
  verdict: TokenVerdict,
  credentials: Credentials,
  user: string,
): IamFailure | undefined {
  if (verdict.isOk) return credentials.knows(user) ? undefined : 'no_credentials';
  // Who has always had a password learns what is asked for now.
  const isPassword = verdict.why === 'no_token' && credentials.hasToken(user);
  return isPassword ? 'password_given' : verdict.why;
}

export type LoginFailure = PasswordFailure | IamFailure;

/** Whoever may guess waits for the answer; who is merely refused need not. */
export function isGuess(why: LoginFailure): boolean {
  return why !== 'no_tls' && why !== 'too_many' && why !== 'no_credentials';
}

/** What a client is told that may not log in. `hasPassword` is what MySQL's clients are told of what they gave. */
export function refusalOf(
  why: LoginFailure,
  user: string,
  { hasPassword = true }: { readonly hasPassword?: boolean } = {},
): BerthError {
  const params = { user, using: hasPassword ? 'YES' : 'NO' };
  switch (why) {
    case 'unknown_user':
    case 'wrong_password':
    case 'malformed_response':
      return new BerthError('password_wrong', { params });
    case 'no_tls':
      return new BerthError('iam_tls_required');
    case 'too_many':
      return new BerthError('iam_rate_exceeded');
    case 'password_given':
      return new BerthError('iam_token_required', { params });
    case 'no_credentials':
      return new BerthError('credentials_missing', { params });
    case 'no_token':
    case 'unknown_key':
    case 'wrong_session_token':
    case 'wrong_signature':
    case 'wrong_region':
    case 'expired':
    case 'not_yet_valid':
    case 'session_expired':
    case 'wrong_host':
    case 'wrong_port':
    case 'wrong_user':
    case 'not_allowed':
      return new BerthError('iam_token_wrong', { params });
  }
}
