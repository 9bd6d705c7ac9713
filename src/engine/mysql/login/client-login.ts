/**
 * A client from accept to its first OK: our greeting, the request for TLS, the log-in packet, the
 * authentication, and the welcome. Then the session takes over the stream.
 * https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_connection_phase.html
 *
 * Nothing here trusts a length or an order: who is not logged in gets no memory beyond the limits
 * below, no time beyond the login deadline, and the same answer whether the user or the password is
 * wrong.
 */

import { BerthError } from '../../../base/errors.ts';
import { type ClientConnectionId, nextClientConnectionId } from '../../../base/ids.ts';
import { Timer } from '../../../base/timer-wheel.ts';
import { acceptedBeside } from '../../../credential/credentials.ts';
import { IGNORE, type Stream, type StreamHandler } from '../../../net/stream.ts';
import type { AcceptTls, TlsOutcome } from '../../../net/tls.ts';
import type { ClientCloseReason } from '../../../observe/reasons.ts';
import { isGuess, refusalOf } from '../../token-login.ts';
import {
  ClientAuthenticator,
  type LoginFailure,
  newScramble,
  type Step,
} from '../auth/client-authenticator.ts';
import {
  CLIENT_PLUGIN_AUTH,
  has,
  SERVER_STATUS_AUTOCOMMIT,
  SESSION_TRACK_SCHEMA,
} from '../wire/capabilities.ts';
import {
  authMorePacket,
  authSwitchPacket,
  type ClientLoginPacket,
  greetingPacket,
  isTlsRequest,
  readLogin,
} from '../wire/handshake.ts';
import { lenencString, PacketAssembler, type Received, sequenceAfter } from '../wire/packets.ts';
import { errorInsteadOfGreeting, errorPacket, okPacket, sessionState } from '../wire/replies.ts';
import type { ClientIdentity, Guest, LoginHost, Place, Welcome } from './login-host.ts';
import { agreedWith, type Capabilities, offeredTo } from './negotiation.ts';
import type { Greeted, MySqlArrival } from './reception.ts';
import type { ServerFacts } from './server-facts.ts';

/** A password of 64 KiB, such as a token, as much of attributes, and the rest of a log-in packet. */
const LOGIN_PACKET_MAX = 2 * 64 * 1024 + 4 * 1024;
/** Who gives a wrong password waits this long for the answer, without holding up anybody else. */
const WRONG_PASSWORD_DELAY_MS = 500;
const CLOSE_LINGER_MS = 5_000;
const EMPTY = Buffer.alloc(0);
const NOTHING_AGREED: Capabilities = { capabilities: 0, mariadbCapabilities: 0 };

/**
 * - `greeting`: we do not know yet what the target is.
 * - `login`: the greeting is out; a request for TLS or a log-in packet comes.
 * - `handshake`: of TLS.
 * - `authenticating`: the client has to answer.
 * - `busy`: it has to wait.
 * - `welcoming`: it is who it says, and the engine makes room.
 */
type State =
  | 'greeting'
  | 'login'
  | 'handshake due'
  | 'handshake'
  | 'authenticating'
  | 'busy'
  | 'welcoming'
  | 'closed';

export class ClientLogin implements StreamHandler, Guest {
  readonly id: ClientConnectionId = nextClientConnectionId();
  private readonly stream: Stream;
  private readonly host: LoginHost;
  private readonly deadline: Timer;
  private readonly scramble: Buffer;
  private readonly assembler = new PacketAssembler(LOGIN_PACKET_MAX, 1);
  private stopWaiting: () => void = () => {};
  private state: State = 'greeting';
  private hasSent = false;
  private offered: Capabilities;
  /** What this endpoint would have offered; differs when another one has greeted for it. */
  private own: Capabilities = NOTHING_AGREED;
  private tls: (TlsOutcome & { readonly isOk: true }) | undefined = undefined;
  /** Of the next packet to the client. */
  private sequence = 0;
  private identity: ClientIdentity | undefined = undefined;
  private authenticator: ClientAuthenticator | undefined = undefined;
  private place: Place | undefined = undefined;
  /** What the engine has said before it gave the place. */
  private verdict: Welcome | BerthError | undefined = undefined;
  private delay: Timer | undefined = undefined;
  /** The end of the authentication, which goes out with the welcome. */
  private unsent: Buffer | undefined = undefined;

