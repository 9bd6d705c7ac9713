/**
 * A client after its login: reads what it sends, borrows a database connection with the first message
 * that needs one, and gives it back when the ledger says that nothing is owed, the transaction is
 * over and nothing pins.
 *
 * Whole messages are forwarded by reference, as one run of bytes per chunk. A message that is not
 * whole yet is kept back, so that a client that vanishes leaves no half request in a database; only
 * what is too large to keep streams through, and then the connection ends with the client.
 */

import { BerthError } from '../../base/errors.ts';
import type { ClientConnectionId } from '../../base/ids.ts';
import { WheelTimer } from '../../base/timer-wheel.ts';
import {
  HOLD_LEDGER_FULL,
  HOLD_OWN_CONGESTED,
  HOLD_PEER_CONGESTED,
  HOLD_QUEUED,
  IGNORE,
  type Stream,
  type StreamHandler,
} from '../../net/stream.ts';
import type { ClientCloseReason, PinReason } from '../../observe/reasons.ts';
import type { Borrower, Waiter } from '../../pool/contract.ts';
import { classify } from '../../sql/postgres/classify.ts';
import { digest } from '../../sql/postgres/digest.ts';
import { type Effects, PLAIN } from '../../sql/postgres/effects.ts';
import { StatementScanner } from '../../sql/postgres/scanner.ts';
import type { ConnectionHolder, DatabaseConnection } from './database-connection.ts';
import type { EndpointContext } from './endpoint-context.ts';
import {
  CHANGES_UNNAMED,
  OURS,
  OWES_BIND,
  OWES_CLOSE,
  OWES_DESCRIBE,
  OWES_EXECUTE,
  OWES_FUNCTION_CALL,
  OWES_PARSE,
  OWES_QUERY,
  OWES_SYNC,
} from './ledger.ts';
import type { ReportedParameters } from './parameters.ts';
import type { SessionSettings } from './settings.ts';
import type { UserPool } from './user-pool.ts';
import { errorResponse, noticeResponse, READY_IDLE } from './wire/backend.ts';
import { CLOSE_UNNAMED_MESSAGE, lengthMaxOf } from './wire/frontend.ts';
import {
  BIND,
  CLOSE,
  COPY_DATA,
  COPY_DONE,
  COPY_FAIL,
  DESCRIBE,
  EXECUTE,
  FLUSH,
  FUNCTION_CALL,
  HEADER_BYTES,
  lengthAt,
  PARSE,
  QUERY,
  SYNC,
  TERMINATE,
} from './wire/messages.ts';

/** A message up to this size is kept until it is whole; a larger one streams through. */
const HELD_MESSAGE_MAX = 256 * 1024;
const PIECES_MAX = 64;
/** Replies owed to one client; beyond this its pipeline stays in its socket until some have come. */
const PIPELINE_MAX = 32 * 1024;
/** What a client may send while it waits for a connection; more stays in its socket. */
const HELD_WHILE_QUEUED_MAX = 64 * 1024;
/** An unnamed statement that sits in a larger chunk is copied out of it before the session idles. */
const RETAINED_CHUNK_MAX = 4 * 1024;
/** How long a client may take to close its end. */
const CLOSE_LINGER_MS = 5_000;

/** The last Parse of the unnamed statement: where it lies, and its number. */
interface UnnamedStatement {
  readonly id: number;
  bytes: Buffer;
  at: number;
  end: number;
}

let lastUnnamedStatement = 0;

/**
 * The process ids that clients are given begin here: above those of any system (2^22 on Linux), so
 * that `pg_terminate_backend` with one of them hits nobody.
 */
const PROCESS_ID_FIRST = 2 ** 30;

