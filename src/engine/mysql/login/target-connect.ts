/**
 * Opens a socket to a database, reads its greeting, and asks for TLS if the target's TLS setting says so
 * and the greeting that there is some.
 */

import type { Stream } from '../../../net/stream.ts';
import {
  type ConnectFailure as AnyConnectFailure,
  SecureConnect,
  type SecureConnectCallbacks,
} from '../../secure-connect.ts';
import type { ConnectTarget } from '../../target-place.ts';
import { CLIENT_SSL, ERR_HEADER, has } from '../wire/capabilities.ts';
import { type Greeting, readGreeting, tlsRequestPacket } from '../wire/handshake.ts';
import { PacketAssembler, sequenceAfter } from '../wire/packets.ts';
import { readError, type ServerError } from '../wire/replies.ts';
import { askedOf, type Capabilities } from './negotiation.ts';

/** A greeting, or an error in its place, is much shorter. */
const GREETING_BYTES_MAX = 4 * 1024;
/** The id of no collation: the server takes its own character set, as after COM_RESET_CONNECTION. */
export const SERVERS_OWN_COLLATION = 0;

/** The sequence number of what we say first. */
const FIRST = 1;

export interface ConnectFailure extends AnyConnectFailure {
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

export interface TargetConnectCallbacks extends SecureConnectCallbacks<ConnectFailure> {
  opened(opened: Opened): void;
}

export class TargetConnect extends SecureConnect<ConnectFailure> {
  private readonly variant: Capabilities | undefined;
  private readonly callbacks: TargetConnectCallbacks;
  private readonly assembler = new PacketAssembler(GREETING_BYTES_MAX);
  private welcome: Pick<Opened, 'greeting' | 'asked' | 'sequence'> | undefined = undefined;

  constructor(
    target: ConnectTarget,
    variant: Capabilities | undefined,
    callbacks: TargetConnectCallbacks,
  ) {
    super(target, callbacks);
    this.variant = variant;
    this.callbacks = callbacks;
  }

  protected get lacking(): string {
    return this.isHandshaking ? 'the TLS handshake did not complete' : 'there was no greeting';
  }

  protected get stage(): string {
    return this.isHandshaking ? 'during the TLS handshake' : 'before it greeted';
  }

  /** The database speaks first. */
  protected connected(): void {}

  received(bytes: Buffer): void {
    const { stream } = this;
    if (this.isOver || stream === undefined) return;
    if (this.isHandshaking) {
      this.failUnencrypted();
      return;
    }
    this.assembler.push(bytes);
    const first = this.assembler.next();
    if (first === undefined) return;
    if (typeof first === 'string') this.notUnderstood();
    else if (first.payload[0] === ERR_HEADER) this.refused(first.payload);
    else this.greeted(stream, readGreeting(first.payload));
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
    const { wanted } = this;
    const asked = askedOf(greeting, this.variant);
    const hasTls = wanted !== undefined && has(greeting.capabilities, CLIENT_SSL);
    const capabilities = hasTls ? asked.capabilities | CLIENT_SSL : asked.capabilities;
    const offered = { capabilities, mariadbCapabilities: asked.mariadbCapabilities };
    this.welcome = { greeting, asked: offered, sequence: hasTls ? sequenceAfter(FIRST) : FIRST };
    if (wanted === undefined) {
      this.secured(stream);
    } else if (hasTls) {
      // The server says nothing to it: the handshake comes next.
      stream.write(tlsRequestPacket(FIRST, { ...offered, collation: SERVERS_OWN_COLLATION }));
      this.startTls(stream, wanted);
    } else {
      this.withoutTls(stream);
    }
  }

  protected secured(stream: Stream): void {
    const { welcome } = this;
    if (welcome === undefined) return;
    this.done();
    this.callbacks.opened({ stream, ...welcome });
  }
}
