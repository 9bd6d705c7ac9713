/** The reply ledger, by the rules in its header and against a model of the server. */

import { describe, expect, test } from 'bun:test';
import fc from 'fast-check';
import {
  CHANGES_CLIENT,
  CHANGES_CONNECTION,
  CHANGES_UNNAMED,
  INSERTED,
  KIND,
  LedgerViolation,
  OURS,
  OWES_BIND,
  OWES_CLOSE,
  OWES_DESCRIBE,
  OWES_EXECUTE,
  OWES_FUNCTION_CALL,
  OWES_PARSE,
  OWES_QUERY,
  OWES_SYNC,
  ReplyLedger,
} from '../../../src/engine/postgres/ledger.ts';
import { type Outcome, type Reply, type Request, ServerModel } from './server-model.ts';

const KINDS: Readonly<Record<string, number>> = {
  Q: OWES_QUERY,
  F: OWES_FUNCTION_CALL,
  S: OWES_SYNC,
  P: OWES_PARSE,
  B: OWES_BIND,
  D: OWES_DESCRIBE,
  E: OWES_EXECUTE,
  C: OWES_CLOSE,
  i: OWES_CLOSE | INSERTED,
};

/** Sends messages by their letters: `PBES`. CopyData and Flush are not the ledger's business. */
function sent(ledger: ReplyLedger, types: string, flags = 0): void {
  for (const type of types) {
    const kind = KINDS[type];
    if (kind !== undefined) ledger.owe(kind | flags);
    else if (type === 'c' || type === 'f') ledger.copyEnded();
  }
}

/** Takes replies by their letters. Z is ReadyForQuery idle, X in a transaction, Y in a failed one. */
function came(ledger: ReplyLedger, types: string): void {
  const statuses: Readonly<Record<string, string>> = { Z: 'I', X: 'T', Y: 'E' };
  for (const type of types) {
    const status = statuses[type];
    if (status === undefined) ledger.replied(type.charCodeAt(0), 0);
    else ledger.replied('Z'.charCodeAt(0), status.charCodeAt(0));
  }
}

/** A script: what is sent after `>`, what comes after `<`. Returns when the ledger was settled. */
function settledAfter(script: string): string {
  const ledger = new ReplyLedger();
  return script
    .split(' ')
    .map((step) => {
      if (step.startsWith('>')) sent(ledger, step.slice(1));
      else came(ledger, step.slice(1));
      return ledger.isSettled ? 'settled' : 'held';
    })
    .join(' ');
}

test('PG-20 a new connection owes nothing', () => {
  const ledger = new ReplyLedger();
  expect(ledger.isSettled).toBe(true);
  expect(ledger.isEmpty).toBe(true);
  expect(ledger.head).toBe(0);
});

describe('PG-20 the connection is settled when nothing is owed and no transaction is open', () => {
  const scripts: readonly [what: string, script: string, settled: string][] = [
    ['a simple query', '>Q <TDC <Z', 'held held settled'],
    ['an empty query', '>Q <I <Z', 'held held settled'],
    ['a query that fails', '>Q <E <Z', 'held held settled'],
    ['several statements in a query', '>Q <CTDCTC <Z', 'held held settled'],
    ['a query that opens a transaction', '>Q <C <X >Q <C <Z', 'held held held held held settled'],
    ['a failed transaction', '>Q <X >Q <EY >Q <CZ', 'held held held held held settled'],
    ['an extended query', '>PBDES <12nC <Z', 'held held settled'],
    ['Describe of a statement', '>PDS <1tT <Z', 'held held settled'],
    ['a suspended portal', '>PBES <12Ds <X', 'held held held'],
    ['a batch without a Sync', '>PBE <12C >S <Z', 'held held held settled'],
    ['Sync alone', '>S <Z', 'held settled'],
    ['Syncs in a row', '>SSS <Z <Z <Z', 'held held held settled'],
    ['a function call', '>F <V <Z', 'held held settled'],
    ['a function call that fails', '>F <E <Z', 'held held settled'],
    ['Close', '>CS <3 <Z', 'held held settled'],
    ['a query that ends an open batch', '>PQ <1 <DC <Z', 'held held held settled'],
    ['a function call that ends an open batch', '>PBEF <12C <V <Z', 'held held held settled'],
    ['an error that belongs to the Sync itself', '>PBES <12C <E <Z', 'held held held settled'],
    ['COPY OUT', '>Q <HdddcC <Z', 'held held settled'],
  ];
  test.each([...scripts])('%s', (_what, script, settled) => {
    expect(settledAfter(script)).toBe(settled);
  });
});