export class ClientSession
  implements StreamHandler, Borrower<DatabaseConnection>, ConnectionHolder
{
  readonly id: ClientConnectionId;
  readonly userPool: UserPool;
  /** The virtual cancel key: what the client was given in BackendKeyData, as latin1. */
  readonly cancelKey: string;
  /** Names the session in a CancelRequest. */
  readonly processId: number;
  private readonly endpoint: EndpointContext;
  private readonly stream: Stream;
  private readonly settings: SessionSettings;
  private readonly priority: number;
  private readonly openedAt: number;
  /** What the client has been told of the database's parameters. */
  private parameters: ReportedParameters;
  private connection: DatabaseConnection | undefined = undefined;
  private waiter: Waiter | undefined = undefined;
  private pinnedBy: PinReason | undefined = undefined;
  /** What was received while waiting for a connection. */
  private held: Buffer[] | undefined = undefined;
  /** Pieces of a message that is not whole yet. */
  private pieces: Buffer[] | undefined = undefined;
  private piecesBytes = 0;
  private piecesWanted = 0;
  /** What is still to come of a message that streams through. */
  private bodyLeft = 0;
  private scanner: StatementScanner | undefined = undefined;
  private isScanning = false;
  /** A request was refused by the proxy: everything up to the next Sync is dropped. */
  private isSkipping = false;
  private unnamed: UnnamedStatement | undefined = undefined;
  /** Goes out in the same write as the next request. */
  private prefix: Buffer | undefined = undefined;
  private cancelAfterReplay: (() => void) | undefined = undefined;
  /** When the request that is under way began, in milliseconds of `performance.now()`; 0 for none. */
  private requestedAt = 0;
  /** Wheel time of the last byte from or to the client. */
  private activeAt: number;
  private readonly timer: SessionTimer;
  private isDraining = false;
  private isClosed = false;

  constructor(options: SessionOptions) {
    this.id = options.id;
    this.processId = PROCESS_ID_FIRST + (options.id % PROCESS_ID_FIRST);
    this.endpoint = options.endpoint;
    this.stream = options.stream;
    this.userPool = options.userPool;
    this.settings = options.settings;
    this.parameters = options.parameters;
    this.priority = options.priority;
    this.cancelKey = options.cancelKey;
    const { wheel } = options.endpoint;
    this.openedAt = wheel.now;
    this.activeAt = wheel.now;
    this.timer = new SessionTimer(this);
    wheel.arm(this.timer, this.nextLook());
  }

  get isEncrypted(): boolean {
    return this.stream.isEncrypted;
  }

  // --- What the client sends

  received(bytes: Buffer): void {
    this.activeAt = this.endpoint.wheel.now;
    if (this.held !== undefined) this.keepWhileQueued(bytes);
    else this.guarded(bytes);
  }

  private guarded(bytes: Buffer): void {
    try {
      if (this.pieces === undefined) this.process(bytes);
      else this.assemble(bytes);
    } catch (error) {
      this.endpoint.observer.emit({ event: 'internal.failed', doing: 'read a request', error });
      this.close('internal_error', this.internalError(error));
    }
  }

  private internalError(cause: unknown): BerthError {
    return new BerthError('internal', { detail: `Session ${this.id}.`, cause });
  }

  private keepWhileQueued(bytes: Buffer): void {
    this.held?.push(bytes);
    const heldBytes = this.held?.reduce((sum, each) => sum + each.length, 0) ?? 0;
    if (heldBytes > HELD_WHILE_QUEUED_MAX) this.stream.hold(HOLD_QUEUED);
  }

  /** Collects pieces until the message is whole; the header may itself have been cut. */
  private assemble(bytes: Buffer): void {
    this.pieces?.push(bytes);
    this.piecesBytes += bytes.length;
    if (this.piecesBytes < this.piecesWanted) {
      // A message that trickles in must not cost an object for each byte.
      if ((this.pieces?.length ?? 0) >= PIECES_MAX)
        this.pieces = [Buffer.concat(this.pieces ?? [])];
      return;
    }
    const whole = Buffer.concat(this.pieces ?? []);
    this.pieces = undefined;
    this.process(whole);
  }

  private keepPiece(bytes: Buffer, at: number, wanted: number): void {
    const piece = Buffer.from(bytes.subarray(at));
    this.pieces = [piece];
    this.piecesBytes = piece.length;
    this.piecesWanted = wanted;
  }

  private process(bytes: Buffer): void {
    const end = bytes.length;
    let at = this.bodyLeft > 0 ? this.passBody(bytes) : 0;
    /** Where the run of bytes begins that is forwarded. Without a connection the rest of a body is dropped. */
    let from = this.connection === undefined ? at : 0;
    while (at < end) {
      if (end - at < HEADER_BYTES) {
        this.keepPiece(bytes, at, HEADER_BYTES);
        break;
      }
      const type = bytes[at];
      const length = lengthAt(bytes, at);
      if (length < 4 || length > lengthMaxOf(type)) {
        this.violation(type, length);
        return;
      }
      const next = at + 1 + length;
      const isWhole = next <= end;
      if (!isWhole && type !== COPY_DATA) {
        // Of a large message too the beginning must be there: it says what the message is about.
        const kept = Math.min(1 + length, HELD_MESSAGE_MAX);
        if (end - at < kept) {
          this.keepPiece(bytes, at, kept);
          break;
        }
      }
      if (this.connection === undefined) {
        if (type === TERMINATE) {
          this.close('client_request');
          return;
        }
        if (this.isSkipping || isOnlyForCopy(type)) {
          if (type === SYNC && this.isSkipping) this.skipped();
          if (!isWhole) this.bodyLeft = next - end;
          at = isWhole ? next : end;
          from = at;
          continue;
        }
        if (!this.acquire(bytes, at)) return;
      } else if (type === TERMINATE) {
        this.forward(bytes, from, at);
        this.close('client_request');
        return;
      }
      if (type === BIND || type === DESCRIBE) {
        from = this.beforeUse(type, bytes, from, at);
      }
      if (isWhole) {
        this.note(type, bytes, at, next);
        at = next;
      } else {
        this.noteLarge(type, bytes, at, next);
        at = end;
      }
    }
    this.forward(bytes, from, at);
    if (this.bodyLeft === 0) this.giveBackIfSettled();
  }

  /** The rest of a message that streams through. Returns where it ends in `bytes`. */
  private passBody(bytes: Buffer): number {
    const length = Math.min(this.bodyLeft, bytes.length);
    this.bodyLeft -= length;
    if (this.isScanning) {
      this.scanner?.push(bytes, 0, this.bodyLeft === 0 ? length - 1 : length);
      if (this.bodyLeft === 0) this.scanned();
    }
    return length;
  }

  /** A whole message goes to the database. */
  private note(type: number, bytes: Buffer, at: number, next: number): void {
    const { connection } = this;
    if (connection === undefined) return;
    const { ledger } = connection;
    switch (type) {
      case QUERY:
        this.countRequest();
        this.setUnnamed(connection, undefined);
        this.apply(
          this.classify(bytes, at + HEADER_BYTES, next - 1),
          bytes,
          at + HEADER_BYTES,
          next - 1,
        );
        ledger.owe(OWES_QUERY);
        return;
      case PARSE:
        ledger.owe(OWES_PARSE | this.noteParse(bytes, at, next));
        return;
      case BIND:
        ledger.owe(OWES_BIND);
        return;
      case DESCRIBE:
        ledger.owe(OWES_DESCRIBE);
        return;
      case EXECUTE:
        this.countRequest();
        ledger.owe(OWES_EXECUTE);
        return;
      case CLOSE:
        ledger.owe(OWES_CLOSE | this.noteClose(bytes, at));
        return;
      case SYNC:
        ledger.owe(OWES_SYNC);
        return;
      case FUNCTION_CALL:
        this.countRequest();
        ledger.owe(OWES_FUNCTION_CALL);
        return;
      case COPY_DONE:
      case COPY_FAIL:
        ledger.copyEnded();
        return;
      default:
      // CopyData and Flush are not answered.
    }
  }

  /** Returns `CHANGES_UNNAMED` for the unnamed statement. */
  private noteParse(bytes: Buffer, at: number, next: number): number {
    const { connection } = this;
    const nameEnd = bytes.indexOf(0, at + HEADER_BYTES);
    const textEnd = nameEnd < 0 || nameEnd >= next ? -1 : bytes.indexOf(0, nameEnd + 1);
    const isNamed = nameEnd > at + HEADER_BYTES;
    const change = isNamed ? 0 : CHANGES_UNNAMED;
    if (textEnd < 0 || textEnd >= next) return change; // The server says what is wrong with it.
    if (isNamed) {
      this.pin('named_statement', bytes, nameEnd + 1, textEnd);
    } else if (connection !== undefined) {
      this.setUnnamed(connection, { id: ++lastUnnamedStatement, bytes, at, end: next });
    }
    this.apply(this.classify(bytes, nameEnd + 1, textEnd), bytes, nameEnd + 1, textEnd);
    return change;
  }

  /** Returns `CHANGES_UNNAMED` for the unnamed statement. */
  private noteClose(bytes: Buffer, at: number): number {
    const isUnnamedStatement = bytes[at + HEADER_BYTES] === STATEMENT && bytes[at + 6] === 0;
    if (!isUnnamedStatement || this.connection === undefined) return 0;
    this.setUnnamed(this.connection, undefined);
    return CHANGES_UNNAMED;
  }

  /** What the database makes of the unnamed statement, unless it discards the message. */
  private setUnnamed(connection: DatabaseConnection, unnamed: UnnamedStatement | undefined): void {
    if (connection.ledger.isSkipping) return;
    this.unnamed = unnamed;
    connection.unnamedStatement = unnamed?.id ?? 0;
  }

  /**
   * A Bind or Describe of the unnamed statement must find this client's: another client may have used
   * the connection since. Returns where the next run of bytes begins.
   */
  private beforeUse(type: number, bytes: Buffer, from: number, at: number): number {
    const { connection } = this;
    if (connection === undefined || !usesUnnamedStatement(type, bytes, at)) return from;
    const wanted = this.unnamed?.id ?? 0;
    if (connection.unnamedStatement === wanted || connection.ledger.isSkipping) return from;
    this.forward(bytes, from, at);
    connection.unnamedStatement = wanted;
    if (this.unnamed === undefined) {
      connection.ledger.owe(OWES_CLOSE | OURS | CHANGES_UNNAMED);
      this.send(CLOSE_UNNAMED_MESSAGE);
    } else {
      const { bytes: chunk, at: begin, end } = this.unnamed;
      connection.ledger.owe(OWES_PARSE | OURS | CHANGES_UNNAMED);
      this.send(chunk.subarray(begin, end));
    }
    return at;
  }

  /** The beginning of a message that is too large to keep goes to the database; the rest follows. */
  private noteLarge(type: number, bytes: Buffer, at: number, next: number): void {
    this.bodyLeft = next - bytes.length;
    if (type === QUERY) {
      // What the text does is known at its end, long before the connection is given back.
      this.scanner ??= new StatementScanner();
      this.scanner.reset(this.parameters.stringSyntax);
      this.scanner.push(bytes, at + HEADER_BYTES, bytes.length);
      this.isScanning = true;
    } else if (type === PARSE) {
      // It cannot be kept, so it cannot be sent again to another connection.
      this.pin('large_statement', EMPTY, 0, 0);
    }
    const { connection } = this;
    if (connection === undefined) return;
    if (type === QUERY || type === PARSE) this.setUnnamed(connection, undefined);
    if (type === QUERY || type === FUNCTION_CALL) this.countRequest();
    if (type === QUERY) connection.ledger.owe(OWES_QUERY);
    else if (type === PARSE) connection.ledger.owe(OWES_PARSE | CHANGES_UNNAMED);
    else if (type === BIND) connection.ledger.owe(OWES_BIND);
    else if (type === FUNCTION_CALL) connection.ledger.owe(OWES_FUNCTION_CALL);
  }

  private scanned(): void {
    this.isScanning = false;
    const effects = this.scanner?.end() ?? PLAIN;
    const [reason] = effects.reasons;
    if (reason !== undefined) this.pin(reason, EMPTY, 0, 0);
  }

  private classify(bytes: Buffer, from: number, to: number): Effects {
    return classify(bytes, from, to, this.parameters.stringSyntax);
  }

  private apply(effects: Effects, bytes: Buffer, from: number, to: number): void {
    if (effects === PLAIN) return;
    const [reason] = effects.reasons;
    if (reason !== undefined) this.pin(reason, bytes, from, to);
  }

  private pin(reason: PinReason, bytes: Buffer, from: number, to: number): void {
    const { connection, endpoint } = this;
    if (connection === undefined || this.pinnedBy !== undefined) return;
    this.pinnedBy = reason;
    connection.isDirty = true;
    this.userPool.pool.pin(connection);
    endpoint.counters.pins[reason]++;
    endpoint.observer.emit({
      event: 'session.pinned',
      proxy: endpoint.proxy,
      endpoint: endpoint.name,
      clientConnection: this.id,
      databaseConnection: connection.id,
      reason,
      digest: digest(bytes.subarray(from, to)),
    });
  }

  private countRequest(): void {
    const { counters } = this.endpoint;
    // A pinned session borrows nothing.
    if (this.requestedAt === 0) this.requestedAt = performance.now();
    counters.queryRequests++;
    if (this.stream.isEncrypted) counters.queryRequestsTls++;
  }

  private forward(bytes: Buffer, from: number, to: number): void {
    if (to <= from) return;
    const isWhole = from === 0 && to === bytes.length;
    // Nobody else has a chunk that goes out as it came in, but for the unnamed statement.
    const isOurs = isWhole && this.prefix === undefined && this.unnamed?.bytes !== bytes;
    if (isOurs) this.connection?.stream.give(bytes);
    else this.send(isWhole ? bytes : bytes.subarray(from, to));
    this.holdIfAhead();
  }

  private send(bytes: Buffer): void {
    const { connection } = this;
    if (connection === undefined) return;
    const { prefix } = this;
    if (prefix === undefined) {
      connection.stream.write(bytes);
    } else {
      this.prefix = undefined;
      connection.stream.write(Buffer.concat([prefix, bytes]));
    }
  }

  /** Stops reading when the database, or its replies, cannot keep up. */
  private holdIfAhead(): void {
    const { connection } = this;
    if (connection === undefined) return;
    if (connection.stream.isCongested) this.stream.hold(HOLD_PEER_CONGESTED);
    if (connection.ledger.depth > PIPELINE_MAX) this.stream.hold(HOLD_LEDGER_FULL);
  }

  private violation(type: number, length: number): void {
    const what =
      lengthMaxOf(type) === 0 ? `unknown type ${type}` : `length ${length} of type ${type}`;
    this.close('protocol_violation', new BerthError('protocol_violation', { params: { what } }));
  }

  // --- Borrowing

  /** Returns whether there is a connection now; otherwise everything from `at` waits. */
  private acquire(bytes: Buffer, at: number): boolean {
    this.requestedAt = performance.now();
    const { pool } = this.userPool;
    const connection = pool.borrow();
    if (connection !== undefined) {
      this.attach(connection);
      return true;
    }
    this.held = [at === 0 ? bytes : bytes.subarray(at)];
    this.waiter = pool.wait(this, this.priority);
    return false;
  }

  private attach(connection: DatabaseConnection): void {
    this.connection = connection;
    connection.lentTo(this);
    this.endpoint.counters.borrows++;
    if (connection.settings !== this.settings) this.replaySettings(connection);
    else if (connection.parameters !== this.parameters) this.tellParameters(connection);
    if (this.endpoint.limits.isSessionMode) this.pin('session_mode', EMPTY, 0, 0);
    if (!this.parameters.isTextReadable) this.pin('unknown', EMPTY, 0, 0);
  }

  private replaySettings(connection: DatabaseConnection): void {
    if (!connection.settings.equals(this.settings)) {
      this.prefix = this.settings.replayFrom(connection.settings, connection.base);
      connection.ledger.owe(OWES_QUERY | OURS);
      connection.unnamedStatement = 0;
    } else if (connection.parameters !== this.parameters) {
      this.tellParameters(connection);
    }
    connection.settings = this.settings;
  }

  /** The database's parameters may have changed since the client was told. */
  private tellParameters(connection: DatabaseConnection): void {
    for (const message of connection.parameters.differencesFrom(this.parameters)) {
      this.deliver(message);
    }
    this.parameters = connection.parameters;
  }

  granted(connection: DatabaseConnection): void {
    this.waiter = undefined;
    const { counters } = this.endpoint;
    counters.borrowLatencyMicros += (performance.now() - this.requestedAt) * 1000;
    this.attach(connection);
    this.processHeld();
  }

  private processHeld(): void {
    const held = this.held ?? [];
    this.held = undefined;
    this.stream.letGo(HOLD_QUEUED);
    for (const bytes of held) {
      if (this.isClosed) return;
      this.received(bytes);
    }
  }

  refused(error: BerthError): void {
    this.waiter = undefined;
    const { endpoint } = this;
    endpoint.observer.emit({
      event: 'borrow.failed',
      proxy: endpoint.proxy,
      endpoint: endpoint.name,
      clientConnection: this.id,
      why: error.code === 'borrow_timeout' ? 'timeout' : 'refused',
      waitedMs: Math.round(performance.now() - this.requestedAt),
      detail: error.detail ?? error.message,
    });
    if (error.code === 'borrow_timeout') this.refuse(error);
    else this.close('borrow_failed', error);
  }

  stillWaiting(waitedMs: number, position: number): void {
    const seconds = Math.round(waitedMs / 1000);
    const text = `Waiting for a database connection for ${seconds} s; ${position} in the queue.`;
    this.stream.write(noticeResponse(text));
  }

  /** Answers the request that waits with `error`; what comes after it goes on as on any server. */
  private refuse(error: BerthError): void {
    this.requestedAt = 0;
    this.deliver(errorResponse('ERROR', error));
    const [first] = this.held ?? [];
    const type = first?.[0];
    if (first === undefined) return;
    if (type === QUERY || type === FUNCTION_CALL || type === SYNC) {
      this.dropMessage(first);
      this.deliver(READY_IDLE);
    } else {
      this.isSkipping = true;
    }
    this.processHeld();
  }

  /** Takes the first message off what is held; the part that is still to come is skipped. */
  private dropMessage(first: Buffer): void {
    const next = 1 + lengthAt(first, 0);
    if (next > first.length) this.bodyLeft = next - first.length;
    const rest = first.subarray(Math.min(next, first.length));
    this.held?.splice(0, 1, ...(rest.length > 0 ? [rest] : []));
  }

  private skipped(): void {
    this.isSkipping = false;
    this.deliver(READY_IDLE);
  }

  // --- What the database connection says

  deliver(bytes: Uint8Array): void {
    this.stream.write(bytes);
    if (this.stream.isCongested) this.congested();
  }

  deliverChunk(bytes: Buffer): void {
    this.stream.give(bytes);
    if (this.stream.isCongested) this.congested();
  }

  private congested(): void {
    this.activeAt = this.endpoint.wheel.now;
    this.stream.hold(HOLD_OWN_CONGESTED);
    this.connection?.stream.hold(HOLD_PEER_CONGESTED);
  }

  parametersReported(parameters: ReportedParameters): void {
    this.parameters = parameters;
  }

  answered(): void {
    const { connection } = this;
    if (connection === undefined) return;
    if (connection.ledger.depth < PIPELINE_MAX) this.stream.letGo(HOLD_LEDGER_FULL);
    if (!connection.ledger.isEmpty) return;
    this.activeAt = this.endpoint.wheel.now;
    this.measure(connection);
    // The reply to it tells what has been answered and what not.
    if (connection.ledger.isDoubtful && connection.ledger.isQuiet) connection.ask('');
    this.giveBackIfSettled();
  }

  private measure(connection: DatabaseConnection): void {
    if (this.requestedAt === 0) return;
    const micros = (performance.now() - this.requestedAt) * 1000;
    const { counters } = this.endpoint;
    counters.queryResponses++;
    counters.queryResponseLatencyMicros += micros;
    connection.target.counters.queryDatabaseResponses++;
    connection.target.counters.queryDatabaseResponseLatencyMicros += micros;
  }

  replayed(error: ReadonlyMap<string, string> | undefined): void {
    const { connection } = this;
    if (connection === undefined) return;
    if (error !== undefined) {
      const detail = `The settings of session ${this.id} could not be set: ${error.get('C') ?? ''}.`;
      this.close('internal_error', new BerthError('internal', { detail }));
      return;
    }
    if (connection.parameters !== this.parameters) this.tellParameters(connection);
    const cancel = this.cancelAfterReplay;
    this.cancelAfterReplay = undefined;
    if (cancel !== undefined) this.forwardCancel(connection, cancel);
  }

  parseLost(): void {
    this.unnamed = undefined;
  }

  connectionDrained(): void {
    this.stream.letGo(HOLD_PEER_CONGESTED);
  }

  connectionLost(wasTold: boolean): void {
    this.connection = undefined;
    this.close('database_lost', wasTold ? undefined : new BerthError('connection_lost'));
  }

  private giveBackIfSettled(): void {
    const { connection } = this;
    if (connection === undefined || !connection.ledger.isSettled || this.bodyLeft > 0) return;
    this.requestedAt = 0;
    if (this.pinnedBy !== undefined) {
      if (this.isDraining) this.close('shutdown', new BerthError('shutting_down'));
      return;
    }
    this.retainUnnamed();
    this.detach(connection);
    // Something that no text showed, such as a function, changed a setting: nobody else gets it.
    if (connection.hasStrayParameters || this.settings.isHarsh) connection.isDirty = true;
    const { cancelsInFlight, unfitBy } = connection;
    const { pool } = this.userPool;
    const isClean = cancelsInFlight === 0 && !connection.isDirty;
    if (unfitBy !== undefined) pool.release(connection, 'destroy', unfitBy);
    else pool.release(connection, isClean ? 'clean' : 'cleanable');
    if (this.isDraining) this.close('shutdown', new BerthError('shutting_down'));
  }

  /** Does not keep a large chunk alive for the small statement in it. */
  private retainUnnamed(): void {
    const { unnamed } = this;
    if (unnamed === undefined || unnamed.bytes.length <= RETAINED_CHUNK_MAX) return;
    unnamed.bytes = Buffer.from(unnamed.bytes.subarray(unnamed.at, unnamed.end));
    unnamed.at = 0;
    unnamed.end = unnamed.bytes.length;
  }

  private detach(connection: DatabaseConnection): void {
    this.connection = undefined;
    this.prefix = undefined;
    connection.takenBack();
    this.stream.letGo(HOLD_PEER_CONGESTED);
    this.cancelAfterReplay?.();
    this.cancelAfterReplay = undefined;
  }

  // --- Cancel, clocks, end

  /** A CancelRequest with this session's key. `done` when everything that follows from it is over. */
  cancel(done: () => void): void {
    const { connection } = this;
    if (this.waiter !== undefined) {
      this.waiter.abandon();
      this.waiter = undefined;
      this.refuse(new BerthError('query_canceled'));
      done();
    } else if (connection === undefined || connection.ledger.isEmpty) {
      done();
    } else if ((connection.ledger.head & OURS) !== 0) {
      // It is meant for the client's statement, which is right behind ours.
      this.cancelAfterReplay?.();
      this.cancelAfterReplay = done;
    } else {
      this.forwardCancel(connection, done);
    }
  }

  private forwardCancel(connection: DatabaseConnection, done: () => void): void {
    const { endpoint } = this;
    endpoint.observer.emit({
      event: 'cancel.forwarded',
      proxy: endpoint.proxy,
      endpoint: endpoint.name,
      clientConnection: this.id,
      databaseConnection: connection.id,
    });
    connection.target.canceller.cancel(connection, done);
  }

  /** Ends the session at the next moment when nothing is in flight. */
  drain(): void {
    this.isDraining = true;
    const { connection } = this;
    const isBusy = this.waiter !== undefined || (connection !== undefined && !this.isIdlePinned);
    if (!isBusy) this.close('shutdown', new BerthError('shutting_down'));
  }

  /** Holds a connection only because it is pinned. */
  private get isIdlePinned(): boolean {
    return this.pinnedBy !== undefined && (this.connection?.ledger.isSettled ?? false);
  }

  drained(): void {
    this.activeAt = this.endpoint.wheel.now;
    this.stream.letGo(HOLD_OWN_CONGESTED);
    this.connection?.stream.letGo(HOLD_PEER_CONGESTED);
  }

  /** The one timer of a session: looks at what is overdue, and arms itself for what is due next. */
  lookAtClock(): void {
    const { limits, wheel } = this.endpoint;
    const silentMs = wheel.now - this.activeAt;
    if (this.isStuck) {
      if (silentMs >= limits.borrowedIdleTimeoutMs) {
        const seconds = limits.borrowedIdleTimeoutMs / 1000;
        const error = new BerthError('borrowed_idle_timeout', { params: { seconds } });
        this.close('borrowed_idle_timeout', error);
        return;
      }
    } else if (this.isIdle) {
      if (silentMs >= limits.idleClientTimeoutMs) {
        const seconds = limits.idleClientTimeoutMs / 1000;
        this.close('idle_timeout', new BerthError('idle_client_timeout', { params: { seconds } }));
        return;
      }
      if (wheel.now - this.openedAt >= limits.clientLifetimeMs) {
        const hours = limits.clientLifetimeMs / 3_600_000;
        this.close('lifetime', new BerthError('client_lifetime', { params: { hours } }));
        return;
      }
    }
    wheel.arm(this.timer, this.nextLook());
  }

  /** Nothing in flight: no connection held, or held only because it is pinned. */
  private get isIdle(): boolean {
    return this.waiter === undefined && (this.connection === undefined || this.isIdlePinned);
  }

  /** Holds a connection that can only go on when the client sends, or takes, something. */
  private get isStuck(): boolean {
    const { connection } = this;
    if (this.stream.isCongested) return true;
    if (connection === undefined || this.isIdlePinned) return false;
    const { ledger } = connection;
    return ledger.isEmpty || ledger.isCopyIn || this.bodyLeft > 0;
  }

  private nextLook(): number {
    const { limits, wheel } = this.endpoint;
    const first = Math.min(limits.borrowedIdleTimeoutMs, limits.idleClientTimeoutMs);
    return Math.max(this.activeAt + first - wheel.now, Math.min(first, LOOK_AGAIN_MS));
  }

  /** The client is gone. */
  closed(): void {
    this.leave('client_gone');
  }

  /** Ends the session from this side, after telling the client why. */
  close(reason: ClientCloseReason, error?: BerthError): void {
    if (this.isClosed) return;
    const canBeTold = this.connection?.isMidMessage !== true;
    if (error !== undefined && canBeTold) this.stream.write(errorResponse('FATAL', error));
    this.stream.handler = IGNORE;
    this.stream.end(this.endpoint.wheel, CLOSE_LINGER_MS);
    this.leave(reason);
  }

  private leave(reason: ClientCloseReason): void {
    if (this.isClosed) return;
    this.isClosed = true;
    this.endpoint.wheel.disarm(this.timer);
    this.waiter?.abandon();
    this.waiter = undefined;
    this.held = undefined;
    const { connection } = this;
    if (connection !== undefined) this.leaveConnection(connection);
    this.endpoint.sessionClosed(this, reason);
  }

  private leaveConnection(connection: DatabaseConnection): void {
    // A request of which the database saw only a part cannot be finished or taken back.
    const isCut = this.bodyLeft > 0;
    this.detach(connection);
    if (this.settings.isHarsh) connection.isDirty = true;
    const { ledger, isDirty, cancelsInFlight, unfitBy } = connection;
    const { pool } = this.userPool;
    if (unfitBy !== undefined) pool.release(connection, 'destroy', unfitBy);
    else if (isCut || ledger.isDoubtful)
      pool.release(connection, 'destroy', 'client_gone_in_request');
    else if (ledger.isSettled && !isDirty && cancelsInFlight === 0)
      pool.release(connection, 'clean');
    else pool.release(connection, 'cleanable');
  }
}