  /** `greeted`: with what the client was greeted already. */
  constructor(stream: Stream, host: LoginHost, greeted: Greeted | undefined) {
    this.stream = stream;
    this.host = host;
    this.scramble = greeted?.scramble ?? newScramble();
    this.offered = greeted?.offered ?? NOTHING_AGREED;
    stream.handler = this;
    this.deadline = new Timer(() => this.timedOut());
    host.endpoint.wheel.arm(this.deadline, host.endpoint.limits.loginTimeoutMs);
  }

  /** Greets, or goes on where a reception has ended: in the handshake of TLS. */
  begin(arrival: MySqlArrival | undefined): void {
    if (arrival === undefined) {
      this.stopWaiting = this.host.whenServerKnown((server) => this.greet(server));
      return;
    }
    this.hasSent = true;
    this.state = 'handshake';
    this.sequence = arrival.sequence;
    this.assembler.expect(arrival.sequence);
    this.stopWaiting = this.host.whenServerKnown((server) => this.arrive(server, arrival));
  }

  private arrive(server: ServerFacts, { clientHello }: MySqlArrival): void {
    const accept = this.acceptTls;
    if (this.state !== 'handshake') return;
    if (accept === undefined) {
      this.refuse('protocol_violation', malformedLogin('TLS was not offered'));
      return;
    }
    this.own = offeredTo(server, { hasTls: true });
    this.stream.startTls(accept, (outcome) => this.tlsEnded(outcome), clientHello);
  }

  get isEncrypted(): boolean {
    return this.stream.isEncrypted;
  }

  received(bytes: Buffer): void {
    this.hasSent = true;
    this.assembler.push(bytes);
    this.proceed();
  }

  congested(): void {}

  drained(): void {
    if (this.state === 'handshake due') this.startTls();
  }

  closed(): void {
    this.leave(this.hasSent ? 'client_gone' : 'probe');
  }

  /** As with servers, there is no TLS over a Unix socket: nobody is in between. */
  private get acceptTls(): AcceptTls | undefined {
    return this.stream.isLocal ? undefined : this.host.endpoint.limits.clientTls.accept;
  }

  private greet(server: ServerFacts): void {
    if (this.state !== 'greeting') return;
    const { threadId, serverVersion = server.version } = this.host;
    this.offered = offeredTo(server, { hasTls: this.acceptTls !== undefined });
    this.own = this.offered;
    this.state = 'login';
    const { offered, scramble } = this;
    const { plugin } = this.host.credentialFor('');
    this.stream.write(greetingFor(server, { offered, serverVersion, threadId, scramble, plugin }));
    this.proceed();
  }

  private proceed(): void {
    while (this.state === 'login' || this.state === 'authenticating') {
      const next = this.assembler.next();
      if (next === undefined) return;
      if (typeof next === 'string') {
        this.notReadable(next);
        return;
      }
      this.sequence = sequenceAfter(next.sequence);
      if (this.state === 'login') this.readFirst(next);
      else this.answered(next.payload);
    }
    // Whoever is waiting for us has nothing to say; what it sends all the same stays bounded.
    if (this.assembler.heldBytes > LOGIN_PACKET_MAX) this.notReadable('too_large');
  }

  private notReadable(why: 'too_large' | 'out_of_order'): void {
    const code = why === 'too_large' ? 'packet_too_large' : 'packets_out_of_order';
    this.refuse('protocol_violation', new BerthError(code));
  }

  // --- The first packets

  private readFirst({ payload }: Received): void {
    if (this.tls === undefined && isTlsRequest(payload)) this.tlsAsked();
    else this.loginReceived(payload);
  }

  /**
   * What is behind the request belongs to the handshake, and if it was put there in plain text, fails it.
   * What the request says of the client is said again afterwards, and only that counts.
   */
  private tlsAsked(): void {
    // Who asks before the greeting has been taken waits for that.
    this.stream.sendNow();
    if (this.stream.isCongested) this.state = 'handshake due';
    else this.startTls();
  }

  private startTls(): void {
    const accept = this.acceptTls;
    if (accept === undefined) {
      this.refuse('protocol_violation', malformedLogin('TLS was not offered'));
      return;
    }
    this.state = 'handshake';
    const early = this.assembler.takeRest();
    this.stream.startTls(accept, (outcome) => this.tlsEnded(outcome), early);
  }

