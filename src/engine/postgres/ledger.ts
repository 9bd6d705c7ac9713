/**
 * The reply ledger of one database connection: what the database still owes, in order. Whether a
 * connection may be given back is decided here, never by "saw ReadyForQuery".
 *
 * Every message that will be answered pushes an entry when it is sent; replies take entries off the
 * front. What the proxy itself sends is marked `OURS`, so its replies cannot reach a client. Pure: no
 * sockets, no bytes but the type of a message.
 *
 * The rules are those of the manual's "Message Flow" and of src/backend/tcop/postgres.c:
 * - after an error in an extended-protocol message the server discards everything up to the next
 *   Sync, simple queries included;
 * - in COPY IN it discards Sync and Flush, until CopyDone or CopyFail;
 * - CopyData, CopyDone and CopyFail outside COPY IN are discarded, wherever they come.
 */

import { ProtocolViolation } from '../protocol-violation.ts';
import {
  BIND_COMPLETE,
  CLOSE_COMPLETE,
  COMMAND_COMPLETE,
  COPY_IN_RESPONSE,
  EMPTY_QUERY_RESPONSE,
  ERROR_RESPONSE,
  NO_DATA,
  PARAMETER_DESCRIPTION,
  PARSE_COMPLETE,
  PORTAL_SUSPENDED,
  READY_FOR_QUERY,
  ROW_DESCRIPTION,
  STATUS_FAILED,
  STATUS_IDLE,
} from './wire/messages.ts';

/** Answered by everything up to ReadyForQuery. */
export const OWES_QUERY = 1;
export const OWES_FUNCTION_CALL = 2;
export const OWES_SYNC = 3;
/** Answered by one message, or discarded by an earlier error. */
export const OWES_PARSE = 4;
export const OWES_BIND = 5;
export const OWES_DESCRIBE = 6;
export const OWES_EXECUTE = 7;
export const OWES_CLOSE = 8;
/** No reply: the place in the order where a COPY IN ends. */
const COPY_END = 9;
/** The bits of an entry that say what is owed. */
export const KIND = 0x0f;
/** The proxy sent it; the client must not see the reply. */
export const OURS = 0x10;
/** A Parse or Close of the unnamed statement; every simple query drops it, so it needs no mark. */
export const CHANGES_UNNAMED = 0x20;
/** A named statement of the client's changes with it (`ClientStatements`). */
export const CHANGES_CLIENT = 0x40;
/** A statement of the connection's changes with it (`ConnectionStatements`). */
export const CHANGES_CONNECTION = 0x80;
/** Nothing was sent: the proxy answers when the turn comes. Only a Parse or a Close. */
export const INSERTED = 0x100;
/** Ours: the Describe behind a Parse of a named statement. */
export const DESCRIBES_STATEMENT = 0x200;
/** Of a statement whose rows have become others: the database is made to fail, the text is ours. */
export const MUST_FAIL = 0x400;
/** Ours: fails, so that the transaction that it has begun is a failed one. */
export const ABORTS = 0x800;

const FIRST_CAPACITY = 16;

export class LedgerViolation extends ProtocolViolation {
  constructor(type: number, head: number) {
    super(
      `unexpected message ${String.fromCharCode(type)} while the head of the ledger is ${head}`,
    );
    this.name = 'LedgerViolation';
  }
}

function changesUnnamed(entry: number): boolean {
  return (entry & CHANGES_UNNAMED) !== 0 || (entry & KIND) === OWES_QUERY;
}

function endsBatch(entry: number): boolean {
  const kind = entry & KIND;
  return kind === OWES_SYNC || kind === OWES_QUERY || kind === OWES_FUNCTION_CALL;
}

/** See `ReplyLedger.owedAfterLoss`. */
export class OwedAfterLoss {
  /** In order: an error, or a ReadyForQuery. */
  readonly replies: ('error' | 'ready')[] = [];
  /** How many changes of the client's named statements have not happened. */
  clientChanges = 0;
  /** What comes up to the next Sync belongs to what has failed. */
  isSkipping: boolean;
  /** The client's own Parse of the unnamed statement is among it. */
  isParseLost = false;
  /** Something of the batch was sent. */
  private isBatchBegun = true;

  constructor(isSkipping: boolean) {
    this.isSkipping = isSkipping;
  }

