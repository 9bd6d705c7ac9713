/**
 * A client on an address that several endpoints share, until it is known which of them it wants: by the
 * server name of its TLS handshake. The greeting comes before that, so it is the one of the endpoint that
 * has listened there longest: its version, and what its server can do. The endpoint that the client is sent
 * to must be able to do what the client has taken from it (`login/client-login.ts`). Who names nobody is told so.
 */

import { BerthError } from '../../../base/errors.ts';
import { Timer } from '../../../base/timer-wheel.ts';
import { CLIENT_HELLO_MAX, readClientHello } from '../../../net/client-hello.ts';
import { IGNORE, type Stream, type StreamHandler } from '../../../net/stream.ts';
import type { Lobby } from '../../lobby.ts';
import { isTlsRequest } from '../wire/handshake.ts';
import { PacketAssembler, sequenceAfter } from '../wire/packets.ts';
import { errorInsteadOfGreeting, errorPacket } from '../wire/replies.ts';
import type { Capabilities } from './negotiation.ts';

const FIRST_PACKET_MAX = 64 * 1024;
const CLOSE_LINGER_MS = 5_000;

/** What a client was greeted with. */
export interface Greeted {
  readonly threadId: number;
  readonly scramble: Buffer;
  readonly offered: Capabilities;
}

/** For the login of the endpoint, which goes on where this has ended: with the handshake. */
export class MySqlArrival {
  readonly greeted: Greeted;
  readonly clientHello: Buffer;
  /** Of the next packet to the client. */
  readonly sequence: number;

  constructor(greeted: Greeted, clientHello: Buffer, sequence: number) {
    this.greeted = greeted;
    this.clientHello = clientHello;
    this.sequence = sequence;
  }
}

export interface ReceptionHost {
  /** Greets, now or when the target has been met first. Returns how to give up. */
  greet(stream: Stream, greeted: (greeted: Greeted) => void): () => void;
}

export class Reception implements StreamHandler {
  private readonly stream: Stream;
  private readonly lobby: Lobby;
  private readonly deadline: Timer;
  private readonly assembler = new PacketAssembler(FIRST_PACKET_MAX, 1);
  private readonly stopWaiting: () => void;
  private greeted: Greeted | undefined = undefined;
  private sequence = 1;
  /** What has come of the handshake; undefined until TLS is asked for. */
  private hello: Buffer | undefined = undefined;
  private isOver = false;

  constructor(stream: Stream, lobby: Lobby, host: ReceptionHost) {
    this.stream = stream;
    this.lobby = lobby;
    stream.handler = this;
    this.deadline = new Timer(() => this.timedOut());
    lobby.wheel.arm(this.deadline, lobby.timeoutMs);
    this.stopWaiting = host.greet(stream, (greeted) => {
      this.greeted = greeted;
    });
  }

  received(bytes: Buffer): void {
    if (this.isOver) return;
    if (this.hello !== undefined) {
      this.hello = Buffer.concat([this.hello, bytes]);
      this.readHello();
      return;
    }
    this.assembler.push(bytes);
    const next = this.assembler.next();
    if (next === undefined) return;
    if (typeof next === 'string' || this.greeted === undefined) {
      this.destroy(undefined);
      return;
    }
    this.sequence = sequenceAfter(next.sequence);
    if (!isTlsRequest(next.payload) || this.lobby.acceptTls === undefined) {
      this.refuse(undefined, this.sequence);
      return;
    }
    this.hello = this.assembler.takeRest() ?? Buffer.alloc(0);
    this.readHello();
  }

  congested(): void {}

  drained(): void {}

  closed(): void {
    this.leave();
    this.lobby.lost(undefined);
  }

  private readHello(): void {
    const { hello, greeted, lobby, sequence, stream } = this;
    if (hello === undefined || greeted === undefined || hello.length === 0) return;
    const read = readClientHello(hello);
    if (read === 'incomplete') return;
    if (read === 'malformed' || hello.length > CLIENT_HELLO_MAX) {
      this.destroy(undefined);
      return;
    }
    const { serverName } = read;
    const door = serverName === undefined ? undefined : lobby.byName(serverName);
    if (door === undefined) {
      this.refuseEncrypted(hello, serverName);
      return;
    }
    this.leave();
    door.accept(stream, new MySqlArrival(greeted, hello, sequence));
  }

  /** Tells the client, inside of TLS; one that verifies the certificate has found out by itself. */
  private refuseEncrypted(hello: Buffer, serverName: string | undefined): void {
    const { acceptTls } = this.lobby;
    if (acceptTls === undefined) {
      this.destroy(serverName);
      return;
    }
    const ended = ({ isOk }: { readonly isOk: boolean }) => {
      if (this.isOver) return;
      // The answer to the log-in packet, which the client sends as soon as it can.
      if (isOk) this.refuse(serverName, sequenceAfter(this.sequence));
      else this.destroy(serverName);
    };
    this.stream.startTls(acceptTls, ended, hello);
  }

  private timedOut(): void {
    if (this.greeted !== undefined) {
      this.destroy(undefined);
      return;
    }
    this.leave();
    this.stream.handler = IGNORE;
    this.stream.write(errorInsteadOfGreeting(new BerthError('connection_refused')));
    this.stream.end(this.lobby.wheel, CLOSE_LINGER_MS);
    this.lobby.lost(undefined);
  }

  private refuse(serverName: string | undefined, sequence: number): void {
    const { stream, lobby } = this;
    this.leave();
    stream.handler = IGNORE;
    stream.write(errorPacket(sequence, new BerthError('endpoint_unknown')));
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
    this.stopWaiting();
    this.lobby.wheel.disarm(this.deadline);
  }
}