  private tlsEnded(outcome: TlsOutcome): void {
    if (this.state !== 'handshake') return;
    if (this.stream.isEncrypted) this.host.encrypted();
    if (outcome.isOk) {
      this.tls = outcome;
      this.state = 'login';
      return;
    }
    // `closed` comes next.
    if (outcome.why === 'gone') return;
    this.host.tlsFailed(outcome.detail);
    // Without a channel nothing can be said but TLS's own alert, which is on its way.
    if (outcome.why === 'failed') this.end('tls_failed');
    else this.refuse('tls_failed', new BerthError('client_certificate_required'));
  }

  private loginReceived(payload: Buffer): void {
    const login = readLogin(payload);
    if (login === 'malformed') {
      this.refuse('protocol_violation', malformedLogin('the log-in packet cannot be read'));
      return;
    }
    if (login === 'old_protocol') {
      this.refuse('login_failed', new BerthError('client_protocol_too_old'));
      return;
    }
    try {
      this.acceptLogin(login);
    } catch (error) {
      if (!(error instanceof BerthError)) throw error;
      const isFull = error.code === 'too_many_client_connections';
      this.refuse(isFull ? 'too_many_connections' : 'login_failed', error);
    }
  }

  private acceptLogin(login: ClientLoginPacket): void {
    const { clientTls } = this.host.endpoint.limits;
    const isTlsDue = clientTls.isRequired && !this.stream.isLocal;
    if (isTlsDue && this.tls === undefined) throw new BerthError('tls_required');
    if (clientTls.isCertificateRequired && this.tls?.isPeerVerified === false) {
      throw new BerthError('client_certificate_required');
    }
    this.host.admit();
    const { collation, attributes } = login;
    const agreed = agreedWith(login, this.offered);
    if (!isWithin(agreed, this.own)) throw new BerthError('endpoint_different');
    this.identity = {
      ...agreed,
      user: login.user.toString(),
      database: login.database?.toString(),
      collation,
      attributes,
    };
    this.authenticate(this.identity.user, login);
  }

  // --- Authentication

  private authenticate(user: string, login: ClientLoginPacket): void {
    const { credential, plugin, isIam } = this.host.credentialFor(user);
    if (isIam && !this.stream.isEncrypted) {
      this.authenticationFailed('no_tls', false);
      return;
    }
    this.authenticator = new ClientAuthenticator({
      password: credential?.password,
      others: acceptedBeside(credential, Date.now()),
      checkToken: isIam ? (token) => this.host.checkToken(user, token) : undefined,
      plugin,
      isSecure: this.stream.isEncrypted || this.stream.isLocal,
      passwordKey: this.host.passwordKey,
    });
    // The exchange may keep the answer for longer than the chunk that it is in.
    const answer = Buffer.from(login.authResponse);
    const { authenticator, scramble } = this;
    if (has(login.capabilities, CLIENT_PLUGIN_AUTH)) {
      this.act(authenticator.begin({ plugin: login.plugin, answer, scramble }));
    } else {
      this.act(authenticator.beginWithoutPlugins(answer, scramble));
    }
  }

  private answered(answer: Buffer): void {
    if (this.authenticator === undefined) return;
    this.act(this.authenticator.respond(answer));
  }

  private act(step: Step): void {
    switch (step.kind) {
      case 'switch':
        this.ask(authSwitchPacket(this.sequence, step.plugin, step.data));
        return;
      case 'more':
        this.ask(authMorePacket(this.sequence, step.data));
        return;
      case 'failed':
        this.authenticationFailed(step.why, step.hasPassword);
        return;
      case 'too_old':
        this.refuse('login_failed', new BerthError('client_protocol_too_old'));
        return;
      case 'done':
        this.authenticated(step.final);
        return;
      default:
        step satisfies never;
    }
  }

  private ask(message: Buffer): void {
    this.state = 'authenticating';
    this.sequence = sequenceAfter(this.sequence);
    this.assembler.expect(this.sequence);
    this.stream.write(message);
  }

  private authenticationFailed(why: LoginFailure, hasPassword: boolean): void {
    const { wheel } = this.host.endpoint;
    const user = this.identity?.user ?? '';
    this.state = 'busy';
    this.host.authenticationFailed(user, why);
    const error = refusalOf(why, user, { hasPassword });
    if (!isGuess(why)) {
      this.refuse('login_failed', error);
      return;
    }
    this.delay = new Timer(() => this.refuse('login_failed', error));
    wheel.arm(this.delay, WRONG_PASSWORD_DELAY_MS);
  }

