/** Knows which packet of an answer comes next, and when the answer is over. */

import {
  type Column,
  type Packet,
  type Part,
  parseBinaryRow,
  parseColumn,
  parseEof,
  parseError,
  parseOk,
  parsePrepared,
  parseTextRow,
} from './answers.ts';
import { CAPABILITY, MARIADB_CAPABILITY, STATUS } from './constants.ts';
import { PayloadReader } from './fields.ts';

/**
 * What kind of answer a command has: `ok` is one packet, `rows` those of COM_STMT_FETCH, `fields` the
 * columns of COM_FIELD_LIST, `text` the line of COM_STATISTICS.
 */
export type AnswerForm = 'query' | 'execute' | 'prepare' | 'ok' | 'rows' | 'fields' | 'text';

type State =
  | 'first'
  | 'parameters'
  | 'columns'
  | 'columns end'
  | 'parameters end'
  | 'rows'
  | 'done';

/** An EOF, or the OK that stands in its place, is shorter than any row that begins with the same byte. */
const END_LENGTH_MAX = 0xff_ffff;
const EOF_LENGTH = 5;

export class AnswerReader {
  readonly #form: AnswerForm;
  readonly #capabilities: number;
  readonly #mariadbCapabilities: number;
  #state: State;
  /** Definitions that are still to come. */
  #columnsDue = 0;
  #parametersDue = 0;
  #columns: Column[] = [];
  #columnCount = 0;
  #areOutParameters = false;

  constructor(
    form: AnswerForm,
    agreed: { readonly capabilities: number; readonly mariadbCapabilities: number },
  ) {
    this.#form = form;
    this.#capabilities = agreed.capabilities;
    this.#mariadbCapabilities = agreed.mariadbCapabilities;
    this.#state = form === 'rows' ? 'rows' : form === 'fields' ? 'columns' : 'first';
    if (form === 'fields') this.#columnsDue = Number.POSITIVE_INFINITY;
  }

  get isDone(): boolean {
    return this.#state === 'done';
  }

  take({ payload, sequence }: Packet): Part {
    const part = this.#parse(payload);
    return { sequence, ...part };
  }

  #parse(payload: Buffer) {
    if (payload[0] === 0xff && this.#form !== 'text') {
      this.#state = 'done';
      return parseError(payload);
    }
    switch (this.#state) {
      case 'first':
        return this.#first(payload);
      case 'parameters':
      case 'columns':
        return this.#definition(payload);
      case 'parameters end':
      case 'columns end':
        return this.#definitionsEnd(payload);
      case 'rows':
        return this.#row(payload);
      case 'done':
        throw new Error('the answer is over');
    }
  }

  #first(payload: Buffer) {
    if (this.#form === 'text') {
      this.#state = 'done';
      return { kind: 'text', text: payload.toString() } as const;
    }
    if (this.#form === 'prepare') return this.#prepared(payload);
    if (payload[0] === 0x00) return this.#end(parseOk(payload, this.#capabilities));
    // COM_SET_OPTION is answered by an EOF, or the OK in its place.
    if (payload[0] === 0xfe) return this.#end(this.#parseEnd(payload));
    if (payload[0] === 0xfb) {
      return { kind: 'infile', file: payload.toString('utf8', 1) } as const;
    }
    const reader = new PayloadReader(payload);
    const count = Number(reader.lengthEncodedInteger());
    const hasMetadata = reader.left === 0 || reader.integer(1) === 1;
    this.#columnCount = count;
    this.#columnsDue = hasMetadata ? count : 0;
    if (hasMetadata) this.#columns = [];
    this.#state = hasMetadata ? 'columns' : this.#afterColumns();
    return { kind: 'columns', count, hasMetadata } as const;
  }

  #prepared(payload: Buffer) {
    const prepared = parsePrepared(payload);
    this.#parametersDue = prepared.parameters;
    this.#columnsDue = prepared.columns;
    this.#state = this.#afterPrepared();
    return prepared;
  }

  #afterPrepared(): State {
    if (this.#parametersDue > 0) return 'parameters';
    return this.#columnsDue > 0 ? 'columns' : 'done';
  }

  #afterColumns(): State {
    if (!this.#has(CAPABILITY.DEPRECATE_EOF)) return 'columns end';
    return this.#form === 'prepare' ? 'done' : 'rows';
  }

  #definition(payload: Buffer) {
    if (this.#form === 'fields' && isEnd(payload)) return this.#end(this.#parseEnd(payload));
    const isExtended = (this.#mariadbCapabilities & MARIADB_CAPABILITY.EXTENDED_METADATA) !== 0;
    const column = parseColumn(payload, isExtended);
    if (this.#state === 'parameters') {
      if (--this.#parametersDue === 0) {
        this.#state = this.#has(CAPABILITY.DEPRECATE_EOF)
          ? this.#afterPrepared()
          : 'parameters end';
      }
      return column;
    }
    this.#columns.push(column);
    if (--this.#columnsDue === 0) this.#state = this.#afterColumns();
    return column;
  }

  #definitionsEnd(payload: Buffer) {
    const eof = parseEof(payload);
    this.#areOutParameters = (eof.status & STATUS.PS_OUT_PARAMS) !== 0;
    const hasCursor = this.#form === 'execute' && (eof.status & STATUS.CURSOR_EXISTS) !== 0;
    if (this.#state === 'parameters end') this.#state = this.#afterPrepared();
    else if (this.#form === 'prepare' || hasCursor) this.#state = 'done';
    else this.#state = 'rows';
    return eof;
  }

  #row(payload: Buffer) {
    if (isEnd(payload)) return this.#end(this.#parseEnd(payload));
    if (this.#form === 'execute') return parseBinaryRow(payload, this.#columns);
    // Who fetches does not know the columns.
    if (this.#form === 'rows') return { kind: 'row', values: [payload.toString('hex')] } as const;
    return parseTextRow(payload, this.#columnCount);
  }

  #parseEnd(payload: Buffer) {
    if (payload.length === EOF_LENGTH && !this.#has(CAPABILITY.DEPRECATE_EOF)) {
      return parseEof(payload);
    }
    return parseOk(payload, this.#capabilities);
  }

  #end<T extends { readonly status: number }>(part: T): T {
    // MySQL does not say so at the end of OUT parameters to a client without DEPRECATE_EOF.
    const hasMore = (part.status & STATUS.MORE_RESULTS_EXISTS) !== 0 || this.#areOutParameters;
    this.#areOutParameters = false;
    this.#state = hasMore && this.#form !== 'ok' ? 'first' : 'done';
    return part;
  }

  #has(capability: number): boolean {
    return (this.#capabilities & capability) !== 0;
  }
}

function isEnd(payload: Buffer): boolean {
  return payload[0] === 0xfe && payload.length < END_LENGTH_MAX;
}
