/**
 * Opens a socket to a database, reads its greeting, and makes the socket what the target's TLS setting
 * asks for; what is said on it then is the caller's. Log-ins, probes and kills all come this way, so none
 * of them is less safe than the others.
 *
 * Plain text is used only when TLS is not required and the greeting says that there is none. A handshake
 * that fails is never followed by an attempt without TLS.
 */

import { Timer, type TimerWheel } from '../../../base/timer-wheel.ts';
import type { Address } from '../../../net/address.ts';
import { ConnectAttempt } from '../../../net/connect.ts';
import type { Stream, StreamHandler } from '../../../net/stream.ts';
import type { TlsOutcome } from '../../../net/tls.ts';
import type { OpeningHandle } from '../../../pool/contract.ts';
import type { DatabaseTls } from '../../contract.ts';
import { CLIENT_SSL, ERR_HEADER, has } from '../wire/capabilities.ts';
import { type Greeting, readGreeting, tlsRequestPacket } from '../wire/handshake.ts';
import { PacketAssembler, sequenceAfter } from '../wire/packets.ts';
import { readError, type ServerError } from '../wire/replies.ts';
import { askedOf, type Capabilities } from './negotiation.ts';

const CONNECT_TIMEOUT_MS = 5_000;
/** For the greeting and the handshake. A server may look up a host name before it greets. */
const GREETING_TIMEOUT_MS = 10_000;
/** A greeting, or an error in its place, is much shorter. */
const GREETING_BYTES_MAX = 4 * 1024;
/** The id of no collation: the server takes its own character set, as after COM_RESET_CONNECTION. */
export const SERVERS_OWN_COLLATION = 0;

/** Where to connect. */
export interface ConnectTarget {
  readonly address: Address;
  readonly wheel: TimerWheel;
  /** What is in force; replaced as a whole when the configuration changes. */
  readonly databaseTls: DatabaseTls;
}

export interface ConnectFailure {
  readonly reason: 'UNREACHABLE' | 'CONNECTION_FAILED' | 'AUTH_FAILURE';
  /** It may be otherwise in a moment, without anybody doing anything. */
  readonly isTemporary: boolean;
  readonly detail: string;
  /** What the database said in place of a greeting. */
  readonly said?: ServerError;
}

export interface Opened {
  readonly stream: Stream;
  readonly greeting: Greeting;
  /** What the log-in packet says that we can. */
  readonly asked: Capabilities;
  /** Of the log-in packet. */
  readonly sequence: number;
}

export interface TargetConnectCallbacks {
  opened(opened: Opened): void;
  /** The database has TLS, and the handshake comes next. */
  tlsBegan?(): void;
  failed(failure: ConnectFailure): void;
}

export class TargetConnect implements StreamHandler, OpeningHandle {
  private readonly target: ConnectTarget;
  private readonly variant: Capabilities | undefined;
  private readonly tls: DatabaseTls;
  private readonly callbacks: TargetConnectCallbacks;
  private readonly attempt: ConnectAttempt;
  private readonly deadline: Timer;
  private readonly assembler = new PacketAssembler(GREETING_BYTES_MAX);
  private stream: Stream | undefined = undefined;
  private isHandshaking = false;
  /** Begins the handshake, when the request for it has been taken. */
  private shakeHands: (() => void) | undefined = undefined;
  private isOver = false;

  /** Calls one of the callbacks, once, unless `abandon` comes first. */
  constructor(
    target: ConnectTarget,
    variant: Capabilities | undefined,
    callbacks: TargetConnectCallbacks,
  ) {
    this.target = target;
    this.variant = variant;
    this.tls = target.databaseTls;
    this.callbacks = callbacks;
    this.deadline = new Timer(() => this.timedOut());
    this.attempt = new ConnectAttempt(target.address, CONNECT_TIMEOUT_MS, target.wheel, {
      opened: (stream) => this.connected(stream),
      failed: (code) =>
        this.over({
          reason: 'UNREACHABLE',
          isTemporary: true,
          detail: `${describe(target)}: ${code}`,
        }),
    });
  }

  abandon(): void {
    if (this.isOver) return;
    this.isOver = true;
    this.attempt.abandon();
    this.target.wheel.disarm(this.deadline);
    this.stream?.destroy();
  }

  private connected(stream: Stream): void {
    this.stream = stream;
    stream.handler = this;
    this.target.wheel.arm(this.deadline, GREETING_TIMEOUT_MS);
  }

