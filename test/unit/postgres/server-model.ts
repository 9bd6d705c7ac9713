/**
 * What a PostgreSQL server answers, without data: the main loop of src/backend/tcop/postgres.c, the
 * COPY loop of src/backend/commands/copyfromparse.c, and nothing else. Each request carries the
 * outcome that it is to have, so a property test can go everywhere.
 */

/** What becomes of one statement, in a simple query or in an Execute. */
export type Outcome =
  | 'rows'
  | 'empty'
  | 'suspended'
  | 'begin'
  | 'commit'
  | 'rollback'
  | 'error'
  | 'copy out'
  | 'copy in'
  /** CopyInResponse, then an error before anything is read: a BEFORE STATEMENT trigger. */
  | 'copy in, fails at once';

export type Request =
  | { readonly type: 'Q'; readonly outcomes: readonly Outcome[]; readonly isOurs?: boolean }
  | { readonly type: 'F'; readonly isOk: boolean }
  | { readonly type: 'P' | 'B' | 'C'; readonly isOk: boolean; readonly isChange?: boolean }
  /** What the proxy answers itself, when a server would: it knows that this cannot fail. */
  | { readonly type: 'i' }
  | { readonly type: 'D'; readonly isOk: boolean; readonly of: 'statement' | 'portal' }
  | { readonly type: 'E'; readonly outcome: Outcome }
  | { readonly type: 'S'; readonly isOk: boolean; readonly isOurs?: boolean }
  | { readonly type: 'H' }
  | { readonly type: 'd'; readonly isOk: boolean }
  | { readonly type: 'c'; readonly isOk: boolean }
  | { readonly type: 'f' };

export interface Reply {
  readonly type: string;
  /** The status of a ReadyForQuery, else empty. */
  readonly status: string;
  /** It answers something that the proxy sent for itself. */
  readonly isOurs: boolean;
}

interface Copying {
  readonly isExtended: boolean;
  /** What comes after the COPY in the same simple query. */
  readonly rest: readonly Outcome[];
}

export class ServerModel {
  readonly input: Request[] = [];
  readonly replies: Reply[] = [];
  /** Of the requests with `isChange`, in their order: whether it was done. */
  readonly changes: boolean[] = [];
  /** How often the proxy should have answered by now. */
  inserted = 0;
  /** Nothing that it did itself, but the client has begun a batch of which it knows nothing. */
  isSyncDue = false;
  /** It read something during COPY IN that has no place there: FATAL. */
  isDead = false;
  /** The transaction block. */
  private block: 'I' | 'T' | 'E' = 'I';
  /** `ignore_till_sync` */
  private isSkipping = false;
  /** Extended-protocol messages have begun a transaction that a Sync, or a simple query, will end. */
  private isBatchOpen = false;
  private copying: Copying | undefined = undefined;
  private isOurs = false;

  /** Nothing is under way, nothing to be read, nothing to be sent. */
  get isIdle(): boolean {
    const isBusy = this.isSkipping || this.isBatchOpen || this.copying !== undefined;
    // CopyData, CopyDone and CopyFail that nobody waits for are discarded; Flush changes nothing.
    const isDone =
      this.replies.length === 0 && !this.input.some(({ type }) => !'dcfHi'.includes(type));
    return isDone && !isBusy && this.block === 'I';
  }

  /** Reads and answers one message. */
  step(): void {
    const request = this.input.shift();
    if (request === undefined) return;
    if (this.copying !== undefined) this.readInCopy(request, this.copying);
    else if (!this.isSkipping || request.type === 'S') this.read(request);
    else if ('isChange' in request && request.isChange === true) this.changes.push(false);
  }

  private read(request: Request): void {
    this.isOurs = 'isOurs' in request && request.isOurs === true;
    switch (request.type) {
      case 'Q':
        this.runAll(request.outcomes);
        return;
      case 'F':
        if (request.isOk && this.block !== 'E') this.say('V');
        else this.fail();
        this.isBatchOpen = false;
        this.ready();
        return;
      case 'S':
        // A deferred constraint; after an error there is nothing left to commit.
        if (!request.isOk && this.isBatchOpen && !this.isSkipping && this.block === 'I')
          this.fail();
        this.isSkipping = false;
        this.isBatchOpen = false;
        this.ready();
        return;
      case 'i':
        this.isSyncDue = true;
        this.inserted++;
        return;
      case 'P':
      case 'B':
      case 'C':
      case 'D':
      case 'E':
        this.isBatchOpen = true;
        this.readExtended(request);
        return;
      default:
      // Flush has nothing to hold back here; CopyData, CopyDone and CopyFail are discarded.
    }
  }

