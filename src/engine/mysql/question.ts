/**
 * Statements of the proxy's own on a connection that is nobody else's, each from sending it to the last
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
  | { readonly isOk: true; readonly columns: readonly string[]; readonly rows: readonly TextRow[] }
  /** `said` is absent when the connection was lost, or nothing came in time. */
  | { readonly isOk: false; readonly detail: string; readonly said?: ServerError };

const LOST: Answer = { isOk: false, detail: 'the database closed the connection' };

/** A connection that is asked one thing after another. */
export class AskedConnection implements StreamHandler {
  private readonly stream: Stream;
  private readonly capabilities: number;
  private readonly ended: (answer: Answer) => void;
  private readonly assembler = new PacketAssembler(ANSWER_BYTES_MAX, 1);
  private answered: ((answer: Answer) => void) | undefined = undefined;
  private columns: string[] = [];
  private rows: TextRow[] = [];
  /** Definitions, and the EOF behind them, that come before the rows; undefined before the first packet. */
  private definitionsLeft: number | undefined = undefined;
  private lastAnswer = LOST;

  /** `capabilities`: of the log-in. `ended` when the connection is gone, with the answer that was the last. */
  constructor(stream: Stream, capabilities: number, ended: (answer: Answer) => void) {
    this.stream = stream;
    this.capabilities = capabilities;
    this.ended = ended;
    stream.handler = this;
  }

  /** One question at a time. `answered` is called once. */
  ask(sql: string, answered: (answer: Answer) => void): void {
    this.answered = answered;
    this.lastAnswer = LOST;
    this.columns = [];
    this.rows = [];
    this.definitionsLeft = undefined;
    this.assembler.expect(1);
    this.stream.write(queryMessage(sql, this.capabilities));
  }

  /** Nothing more is asked. */
  leave(wheel: TimerWheel): void {
    this.stream.write(QUIT_MESSAGE);
    this.stream.end(wheel, CLOSE_LINGER_MS);
  }

  /** Cuts the connection off; `answer` is what is told of the question that is open. */
  destroy(answer: Answer = LOST): void {
    this.end(answer);
    this.stream.destroy();
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
    const { lastAnswer } = this;
    this.end(lastAnswer);
    this.ended(lastAnswer);
  }

  private read(payload: Buffer): void {
    // What a server says before it closes the connection is no answer, but it is why.
    if (payload[0] === ERR_HEADER) this.refused(payload);
    else if (this.answered === undefined) this.notUnderstood();
    else if (this.definitionsLeft === undefined) this.first(payload);
    else if (this.definitionsLeft > 0) this.definition(payload);
    else this.row(payload);
  }

  private first(payload: Buffer): void {
    const hasEof = !has(this.capabilities, CLIENT_DEPRECATE_EOF);
    if (payload[0] === OK_HEADER) this.end({ isOk: true, columns: [], rows: [] });
    else this.definitionsLeft = lenencAt(payload, 0) + (hasEof ? 1 : 0);
  }

  private definition(payload: Buffer): void {
    this.definitionsLeft = (this.definitionsLeft ?? 0) - 1;
    if (payload[0] !== EOF_HEADER) this.columns.push(columnName(payload));
  }

  private row(payload: Buffer): void {
    if (payload[0] === EOF_HEADER) {
      this.end({ isOk: true, columns: this.columns, rows: this.rows });
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
    this.destroy({ isOk: false, detail: 'the database sent something that is no answer' });
  }

  private end(answer: Answer): void {
    const { answered } = this;
    this.answered = undefined;
    this.lastAnswer = answer;
    answered?.(answer);
  }
}

/** ColumnDefinition41 begins with catalog, schema, table, original table, name, each with its length. */
const NAME_INDEX = 4;

function columnName(payload: Buffer): string {
  let at = 0;
  for (let index = 0; ; index++) {
    const from = at + lenencBytesAt(payload, at);
    const end = from + lenencAt(payload, at);
    if (index === NAME_INDEX) return payload.toString('utf8', from, end);
    at = end;
  }
}

function lenencBytesAt(payload: Buffer, at: number): number {
  const first = payload[at] ?? 0;
  if (first < 0xfb) return 1;
  if (first === 0xfc) return 3;
  return first === 0xfd ? 4 : 9;
}

export interface QuestionOptions {
  readonly stream: Stream;
  /** Of the log-in. */
  readonly capabilities: number;
  readonly sql: string;
  readonly wheel: TimerWheel;
  readonly timeoutMs: number;
}

/** Asks one thing, leaves, and calls `answered` when the connection is gone. */
export function askOnce(options: QuestionOptions, answered: (answer: Answer) => void): void {
  const { stream, capabilities, sql, wheel, timeoutMs } = options;
  const timer = new Timer(() =>
    connection.destroy({ isOk: false, detail: `no answer within ${timeoutMs} ms` }),
  );
  const connection = new AskedConnection(stream, capabilities, (answer) => {
    wheel.disarm(timer);
    answered(answer);
  });
  wheel.arm(timer, timeoutMs);
  connection.ask(sql, () => connection.leave(wheel));
}
