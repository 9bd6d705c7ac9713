/** One login on an endpoint, whatever the engine: what is counted and told of it. */

import { BerthError } from '../base/errors.ts';
import type { Credentials } from '../credential/credentials.ts';
import type { IamFailure } from '../credential/token-judge.ts';
import type { Stream } from '../net/stream.ts';
import type { Event } from '../observe/events.ts';
import type { ClientCloseReason } from '../observe/reasons.ts';
import type { Endpoint, EndpointClient } from './endpoint.ts';
import { judgeToken, type LoginFailure } from './token-login.ts';

type AuthenticationFailed = Extract<Event, { event: 'client.authentication_failed' }>;
type EngineTitle = AuthenticationFailed['engine'];

export class EndpointLogin<S extends EndpointClient> {
  private readonly endpoint: Endpoint<S>;
  private readonly login: EndpointClient;
  private readonly stream: Stream;
  /** Whose token was the last. */
  private principal: string | undefined = undefined;

  constructor(endpoint: Endpoint<S>, login: EndpointClient, stream: Stream) {
    this.endpoint = endpoint;
    this.login = login;
    this.stream = stream;
    endpoint.observer.emit({
      ...endpoint.scope(login.id),
      event: 'client.connected',
      // The socket would keep the text for as long as it lives; ask only when somebody reads it.
      get address() {
        return stream.remoteAddress;
      },
    });
  }

  encrypted(): void {
    this.endpoint.counters.clientConnectionsTls++;
  }

  tlsFailed(detail: string): void {
    const { endpoint, login } = this;
    endpoint.observer.emit({ ...endpoint.scope(login.id), event: 'client.tls_failed', detail });
  }

  /** Throws `too_many_client_connections`. */
  admit(clientCount: number): void {
    const { maxClientConnections } = this.endpoint.limits;
    if (clientCount <= maxClientConnections) return;
    const params = { limit: maxClientConnections };
    throw new BerthError('too_many_client_connections', { params });
  }

  authenticationFailed(user: string, why: LoginFailure, engine: EngineTitle): void {
    const { endpoint, login } = this;
    const event = 'client.authentication_failed';
    endpoint.counters.clientConnectionsSetupFailedAuth++;
    endpoint.observer.emit({
      ...endpoint.scope(login.id),
      event,
      engine,
      user,
      why,
      ...this.whose,
    });
  }

  /** What is wrong with an IAM token of `user`. */
  checkToken(user: string, token: string, credentials: Credentials): IamFailure | undefined {
    const { endpoint, stream } = this;
    const login = { user, endpoint: endpoint.name, token };
    const { why, principal } = judgeToken(endpoint.limits, credentials, stream, login);
    this.principal = principal;
    return why;
  }

  private get whose(): { readonly principal?: string } {
    return this.principal === undefined ? {} : { principal: this.principal };
  }

  borrowFailed(error: BerthError, waitedMs: number): void {
    const { endpoint, login } = this;
    endpoint.observer.emit({
      ...endpoint.scope(login.id),
      event: 'borrow.failed',
      why: error.code === 'borrow_timeout' ? 'timeout' : 'refused',
      waitedMs: Math.round(waitedMs),
      detail: error.detail ?? error.message,
    });
  }

  succeeded(user: string, database: string): void {
    const { endpoint, login } = this;
    endpoint.counters.clientConnectionsInSetup--;
    endpoint.counters.clientConnectionsSetupSucceeded++;
    const event = 'client.authenticated';
    endpoint.observer.emit({ ...endpoint.scope(login.id), event, user, database, ...this.whose });
  }

  /** The login ended without a session. */
  ended(reason: ClientCloseReason): void {
    this.endpoint.counters.clientConnectionsInSetup--;
    this.endpoint.clientClosed(this.login, reason);
  }
}
