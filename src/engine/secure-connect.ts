/**
 * Opens a socket to a database and makes it what the target's TLS setting asks for, whatever the engine;
 * what is said on it before and after is the engine's. Log-ins, probes and cancels all come this way, so
 * none of them is less safe than the others.
 *
 * Plain text is used only when TLS is not required and the database itself says that it has none. A
 * handshake that fails is never followed by an attempt without TLS.
 */

import { Timer } from '../base/timer-wheel.ts';
import { ConnectAttempt } from '../net/connect.ts';
import type { Stream, StreamHandler } from '../net/stream.ts';
import type { ConnectTls, TlsOutcome } from '../net/tls.ts';
import type { OpeningHandle } from '../pool/contract.ts';
import type { DatabaseTls } from './contract.ts';
import type { ConnectTarget } from './target-place.ts';

const CONNECT_TIMEOUT_MS = 5_000;
/** For what the database says before the caller's turn, and the handshake. A server may look up a name first. */
const SECURE_TIMEOUT_MS = 10_000;

export interface ConnectFailure {
  readonly reason: 'UNREACHABLE' | 'CONNECTION_FAILED';
  /** It may be otherwise in a moment, without anybody doing anything. */
  readonly isTemporary: boolean;
  readonly detail: string;
}

export interface SecureConnectCallbacks<F extends ConnectFailure = ConnectFailure> {
  /** The database has agreed to TLS; the handshake comes next. */
  tlsBegan?(): void;
  failed(failure: F | ConnectFailure): void;
}

/** `F`: what else the engine tells of a failure. One of the callbacks is called, once, unless `abandon` comes first. */
export abstract class SecureConnect<F extends ConnectFailure = ConnectFailure>
  implements StreamHandler, OpeningHandle
{
  protected readonly target: ConnectTarget;
  /** As it was when the attempt began. */
  protected readonly tls: DatabaseTls;
  protected stream: Stream | undefined = undefined;
  protected isHandshaking = false;
  protected isOver = false;
  /** Begins the handshake, when the request for it has been taken. */
  private shakeHands: (() => void) | undefined = undefined;
  private readonly told: SecureConnectCallbacks<F>;
  private readonly attempt: ConnectAttempt;
  private readonly deadline: Timer;

  constructor(target: ConnectTarget, callbacks: SecureConnectCallbacks<F>) {
    this.target = target;
    this.tls = target.databaseTls;
    this.told = callbacks;
    this.deadline = new Timer(() =>
      this.fail(true, `${this.lacking} within ${SECURE_TIMEOUT_MS} ms`),
    );
    this.attempt = new ConnectAttempt(target.address, CONNECT_TIMEOUT_MS, target.wheel, {
      opened: (stream) => {
        this.stream = stream;
        stream.handler = this;
        target.wheel.arm(this.deadline, SECURE_TIMEOUT_MS);
        this.connected(stream);
      },
      failed: (code) => {
        const detail = `${describe(target)}: ${code}`;
        this.over({ reason: 'UNREACHABLE', isTemporary: true, detail });
      },
    });
  }

  /** The socket is there. */
  protected abstract connected(stream: Stream): void;
  /** Of the database, before the handshake. */
  abstract received(bytes: Buffer): void;
  /** It is as safe as it is to be; calls `done`. `serverEndPoint` binds a login to the channel, if there is TLS. */
  protected abstract secured(stream: Stream, serverEndPoint: Uint8Array | undefined): void;
  /** What has not happened yet, for the log. */
  protected abstract get lacking(): string;
  /** When the database has closed the connection, if it has. */
  protected abstract get stage(): string;

  /** How it is encrypted, if it is to be. As in libpq, a socket of this machine never is. */
  protected get wanted(): ConnectTls | undefined {
    return 'socketPath' in this.target.address ? undefined : this.tls.connect;
  }

  abandon(): void {
    if (this.isOver) return;
    this.isOver = true;
    this.attempt.abandon();
    this.target.wheel.disarm(this.deadline);
    this.stream?.destroy();
  }

  congested(): void {}

  drained(): void {
    const { shakeHands } = this;
    this.shakeHands = undefined;
    shakeHands?.();
  }

  closed(): void {
    this.fail(true, `the database closed the connection ${this.stage}`);
  }

  /** The database has agreed. */
  protected startTls(stream: Stream, connect: ConnectTls): void {
    this.isHandshaking = true;
    this.told.tlsBegan?.();
    this.shakeHands = () => stream.startTls(connect, (outcome) => this.tlsEnded(stream, outcome));
    stream.sendNow();
    if (!stream.isCongested) this.drained();
  }

  private tlsEnded(stream: Stream, outcome: TlsOutcome): void {
    if (this.isOver) return;
    if (outcome.isOk) {
      this.secured(stream, outcome.serverEndPoint);
      return;
    }
    const { why, detail, isPlainText } = outcome;
    if (why === 'gone') this.closed();
    // MySQL does so when somebody kills the connection just then.
    else if (isPlainText)
      this.fail(true, `the database sent something that is not TLS ${this.stage}`);
    else if (why === 'untrusted') this.fail(false, `the database is not trusted: ${detail}`);
    else this.fail(false, `the database and the proxy could not agree on TLS: ${detail}`);
  }

  /** Whoever is in between may have put it there, for us to take it for part of what is encrypted. */
  protected failUnencrypted(): void {
    this.fail(false, 'the database sent unencrypted data after the request for TLS');
  }

  /** The database has none. */
  protected withoutTls(stream: Stream): void {
    if (!this.tls.isRequired) this.secured(stream, undefined);
    else this.fail(false, 'the database has no TLS, and the proxy is told to use it');
  }

  /** It is the caller's from here on. */
  protected done(): void {
    this.isOver = true;
    this.target.wheel.disarm(this.deadline);
  }

  protected fail(isTemporary: boolean, detail: string): void {
    this.over({ reason: 'CONNECTION_FAILED', isTemporary, detail });
  }

  protected over(failure: F | ConnectFailure): void {
    if (this.isOver) return;
    this.abandon();
    this.told.failed(failure);
  }
}

function describe({ address }: ConnectTarget): string {
  return 'socketPath' in address ? address.socketPath : `${address.host}:${address.port}`;
}
