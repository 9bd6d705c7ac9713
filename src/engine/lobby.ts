/**
 * An address on which several endpoints listen. Who comes is received by one of the engines, which finds
 * out by the name in the TLS handshake which endpoint the client wants, and sends it there.
 */

import type { TimerWheel } from '../base/timer-wheel.ts';
import type { Stream } from '../net/stream.ts';
import type { AcceptTls } from '../net/tls.ts';

/** What a client has said before its endpoint was known; made and read by one and the same engine. */
export type Arrival = object;

export interface Door {
  accept(stream: Stream, arrival: Arrival): void;
}

export interface Lobby {
  readonly wheel: TimerWheel;
  /** From accept to the endpoint. */
  readonly timeoutMs: number;
  /** What is shown to who names no endpoint; undefined: there is no TLS. */
  readonly acceptTls: AcceptTls | undefined;
  /** Lower case. */
  byName(serverName: string): Door | undefined;
  /** The endpoint of the proxy whose session has this number. */
  bySession(number: number): Door | undefined;
  /** A client has gone, or was sent away, that named none of the endpoints. */
  lost(serverName: string | undefined): void;
}