describe('PG-22 after an error the server discards everything up to the next Sync', () => {
  const scripts: readonly [what: string, script: string, settled: string][] = [
    ['the rest of the batch', '>PBES <E <Z', 'held held settled'],
    ['an error in the middle', '>PBES <12E <Z', 'held held settled'],
    ['a simple query in the failed batch has no answer', '>PQBES <E <Z', 'held held settled'],
    ['a function call in the failed batch has no answer', '>PFS <E <Z', 'held held settled'],
    ['a query after the Sync has one', '>PBESQ <EZ <DC <Z', 'held held held settled'],
    ['the next batch is answered in full', '>PSPBES <EZ <12C <Z', 'held held held settled'],
    ['every batch fails', '>PSPSPS <EZ <EZ <EZ', 'held held held settled'],
    ['a query that fails discards nothing', '>QQ <EZ <CZ', 'held held settled'],
  ];
  test.each([...scripts])('%s', (_what, script, settled) => {
    expect(settledAfter(script)).toBe(settled);
  });
});

describe('PG-23 the Sync comes after the error', () => {
  const scripts: readonly [what: string, script: string, settled: string][] = [
    ['alone', '>P <E >S <Z', 'held held held settled'],
    ['after more that is discarded', '>P <E >BEQFC >S <Z', 'held held held held settled'],
    ['and the next batch with it', '>P <E >BESPBES <Z <12C <Z', 'held held held held held settled'],
    ['the batch stays open until it comes', '>PBE <12E >BE >BE', 'held held held held'],
  ];
  test.each([...scripts])('%s', (_what, script, settled) => {
    expect(settledAfter(script)).toBe(settled);
  });
});

test('PG-21 a pipeline 2,000 deep is kept in order', () => {
  const ledger = new ReplyLedger();
  for (let i = 0; i < 2_000; i++) sent(ledger, i % 2 === 0 ? 'PBES' : 'Q');
  expect(ledger.depth).toBe(5_000);
  for (let i = 0; i < 2_000; i++) {
    expect(ledger.isSettled).toBe(false);
    came(ledger, i % 2 === 0 ? '12CZ' : 'TDCZ');
  }
  expect(ledger.isSettled).toBe(true);
});

test('PG-21 the ring wraps and grows without losing its order', () => {
  const ledger = new ReplyLedger();
  for (let depth = 1; depth < 100; depth += 7) {
    for (let i = 0; i < depth; i++) sent(ledger, i % 3 === 0 ? 'Q' : 'PS');
    for (let i = 0; i < depth; i++) came(ledger, i % 3 === 0 ? 'CZ' : '1Z');
    expect(ledger.isSettled).toBe(true);
  }
});

