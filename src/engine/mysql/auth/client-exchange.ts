/**
 * One way of asking a client for its password, as `ClientAuthenticator` uses it: a step for each answer
 * of the client until one is not `more`.
 */

import type { LoginFailure } from '../../token-login.ts';

export type { LoginFailure };

export type Step =
  /** Send AuthSwitchRequest, and wait for an answer. */
  | { readonly kind: 'switch'; readonly plugin: string; readonly data: Uint8Array }
  /** Send AuthMoreData, and wait for an answer. */
  | { readonly kind: 'more'; readonly data: Uint8Array }
  /** The client is who it says. Send `final`, if any, as AuthMoreData, then OK. */
  | { readonly kind: 'done'; readonly final: Uint8Array | undefined }
  /** `hasPassword`: the client gave one, which the error tells. */
  | { readonly kind: 'failed'; readonly why: LoginFailure; readonly hasPassword: boolean }
  /** The client knows no plugins, and not the one way that it would need. */
  | { readonly kind: 'too_old' };

export interface ClientExchange {
  /** Takes the client's answer; keeps nothing of it. */
  respond(answer: Buffer): Step;
}
