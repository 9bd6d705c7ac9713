/**
 * The commands about prepared statements: where things are in those of a client, and those that the proxy
 * sends. Nothing here copies what it only looks at.
 * https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_com_stmt_execute.html
 * https://mariadb.com/docs/server/reference/clientserver-protocol/3-binary-protocol-prepared-statements/com_stmt_bulk_execute
 */

import { COM_STMT_CLOSE, COM_STMT_PREPARE } from './capabilities.ts';
import {
  HEADER_BYTES,
  int16At,
  int32At,
  lenencAt,
  lenencBytes,
  packet,
  writeHeader,
} from './packets.ts';

/** Command and id, which all of them but COM_STMT_PREPARE begin with. */
export const STATEMENT_HEAD_BYTES = 5;
/** MariaDB: whichever statement was prepared last. */
export const LAST_STATEMENT = 0xffff_ffff;

/** COM_STMT_EXECUTE, behind the id: flags, a count of iterations that is always 1. */
const EXECUTE_FLAGS_AT = 5;
const EXECUTE_HEAD_BYTES = 10;
/** Any kind of cursor. */
const CURSOR_FLAGS = 0x07;
/** A count of parameters follows although the statement has none. */
const PARAMETER_COUNT_AVAILABLE = 0x08;
/** The type of a parameter that is NULL, and has no other. */
const TYPE_NULL = 6;
const NO_TYPES = Buffer.alloc(0);
/** Type and sign. */
const TYPE_BYTES = 2;

/** COM_STMT_BULK_EXECUTE, behind the id: two bytes of flags. */
const BULK_FLAGS_AT = 5;
const BULK_HEAD_BYTES = 7;
const BULK_SEND_TYPES = 0x80;

/** COM_STMT_SEND_LONG_DATA: the number of the parameter, behind the id. */
const PARAMETER_AT = 5;

export function statementIdAt(bytes: Uint8Array, payload: number): number {
  return int32At(bytes, payload + 1);
}

export function writeStatementId(bytes: Uint8Array, payload: number, id: number): void {
  bytes[payload + 1] = id;
  bytes[payload + 2] = id >> 8;
  bytes[payload + 3] = id >> 16;
  bytes[payload + 4] = id >> 24;
}

/** The count of parameters in the first packet of the answer to COM_STMT_PREPARE; its id is where a command's is. */
export function parametersAt(bytes: Uint8Array, payload: number): number {
  return int16At(bytes, payload + 7);
}

/** Whether the COM_STMT_EXECUTE at `payload` asks for a cursor. */
export function asksForCursor(bytes: Uint8Array, payload: number, end: number): boolean {
  return (
    payload + EXECUTE_FLAGS_AT < end && (bytes[payload + EXECUTE_FLAGS_AT] & CURSOR_FLAGS) !== 0
  );
}

/** The parameter that a COM_STMT_SEND_LONG_DATA is about; -1 when it does not say. */
export function longDataParameterAt(bytes: Uint8Array, payload: number, end: number): number {
  return payload + PARAMETER_AT + 2 <= end ? int16At(bytes, payload + PARAMETER_AT) : -1;
}

/** What a command says of the types of its parameters. Reused: valid until the next look. */
export class TypesView {
  /** There are parameters, so there are types: in the command, or in one before it. */
  hasTypes = false;
  /** They are in the command, between `from` and `to`. */
  isSent = false;
  from = 0;
  to = 0;
  /** The command cannot be read so far. */
  isBroken = false;
  private flagAt = 0;
  private isBulk = false;

  /** Of the COM_STMT_EXECUTE at `payload`. `hasAttributes`: the client has CLIENT_QUERY_ATTRIBUTES. */
  ofExecute(
    bytes: Uint8Array,
    payload: number,
    end: number,
    parameters: number,
    hasAttributes: boolean,
  ): void {
    this.begin(false);
    if (end - payload < EXECUTE_HEAD_BYTES) {
      this.isBroken = true;
      return;
    }
    let at = payload + EXECUTE_HEAD_BYTES;
    let count = parameters;
    const isCounted = (bytes[payload + EXECUTE_FLAGS_AT] & PARAMETER_COUNT_AVAILABLE) !== 0;
    if (hasAttributes && (parameters > 0 || isCounted)) {
      const width = at < end ? lenencBytes(bytes[at]) : 0;
      this.isBroken = width === 0 || at + width > end;
      if (this.isBroken) return;
      count = lenencAt(bytes, at);
      at += width;
    }
    if (count === 0) return;
    this.hasTypes = true;
    at += Math.ceil(count / 8);
    this.isBroken = at >= end;
    if (this.isBroken) return;
    this.flagAt = at;
    this.isSent = bytes[at] === 1;
    this.from = at + 1;
    this.to = this.from;
    if (this.isSent) this.skipTypes(bytes, end, count, hasAttributes);
  }