  private timedOut(): void {
    const what = this.isHandshaking
      ? 'the TLS handshake did not complete'
      : 'there was no greeting';
    this.fail(true, `${what} within ${GREETING_TIMEOUT_MS} ms`);
  }

  received(bytes: Buffer): void {
    const { stream } = this;
    if (this.isOver || stream === undefined) return;
    if (this.isHandshaking) {
      // Whoever is in between may have put it there, for us to take it for part of what is encrypted.
      this.fail(false, 'the database sent unencrypted data after the request for TLS');
      return;
    }
    this.assembler.push(bytes);
    const first = this.assembler.next();
    if (first === undefined) return;
    if (typeof first === 'string') this.notUnderstood();
    else if (first.payload[0] === ERR_HEADER) this.refused(first.payload);
    else this.greeted(stream, readGreeting(first.payload));
  }

  congested(): void {}

  drained(): void {
    const { shakeHands } = this;
    this.shakeHands = undefined;
    shakeHands?.();
  }

  closed(): void {
    const when = this.isHandshaking ? 'during the TLS handshake' : 'before it greeted';
    this.fail(true, `the database closed the connection ${when}`);
  }

  private notUnderstood(): void {
    this.fail(false, 'the target does not speak the MySQL protocol');
  }

  /** Too many connections, or this host is not welcome: said before anybody knows who is asking. */
  private refused(payload: Buffer): void {
    const said = readError(payload);
    if (said === undefined) {
      this.notUnderstood();
      return;
    }
    const detail = `${said.text} (error ${said.errno})`;
    this.over({ reason: 'CONNECTION_FAILED', isTemporary: true, detail, said });
  }

  private greeted(stream: Stream, greeting: Greeting | undefined): void {
    if (greeting === undefined) {
      this.notUnderstood();
      return;
    }
    if (!this.assembler.isEmpty) {
      this.fail(false, 'the database sent more than its greeting');
      return;
    }
    const { connect, isRequired } = this.tls;
    const asked = askedOf(greeting, this.variant);
    const hasTls = has(greeting.capabilities, CLIENT_SSL);
    // As with PostgreSQL, a socket of this machine is never encrypted.
    if (connect === undefined || 'socketPath' in this.target.address) {
      this.opened({ stream, greeting, asked, sequence: 1 });
    } else if (hasTls) {
      this.startTls(stream, greeting, asked);
    } else if (isRequired) {
      this.fail(false, 'the database has no TLS, and the proxy is told to use it');
    } else {
      this.opened({ stream, greeting, asked, sequence: 1 });
    }
  }

  private startTls(stream: Stream, greeting: Greeting, asked: Capabilities): void {
    const { connect } = this.tls;
    if (connect === undefined) return;
    this.isHandshaking = true;
    this.callbacks.tlsBegan?.();
    const { mariadbCapabilities } = asked;
    const encrypted = { capabilities: asked.capabilities | CLIENT_SSL, mariadbCapabilities };
    const sequence = 1;
    stream.write(tlsRequestPacket(sequence, { ...encrypted, collation: SERVERS_OWN_COLLATION }));
    const opened = { stream, greeting, asked: encrypted, sequence: sequenceAfter(sequence) };
    // The server says nothing to it: the handshake comes next.
    this.shakeHands = () => stream.startTls(connect, (outcome) => this.tlsEnded(opened, outcome));
    stream.sendNow();
    if (!stream.isCongested) this.drained();
  }

  private tlsEnded(opened: Opened, outcome: TlsOutcome): void {
    if (this.isOver) return;
    if (outcome.isOk) {
      this.opened(opened);
      return;
    }
    const { why, detail } = outcome;
    if (why === 'gone') this.closed();
    else if (why === 'untrusted') this.fail(false, `the database is not trusted: ${detail}`);
    else this.fail(false, `the database and the proxy could not agree on TLS: ${detail}`);
  }

  private opened(opened: Opened): void {
    this.isOver = true;
    this.target.wheel.disarm(this.deadline);
    this.callbacks.opened(opened);
  }

  private fail(isTemporary: boolean, detail: string): void {
    this.over({ reason: 'CONNECTION_FAILED', isTemporary, detail });
  }

  private over(failure: ConnectFailure): void {
    if (this.isOver) return;
    this.abandon();
    this.callbacks.failed(failure);
  }
}

function describe({ address }: ConnectTarget): string {
  return 'socketPath' in address ? address.socketPath : `${address.host}:${address.port}`;
}