  add(entry: number, isHead: boolean): void {
    if ((entry & OURS) !== 0) return;
    const kind = entry & KIND;
    if ((entry & CHANGES_CLIENT) !== 0) this.clientChanges++;
    this.isParseLost ||= (entry & (CHANGES_UNNAMED | KIND)) === (CHANGES_UNNAMED | OWES_PARSE);
    if (kind === COPY_END) return;
    const isSimple = kind === OWES_QUERY || kind === OWES_FUNCTION_CALL;
    // The server discards it, as it does everything up to the next Sync.
    if (isSimple && this.isSkipping && !isHead) return;
    if ((kind !== OWES_SYNC || this.isBatchBegun) && !this.isSkipping) this.replies.push('error');
    const isEnd = isSimple || kind === OWES_SYNC;
    if (isEnd) this.replies.push('ready');
    this.isSkipping = !isEnd;
    this.isBatchBegun = !isEnd;
  }
}

export class ReplyLedger {
  /** Entries in a ring whose size is a power of two. */
  private ring = new Uint16Array(FIRST_CAPACITY);
  private first = 0;
  private count = 0;
  /** The status byte of the last ReadyForQuery. */
  status = STATUS_IDLE;
  /** Extended-protocol messages were sent after the last Sync. */
  isBatchOpen = false;
  /** An error happened and the server discards everything until a Sync that was not yet sent. */
  isSkipping = false;
  /** The server reads COPY data; CopyDone or CopyFail was not yet sent. */
  isCopyIn = false;
  /** Syncs that were sent before the end of a COPY IN: discarded, unless the COPY failed before. */
  private uncertainSyncs = 0;
  /** The head, a simple query or a function call, has been answered but for its ReadyForQuery. */
  private isHeadAnswered = false;
  /** The client has been told of an error in the batch that the head belongs to. */
  private hasHeadFailed = false;
  /** What is in the unnamed statement is not known: its last change failed or was skipped. */
  isUnnamedUnknown = false;
  /** The client's own Parse was among what was lost. */
  hasLostParse = false;
  /** Changes of named statements that failed or were skipped, the client's and the connection's. */
  clientChangesLost = 0;
  connectionChangesLost = 0;
  /** ReadyForQuery messages that are owed. */
  private readiesOwed = 0;
  /**
   * A COPY IN failed and it is not known how many of the uncertain Syncs are answered. Any reply to
   * something that was sent later ends the doubt.
   */
  isDoubtful = false;

  /** How many replies are owed. */
  get depth(): number {
    return this.count;
  }

  get isEmpty(): boolean {
    return this.count === 0;
  }

  /** Nothing is owed and nothing half done; a transaction may be open. */
  get isQuiet(): boolean {
    return this.count === 0 && !this.isBatchOpen && !this.isCopyIn;
  }

  /** Nothing is owed, nothing half done, no transaction: the connection may be lent to another. */
  get isSettled(): boolean {
    return this.status === STATUS_IDLE && this.isQuiet && !this.isDoubtful;
  }

  /** A ReadyForQuery that came now would answer an uncertain Sync, not the head. */
  get isReadyLate(): boolean {
    if (this.uncertainSyncs === 0 || this.isHeadAnswered) return false;
    const kind = this.head & KIND;
    return kind !== OWES_SYNC;
  }

  /** What is sent now meets no failed transaction, unless something of its own batch fails. */
  get isSureNotFailed(): boolean {
    return this.readiesOwed === 0 && this.status !== STATUS_FAILED;
  }

  /** The entry that comes next (a kind, perhaps with `OURS`); 0 when nothing is owed. */
  get head(): number {
    return this.count === 0 ? 0 : this.ring[this.first];
  }

  /** What comes next answers a statement of the proxy's own, not what was put into a client's batch. */
  get isOwnFirst(): boolean {
    return (this.head & (OURS | KIND)) === (OURS | OWES_QUERY);
  }

  /** Records that a message was sent that owes `entry` (a kind, perhaps with `OURS`). */
  owe(entry: number): void {
    switch (entry & KIND) {
      case OWES_SYNC:
        if (this.isCopyIn) {
          this.uncertainSyncs++;
          return;
        }
        if (this.isSkipping) this.hasHeadFailed = true;
        this.isSkipping = false;
        this.isBatchOpen = false;
        this.readiesOwed++;
        break;
      case OWES_QUERY:
      case OWES_FUNCTION_CALL:
        if (this.isSkipping) return;
        this.isBatchOpen = false;
        this.readiesOwed++;
        break;
      default:
        this.isBatchOpen = true;
        if (this.isSkipping) return;
    }
    this.push(entry);
  }