describe('PG-28 COPY', () => {
  const scripts: readonly [what: string, script: string, settled: string][] = [
    ['FROM STDIN in a simple query', '>Q <G >ddc <C <Z', 'held held held held settled'],
    ['given up by the client', '>Q <G >df <E <Z', 'held held held held settled'],
    ['in an extended query', '>PBE <12G >dc >S <C <Z', 'held held held held held settled'],
    ['given up, extended', '>PBE <12G >f >S <E <Z', 'held held held held held settled'],
    ['all of it sent before the answer', '>Qddc <GC <Z', 'held held settled'],
    ['with its Sync, before the answer', '>PBEdcS <12GC <Z', 'held held settled'],
    ['two in one query', '>Q <G >c <CG >c <C <Z', 'held held held held held held settled'],
    ['two in one query, sent ahead', '>Qdcdc <GCGC <Z', 'held held settled'],
    ['and the next query sent ahead', '>QdcQ <GCZ <DC <Z', 'held held held settled'],
    ['fails before the end was sent', '>Q <G <E <Z >ddc', 'held held held settled settled'],
    ['fails before it begins, data sent ahead', '>Qdc <E <Z', 'held held settled'],
    [
      'fails, and the late end does not end the next',
      '>Q <GEZ >dc >Q <G',
      'held settled settled held held',
    ],
    [
      'late CopyDone before the ReadyForQuery',
      '>Q <GE >c <Z >Q <G',
      'held held held settled held held',
    ],
    ['a stray CopyDone behind a query', '>Qc <C <Z >Q <G', 'held held settled held held'],
    ['a stray CopyDone in a batch', '>PcBES <12C <Z', 'held held settled'],
    ['fails at the end', '>Q <G >c <E <Z', 'held held held held settled'],
  ];
  test.each([...scripts])('%s', (_what, script, settled) => {
    expect(settledAfter(script)).toBe(settled);
  });

  test('a Sync right after Execute is discarded, and the next one ends the batch', () => {
    const script = '>PBES <12G >dc >S <C <Z';
    expect(settledAfter(script)).toBe('held held held held held settled');
  });

  test('a Sync during COPY IN is discarded', () => {
    expect(settledAfter('>PBE <12G >SdSc >S <C <Z')).toBe('held held held held held settled');
    expect(settledAfter('>Q <G >Sdc <C <Z')).toBe('held held held held settled');
  });

  test('without another Sync the batch is still open', () => {
    expect(settledAfter('>PBES <12G >dc <C')).toBe('held held held held');
  });

  test('COPY IN that is refused leaves the Sync its answer', () => {
    expect(settledAfter('>PBES <12E <Z')).toBe('held held settled');
    expect(settledAfter('>PBESdcS <12E <Z <Z')).toBe('held held held settled');
  });

  test('is being read until its end is sent', () => {
    const ledger = new ReplyLedger();
    sent(ledger, 'Q');
    came(ledger, 'G');
    expect(ledger.isCopyIn).toBe(true);
    sent(ledger, 'c');
    expect(ledger.isCopyIn).toBe(false);
  });
});

describe('PG-28 a COPY IN that fails after an early Sync', () => {
  test('the Sync was discarded: one ReadyForQuery, and the proof comes with the next reply', () => {
    const ledger = new ReplyLedger();
    sent(ledger, 'PBES');
    came(ledger, '12G');
    sent(ledger, 'dcS');
    came(ledger, 'EZ');
    expect(ledger.isDoubtful).toBe(true);
    expect(ledger.isSettled).toBe(false);
    sent(ledger, 'Q', OURS);
    came(ledger, 'I');
    expect(ledger.isDoubtful).toBe(false);
    expect(ledger.isReadyLate).toBe(false);
    came(ledger, 'Z');
    expect(ledger.isSettled).toBe(true);
  });

  test('the Sync is answered: its ReadyForQuery is told apart from that of the proof', () => {
    const ledger = new ReplyLedger();
    sent(ledger, 'PBES');
    came(ledger, '12G');
    sent(ledger, 'dcS');
    came(ledger, 'EZ');
    sent(ledger, 'Q', OURS);
    expect(ledger.isReadyLate).toBe(true);
    came(ledger, 'Z');
    expect(ledger.isDoubtful).toBe(false);
    expect(ledger.head).toBe(OWES_QUERY | OURS);
    expect(ledger.isReadyLate).toBe(false);
    came(ledger, 'IZ');
    expect(ledger.isSettled).toBe(true);
  });

  test('the answer to the early Sync is not taken for that of a query behind it', () => {
    const ledger = new ReplyLedger();
    sent(ledger, 'QSdcQ');
    came(ledger, 'GEZ');
    expect(ledger.depth).toBe(1);
    came(ledger, 'Z');
    expect(ledger.depth).toBe(1);
    came(ledger, 'CZ');
    expect(ledger.isSettled).toBe(true);
  });

  test('the answer to the early Sync ends the skipping', () => {
    expect(settledAfter('>PBES <12G >d <E <Z')).toBe('held held held held settled');
  });
});

