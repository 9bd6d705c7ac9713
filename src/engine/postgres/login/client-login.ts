/**
 * A client from accept to ReadyForQuery: encryption requests, the start-up packet, authentication,
 * and the welcome. Then `ClientSession` takes over the stream.
 * https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-START-UP
 *
 * Nothing here trusts a length or an order: who is not logged in gets no memory beyond the limits
 * below, no time beyond the login deadline, and the same answer whether the user or the password is
 * wrong.
 */

import { randomBytes } from 'node:crypto';
import { BerthError } from '../../../base/errors.ts';
import { type ClientConnectionId, nextClientConnectionId } from '../../../base/ids.ts';
import { Timer } from '../../../base/timer-wheel.ts';
import { IGNORE, type Stream, type StreamHandler } from '../../../net/stream.ts';
import type { AcceptTls, TlsOutcome } from '../../../net/tls.ts';
import type { ClientCloseReason } from '../../../observe/reasons.ts';
import type { Borrower } from '../../../pool/contract.ts';
import { isGuess, refusalOf } from '../../token-login.ts';
import { ClientAuthenticator, type LoginFailure, type Step } from '../auth/client-authenticator.ts';
import { ReportedParameters } from '../parameters.ts';
import type { ReplicationConnection } from '../replication-connection.ts';
import type { ReplicationPool } from '../replication-pool.ts';
import { SessionSettings } from '../settings.ts';
import type { Guest, UserPool, Welcome } from '../user-pool.ts';
import {
  AUTHENTICATION_OK,
  authenticationMessage,
  backendKeyData,
  errorFromFields,
  errorResponse,
  negotiateProtocolVersion,
  noticeResponse,
  READY_IDLE,
} from '../wire/backend.ts';
import {
  CANCEL_REQUEST,
  GSSENC_REQUEST,
  PROTOCOL_3_0,
  PROTOCOL_3_2,
  readStartup,
  SSL_REQUEST,
  STARTUP_PACKET_MAX,
  type StartupPacket,
} from '../wire/frontend.ts';
import { HEADER_BYTES, int32At, lengthAt, PASSWORD } from '../wire/messages.ts';
import type { LoginHost } from './login-host.ts';
import type { PostgresArrival } from './reception.ts';
import { type ReplicationStartup, replicationStartup } from './replication-startup.ts';
import { settingsOf } from './startup-options.ts';

/** A password of 64 KiB, such as a token, and what frames it. */
const PASSWORD_MESSAGE_MAX = 64 * 1024 + 1024;
/** Who gives a wrong password waits this long for the answer, without holding up anybody else. */
const WRONG_PASSWORD_DELAY_MS = 500;
const CLOSE_LINGER_MS = 5_000;
const ACCEPT_ENCRYPTION = Buffer.from('S');
const EMPTY = Buffer.alloc(0);
const REFUSE_ENCRYPTION = Buffer.from('N');
/** The first byte of a TLS handshake, RFC 8446 section 5.1; no start-up packet may begin like this. */
const TLS_HANDSHAKE = 0x16;
/** What a client must ask for that begins with TLS at once, without SSLRequest. */
const TLS_PROTOCOL = 'postgresql';
type State = 'startup' | 'handshake' | 'authenticating' | 'busy' | 'welcoming' | 'closed';

export class ClientLogin implements StreamHandler, Guest, Borrower<ReplicationConnection> {
  readonly id: ClientConnectionId = nextClientConnectionId();
  private readonly stream: Stream;
  private readonly host: LoginHost;
  private readonly deadline: Timer;
  private state: State = 'startup';
  private buffer: Buffer | undefined = undefined;
  private hasAskedForTls = false;
  private hasAskedForGss = false;
  private tls: (TlsOutcome & { readonly isOk: true }) | undefined = undefined;
  private protocol = PROTOCOL_3_0;
  private user = '';
  private database = '';
  private settings: SessionSettings | undefined = undefined;
  private authenticator: ClientAuthenticator | undefined = undefined;
  private userPool: UserPool | undefined = undefined;
  /** The client asks for replication. */
  private replication: ReplicationStartup | undefined = undefined;
  private replicationPool: ReplicationPool | undefined = undefined;
  /** The end of the authentication, which goes out with what comes next. */
  private unsent: Buffer | undefined = undefined;
  /** Wheel time. */
  private welcomeAskedAt = 0;