  private authenticated(final: Uint8Array | undefined): void {
    const { identity } = this;
    if (identity === undefined) return;
    if (final !== undefined) {
      this.unsent = authMorePacket(this.sequence, final);
      this.sequence = sequenceAfter(this.sequence);
    }
    // From here on the limits of the pool hold.
    this.host.endpoint.wheel.disarm(this.deadline);
    this.state = 'welcoming';
    this.authenticator = undefined;
    const place = this.host.join(identity, this);
    // It may have been over before the place was there.
    if (this.place === undefined) this.placed(place);
  }

  // --- Welcome

  private placed(place: Place): void {
    this.place = place;
    const { verdict } = this;
    if (verdict instanceof BerthError) this.refused(verdict);
    else if (verdict !== undefined) this.welcomed(verdict);
  }

  welcomed(welcome: Welcome): void {
    const { place, identity, stream } = this;
    if (this.state !== 'welcoming' || identity === undefined) return;
    if (place === undefined) {
      this.verdict = welcome;
      return;
    }
    this.state = 'closed';
    const { capabilities, database } = identity;
    const state = database === undefined ? EMPTY : schemaState(database);
    this.write(okPacket(this.sequence, capabilities, { status: welcome.status, state }));
    // Whatever the client sent ahead of the answer.
    const rest = this.assembler.takeRest();
    const session = place.begin(stream);
    stream.handler = session;
    if (rest !== undefined) session.received(rest);
  }

  refused(error: BerthError): void {
    if (this.place === undefined) this.verdict = error;
    else this.refuse('borrow_failed', error);
  }

  /** Sends `message` behind what is unsent, in one piece: each is a record of TLS and a call of the system. */
  private write(message: Uint8Array): void {
    const { unsent } = this;
    this.unsent = undefined;
    this.stream.write(unsent === undefined ? message : Buffer.concat([unsent, message]));
  }

  // --- The end of a login that did not succeed

  private timedOut(): void {
    if (this.state === 'greeting') {
      this.refuse('login_timeout', new BerthError('connection_refused'));
      return;
    }
    const seconds = this.host.endpoint.limits.loginTimeoutMs / 1000;
    this.refuse('login_timeout', new BerthError('login_timeout', { params: { seconds } }));
  }

  private refuse(reason: ClientCloseReason, error: BerthError): void {
    const { state, stream } = this;
    if (state === 'closed') return;
    if (state === 'handshake' && !this.isEncrypted) {
      // There is no way to say anything in the middle of a handshake.
      stream.handler = IGNORE;
      stream.destroy();
      this.leave(reason);
      return;
    }
    const isEarly = state === 'greeting';
    this.write(isEarly ? errorInsteadOfGreeting(error) : errorPacket(this.sequence, error));
    this.end(reason);
  }

  private end(reason: ClientCloseReason): void {
    this.stream.handler = IGNORE;
    this.stream.end(this.host.endpoint.wheel, CLOSE_LINGER_MS);
    this.leave(reason);
  }

  /** Ends the login when the process stops. */
  stop(): void {
    this.refuse('shutdown', new BerthError('shutting_down'));
  }

  private leave(reason: ClientCloseReason): void {
    if (this.state === 'closed') return;
    this.state = 'closed';
    const { wheel } = this.host.endpoint;
    wheel.disarm(this.deadline);
    if (this.delay !== undefined) wheel.disarm(this.delay);
    this.stopWaiting();
    this.place?.leave();
    this.host.loginEnded(reason);
  }
}

/** What a client reads first. */
export function greetingFor(
  server: ServerFacts,
  greeting: Greeted & { readonly serverVersion: string; readonly plugin: string },
): Buffer {
  const { offered, ...rest } = greeting;
  const { collation } = server;
  return greetingPacket({ ...offered, ...rest, collation, status: SERVER_STATUS_AUTOCOMMIT });
}

function isWithin(agreed: Capabilities, own: Capabilities): boolean {
  return (
    (agreed.capabilities & ~own.capabilities) === 0 &&
    (agreed.mariadbCapabilities & ~own.mariadbCapabilities) === 0
  );
}

/** With session trackers, a server's first OK says which schema the client has. */
function schemaState(database: string): Buffer {
  return sessionState([{ type: SESSION_TRACK_SCHEMA, data: lenencString(database) }]);
}

function malformedLogin(what: string): BerthError {
  return new BerthError('startup_packet_invalid', { params: { what } });
}
