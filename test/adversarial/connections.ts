/**
 * Sessions that never rest. Whenever a session is not pinned its next statement goes to another
 * connection than its last, if there is another or can be; and what comes back as clean is not lent
 * again as it is. Most of it is dirtied and then cleaned by the pool's own way, as if a pinned
 * session had left it; some of it gets the settings and the unnamed statement of a client that is not
 * there, which a pool may leave in a clean connection; the rest stays as it is.
 */

import { ClientSession } from '../../src/engine/postgres/client-session.ts';
import { DatabaseConnection } from '../../src/engine/postgres/database-connection.ts';
import { OURS, OWES_PARSE, OWES_SYNC } from '../../src/engine/postgres/ledger.ts';
import { type Outcome, OwnStatement } from '../../src/engine/postgres/own-statement.ts';
import { SessionSettings } from '../../src/engine/postgres/settings.ts';
import { SYNC_MESSAGE } from '../../src/engine/postgres/wire/frontend.ts';
import { HEADER_BYTES } from '../../src/engine/postgres/wire/messages.ts';
import type { DatabaseCloseReason } from '../../src/observe/reasons.ts';
import type { Verdict } from '../../src/pool/contract.ts';
import { Pool } from '../../src/pool/pool.ts';
import * as frontend from '../harness/frontend-messages.ts';
import type { Random } from '../soak/random.ts';
import { clientSettings, dirt } from './dirt.ts';
import { inSpoilersHands, Mover } from './mover.ts';
import { replaceMethod } from './patch.ts';
import type { Tally } from './tally.ts';

const DIRTY_SHARE = 0.6;
const RESETTLED_SHARE = 0.25;

export interface MoveOptions {
  readonly random: Random;
  readonly tally: Tally;
  readonly isCareless: boolean;
}

type SessionPool = Pool<DatabaseConnection>;
type Release = (connection: DatabaseConnection, verdict: Verdict, by?: DatabaseCloseReason) => void;

export function moveSessions(options: MoveOptions): void {
  const pool: SessionPool = Pool.prototype;
  const { release: untouched } = pool;
  const mover = new Mover<ClientSession, DatabaseConnection>(options.tally, (pool, connection) =>
    untouched.call(pool, connection, 'clean'),
  );
  const spoiler = new Spoiler(options);
  replaceMethod(
    pool,
    'release',
    (release) =>
      function (this: SessionPool, connection, verdict, reason) {
        const back: Release = (...args) => release.apply(this, args);
        const isTouchable = verdict === 'clean' && connection instanceof DatabaseConnection;
        if (!isTouchable || connection.placement !== 'borrowed') back(connection, verdict, reason);
        else spoiler.spoil(connection, back);
      },
  );
  replaceMethod(
    DatabaseConnection.prototype,
    'lentTo',
    (lentTo) =>
      function (this: DatabaseConnection, holder) {
        if (holder instanceof ClientSession) mover.arrived(holder, this);
        lentTo.call(this, holder);
      },
  );
  replaceMethod(
    ClientSession.prototype,
    'acquire',
    (acquire) =>
      function (this: ClientSession, rest) {
        return mover.asking(this, () => acquire.call(this, rest));
      },
  );
  replaceMethod(
    pool,
    'borrow',
    (borrow) =>
      function (this: SessionPool) {
        return mover.choose(this, () => borrow.call(this));
      },
  );
  replaceMethod(
    ClientSession.prototype,
    'granted',
    (granted) =>
      function (this: ClientSession, connection) {
        const other = mover.exchange(this, connection);
        if (other !== undefined) granted.call(this, other);
      },
  );
}

/** Has something done to a connection that nobody holds, and lets it go then. */
class Spoiler {
  private readonly random: Random;
  private readonly tally: Tally;
  private readonly isCareless: boolean;

  constructor({ random, tally, isCareless }: MoveOptions) {
    this.random = random;
    this.tally = tally;
    this.isCareless = isCareless;
  }

  spoil(connection: DatabaseConnection, back: Release): void {
    const chance = this.random.next();
    if (chance < DIRTY_SHARE) this.dirty(connection, back);
    else if (chance < DIRTY_SHARE + RESETTLED_SHARE) this.resettle(connection, back);
    else back(connection, 'clean');
  }

  private dirty(connection: DatabaseConnection, back: Release): void {
    this.run(connection, dirt(this.random), () => {
      this.tally.dirtied++;
      connection.isDirty = !this.isCareless;
      back(connection, this.isCareless ? 'clean' : 'cleanable');
    });
  }

  private resettle(connection: DatabaseConnection, back: Release): void {
    const settings = new SessionSettings(clientSettings(this.random));
    const replay = settings.replayFrom(connection.settings, connection.base);
    const sql = replay.toString('latin1', HEADER_BYTES, replay.length - 1);
    this.run(connection, sql === 'SELECT ' ? '' : sql, (isOk) => {
      this.tally.resettled++;
      if (isOk) connection.settings = settings;
      else connection.isDirty = true;
      back(connection, isOk ? 'clean' : 'cleanable');
    });
  }

  /** Also leaves an unnamed statement. Not called back when the connection is lost. */
  private run(connection: DatabaseConnection, sql: string, done: (isOk: boolean) => void): void {
    inSpoilersHands.add(connection);
    const statement = new OwnStatement((outcome) => {
      if (!outcome.isOk && outcome.message === undefined) return;
      if (!outcome.isOk) this.refused(outcome);
      connection.ledger.owe(OWES_PARSE | OURS);
      connection.ledger.owe(OWES_SYNC | OURS);
      connection.unnamedStatement = -1;
      connection.stream.write(frontend.parse('', "select 'adversary'"));
      connection.stream.write(SYNC_MESSAGE);
      whenQuiet(connection, () => {
        inSpoilersHands.delete(connection);
        done(outcome.isOk);
      });
    });
    connection.run(sql, statement);
  }

  private refused(outcome: Outcome & { readonly isOk: false }): void {
    this.tally.refused++;
    if (this.tally.refusal === '') this.tally.refusal = outcome.fields.get('M') ?? 'no reason';
  }
}

/** Nobody is told when a batch of ours has been answered, so it is looked at in every turn. */
function whenQuiet(connection: DatabaseConnection, then: () => void): void {
  setTimeout(() => {
    if (connection.placement !== 'borrowed') return;
    if (connection.ledger.isEmpty) then();
    else whenQuiet(connection, then);
  }, 0);
}
