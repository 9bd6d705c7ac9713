/**
 * Where proxies listen. Endpoints, also of several proxies, may share an address: which of them a client
 * wants is then said by the name that it gives in its TLS handshake, and found out before it logs in.
 */

import type { TimerWheel } from '../base/timer-wheel.ts';
import type { Arrival, Door, Lobby } from '../engine/lobby.ts';
import { type Address, formatAddress } from '../net/address.ts';
import { type Listener, listen } from '../net/listener.ts';
import { OPEN_SOCKETS } from '../net/open-sockets.ts';
import type { Stream } from '../net/stream.ts';
import type { AcceptTls } from '../net/tls.ts';
import type { Observer } from '../observe/events.ts';
import type { Gate } from './gate.ts';
import type { EngineFamily } from './snapshot.ts';

/** An endpoint that wants clients. What it says of itself may change. */
export interface Place {
  readonly family: EngineFamily;
  readonly gate: Gate;
  /** What clients may call it; lower case. */
  readonly hostName: string;
  readonly acceptTls: AcceptTls | undefined;
  /** Takes a client that its gate has not turned away. */
  accept(stream: Stream, arrival?: Arrival): void;
  receive(stream: Stream, lobby: Lobby): void;
  hasSession(number: number): boolean;
}

export interface OpenPlace {
  /** With the real port. */
  readonly address: Address;
  close(): void;
}

export interface ListenersHost {
  readonly wheel: TimerWheel;
  readonly observer: Observer;
  /** How long a client may take until it is known where it belongs. */
  readonly timeoutMs: number;
}

export class Listeners {
  private readonly host: ListenersHost;
  /** By the address as it was asked for. */
  private readonly open = new Map<string, SharedListener>();

  constructor(host: ListenersHost) {
    this.host = host;
  }

  /** Throws `ListenError`. */
  add(address: Address, place: Place): OpenPlace {
    const key = formatAddress(address);
    // Of port 0 the system makes another one each time.
    const isShareable = !('socketPath' in address) && address.port !== 0;
    const known = isShareable ? this.open.get(key) : undefined;
    if (known !== undefined && known.family === place.family) return known.add(place);
    const opened = new SharedListener(address, place.family, this.host, () => {
      if (this.open.get(key) === opened) this.open.delete(key);
    });
    if (isShareable) this.open.set(key, opened);
    return opened.add(place);
  }
}

class SharedListener {
  readonly family: EngineFamily;
  private readonly host: ListenersHost;
  private readonly closed: () => void;
  private readonly listener: Listener;
  /** Who has listened longest comes first. */
  private readonly places: Place[] = [];

  constructor(address: Address, family: EngineFamily, host: ListenersHost, closed: () => void) {
    this.family = family;
    this.host = host;
    this.closed = closed;
    this.listener = listen(address, (stream) => this.accepted(stream));
  }

  add(place: Place): OpenPlace {
    this.places.push(place);
    return { address: this.listener.address, close: () => this.remove(place) };
  }

  private remove(place: Place): void {
    const index = this.places.indexOf(place);
    if (index < 0) return;
    this.places.splice(index, 1);
    if (this.places.length > 0) return;
    this.listener.close();
    this.closed();
  }

  private accepted(stream: Stream): void {
    const [first] = this.places;
    if (first === undefined) {
      stream.destroy();
      return;
    }
    // Without room for one more, the first one says so.
    if (this.places.length === 1 || !OPEN_SOCKETS.mayServe) enter(stream, first);
    else if (this.places.every(({ gate }) => gate.judge(stream) === 'denied'))
      first.gate.deny(stream);
    else this.receive(stream, first);
  }

  private receive(stream: Stream, first: Place): void {
    const { host, places } = this;
    const address = formatAddress(this.listener.address);
    const door = (place: Place | undefined): Door | undefined =>
      place && { accept: (from, arrival) => enter(from, place, arrival) };
    first.receive(stream, {
      wheel: host.wheel,
      timeoutMs: host.timeoutMs,
      acceptTls: first.acceptTls,
      byName: (serverName) => door(places.find(({ hostName }) => hostName === serverName)),
      bySession: (number) => door(places.find((place) => place.hasSession(number))),
      lost: (serverName) => {
        host.observer.emit({ event: 'client.unplaced', address, serverName: serverName ?? '' });
      },
    });
  }
}

function enter(stream: Stream, place: Place, arrival?: Arrival): void {
  const verdict = place.gate.judge(stream);
  if (verdict === 'denied') {
    place.gate.deny(stream);
    return;
  }
  place.accept(stream, arrival);
  // Where it came from cannot be seen any more, so what it has sent ahead must not be read.
  if (verdict === 'gone') stream.destroy();
}