  /** Records that CopyDone or CopyFail was sent. */
  copyEnded(): void {
    if (this.isCopyIn) this.isCopyIn = false;
    else if (this.count > 0) this.push(COPY_END);
  }

  /**
   * Takes note of a message from the database. `status` is the byte of a ReadyForQuery.
   * Throws `LedgerViolation` when nothing that was sent can have caused it.
   */
  replied(type: number, status: number): void {
    const head = this.count === 0 ? 0 : this.ring[this.first] & KIND;
    switch (type) {
      case READY_FOR_QUERY:
        this.ready(head, status);
        return;
      case ERROR_RESPONSE:
        this.failed(head);
        return;
      case COMMAND_COMPLETE:
      case EMPTY_QUERY_RESPONSE:
        // A COPY IN that went well has discarded every Sync before its end.
        if (this.uncertainSyncs > 0) this.becomeCertain();
        if (head === OWES_EXECUTE) this.pop();
        else if (head === OWES_QUERY) this.isHeadAnswered = true;
        else throw new LedgerViolation(type, head);
        return;
      case PORTAL_SUSPENDED:
        this.expect(type, head, OWES_EXECUTE);
        return;
      case PARSE_COMPLETE:
        this.expect(type, head, OWES_PARSE);
        return;
      case BIND_COMPLETE:
        this.expect(type, head, OWES_BIND);
        return;
      case CLOSE_COMPLETE:
        this.expect(type, head, OWES_CLOSE);
        return;
      case NO_DATA:
        this.expect(type, head, OWES_DESCRIBE);
        return;
      case ROW_DESCRIPTION:
        if (head === OWES_DESCRIBE) this.pop();
        else if (head !== OWES_QUERY) throw new LedgerViolation(type, head);
        return;
      case PARAMETER_DESCRIPTION:
        // RowDescription or NoData follows and ends it.
        if (head !== OWES_DESCRIBE) throw new LedgerViolation(type, head);
        return;
      case COPY_IN_RESPONSE:
        if (head !== OWES_QUERY && head !== OWES_EXECUTE) throw new LedgerViolation(type, head);
        // Of the COPY before this one.
        if (this.uncertainSyncs > 0) this.becomeCertain();
        this.copyInBegan();
        return;
      default:
        // Rows, COPY OUT and the rest belong to the head and do not end it.
        if (head === 0) throw new LedgerViolation(type, head);
        if (head === OWES_FUNCTION_CALL) this.isHeadAnswered = true;
    }
  }

  /** Takes an inserted entry off the front and returns it; 0 when there is none. */
  takeInserted(): number {
    const { head } = this;
    if ((head & INSERTED) === 0) return 0;
    this.pop();
    return head;
  }

  /** Something of the client's is not answered. */
  get owesClient(): boolean {
    for (let i = 0; i < this.count; i++) if ((this.entryAt(i) & OURS) === 0) return true;
    return false;
  }

  /**
   * What a server would still tell the client if everything that is not answered failed now: an error for
   * each batch and each simple query, and every ReadyForQuery.
   */
  owedAfterLoss(): OwedAfterLoss {
    const owed = new OwedAfterLoss(this.hasHeadFailed || this.isSkipping);
    for (let i = 0; i < this.count; i++) {
      owed.add(this.entryAt(i), i === 0);
      // As if the COPY had failed before it read any of them.
      if (i === 0)
        for (let left = this.uncertainSyncs; left > 0; left--) owed.add(OWES_SYNC, false);
    }
    return owed;
  }

  private entryAt(index: number): number {
    return this.ring[(this.first + index) & (this.ring.length - 1)];
  }

  private expect(type: number, head: number, expected: number): void {
    if (head !== expected) throw new LedgerViolation(type, head);
    this.pop();
  }

  private ready(head: number, status: number): void {
    if (this.isReadyLate) {
      // The COPY failed before it read the Sync, which then ended the skipping.
      this.uncertainSyncs--;
      if (this.uncertainSyncs === 0) this.isDoubtful = false;
      if (head === 0) {
        this.isSkipping = false;
        this.isBatchOpen = false;
      }
    } else if (head === OWES_QUERY || head === OWES_SYNC || head === OWES_FUNCTION_CALL) {
      this.pop();
      this.readiesOwed--;
    } else {
      throw new LedgerViolation(READY_FOR_QUERY, head);
    }
    this.isCopyIn = false;
    this.status = status;
  }

