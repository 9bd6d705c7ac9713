/**
 * Who may connect to an endpoint at all: what its security groups allow. Everybody else is cut off at
 * once, without a word of any protocol. Unix sockets have no source, and the file system decides.
 */

import { SourceRanges } from '../base/source-ranges.ts';
import type { TimerWheel } from '../base/timer-wheel.ts';
import type { Stream } from '../net/stream.ts';
import type { EndpointCounters } from '../observe/counters.ts';
import type { Observer } from '../observe/events.ts';

/** Whoever knocks without end must not fill the log. */
const TELL_EVERY_MS = 60_000;

export interface GateHost {
  readonly wheel: TimerWheel;
  readonly observer: Observer;
  readonly counters: EndpointCounters;
  /** The names of the proxy and the endpoint. */
  readonly scope: { readonly proxy: string; readonly endpoint: string };
}

export class Gate {
  private readonly host: GateHost;
  private ranges: SourceRanges;
  /** Since the last line of the log. */
  private denied = 0;
  private toldAt = Number.NEGATIVE_INFINITY;

  constructor(host: GateHost, ranges: readonly string[]) {
    this.host = host;
    this.ranges = new SourceRanges(ranges);
  }

  /** For who comes from now on. */
  allow(ranges: readonly string[]): void {
    this.ranges = new SourceRanges(ranges);
  }

  get isOpenToPublic(): boolean {
    return this.ranges.hasPublic;
  }

  judge(stream: Stream): 'admitted' | 'denied' | 'gone' {
    if (stream.isLocal) return 'admitted';
    const { remoteHost } = stream;
    if (remoteHost === undefined) return 'gone';
    return this.ranges.admits(remoteHost) ? 'admitted' : 'denied';
  }

  /** Cuts off a client that it does not admit. */
  deny(stream: Stream): void {
    const { wheel, observer, counters, scope } = this.host;
    const address = stream.remoteHost ?? '';
    stream.destroy();
    counters.clientConnectionsDenied++;
    this.denied++;
    if (wheel.now - this.toldAt < TELL_EVERY_MS) return;
    this.toldAt = wheel.now;
    observer.emit({ ...scope, event: 'client.denied', address, times: this.denied });
    this.denied = 0;
  }
}
