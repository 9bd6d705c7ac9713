/** As `connections.ts`, for the sessions of MySQL and MariaDB. */

import { ClientSession } from '../../src/engine/mysql/client-session.ts';
import { DatabaseConnection } from '../../src/engine/mysql/database-connection.ts';
import { OwnStatement } from '../../src/engine/mysql/own-statement.ts';
import type { DatabaseCloseReason } from '../../src/observe/reasons.ts';
import type { Verdict } from '../../src/pool/contract.ts';
import { Pool } from '../../src/pool/pool.ts';
import type { MoveOptions } from './connections.ts';
import { inSpoilersHands, Mover } from './mover.ts';
import { mysqlDirt } from './mysql-dirt.ts';
import { replaceMethod } from './patch.ts';

const DIRTY_SHARE = 0.6;

type SessionPool = Pool<DatabaseConnection>;
type Release = (connection: DatabaseConnection, verdict: Verdict, by?: DatabaseCloseReason) => void;

export function moveMysqlSessions(options: MoveOptions): void {
  const pool: SessionPool = Pool.prototype;
  const { release: untouched } = pool;
  const mover = new Mover<ClientSession, DatabaseConnection>(options.tally, (of, connection) =>
    untouched.call(of, connection, 'clean'),
  );
  replaceMethod(
    pool,
    'release',
    (release) =>
      function (this: SessionPool, connection, verdict, reason) {
        const back: Release = (...args) => release.apply(this, args);
        const isTouchable = verdict === 'clean' && connection instanceof DatabaseConnection;
        if (!isTouchable || connection.placement !== 'borrowed') back(connection, verdict, reason);
        else spoil(connection, back, options);
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
      function (this: ClientSession, rest, effects) {
        return mover.asking(this, () => acquire.call(this, rest, effects));
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

function spoil(
  connection: DatabaseConnection,
  back: Release,
  { random, tally, isCareless }: MoveOptions,
): void {
  if (!random.chance(DIRTY_SHARE)) {
    back(connection, 'clean');
    return;
  }
  inSpoilersHands.add(connection);
  // Somebody has had it: nobody may ask it about the statement before.
  connection.loans++;
  const texts = mysqlDirt(random);
  const next = (): void => {
    const text = texts.shift();
    if (text === undefined) {
      inSpoilersHands.delete(connection);
      tally.dirtied++;
      connection.isDirty = !isCareless;
      back(connection, isCareless ? 'clean' : 'cleanable');
      return;
    }
    const statement = new OwnStatement((outcome) => {
      // Without a word of the database the connection is gone.
      if (!outcome.isOk && outcome.payload === undefined) return;
      if (!outcome.isOk) {
        tally.refused++;
        if (tally.refusal === '') tally.refusal = `${text}: ${outcome.error?.text ?? 'no reason'}`;
      }
      setTimeout(next, 0);
    });
    connection.run(text, statement);
  };
  next();
}
