/**
 * Opens a socket to a database: SSLRequest, if the target's TLS setting asks for TLS, and the handshake.
 * https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-SSL
 */

import type { Stream } from '../../../net/stream.ts';
import { SecureConnect, type SecureConnectCallbacks } from '../../secure-connect.ts';
import type { ConnectTarget } from '../../target-place.ts';
import { SSL_REQUEST_MESSAGE } from '../wire/frontend.ts';

const ACCEPTED = 0x53; // S
const REFUSED = 0x4e; // N
const ERROR = 0x45; // E

export interface TargetConnectCallbacks extends SecureConnectCallbacks {
  /** `serverEndPoint` binds a SCRAM exchange to the channel; undefined without TLS. */
  opened(stream: Stream, serverEndPoint: Uint8Array | undefined): void;
}

export class TargetConnect extends SecureConnect {
  private readonly callbacks: TargetConnectCallbacks;

  constructor(target: ConnectTarget, callbacks: TargetConnectCallbacks) {
    super(target, callbacks);
    this.callbacks = callbacks;
  }

  protected get lacking(): string {
    return 'the TLS handshake did not complete';
  }

  protected get stage(): string {
    return this.isHandshaking ? 'during the TLS handshake' : 'when it was asked for TLS';
  }

  protected connected(stream: Stream): void {
    if (this.wanted === undefined) this.secured(stream, undefined);
    else stream.write(SSL_REQUEST_MESSAGE);
  }

  /** The answer to SSLRequest, one byte. */
  received(bytes: Buffer): void {
    const { stream, wanted } = this;
    if (this.isOver || stream === undefined || wanted === undefined) return;
    if (bytes[0] === ERROR) {
      // Not to be believed, and not to be repeated to anybody: nothing has proved who says it.
      this.fail(true, 'the database answered the request for TLS with an error');
    } else if (bytes.length !== 1 || this.isHandshaking) {
      this.failUnencrypted();
    } else if (bytes[0] === ACCEPTED) {
      this.startTls(stream, wanted);
    } else if (bytes[0] === REFUSED) {
      this.withoutTls(stream);
    } else {
      this.fail(false, 'the target does not speak the PostgreSQL protocol');
    }
  }

  protected secured(stream: Stream, serverEndPoint: Uint8Array | undefined): void {
    this.done();
    this.callbacks.opened(stream, serverEndPoint);
  }
}