  constructor(stream: Stream, host: LoginHost) {
    this.stream = stream;
    this.host = host;
    stream.handler = this;
    this.deadline = new Timer(() => this.timedOut());
    host.endpoint.wheel.arm(this.deadline, host.endpoint.limits.loginTimeoutMs);
  }

  get isEncrypted(): boolean {
    return this.stream.isEncrypted;
  }

  /** Goes on where a reception has ended. */
  arrive({ received, isTlsGranted, hasAskedForGss }: PostgresArrival): void {
    this.hasAskedForGss = hasAskedForGss;
    const accept = this.acceptTls;
    if (!isTlsGranted) this.received(received);
    else if (accept === undefined) this.end('protocol_violation');
    else this.startTls(accept, { isDirect: false, early: received });
  }

  received(bytes: Buffer): void {
    const { buffer } = this;
    this.buffer = buffer === undefined ? bytes : Buffer.concat([buffer, bytes]);
    if (this.buffer.length > PASSWORD_MESSAGE_MAX) {
      // Whoever is being authenticated sends one message at a time.
      this.refuse('protocol_violation', violation('too many bytes before the login'));
      return;
    }
    this.proceed();
  }

  congested(): void {}

  drained(): void {}

  closed(): void {
    const sentNothing =
      this.state === 'startup' && this.buffer === undefined && !this.hasAskedForTls;
    this.leave(sentNothing ? 'probe' : 'client_gone');
  }

  private proceed(): void {
    while (this.buffer !== undefined && this.buffer.length > 0) {
      if (this.state === 'startup') {
        if (!this.readFirstPacket(this.buffer)) return;
      } else if (this.state === 'authenticating') {
        if (!this.readPassword(this.buffer)) return;
      } else {
        return;
      }
    }
  }

  private consume(buffer: Buffer, length: number): void {
    this.buffer = length === buffer.length ? undefined : buffer.subarray(length);
  }

  // --- Start-up

  /** Returns whether a packet was complete and more may follow. */
  private readFirstPacket(buffer: Buffer): boolean {
    if (buffer[0] === TLS_HANDSHAKE) {
      this.directTlsAsked(buffer);
      return false;
    }
    if (buffer.length < 4) return false;
    const length = int32At(buffer, 0);
    if (length < 8 || length > STARTUP_PACKET_MAX) {
      // Not a PostgreSQL client; a server says nothing either.
      this.end('protocol_violation');
      return false;
    }
    if (buffer.length < length) return false;
    const packet = buffer.subarray(4, length);
    this.consume(buffer, length);
    switch (int32At(packet, 0)) {
      case SSL_REQUEST:
        return this.tlsAsked();
      case GSSENC_REQUEST:
        return this.gssAsked();
      case CANCEL_REQUEST:
        this.cancelAsked(packet);
        return false;
      default:
        return this.startupReceived(packet);
    }
  }

  /** Each kind of encryption may be asked for once. */
  private gssAsked(): boolean {
    if (this.hasAskedForGss) return this.askedTwice();
    this.hasAskedForGss = true;
    this.stream.write(REFUSE_ENCRYPTION);
    return true;
  }

  /** As with PostgreSQL, there is no TLS over a Unix socket: nobody is in between. */
  private get acceptTls(): AcceptTls | undefined {
    return this.stream.isLocal ? undefined : this.host.endpoint.limits.clientTls.accept;
  }

  private tlsAsked(): boolean {
    if (this.hasAskedForTls) return this.askedTwice();
    this.hasAskedForTls = true;
    const accept = this.acceptTls;
    if (accept === undefined) {
      this.stream.write(REFUSE_ENCRYPTION);
      return true;
    }
    if (this.buffer !== undefined) {
      // Whoever is in between may have put it there, for us to take it for part of what is encrypted.
      this.refuse('protocol_violation', violation('received unencrypted data after SSL request'));
      return false;
    }
    this.stream.write(ACCEPT_ENCRYPTION);
    this.startTls(accept, { isDirect: false });
    return false;
  }

  /** Without a channel nothing can be said but TLS's own alert, which is on its way. */
  private endFailed(): void {
    this.stream.handler = IGNORE;
    this.stream.end(this.host.endpoint.wheel, CLOSE_LINGER_MS);
    this.leave('tls_failed');
  }