  private readExtended(request: Extract<Request, { type: 'P' | 'B' | 'C' | 'D' | 'E' }>): void {
    if (request.type === 'E') {
      this.execute(request.outcome);
      return;
    }
    const isRefused = request.type !== 'C' && this.block === 'E';
    const isDone = request.isOk && !isRefused;
    if ('isChange' in request && request.isChange === true) this.changes.push(isDone);
    if (!isDone) {
      this.failExtended();
      return;
    }
    if (request.type === 'P') this.say('1');
    else if (request.type === 'B') this.say('2');
    else if (request.type === 'D') this.say(...(request.of === 'statement' ? ['t', 'n'] : ['T']));
    else this.say('3');
  }

  private execute(outcome: Outcome): void {
    if (this.block === 'E' && outcome !== 'rollback' && outcome !== 'commit') {
      this.failExtended();
      return;
    }
    if (outcome === 'error') this.failExtended();
    else if (outcome === 'suspended') this.say('D', 's');
    else if (outcome === 'empty') this.say('I');
    else if (outcome === 'copy in') this.beginCopy({ isExtended: true, rest: [] });
    else if (outcome === 'copy in, fails at once') {
      this.say('G');
      this.failExtended();
    } else this.complete(outcome, false);
  }

  private runAll(outcomes: readonly Outcome[]): void {
    this.isBatchOpen = false;
    if (outcomes.length === 0) this.say('I');
    for (const [index, outcome] of outcomes.entries()) {
      const isExit = outcome === 'rollback' || outcome === 'commit';
      if (outcome === 'error' || (this.block === 'E' && !isExit)) {
        this.fail();
        break;
      }
      if (outcome === 'copy in, fails at once') {
        this.say('G');
        this.fail();
        break;
      }
      if (outcome === 'copy in') {
        this.beginCopy({ isExtended: false, rest: outcomes.slice(index + 1) });
        return;
      }
      this.complete(outcome, true);
    }
    this.ready();
  }

  private complete(outcome: Outcome, isSimple: boolean): void {
    if (outcome === 'begin' && this.block === 'I') this.block = 'T';
    if (outcome === 'commit' || outcome === 'rollback') this.block = 'I';
    if (outcome === 'copy out') this.say('H', 'd', 'd', 'c');
    if (outcome === 'rows' && isSimple) this.say('T');
    if (outcome === 'rows') this.say('D', 'D');
    this.say('C');
  }

  private beginCopy(copying: Copying): void {
    this.say('G');
    this.copying = copying;
  }

  private readInCopy(request: Request, copying: Copying): void {
    if (request.type === 'S' || request.type === 'H') return;
    if (request.type === 'd' && request.isOk) return;
    this.copying = undefined;
    if (request.type === 'c' && request.isOk) {
      this.say('C');
      if (!copying.isExtended && copying.rest.length > 0) this.runAll(copying.rest);
      else if (!copying.isExtended) this.ready();
    } else if (request.type === 'd' || request.type === 'c' || request.type === 'f') {
      if (copying.isExtended) this.failExtended();
      else {
        this.fail();
        this.ready();
      }
    } else {
      this.isDead = true;
    }
  }

  private failExtended(): void {
    this.fail();
    this.isSkipping = true;
  }

  private fail(): void {
    this.say('E');
    if (this.block === 'T') this.block = 'E';
  }

  private ready(): void {
    this.isSyncDue = false;
    this.replies.push({ type: 'Z', status: this.block, isOurs: this.isOurs });
    this.isOurs = false;
  }

  private say(...types: readonly string[]): void {
    for (const type of types) this.replies.push({ type, status: '', isOurs: this.isOurs });
  }
}
