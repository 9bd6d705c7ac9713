/**
 * Opens a socket to a database and makes it what the target's TLS setting asks for; what is said on it
 * then is the caller's. Logins, probes and cancels all come this way, so none of them is less safe
 * than the others.
 * https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-SSL
 *
 * Plain text is used only when TLS is not required and the database itself says that it has none. A
 * handshake that fails is never followed by an attempt without TLS.
 */

import { Timer } from '../../../base/timer-wheel.ts';
import { ConnectAttempt } from '../../../net/connect.ts';
import type { Stream, StreamHandler } from '../../../net/stream.ts';
import type { TlsOutcome } from '../../../net/tls.ts';
import type { OpeningHandle } from '../../../pool/contract.ts';
import type { DatabaseTls } from '../../contract.ts';
import type { TargetContext } from '../target-context.ts';
import { SSL_REQUEST_MESSAGE } from '../wire/frontend.ts';

const CONNECT_TIMEOUT_MS = 5_000;
/** For the answer to SSLRequest and the handshake. */
const TLS_TIMEOUT_MS = 10_000;
const ACCEPTED = 0x53; // S
const REFUSED = 0x4e; // N
const ERROR = 0x45; // E

/** Where to connect. */
export type ConnectTarget = Pick<TargetContext, 'address' | 'wheel' | 'databaseTls'>;

export interface ConnectFailure {
  readonly reason: 'UNREACHABLE' | 'CONNECTION_FAILED';
  /** It may be otherwise in a moment, without anybody doing anything. */
  readonly isTemporary: boolean;
  readonly detail: string;
}

export interface TargetConnectCallbacks {
  /** `serverEndPoint` binds a SCRAM exchange to the channel; undefined without TLS. */
  opened(stream: Stream, serverEndPoint: Uint8Array | undefined): void;
  /** The database has agreed to TLS; the handshake comes next. */
  tlsBegan?(): void;
  failed(failure: ConnectFailure): void;
}

export class TargetConnect implements StreamHandler, OpeningHandle {
  private readonly target: ConnectTarget;
  private readonly tls: DatabaseTls;
  private readonly callbacks: TargetConnectCallbacks;
  private readonly attempt: ConnectAttempt;
  private readonly deadline: Timer;
  private stream: Stream | undefined = undefined;
  private isHandshaking = false;
  private isOver = false;

  /** Calls one of the callbacks, once, unless `abandon` comes first. */
  constructor(target: ConnectTarget, callbacks: TargetConnectCallbacks) {
    this.target = target;
    this.tls = target.databaseTls;
    this.callbacks = callbacks;
    this.deadline = new Timer(() =>
      this.fail(true, `the TLS handshake did not complete within ${TLS_TIMEOUT_MS} ms`),
    );
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
    const { address, wheel } = this.target;
    // As in libpq, a socket of this machine is never encrypted.
    if (this.tls.connect === undefined || 'socketPath' in address) {
      this.opened(stream, undefined);
      return;
    }
    wheel.arm(this.deadline, TLS_TIMEOUT_MS);
    stream.write(SSL_REQUEST_MESSAGE);
  }

  /** The answer to SSLRequest, one byte. */
  received(bytes: Buffer): void {
    const { stream } = this;
    const { connect, isRequired } = this.tls;
    if (this.isOver || stream === undefined || connect === undefined) return;
    if (bytes[0] === ERROR) {
      // Not to be believed, and not to be repeated to anybody: nothing has proved who says it.
      this.fail(true, 'the database answered the request for TLS with an error');
    } else if (bytes.length !== 1 || this.isHandshaking) {
      // Whoever is in between may have put it there, for us to take it for part of what is encrypted.
      this.fail(false, 'the database sent unencrypted data after the request for TLS');
    } else if (bytes[0] === ACCEPTED) {
      this.isHandshaking = true;
      this.callbacks.tlsBegan?.();
      stream.startTls(connect, (outcome) => this.tlsEnded(stream, outcome));
    } else if (bytes[0] !== REFUSED) {
      this.fail(false, 'the target does not speak the PostgreSQL protocol');
    } else if (isRequired) {
      this.fail(false, 'the database has no TLS, and the proxy is told to use it');
    } else {
      this.opened(stream, undefined);
    }
  }

  congested(): void {}

  drained(): void {}

  closed(): void {
    const when = this.isHandshaking ? 'during the TLS handshake' : 'when it was asked for TLS';
    this.fail(true, `the database closed the connection ${when}`);
  }

  private tlsEnded(stream: Stream, outcome: TlsOutcome): void {
    if (this.isOver) return;
    if (outcome.isOk) {
      this.opened(stream, outcome.serverEndPoint);
      return;
    }
    const { why, detail } = outcome;
    if (why === 'gone') this.closed();
    else if (why === 'untrusted') this.fail(false, `the database is not trusted: ${detail}`);
    else this.fail(false, `the database and the proxy could not agree on TLS: ${detail}`);
  }

  private opened(stream: Stream, serverEndPoint: Uint8Array | undefined): void {
    this.isOver = true;
    this.target.wheel.disarm(this.deadline);
    this.callbacks.opened(stream, serverEndPoint);
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