describe('what no request can explain is a violation', () => {
  const scripts: readonly string[] = [
    '<C',
    '<Z',
    '<1',
    '<D',
    '<V',
    '<G',
    '>Q <1',
    '>Q <s',
    '>P <2',
    '>B <1',
    '>PBES <1C',
    '>S <C',
    '>P <Z',
    '>E <Z',
    '>D <C',
    '>C <n',
    '>Q <CZC',
    '>QQ <CZCZZ',
    '>S <ZZ',
    '>Q <t',
    '>S <G',
    '>Q <n',
  ];
  test.each([...scripts])('%s', (script) => {
    expect(() => settledAfter(script)).toThrow(LedgerViolation);
  });

  test('an error that nobody asked for is none: the last word before the end', () => {
    expect(settledAfter('<E')).toBe('settled');
  });
});

describe('what the proxy sends is marked', () => {
  test('the head says whose reply comes next', () => {
    const ledger = new ReplyLedger();
    sent(ledger, 'Q', OURS);
    sent(ledger, 'P');
    expect(ledger.head).toBe(OWES_QUERY | OURS);
    came(ledger, 'CZ');
    expect(ledger.head).toBe(OWES_PARSE);
  });
});

describe('the unnamed statement is unknown when its last change may not have happened', () => {
  function after(script: (ledger: ReplyLedger) => void): readonly [boolean, boolean] {
    const ledger = new ReplyLedger();
    script(ledger);
    return [ledger.isUnnamedUnknown, ledger.hasLostParse];
  }
  const UNNAMED_PARSE = OWES_PARSE | CHANGES_UNNAMED;

  test('a Parse that succeeds changes it', () => {
    expect(
      after((ledger) => {
        ledger.owe(UNNAMED_PARSE);
        ledger.owe(OWES_SYNC);
        came(ledger, '1Z');
      }),
    ).toEqual([false, false]);
  });

  test('a Parse that fails or is skipped', () => {
    for (const first of [UNNAMED_PARSE, OWES_BIND]) {
      expect(
        after((ledger) => {
          ledger.owe(first);
          ledger.owe(UNNAMED_PARSE);
          ledger.owe(OWES_SYNC);
          came(ledger, 'EZ');
        }),
      ).toEqual([true, true]);
    }
  });

  test('a Close or a simple query that is skipped', () => {
    for (const skipped of [OWES_CLOSE | CHANGES_UNNAMED, OWES_QUERY]) {
      expect(
        after((ledger) => {
          ledger.owe(OWES_BIND);
          ledger.owe(skipped);
          ledger.owe(OWES_SYNC);
          came(ledger, 'EZ');
        }),
      ).toEqual([true, false]);
    }
  });

  test("a Parse of the proxy that is skipped is not the client's", () => {
    expect(
      after((ledger) => {
        ledger.owe(OWES_BIND);
        ledger.owe(UNNAMED_PARSE | OURS);
        ledger.owe(OWES_SYNC);
        came(ledger, 'EZ');
      }),
    ).toEqual([true, false]);
  });

  test('a named Parse, a Bind or a Describe does not touch it', () => {
    for (const kind of [OWES_PARSE, OWES_BIND, OWES_DESCRIBE, OWES_CLOSE]) {
      expect(
        after((ledger) => {
          ledger.owe(kind);
          ledger.owe(OWES_SYNC);
          came(ledger, 'EZ');
        }),
      ).toEqual([false, false]);
    }
  });

  test('a later batch that changes it again makes it known', () => {
    expect(
      after((ledger) => {
        ledger.owe(UNNAMED_PARSE);
        ledger.owe(OWES_SYNC);
        ledger.owe(UNNAMED_PARSE);
        ledger.owe(OWES_SYNC);
        came(ledger, 'EZ1Z');
      }),
    ).toEqual([false, false]);
  });
});

