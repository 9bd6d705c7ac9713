/**
 * A client on an address that several endpoints share, until it is known which of them it wants: by the
 * server name of its TLS handshake, after SSLRequest or at once. A cancel request is for whom it names.
 * Who names nobody is told so.
 */

import { BerthError } from '../../../base/errors.ts';
import { Timer } from '../../../base/timer-wheel.ts';
import { CLIENT_HELLO_MAX, readClientHello } from '../../../net/client-hello.ts';
import { IGNORE, type Stream, type StreamHandler } from '../../../net/stream.ts';
import type { Door, Lobby } from '../../lobby.ts';
import { errorResponse } from '../wire/backend.ts';
import {
  CANCEL_REQUEST,
  GSSENC_REQUEST,
  SSL_REQUEST,
  STARTUP_PACKET_MAX,
} from '../wire/frontend.ts';
import { int32At } from '../wire/messages.ts';

const TLS_HANDSHAKE = 0x16;
const ACCEPT_ENCRYPTION = Buffer.from('S');
const REFUSE_ENCRYPTION = Buffer.from('N');
const REQUEST_BYTES = 8;
const CLOSE_LINGER_MS = 5_000;

/** For the login of the endpoint, which goes on where this has ended. */
export class PostgresArrival {
  readonly received: Buffer;
  /** SSLRequest has been granted, and what was received is the beginning of the handshake. */
  readonly isTlsGranted: boolean;
  readonly hasAskedForGss: boolean;

  constructor(received: Buffer, of: { isTlsGranted: boolean; hasAskedForGss: boolean }) {
    this.received = received;
    this.isTlsGranted = of.isTlsGranted;
    this.hasAskedForGss = of.hasAskedForGss;
  }
}

export class Reception implements StreamHandler {
  private readonly stream: Stream;
  private readonly lobby: Lobby;
  private readonly deadline: Timer;
  private buffer: Buffer = Buffer.alloc(0);
  private isTlsGranted = false;
  private hasAskedForGss = false;
  private isOver = false;

  constructor(stream: Stream, lobby: Lobby) {
    this.stream = stream;
    this.lobby = lobby;
    stream.handler = this;
    this.deadline = new Timer(() => stream.destroy());
    lobby.wheel.arm(this.deadline, lobby.timeoutMs);
  }

  received(bytes: Buffer): void {
    this.buffer = Buffer.concat([this.buffer, bytes]);
    while (!this.isOver && this.buffer.length > 0 && this.readNext());
  }

  congested(): void {}

  drained(): void {}

  closed(): void {
    this.leave();
    this.lobby.lost(undefined);
  }

  /** Returns whether more may follow. */
  private readNext(): boolean {
    const { buffer } = this;
    if (this.isTlsGranted || buffer[0] === TLS_HANDSHAKE) {
      this.readHello();
      return false;
    }
    if (buffer.length < REQUEST_BYTES) return false;
    const length = int32At(buffer, 0);
    const code = int32At(buffer, 4);
    if (length === REQUEST_BYTES && code === SSL_REQUEST) return this.tlsAsked();
    if (length === REQUEST_BYTES && code === GSSENC_REQUEST && !this.hasAskedForGss) {
      this.hasAskedForGss = true;
      this.buffer = buffer.subarray(REQUEST_BYTES);
      this.stream.write(REFUSE_ENCRYPTION);
      return true;
    }
    if (length < REQUEST_BYTES || length > STARTUP_PACKET_MAX) {
      this.destroy(undefined);
      return false;
    }
    if (buffer.length < length) return false;
    if (code === CANCEL_REQUEST) this.cancelAsked(length >= 12 ? int32At(buffer, 8) : 0);
    else this.refuse(undefined);
    return false;
  }

  private tlsAsked(): boolean {
    const isAlone = this.buffer.length === REQUEST_BYTES;
    if (this.lobby.acceptTls === undefined) {
      this.stream.write(REFUSE_ENCRYPTION);
      this.buffer = this.buffer.subarray(REQUEST_BYTES);
      return true;
    }
    // Whoever is in between may have put it there, for us to take it for part of what is encrypted.
    if (!isAlone) {
      this.destroy(undefined);
      return false;
    }
    this.buffer = Buffer.alloc(0);
    this.isTlsGranted = true;
    this.stream.write(ACCEPT_ENCRYPTION);
    return false;
  }

  private readHello(): void {
    const hello = readClientHello(this.buffer);
    if (hello === 'incomplete') return;
    if (hello === 'malformed' || this.buffer.length > CLIENT_HELLO_MAX) {
      this.destroy(undefined);
      return;
    }
    const { serverName } = hello;
    const door = serverName === undefined ? undefined : this.lobby.byName(serverName);
    if (door === undefined) this.refuseEncrypted(serverName);
    else this.handOver(door);
  }

  private cancelAsked(processId: number): void {
    const door = this.lobby.bySession(processId);
    // A wrong key is ignored, as a server does.
    if (door === undefined) this.destroy(undefined);
    else this.handOver(door);
  }

  private handOver(door: Door): void {
    const { buffer, isTlsGranted, hasAskedForGss, stream } = this;
    this.leave();
    door.accept(stream, new PostgresArrival(buffer, { isTlsGranted, hasAskedForGss }));
  }

  /** Tells the client, inside of TLS; one that verifies the certificate has found out by itself. */
  private refuseEncrypted(serverName: string | undefined): void {
    const { acceptTls } = this.lobby;
    if (acceptTls === undefined) {
      this.destroy(serverName);
      return;
    }
    this.stream.startTls(
      acceptTls,
      (outcome) => {
        if (this.isOver) return;
        if (outcome.isOk) this.refuse(serverName);
        else this.destroy(serverName);
      },
      this.buffer,
    );
    this.buffer = Buffer.alloc(0);
  }

  private refuse(serverName: string | undefined): void {
    const { stream, lobby } = this;
    this.leave();
    stream.handler = IGNORE;
    stream.write(errorResponse('FATAL', new BerthError('endpoint_unknown')));
    stream.end(lobby.wheel, CLOSE_LINGER_MS);
    lobby.lost(serverName);
  }

  private destroy(serverName: string | undefined): void {
    const { stream, lobby } = this;
    this.leave();
    stream.handler = IGNORE;
    stream.destroy();
    lobby.lost(serverName);
  }

  private leave(): void {
    this.isOver = true;
    this.lobby.wheel.disarm(this.deadline);
  }
}
