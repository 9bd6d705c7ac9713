/**
 * One statement of the proxy's own on a connection that is nobody else's, from sending it to the last
 * packet of its answer: what a probe asks, and KILL. The answer is kept whole, so it is short.
 */

import { Timer, type TimerWheel } from '../../base/timer-wheel.ts';
import type { Stream, StreamHandler } from '../../net/stream.ts';
import {
  CLIENT_DEPRECATE_EOF,
  EOF_HEADER,
  ERR_HEADER,
  has,
  OK_HEADER,
} from './wire/capabilities.ts';
import { QUIT_MESSAGE, queryMessage } from './wire/commands.ts';
import { lenencAt, PacketAssembler } from './wire/packets.ts';
import { readError, readTextRow, type ServerError, type TextRow } from './wire/replies.ts';

/** All that a question may bring back. */
const ANSWER_BYTES_MAX = 1024 * 1024;
const CLOSE_LINGER_MS = 5_000;

export type Answer =
  | { readonly isOk: true; readonly rows: readonly TextRow[] }
  /** `said` is absent when the connection was lost, or nothing came in time. */
  | { readonly isOk: false; readonly detail: string; readonly said?: ServerError };

export interface QuestionOptions {
  readonly stream: Stream;
  /** Of the log-in. */
  readonly capabilities: number;
  readonly sql: string;
  readonly wheel: TimerWheel;
  readonly timeoutMs: number;
}

/** Asks, leaves, and calls `answered` when the connection is gone. */
export class Question implements StreamHandler {
  private readonly options: QuestionOptions;
  private readonly answered: (answer: Answer) => void;
  private readonly timer: Timer;
  private readonly assembler = new PacketAssembler(ANSWER_BYTES_MAX, 1);
  private readonly rows: TextRow[] = [];
  /** Definitions, and the EOF behind them, that come before the rows; undefined before the first packet. */
  private definitionsLeft: number | undefined = undefined;
  private answer: Answer = { isOk: false, detail: 'the database closed the connection' };

  constructor(options: QuestionOptions, answered: (answer: Answer) => void) {
    const { stream, sql, wheel, timeoutMs } = options;
    this.options = options;
    this.answered = answered;
    this.timer = new Timer(() => {
      this.answer = { isOk: false, detail: `no answer within ${timeoutMs} ms` };
      stream.destroy();
    });
    wheel.arm(this.timer, timeoutMs);
    stream.handler = this;
    stream.write(queryMessage(sql, options.capabilities));
  }

  received(bytes: Buffer): void {
    this.assembler.push(bytes);
    for (;;) {
      const next = this.assembler.next();
      if (next === undefined) return;
      if (typeof next === 'string') this.notUnderstood();
      else this.read(next.payload);
    }
  }

  congested(): void {}

  drained(): void {}

  closed(): void {
    this.options.wheel.disarm(this.timer);
    this.answered(this.answer);
  }

  private read(payload: Buffer): void {
    if (payload[0] === ERR_HEADER) this.refused(payload);
    else if (this.definitionsLeft === undefined) this.first(payload);
    else if (this.definitionsLeft > 0) this.definitionsLeft--;
    else this.row(payload);
  }

  private first(payload: Buffer): void {
    const hasEof = !has(this.options.capabilities, CLIENT_DEPRECATE_EOF);
    if (payload[0] === OK_HEADER) this.end({ isOk: true, rows: [] });
    else this.definitionsLeft = lenencAt(payload, 0) + (hasEof ? 1 : 0);
  }

  private row(payload: Buffer): void {
    if (payload[0] === EOF_HEADER) {
      this.end({ isOk: true, rows: this.rows });
      return;
    }
    const row = readTextRow(payload);
    if (row === undefined) this.notUnderstood();
    else this.rows.push(row);
  }

  private refused(payload: Buffer): void {
    const said = readError(payload);
    if (said === undefined) this.notUnderstood();
    else this.end({ isOk: false, detail: said.text, said });
  }

  private notUnderstood(): void {
    this.answer = { isOk: false, detail: 'the database sent something that is no answer' };
    this.options.stream.destroy();
  }

  private end(answer: Answer): void {
    const { stream, wheel } = this.options;
    this.answer = answer;
    stream.write(QUIT_MESSAGE);
    stream.end(wheel, CLOSE_LINGER_MS);
  }
}
