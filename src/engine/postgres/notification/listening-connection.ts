/**
 * The connection of a `NotificationHub` after its login: runs LISTEN and UNLISTEN, one after the
 * other, and hands over what the database notifies. It looks from time to time whether the database
 * is still there, because a connection that only waits would not notice.
 */

import { Timer, type TimerWheel } from '../../../base/timer-wheel.ts';
import type { Stream, StreamHandler } from '../../../net/stream.ts';
import { readFields } from '../wire/backend.ts';
import { queryMessage, TERMINATE_MESSAGE } from '../wire/frontend.ts';
import {
  ERROR_RESPONSE,
  HEADER_BYTES,
  lengthAt,
  NOTIFICATION_RESPONSE,
  READY_FOR_QUERY,
} from '../wire/messages.ts';

/** A silent database is asked this often; it must have answered by the next time. */
const PULSE_MS = 15_000;
/** Longer than anything that is due here: a payload has less than 8,000 bytes. */
const MESSAGE_MAX = 64 * 1024;
const CLOSE_LINGER_MS = 5_000;

export interface ListeningHost {
  /** `message` is a whole NotificationResponse in a buffer that may be kept. */
  notified(message: Buffer): void;
  /** What the database has sent has been read to its end. */
  rested(): void;
  /** The socket is gone. */
  closed(detail: string): void;
}

/** What became of a statement; also called, with `false`, when the connection is lost. */
type Done = (isOk: boolean) => void;

export class ListeningConnection implements StreamHandler {
  private readonly stream: Stream;
  private readonly wheel: TimerWheel;
  private readonly host: ListeningHost;
  private readonly pulse: Timer;
  /** Statements that have not been answered, oldest first. */
  private readonly pending: Done[] = [];
  private hasFailed = false;
  private isPulseDue = false;
  private partial: Buffer | undefined = undefined;
  private detail = 'the database closed the connection';

  constructor(stream: Stream, wheel: TimerWheel, host: ListeningHost) {
    this.stream = stream;
    this.wheel = wheel;
    this.host = host;
    this.pulse = new Timer(() => this.beat());
    wheel.arm(this.pulse, PULSE_MS);
    stream.handler = this;
  }

  get isEncrypted(): boolean {
    return this.stream.isEncrypted;
  }

  /** `sql` is latin1: one character for each byte. */
  run(sql: string, done: Done): void {
    this.pending.push(done);
    this.stream.write(queryMessage(sql, 'latin1'));
  }

  close(): void {
    this.wheel.disarm(this.pulse);
    this.stream.write(TERMINATE_MESSAGE);
    this.stream.end(this.wheel, CLOSE_LINGER_MS);
  }

  destroy(detail: string): void {
    this.detail = detail;
    this.stream.destroy();
  }

  received(chunk: Buffer): void {
    const bytes = this.partial === undefined ? chunk : Buffer.concat([this.partial, chunk]);
    let at = 0;
    while (bytes.length - at >= HEADER_BYTES) {
      const length = lengthAt(bytes, at);
      if (length < 4 || length > MESSAGE_MAX) {
        this.destroy('the database sent something that is not the protocol');
        return;
      }
      const next = at + 1 + length;
      if (next > bytes.length) break;
      this.read(bytes, at, next);
      at = next;
    }
    this.partial = at < bytes.length ? Buffer.from(bytes.subarray(at)) : undefined;
    this.host.rested();
  }

  congested(): void {}

  drained(): void {}

  closed(): void {
    this.wheel.disarm(this.pulse);
    this.host.closed(this.detail);
    for (const done of this.pending.splice(0)) done(false);
  }

  private read(bytes: Buffer, at: number, next: number): void {
    switch (bytes[at]) {
      case NOTIFICATION_RESPONSE:
        // A copy: the chunk around it may be large, and a slow client may keep it for long.
        this.host.notified(Buffer.from(bytes.subarray(at, next)));
        return;
      case ERROR_RESPONSE:
        this.hasFailed = true;
        this.detail = readFields(bytes.subarray(at, next)).get('M') ?? this.detail;
        return;
      case READY_FOR_QUERY: {
        const isOk = !this.hasFailed;
        this.hasFailed = false;
        this.pending.shift()?.(isOk);
        return;
      }
      default:
        // Command tags, rows of our own, notices, changed parameters.
        return;
    }
  }

  private beat(): void {
    if (this.isPulseDue) {
      this.destroy(`the database did not answer within ${PULSE_MS} ms`);
      return;
    }
    this.wheel.arm(this.pulse, PULSE_MS);
    this.isPulseDue = true;
    this.run('', () => {
      this.isPulseDue = false;
    });
  }
}