  private skipTypes(bytes: Uint8Array, end: number, count: number, hasNames: boolean): void {
    if (hasNames) {
      for (let i = 0; i < count; i++) {
        const name = this.to + TYPE_BYTES;
        const width = name < end ? lenencBytes(bytes[name]) : 0;
        this.isBroken = width === 0 || name + width > end;
        if (this.isBroken) return;
        this.to = name + width + lenencAt(bytes, name);
      }
    } else {
      this.to += count * TYPE_BYTES;
    }
    this.isBroken = this.to > end;
  }

  /** Of the COM_STMT_BULK_EXECUTE at `payload`. */
  ofBulk(bytes: Uint8Array, payload: number, end: number, parameters: number): void {
    this.begin(true);
    this.hasTypes = parameters > 0;
    this.isBroken = end - payload < BULK_HEAD_BYTES;
    if (this.isBroken) return;
    this.flagAt = payload + BULK_FLAGS_AT;
    this.from = payload + BULK_HEAD_BYTES;
    this.isSent = (bytes[this.flagAt] & BULK_SEND_TYPES) !== 0;
    this.to = this.isSent ? this.from + parameters * TYPE_BYTES : this.from;
    this.isBroken = this.to > end;
  }

  /**
   * The types that parameters have had last, `known` or not, and have now; NULL is none. Returns `known` when
   * that is no other than it was.
   */
  merged(
    bytes: Uint8Array,
    parameters: number,
    hasNames: boolean,
    known: Buffer | undefined,
  ): Buffer {
    let merged = known;
    let at = this.from;
    for (let i = 0; i < parameters && at + TYPE_BYTES <= this.to; i++) {
      const own = i * TYPE_BYTES;
      const isTyped = bytes[at] !== TYPE_NULL;
      const isOther =
        merged === undefined || merged[own] !== bytes[at] || merged[own + 1] !== bytes[at + 1];
      if (isTyped && isOther) {
        if (merged === undefined || merged === known) {
          merged = Buffer.alloc(parameters * TYPE_BYTES, TYPE_NULL);
          known?.copy(merged);
        }
        merged[own] = bytes[at];
        merged[own + 1] = bytes[at + 1];
      }
      at += TYPE_BYTES;
      if (hasNames) at += lenencBytes(bytes[at]) + lenencAt(bytes, at);
    }
    return merged ?? NO_TYPES;
  }

  /**
   * What the packet at `at`, up to `next`, is with `types` in it. More of it may follow `next`;
   * `length` is that of all its payload.
   */
  inserted(bytes: Buffer, at: number, next: number, length: number, types: Buffer): Buffer {
    const { flagAt, from, isBulk } = this;
    const message = Buffer.allocUnsafe(next - at + types.length);
    bytes.copy(message, 0, at, from);
    types.copy(message, from - at);
    bytes.copy(message, from - at + types.length, from, next);
    writeHeader(message, 0, length + types.length, 0);
    if (isBulk) message[flagAt - at] |= BULK_SEND_TYPES;
    else message[flagAt - at] = 1;
    return message;
  }

  private begin(isBulk: boolean): void {
    this.hasTypes = false;
    this.isSent = false;
    this.isBroken = false;
    this.isBulk = isBulk;
  }
}

/** Below this a call that compares costs more than it saves. */
const CALL_WORTHY_MIN = 64;

/** Whether `block` is what is between `from` and `to`. */
export function isSameBlock(block: Buffer, bytes: Buffer, from: number, to: number): boolean {
  const { length } = block;
  if (length !== to - from) return false;
  if (length >= CALL_WORTHY_MIN) return block.compare(bytes, from, to) === 0;
  for (let i = 0; i < length; i++) if (block[i] !== bytes[from + i]) return false;
  return true;
}

export function prepareMessage(text: Uint8Array): Buffer {
  return packet(0, Buffer.of(COM_STMT_PREPARE), text);
}

const CLOSE_BYTES = HEADER_BYTES + STATEMENT_HEAD_BYTES;

/** A COM_STMT_CLOSE for each. It is never answered. */
export function closeMessages(ids: readonly number[]): Buffer {
  const bytes = Buffer.allocUnsafe(CLOSE_BYTES * ids.length);
  let at = 0;
  for (const id of ids) {
    writeHeader(bytes, at, STATEMENT_HEAD_BYTES, 0);
    bytes[at + HEADER_BYTES] = COM_STMT_CLOSE;
    writeStatementId(bytes, at + HEADER_BYTES, id);
    at += CLOSE_BYTES;
  }
  return bytes;
}