describe('what the proxy answers itself', () => {
  const INSERTED_PARSE = OWES_PARSE | INSERTED | CHANGES_CLIENT;

  test('PG-55 has its turn when everything before it was answered', () => {
    const ledger = new ReplyLedger();
    sent(ledger, 'B');
    ledger.owe(INSERTED_PARSE);
    ledger.owe(INSERTED_PARSE);
    sent(ledger, 'ES');
    expect(ledger.takeInserted()).toBe(0);
    came(ledger, '2');
    expect(ledger.takeInserted()).toBe(INSERTED_PARSE);
    expect(ledger.takeInserted()).toBe(INSERTED_PARSE);
    expect(ledger.takeInserted()).toBe(0);
    came(ledger, 'CZ');
    expect(ledger.isSettled).toBe(true);
  });

  test('at once when nothing is owed, and the batch is open until its Sync', () => {
    const ledger = new ReplyLedger();
    ledger.owe(INSERTED_PARSE);
    expect(ledger.takeInserted()).toBe(INSERTED_PARSE);
    expect([ledger.isEmpty, ledger.isSettled]).toEqual([true, false]);
    sent(ledger, 'S');
    came(ledger, 'Z');
    expect(ledger.isSettled).toBe(true);
  });

  test('never when an error comes before it, and its change is lost', () => {
    const ledger = new ReplyLedger();
    sent(ledger, 'B');
    ledger.owe(INSERTED_PARSE);
    ledger.owe(OWES_PARSE | CHANGES_CLIENT | CHANGES_CONNECTION);
    ledger.owe(OWES_CLOSE | OURS | CHANGES_CONNECTION);
    sent(ledger, 'S');
    came(ledger, 'E');
    expect(ledger.takeInserted()).toBe(0);
    expect([ledger.clientChangesLost, ledger.connectionChangesLost]).toEqual([2, 2]);
    came(ledger, 'Z');
    expect(ledger.isSettled).toBe(true);
  });

  test('PG-57 a simple query that fails has changed nothing; one that has answered, has', () => {
    for (const [replies, lost] of [
      ['EZ', 1],
      ['CEZ', 0],
      ['CZ', 0],
    ] as const) {
      const ledger = new ReplyLedger();
      ledger.owe(OWES_QUERY | CHANGES_CLIENT | CHANGES_CONNECTION);
      came(ledger, replies);
      expect([replies, ledger.clientChangesLost]).toEqual([replies, lost]);
    }
  });

  test('is sure of nothing while another batch may end in a failed transaction', () => {
    const ledger = new ReplyLedger();
    expect(ledger.isSureNotFailed).toBe(true);
    sent(ledger, 'PB');
    expect(ledger.isSureNotFailed).toBe(true);
    sent(ledger, 'S');
    expect(ledger.isSureNotFailed).toBe(false);
    came(ledger, '12Y');
    expect(ledger.isSureNotFailed).toBe(false);
    sent(ledger, 'Q');
    came(ledger, 'CZ');
    expect(ledger.isSureNotFailed).toBe(true);
  });
});

// --- Against the model

type Action = { readonly send: Request } | { readonly do: 'serve' | 'read' };

const outcome = fc.constantFrom<Outcome>(
  'rows',
  'rows',
  'empty',
  'suspended',
  'begin',
  'commit',
  'rollback',
  'error',
  'copy out',
  'copy in',
  'copy in, fails at once',
);
const simpleOutcome = outcome.filter((each) => each !== 'empty' && each !== 'suspended');
const isOk = fc.integer({ min: 0, max: 4 }).map((n) => n > 0);