  private failed(head: number): void {
    this.isCopyIn = false;
    if (this.isDoubtful) this.becomeCertain();
    else this.isDoubtful = this.uncertainSyncs > 0;
    // A simple query or a Sync still gets its ReadyForQuery. An error that nobody asked for is the
    // database's last word before it closes.
    if (head === OWES_QUERY || head === OWES_FUNCTION_CALL) {
      if (!this.isHeadAnswered) this.countChangesLost(this.head);
      this.isHeadAnswered = true;
    }
    this.hasHeadFailed = head !== 0;
    if (head === 0 || head === OWES_QUERY || head === OWES_SYNC || head === OWES_FUNCTION_CALL)
      return;
    let areChangesLost = false;
    let isParseLost = false;
    while (this.count > 0) {
      const entry = this.ring[this.first];
      const kind = entry & KIND;
      if (kind === OWES_SYNC) break;
      if (kind === OWES_QUERY || kind === OWES_FUNCTION_CALL) this.readiesOwed--;
      this.countChangesLost(entry);
      areChangesLost ||= changesUnnamed(entry);
      isParseLost ||= (entry & (CHANGES_UNNAMED | OURS | KIND)) === (CHANGES_UNNAMED | OWES_PARSE);
      this.drop();
    }
    if (areChangesLost && !this.hasChangeOfUnnamed()) {
      this.isUnnamedUnknown = true;
      this.hasLostParse = isParseLost;
    }
    if (this.count > 0) return;
    this.hasHeadFailed = false;
    this.isSkipping = true;
    this.isBatchOpen = true;
  }

  private countChangesLost(entry: number): void {
    if ((entry & CHANGES_CLIENT) !== 0) this.clientChangesLost++;
    if ((entry & CHANGES_CONNECTION) !== 0) this.connectionChangesLost++;
  }

  /** A later batch says what the unnamed statement is, whatever became of an earlier one. */
  private hasChangeOfUnnamed(): boolean {
    for (let i = 0; i < this.count; i++) {
      if (changesUnnamed(this.ring[(this.first + i) & (this.ring.length - 1)])) return true;
    }
    return false;
  }

  /** Syncs sent before the end of the COPY are being discarded by the server. */
  private copyInBegan(): void {
    const entries: number[] = [];
    let isEndSent = false;
    for (let i = 0; i < this.count; i++) {
      const entry = this.ring[(this.first + i) & (this.ring.length - 1)];
      const kind = entry & KIND;
      if (!isEndSent && kind === COPY_END) isEndSent = true;
      else if (!isEndSent && kind === OWES_SYNC) {
        this.uncertainSyncs++;
        this.readiesOwed--;
      } else entries.push(entry);
    }
    this.first = 0;
    this.count = entries.length;
    this.ring.set(entries);
    this.isCopyIn = !isEndSent;
    // The Sync that was discarded did not end the batch; what comes after the COPY will.
    const [head, ...rest] = entries;
    if ((head & KIND) === OWES_EXECUTE && !rest.some(endsBatch)) this.isBatchOpen = true;
  }

  private push(entry: number): void {
    if (this.count === this.ring.length) this.grow();
    this.ring[(this.first + this.count) & (this.ring.length - 1)] = entry;
    this.count++;
  }

  private becomeCertain(): void {
    this.uncertainSyncs = 0;
    this.isDoubtful = false;
  }

  private pop(): void {
    this.drop();
    this.isHeadAnswered = false;
    this.hasHeadFailed = false;
    // A CopyDone that nobody waited for, such as one sent after the COPY had failed.
    while (this.count > 0 && (this.ring[this.first] & KIND) === COPY_END) this.drop();
  }

  private drop(): void {
    this.first = (this.first + 1) & (this.ring.length - 1);
    this.count--;
  }

  private grow(): void {
    const larger = new Uint16Array(this.ring.length * 2);
    for (let i = 0; i < this.count; i++) {
      larger[i] = this.ring[(this.first + i) & (this.ring.length - 1)];
    }
    this.ring = larger;
    this.first = 0;
  }
}
