/** What a client's login needs from the engine that it logs in to. */

import type { BerthError } from '../../../base/errors.ts';
import type { TimerWheel } from '../../../base/timer-wheel.ts';
import type { UserCredential } from '../../../credential/credentials.ts';
import type { IamFailure } from '../../../credential/token-judge.ts';
import type { Stream, StreamHandler } from '../../../net/stream.ts';
import type { ClientCloseReason } from '../../../observe/reasons.ts';
import type { EngineSettings } from '../../contract.ts';
import type { ClientPlugin, LoginFailure } from '../auth/client-authenticator.ts';
import type { PasswordKey } from '../auth/password-key.ts';
import type { Capabilities } from './negotiation.ts';
import type { ServerFacts } from './server-facts.ts';

/** A client that has proved who it is, and what it asks for. */
export interface ClientIdentity extends Capabilities {
  readonly user: string;
  /** Undefined when the client named none. */
  readonly database: string | undefined;
  /** One byte of the id of a collation: character set and collation of the session. */
  readonly collation: number;
  /** What the client tells of itself, such as `program_name`. */
  readonly attributes: ReadonlyMap<string, string>;
}

/** What the first OK tells. */
export interface Welcome {
  /** SERVER_STATUS_*. */
  readonly status: number;
}

/** Somebody who waits to be let in. */
export interface Guest {
  welcomed(welcome: Welcome): void;
  refused(error: BerthError): void;
}

/** A client's place in the engine from the end of its authentication on. */
export interface Place {
  /** The client was welcomed, and has been told. Whatever comes from it is for the session. */
  begin(stream: Stream): StreamHandler;
  /** The client has gone before that. */
  leave(): void;
}

/** What of its endpoint a login needs. */
export interface LoginEndpoint {
  readonly wheel: TimerWheel;
  /** The settings in force; replaced as a whole when the configuration changes. */
  readonly limits: EngineSettings;
}

export interface LoginHost {
  readonly endpoint: LoginEndpoint;
  /** The number in the client's greeting, which KILL names. */
  readonly threadId: number;
  /** What clients without TLS encrypt their passwords with. */
  readonly passwordKey: PasswordKey;
  /** In place of the target's own. */
  readonly serverVersion: string | undefined;
  /** Calls `told`, now or when the target has been met first. Returns how to give up. */
  whenServerKnown(told: (server: ServerFacts) => void): () => void;
  /** The client and the proxy speak TLS from here on. */
  encrypted(): void;
  tlsFailed(detail: string): void;
  /** Throws `too_many_client_connections`. */
  admit(): void;
  /** The credential of `user`, if there is one, and how users of the proxy are asked for passwords. */
  credentialFor(user: string): {
    readonly credential: UserCredential | undefined;
    readonly plugin: ClientPlugin;
    /** Clients of the user give IAM tokens, whatever the plugin. */
    readonly isIam: boolean;
  };
  /** What is wrong with an IAM token of `user`. */
  checkToken(user: string, token: string): IamFailure | undefined;
  authenticationFailed(user: string, why: LoginFailure): void;
  /** Calls one method of `guest`, once, now or later, unless the place is left first. */
  join(client: ClientIdentity, guest: Guest): Place;
  /** The login ended without a session. */
  loginEnded(reason: ClientCloseReason): void;
}