const request: fc.Arbitrary<Request> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      type: fc.constant('Q' as const),
      outcomes: fc.array(simpleOutcome, { maxLength: 3 }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ type: fc.constant('F' as const), isOk }) },
  {
    weight: 4,
    arbitrary: fc.record({ type: fc.constantFrom('P' as const, 'B' as const, 'C' as const), isOk }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      type: fc.constantFrom('P' as const, 'C' as const),
      isOk,
      isChange: fc.constant(true),
    }),
  },
  { weight: 3, arbitrary: fc.constant({ type: 'i' as const }) },
  {
    weight: 2,
    arbitrary: fc.record({
      type: fc.constant('D' as const),
      isOk,
      of: fc.constantFrom('statement' as const, 'portal' as const),
    }),
  },
  { weight: 4, arbitrary: fc.record({ type: fc.constant('E' as const), outcome }) },
  { weight: 6, arbitrary: fc.record({ type: fc.constant('S' as const), isOk }) },
  { weight: 1, arbitrary: fc.constant({ type: 'H' as const }) },
  { weight: 3, arbitrary: fc.record({ type: fc.constant('d' as const), isOk }) },
  { weight: 4, arbitrary: fc.record({ type: fc.constant('c' as const), isOk }) },
  { weight: 2, arbitrary: fc.constant({ type: 'f' as const }) },
);

const action: fc.Arbitrary<Action> = fc.oneof(
  { weight: 4, arbitrary: request.map((send) => ({ send })) },
  { weight: 3, arbitrary: fc.constantFrom({ do: 'serve' as const }, { do: 'read' as const }) },
);

/**
 * A ledger between a client and the model. The client is any client that a server would keep: while
 * a COPY may be read it sends what belongs to a COPY (anything else ends the connection), and
 * after a Sync that may have been discarded it sends another before it goes on.
 */
class Relay {
  readonly ledger = new ReplyLedger();
  readonly server = new ServerModel();
  /** The COPYs that were sent and may not be over. */
  private copies = 0;
  private hasEarlySync = false;
  private owesSync = false;
  private isCopyExtended = false;
  /** Of the changes, in their order: whether it was done, as the ledger says. */
  readonly changes: boolean[] = [];
  /** How often the proxy has answered for the server. */
  inserted = 0;

  act(each: Action): void {
    if ('send' in each) this.sendIfAllowed(each.send);
    else if (each.do === 'serve') this.server.step();
    else this.read();
    this.check();
  }

  private sendIfAllowed(request: Request): void {
    const isForCopy = 'SHdcf'.includes(request.type);
    if (this.copies > 0 && !isForCopy) return;
    if (this.owesSync && !isForCopy) return;
    if (request.type === 'S') {
      if (this.copies > 0) this.hasEarlySync = true;
      else this.owesSync = false;
    } else if ((request.type === 'c' || request.type === 'f') && this.copies > 0) {
      this.copies--;
      if (this.copies === 0 && this.hasEarlySync) {
        this.owesSync = this.isCopyExtended;
        this.hasEarlySync = false;
      }
    } else if (request.type === 'Q') {
      this.copies = request.outcomes.filter((each) => each.startsWith('copy in')).length;
      this.isCopyExtended = false;
    } else if (request.type === 'E' && request.outcome.startsWith('copy in')) {
      this.copies = 1;
      this.isCopyExtended = true;
    }
    this.send(request);
  }

  send(request: Request): void {
    const kind = KINDS[request.type];
    const isChange = 'isChange' in request && request.isChange === true;
    // What the server discards for certain is not asked of it: the relay knows that it is skipped.
    if (this.ledger.isSkipping && (isChange || request.type === 'i')) return;
    let flags = 'isOurs' in request && request.isOurs === true ? OURS : 0;
    if (isChange) flags |= CHANGES_CLIENT;
    if (kind !== undefined) this.ledger.owe(kind | flags);
    else if (request.type === 'c' || request.type === 'f') this.ledger.copyEnded();
    this.server.input.push(request);
    this.insert();
  }