  private askedTwice(): false {
    this.refuse('protocol_violation', violation('encryption was asked for twice'));
    return false;
  }

  /** As in PostgreSQL, only at the very beginning; anybody else gets no answer. */
  private directTlsAsked(buffer: Buffer): void {
    const accept = this.acceptTls;
    if (accept === undefined || this.hasAskedForTls || this.hasAskedForGss) {
      this.end('protocol_violation');
      return;
    }
    this.buffer = undefined;
    this.startTls(accept, { isDirect: true, early: buffer });
  }

  private startTls(
    accept: AcceptTls,
    { isDirect, early }: { readonly isDirect: boolean; readonly early?: Buffer },
  ): void {
    this.state = 'handshake';
    // Inside TLS neither kind of encryption may be asked for again.
    this.hasAskedForTls = true;
    this.hasAskedForGss = true;
    this.stream.startTls(accept, (outcome) => this.tlsEnded(outcome, isDirect), early);
  }

  private tlsEnded(outcome: TlsOutcome, isDirect: boolean): void {
    if (this.state !== 'handshake') return;
    if (this.stream.isEncrypted) this.host.encrypted();
    if (!outcome.isOk) {
      this.tlsFailed(outcome);
      return;
    }
    if (isDirect && outcome.protocol !== TLS_PROTOCOL) {
      this.host.tlsFailed(`the client did not ask for the protocol ${TLS_PROTOCOL}`);
      this.end('tls_failed');
      return;
    }
    this.tls = outcome;
    this.state = 'startup';
  }

  private tlsFailed({ why, detail }: TlsOutcome & { readonly isOk: false }): void {
    // `closed` comes next.
    if (why === 'gone') return;
    this.host.tlsFailed(detail);
    if (why === 'failed') this.endFailed();
    else this.refuse('tls_failed', new BerthError('client_certificate_required'));
  }

  private cancelAsked(packet: Buffer): void {
    this.state = 'closed';
    this.host.endpoint.wheel.disarm(this.deadline);
    this.stream.handler = IGNORE;
    const processId = packet.length >= 8 ? int32At(packet, 4) : 0;
    // As with a server, the end of this connection tells that the signal was sent.
    this.host.cancel(processId, packet.toString('latin1', 8), () => {
      this.stream.end(this.host.endpoint.wheel, CLOSE_LINGER_MS);
    });
    this.host.loginEnded('cancel_request');
  }

  private startupReceived(packet: Buffer): boolean {
    // What follows the version is for that version to say.
    if (int32At(packet, 0) >> 16 !== 3) {
      this.refuse('login_failed', new BerthError('protocol_version_unsupported'));
      return false;
    }
    const startup = readStartup(packet);
    if (typeof startup === 'string') {
      const error = new BerthError('startup_packet_invalid', { params: { what: startup } });
      this.refuse('protocol_violation', error);
      return false;
    }
    try {
      this.acceptStartup(startup);
    } catch (error) {
      if (!(error instanceof BerthError)) throw error;
      const isFull = error.code === 'too_many_client_connections';
      this.refuse(isFull ? 'too_many_connections' : 'login_failed', error);
      return false;
    }
    return true;
  }

  private acceptStartup({ protocol, parameters }: StartupPacket): void {
    const { clientTls } = this.host.endpoint.limits;
    const isTlsDue = clientTls.isRequired && !this.stream.isLocal;
    if (isTlsDue && this.tls === undefined) throw new BerthError('tls_required');
    if (clientTls.isCertificateRequired && this.tls?.isPeerVerified === false) {
      throw new BerthError('client_certificate_required');
    }
    const user = parameters.get('user') ?? '';
    if (user === '') throw new BerthError('user_missing');
    this.replication = replicationStartup(parameters);
    if (this.replication !== undefined && this.host.endpoint.limits.isReplicationRefused) {
      throw new BerthError('replication_unsupported');
    }
    this.user = utf8(user);
    this.database = utf8(parameters.get('database') || user);
    this.settings = this.replication?.settings ?? settingsOf(parameters);
    this.host.admit();
    this.negotiate(protocol, parameters);
    this.beginAuthentication();
  }

