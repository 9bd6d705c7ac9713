/** One endpoint of a proxy, whatever the engine: the clients that came in through it, and their counters. */

import { BerthError } from '../base/errors.ts';
import { type ClientConnectionId, nextClientConnectionId } from '../base/ids.ts';
import type { TimerWheel } from '../base/timer-wheel.ts';
import { OPEN_SOCKETS } from '../net/open-sockets.ts';
import type { Stream } from '../net/stream.ts';
import type { EndpointCounters } from '../observe/counters.ts';
import type { Observer } from '../observe/events.ts';
import type { ClientCloseReason } from '../observe/reasons.ts';
import type { EngineSettings } from './contract.ts';
import type { Arrival } from './lobby.ts';

/** How long a client that cannot be served may take to read why. */
const REFUSED_LINGER_MS = 1_000;

/** A client that is logging in, as far as its endpoint is concerned. */
export interface EndpointClient {
  readonly id: ClientConnectionId;
  readonly isEncrypted: boolean;
}

/** What an endpoint needs from its engine; `S` is a client after its login. */
export interface EndpointEngine<S> {
  readonly proxy: string;
  readonly wheel: TimerWheel;
  readonly observer: Observer;
  readonly settings: EngineSettings;
  /** What a client is told that cannot even log in. */
  refusal(error: BerthError): Uint8Array;
  sessionEnded(session: S): void;
}

export abstract class Endpoint<S extends EndpointClient> {
  readonly proxy: string;
  readonly name: string;
  readonly wheel: TimerWheel;
  readonly observer: Observer;
  readonly counters: EndpointCounters;
  protected readonly engine: EndpointEngine<S>;

  constructor(engine: EndpointEngine<S>, name: string, counters: EndpointCounters) {
    this.engine = engine;
    this.proxy = engine.proxy;
    this.name = name;
    this.wheel = engine.wheel;
    this.observer = engine.observer;
    this.counters = counters;
  }

  /** The settings in force; replaced as a whole when the configuration changes. */
  get limits(): EngineSettings {
    return this.engine.settings;
  }

  /** Its clients read from readers. */
  get isReadOnly(): boolean {
    return this.engine.settings.readOnlyEndpoints.has(this.name);
  }

  /** A client that is to log in. */
  protected abstract clientCame(stream: Stream, arrival: Arrival | undefined): void;

  accept(stream: Stream, arrival?: Arrival): void {
    this.counters.clientConnectionsReceived++;
    if (!OPEN_SOCKETS.mayServe) {
      this.refuse(stream);
      return;
    }
    this.counters.clientConnections++;
    this.counters.clientConnectionsInSetup++;
    this.clientCame(stream, arrival);
  }

  /** The system allows this process no more files than there are clients now. */
  private refuse(stream: Stream): void {
    const reason = 'too_many_connections';
    this.counters.clientConnectionsClosed++;
    this.counters.closes[reason]++;
    const scope = this.scope(nextClientConnectionId());
    this.observer.emit({ ...scope, event: 'client.closed', reason });
    const params = { limit: OPEN_SOCKETS.clientsMax };
    const detail = 'The system allows the proxy no more open files.';
    const error = new BerthError('too_many_client_connections', { params, detail });
    stream.write(this.engine.refusal(error));
    if (OPEN_SOCKETS.mayLinger) stream.end(this.wheel, REFUSED_LINGER_MS);
    else stream.destroy();
  }

  /** The session has ended and holds nothing any more. */
  sessionClosed(session: S, reason: ClientCloseReason): void {
    this.clientClosed(session, reason);
    this.engine.sessionEnded(session);
  }

  clientClosed({ id, isEncrypted }: EndpointClient, reason: ClientCloseReason): void {
    this.counters.clientConnections--;
    if (isEncrypted) this.counters.clientConnectionsTls--;
    this.counters.clientConnectionsClosed++;
    this.counters.closes[reason]++;
    this.observer.emit({ ...this.scope(id), event: 'client.closed', reason });
  }

  scope(clientConnection: ClientConnectionId) {
    return { proxy: this.proxy, endpoint: this.name, clientConnection };
  }
}