  private insert(): void {
    while (this.ledger.takeInserted() !== 0) this.inserted++;
  }

  /** Takes one reply, as `DatabaseConnection` does. */
  read(): void {
    const reply = this.server.replies.shift();
    if (reply === undefined) return;
    const isReady = reply.type === 'Z';
    const isOurs = (this.ledger.head & OURS) !== 0 && !(isReady && this.ledger.isReadyLate);
    expect({ ...reply, isOurs }).toEqual(reply);
    this.take(reply);
    const { ledger } = this;
    if (isReady && ledger.isDoubtful && ledger.isQuiet) {
      this.send({ type: 'Q', outcomes: [], isOurs: true });
    }
  }

  private take({ type, status }: Reply): void {
    const { ledger } = this;
    const { head } = ledger;
    ledger.replied(type.charCodeAt(0), status === '' ? 0 : status.charCodeAt(0));
    if ((type === '1' || type === '3') && (head & CHANGES_CLIENT) !== 0) this.changes.push(true);
    for (let n = 0; n < ledger.clientChangesLost; n++) this.changes.push(false);
    ledger.clientChangesLost = 0;
    this.insert();
  }

  /** A connection that is given back must have nothing under way: the one thing that matters. */
  private check(): void {
    if (this.ledger.isSettled && !this.server.isIdle) throw new Error('settled too early');
    if (this.server.isDead) throw new Error('the test sent what no client may send');
  }

  drain(): void {
    while (this.server.input.length > 0 || this.server.replies.length > 0) {
      this.server.step();
      while (this.server.replies.length > 0) {
        this.read();
        this.check();
      }
    }
  }

  /** What `Reset` does for a client that is gone. */
  reset(): void {
    for (let round = 0; round < 10_000; round++) {
      if (this.ledger.isCopyIn) this.send({ type: 'f' });
      if (this.ledger.isBatchOpen) {
        this.send({ type: 'E', outcome: 'error' });
        this.send({ type: 'S', isOk: true, isOurs: true });
      }
      if (this.ledger.isQuiet || this.server.isDead) return;
      if (this.server.replies.length === 0) this.server.step();
      const reply = this.server.replies.shift();
      if (reply !== undefined) this.take(reply);
      else if (this.server.input.length === 0) throw new Error(`stuck, owed ${this.ledger.head}`);
    }
    throw new Error('the reset does not end');
  }
}

const actions = fc.array(action, { minLength: 1, maxLength: 60 });
const RUNS = { numRuns: 20_000 };

test('PG-20 to PG-23, PG-28: the ledger is settled exactly when the server is idle', () => {
  fc.assert(
    fc.property(actions, (list) => {
      const relay = new Relay();
      for (const each of list) relay.act(each);
      relay.drain();
      const { isIdle, isSyncDue } = relay.server;
      if (!isSyncDue) expect(relay.ledger.isSettled).toBe(isIdle);
      if (relay.server.isDead || relay.ledger.depth > 0) return;
      expect(relay.changes).toEqual(relay.server.changes);
      expect(relay.inserted).toBe(relay.server.inserted);
    }),
    RUNS,
  );
});

test('PG-29 wherever a client leaves, the connection is brought to rest or known to be doubtful', () => {
  fc.assert(
    fc.property(actions, (list) => {
      const relay = new Relay();
      for (const each of list) relay.act(each);
      relay.reset();
      if (relay.ledger.isDoubtful || relay.server.isDead) return;
      relay.send({ type: 'Q', outcomes: ['rollback'], isOurs: true });
      expect(relay.ledger.head & KIND).toBe(OWES_QUERY);
      relay.drain();
      expect(relay.server.isIdle).toBe(true);
      expect(relay.ledger.isSettled).toBe(true);
    }),
    RUNS,
  );
});