  /** https://www.postgresql.org/docs/current/protocol-message-formats.html NegotiateProtocolVersion */
  private negotiate(asked: number, parameters: ReadonlyMap<string, string>): void {
    this.protocol = asked >= PROTOCOL_3_2 ? PROTOCOL_3_2 : PROTOCOL_3_0;
    const unknown = [...parameters.keys()].filter((name) => name.startsWith('_pq_.'));
    if (this.protocol === asked && unknown.length === 0) return;
    this.stream.write(negotiateProtocolVersion(this.protocol, unknown));
  }

  // --- Authentication

  private beginAuthentication(): void {
    const { user } = this;
    const { credential, method, isIam } = this.host.credentialFor(user);
    if (isIam && !this.stream.isEncrypted) {
      this.authenticationFailed('no_tls');
      return;
    }
    const serverEndPoint = this.tls?.serverEndPoint;
    this.authenticator = new ClientAuthenticator({
      user,
      credential,
      method,
      checkToken: isIam ? (token) => this.host.checkToken(user, token) : undefined,
      ...(serverEndPoint === undefined ? {} : { serverEndPoint }),
    });
    this.state = 'busy';
    void this.advance(async () => {
      const body = await this.authenticator?.begin();
      return body === undefined ? undefined : { kind: 'continue', body };
    });
  }

  /** Returns whether a message was complete. */
  private readPassword(buffer: Buffer): boolean {
    if (buffer.length < HEADER_BYTES) return false;
    const length = lengthAt(buffer, 0);
    if (buffer[0] !== PASSWORD || length < 4 || length > PASSWORD_MESSAGE_MAX) {
      this.refuse('protocol_violation', violation('expected a password'));
      return false;
    }
    if (buffer.length < 1 + length) return false;
    const body = Buffer.from(buffer.subarray(HEADER_BYTES, 1 + length));
    this.consume(buffer, 1 + length);
    this.state = 'busy';
    void this.advance(async () => this.authenticator?.respond(body));
    return true;
  }

  /** Runs one step of the exchange, which may leave the event loop, and does what it says. */
  private async advance(step: () => Promise<Step | undefined>): Promise<void> {
    try {
      const next = await step();
      if (this.state !== 'busy' || next === undefined) return;
      this.act(next);
    } catch (error) {
      this.host.endpoint.observer.emit({ event: 'internal.failed', doing: 'authenticate', error });
      this.refuse('internal_error', new BerthError('internal', { cause: error }));
    }
  }

  private act(step: Step): void {
    switch (step.kind) {
      case 'continue':
        this.state = 'authenticating';
        this.stream.write(authenticationMessage(step.body));
        this.proceed();
        return;
      case 'failed':
        this.authenticationFailed(step.why);
        return;
      case 'done':
        if (step.final !== undefined) this.unsent = authenticationMessage(step.final);
        this.authenticated();
        // The welcome is not here yet.
        if (this.unsent !== undefined) this.write(EMPTY);
        return;
      default:
        step satisfies never;
    }
  }

  private authenticationFailed(why: LoginFailure): void {
    const { wheel } = this.host.endpoint;
    this.host.authenticationFailed(this.user, why);
    const error = refusalOf(why, this.user);
    if (!isGuess(why)) {
      this.refuse('login_failed', error);
      return;
    }
    wheel.arm(new Timer(() => this.refuse('login_failed', error)), WRONG_PASSWORD_DELAY_MS);
  }

  /** Sends `message` behind what is unsent, in one piece: each is a record of TLS and a call of the system. */
  private write(message: Uint8Array): void {
    const { unsent } = this;
    this.unsent = undefined;
    this.stream.write(unsent === undefined ? message : Buffer.concat([unsent, message]));
  }

  private authenticated(): void {
    const { wheel, limits } = this.host.endpoint;
    // From here on the limits of the pool hold.
    wheel.disarm(this.deadline);
    this.state = 'welcoming';
    this.welcomeAskedAt = wheel.now;
    this.authenticator = undefined;
    const settings = this.settings ?? SessionSettings.NONE;
    const priority = this.host.priorityOf(limits, this.user, settings);
    if (this.replication === undefined) {
      this.userPool = this.host.poolFor(this.user, this.database);
      this.userPool.welcome(settings, priority, this);
    } else {
      const { replication } = this;
      this.replicationPool = this.host.replicationPool(this.user, this.database, replication);
      this.replicationPool.wait(this, priority);
    }
  }