/** There is one for each client, so it carries no closure. */
class SessionTimer extends WheelTimer {
  private readonly session: ClientSession;

  constructor(session: ClientSession) {
    super();
    this.session = session;
  }

  fire(): void {
    this.session.lookAtClock();
  }
}

/** While a statement runs for long, the clock is looked at this often at least. */
const LOOK_AGAIN_MS = 1_000;
const EMPTY = Buffer.alloc(0);
/** The letter of a statement in Describe and Close. */
const STATEMENT = 0x53; // S

/** Discarded by a server that is not in COPY IN; Flush has nothing to flush without a connection. */
function isOnlyForCopy(type: number): boolean {
  return type === COPY_DATA || type === COPY_DONE || type === COPY_FAIL || type === FLUSH;
}

/** Bind: portal, NUL, statement, NUL. Describe: letter, name, NUL. */
function usesUnnamedStatement(type: number, bytes: Buffer, at: number): boolean {
  const body = at + HEADER_BYTES;
  if (type === DESCRIBE) return bytes[body] === STATEMENT && bytes[body + 1] === 0;
  if (bytes[body] === 0) return bytes[body + 1] === 0;
  const portalEnd = bytes.indexOf(0, body);
  // A name longer than what is kept of a message: to be on the safe side.
  return portalEnd < 0 || bytes[portalEnd + 1] === 0;
}

export interface SessionOptions {
  readonly id: ClientConnectionId;
  readonly endpoint: EndpointContext;
  readonly stream: Stream;
  readonly userPool: UserPool;
  readonly settings: SessionSettings;
  readonly parameters: ReportedParameters;
  readonly priority: number;
  readonly cancelKey: string;
}