  // --- Welcome

  stillWaiting(waitedMs: number, position: number): void {
    if (this.state !== 'welcoming') return;
    const seconds = Math.round(waitedMs / 1000);
    const text = `Waiting for a database connection for ${seconds} s; ${position} in the queue.`;
    this.stream.write(noticeResponse(text));
  }

  welcomed(welcome: Welcome): void {
    if (this.state !== 'welcoming' || this.userPool === undefined) return;
    if (!welcome.isOk) {
      if ('error' in welcome) this.borrowFailed(welcome.error);
      else this.refuseWith('login_failed', errorFromFields('FATAL', welcome.fields));
      return;
    }
    this.state = 'closed';
    const key = this.newCancelKey();
    const session = this.host.loggedIn({
      stream: this.stream,
      userPool: this.userPool,
      user: this.user,
      database: this.database,
      settings: welcome.settings,
      parameters: welcome.parameters,
      cancelKey: key.toString('latin1'),
    });
    const parameters = welcome.parameters.differencesFrom(ReportedParameters.NONE);
    this.handOver(session, key, parameters);
  }

  private newCancelKey(): Buffer {
    return randomBytes(this.protocol === PROTOCOL_3_2 ? 32 : 4);
  }

  /** Tells the client that it is logged in; what comes from it is the session's from here on. */
  private handOver(
    session: StreamHandler & { readonly processId: number },
    key: Uint8Array,
    greeting: readonly Uint8Array[],
  ): void {
    const keyData = backendKeyData(session.processId, key);
    this.write(Buffer.concat([AUTHENTICATION_OK, ...greeting, keyData, READY_IDLE]));
    // Whatever the client sent ahead of the answer.
    const { buffer } = this;
    this.buffer = undefined;
    this.stream.handler = session;
    if (buffer !== undefined) session.received(buffer);
  }

  /** The connection that the client replicates on. */
  granted(connection: ReplicationConnection): void {
    const { replication: startup, replicationPool: pool } = this;
    if (startup === undefined || pool === undefined) return;
    this.state = 'closed';
    const key = this.newCancelKey();
    const session = this.host.replicating({
      stream: this.stream,
      pool,
      connection,
      startup,
      user: this.user,
      database: this.database,
      cancelKey: key.toString('latin1'),
    });
    this.handOver(session, key, [connection.greeting]);
  }

  refused(error: BerthError): void {
    this.borrowFailed(error);
  }

  private borrowFailed(error: BerthError): void {
    this.host.borrowFailed(error, this.host.endpoint.wheel.now - this.welcomeAskedAt);
    this.refuse('borrow_failed', error);
  }

  // --- The end of a login that did not succeed

  private timedOut(): void {
    const seconds = this.host.endpoint.limits.loginTimeoutMs / 1000;
    this.refuse('login_timeout', new BerthError('login_timeout', { params: { seconds } }));
  }

  private refuse(reason: ClientCloseReason, error: BerthError): void {
    this.refuseWith(reason, errorResponse('FATAL', error));
  }

  private refuseWith(reason: ClientCloseReason, message: Uint8Array): void {
    if (this.state === 'closed') return;
    if (this.state !== 'handshake' || this.isEncrypted) this.write(message);
    this.end(reason);
  }

  private end(reason: ClientCloseReason): void {
    this.stream.handler = IGNORE;
    // There is no way to say goodbye in the middle of a handshake.
    if (this.state === 'handshake' && !this.isEncrypted) this.stream.destroy();
    else this.stream.end(this.host.endpoint.wheel, CLOSE_LINGER_MS);
    this.leave(reason);
  }

  /** Ends the login when the process stops. */
  stop(): void {
    this.refuse('shutdown', new BerthError('shutting_down'));
  }

  private leave(reason: ClientCloseReason): void {
    if (this.state === 'closed') return;
    this.state = 'closed';
    this.host.endpoint.wheel.disarm(this.deadline);
    if (this.userPool !== undefined) this.host.poolLeft(this.userPool);
    this.replicationPool?.leave();
    this.host.loginEnded(reason);
  }
}

function violation(what: string): BerthError {
  return new BerthError('protocol_violation', { params: { what } });
}

function utf8(latin1: string): string {
  return Buffer.from(latin1, 'latin1').toString('utf8');
}
