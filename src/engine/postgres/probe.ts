/**
 * Looks at a PostgreSQL server from a connection of its own: logs in as the user it is given, asks
 * what the server allows and what its part in replication is, and leaves, or stays to be asked again. Such a
 * connection calls itself `berth-monitor`.
 */

import { Timer, type TimerWheel } from '../../base/timer-wheel.ts';
import type { Secret } from '../../credential/secret.ts';
import type { Stream, StreamHandler } from '../../net/stream.ts';
import type { Observation } from '../../target/monitor.ts';
import type { Standing } from '../../target/topology.ts';
import type { PasswordTrial, TokenSource } from '../database-passwords.ts';
import type { WatchCallbacks, WatchConnection } from '../target-watch.ts';
import {
  DatabaseLogin,
  type LoginIdentity,
  type LoginTarget,
  observationOf as refusalOf,
} from './login/database-login.ts';
import { type Outcome, OwnStatement } from './own-statement.ts';
import { readFields } from './wire/backend.ts';
import { queryMessage, TERMINATE_MESSAGE } from './wire/frontend.ts';
import {
  DATA_ROW,
  ERROR_RESPONSE,
  HEADER_BYTES,
  lengthAt,
  READY_FOR_QUERY,
} from './wire/messages.ts';

const APPLICATION_NAME = 'berth-monitor';
const ANSWER_TIMEOUT_MS = 5_000;
const CLOSE_LINGER_MS = 5_000;
/**
 * `reserved_connections` is new in PostgreSQL 16; both kinds are kept from ordinary users. The name of the
 * log file that is written begins with the timeline. Everybody may call these functions. A standby that has
 * replayed what it has received is up to date, but only for as long as somebody sends; after its restart
 * it counts as received what was before.
 */
const LIMITS = `SELECT pg_catalog.version(), pg_catalog.current_setting('max_connections'),
  pg_catalog.current_setting('superuser_reserved_connections'),
  coalesce(pg_catalog.current_setting('reserved_connections', true), '0')`;
/** Also a database that only speaks like PostgreSQL knows the first, and not always the second. */
const QUESTIONS = [
  `${LIMITS},
  pg_catalog.pg_is_in_recovery(),
  CASE WHEN NOT pg_catalog.pg_is_in_recovery()
    THEN pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_insert_lsn()) END,
  pg_catalog.pg_wal_lsn_diff(CASE WHEN pg_catalog.pg_is_in_recovery()
    THEN pg_catalog.pg_last_wal_replay_lsn() ELSE pg_catalog.pg_current_wal_lsn() END, '0/0'),
  CASE WHEN pg_catalog.pg_is_in_recovery() THEN
    CASE WHEN pg_catalog.pg_last_wal_receive_lsn() OPERATOR(pg_catalog.<=) pg_catalog.pg_last_wal_replay_lsn()
      AND EXISTS (SELECT FROM pg_catalog.pg_stat_wal_receiver) THEN 0
    ELSE extract(epoch FROM pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) pg_catalog.pg_last_xact_replay_timestamp())
    END END`,
  `${LIMITS}, pg_catalog.pg_is_in_recovery()`,
  LIMITS,
];

/** Syntax, names, privileges, and features that are not there. */
const NOT_UNDERSTOOD = /^(42|0A)/;

/** The database that probes log in to; every cluster has one unless somebody dropped it. */
const PROBE_DATABASE = 'postgres';

export interface ProbeIdentity {
  readonly user: string;
  readonly password: Secret | TokenSource;
  readonly trial?: PasswordTrial;
}

/** Does not reject. Resolves when the connection is gone again. */
export function probe(target: LoginTarget, identity: ProbeIdentity): Promise<Observation> {
  return new Promise((resolve) => {
    let seen = failure('the database closed the connection');
    const { wheel } = target;
    new DatabaseLogin(target, loginAs(identity), {
      opened: (stream) => {
        const timer = new Timer(() => {
          seen = failure(`no answer within ${ANSWER_TIMEOUT_MS} ms`);
          stream.destroy();
        });
        const connection = new ProbeConnection(stream, () => {
          wheel.disarm(timer);
          resolve(seen);
        });
        wheel.arm(timer, ANSWER_TIMEOUT_MS);
        connection.ask((observation) => {
          seen = observation;
          connection.leave(wheel);
        });
      },
      failed: (failed) => resolve(refusalOf(failed)),
    });
  });
}

/** Opens a connection that is asked again and again. */
export function watch(target: LoginTarget, identity: ProbeIdentity, callbacks: WatchCallbacks) {
  return new DatabaseLogin(target, loginAs(identity), {
    opened: (stream) => callbacks.opened(new ProbeConnection(stream, () => callbacks.lost())),
    failed: (failed) => callbacks.failed(refusalOf(failed)),
  });
}

function loginAs(identity: ProbeIdentity): LoginIdentity {
  const applicationName = APPLICATION_NAME;
  return { ...identity, database: PROBE_DATABASE, applicationName, initQuery: undefined };
}

/** Asks the one question, once or again and again. */
class ProbeConnection implements StreamHandler, WatchConnection {
  private readonly stream: Stream;
  private readonly ended: () => void;
  private statement: OwnStatement | undefined = undefined;
  /** The first of the questions that has not been refused. */
  private level = 0;
  private buffer = Buffer.alloc(0);

  /** `ended` when the connection is gone. */
  constructor(stream: Stream, ended: () => void) {
    this.stream = stream;
    this.ended = ended;
    stream.handler = this;
  }

  ask(answered: (observation: Observation) => void): void {
    const question = QUESTIONS[this.level];
    if (question === undefined) {
      answered(failure('the database refused the question'));
      return;
    }
    this.statement = new OwnStatement((outcome) => {
      this.statement = undefined;
      const sqlState = outcome.isOk ? undefined : outcome.fields.get('C');
      const isTooMuch = sqlState !== undefined && NOT_UNDERSTOOD.test(sqlState);
      if (isTooMuch && this.level < QUESTIONS.length - 1) {
        this.level++;
        this.ask(answered);
      } else {
        answered(observationIn(outcome));
      }
    });
    this.stream.write(queryMessage(question));
  }

  leave(wheel: TimerWheel): void {
    this.stream.write(TERMINATE_MESSAGE);
    this.stream.end(wheel, CLOSE_LINGER_MS);
  }

  destroy(): void {
    this.stream.destroy();
  }

  received(bytes: Buffer): void {
    let buffer = Buffer.concat([this.buffer, bytes]);
    while (buffer.length >= HEADER_BYTES && buffer.length >= 1 + lengthAt(buffer, 0)) {
      const whole = buffer.subarray(0, 1 + lengthAt(buffer, 0));
      buffer = buffer.subarray(whole.length);
      if (whole[0] === DATA_ROW) this.statement?.row(whole);
      else if (whole[0] === ERROR_RESPONSE) this.statement?.failed(whole, readFields(whole));
      else if (whole[0] === READY_FOR_QUERY) this.statement?.ended();
    }
    this.buffer = buffer;
  }

  congested(): void {}

  drained(): void {}

  closed(): void {
    this.statement?.lost();
    this.ended();
  }
}

function observationIn(outcome: Outcome): Observation {
  if (outcome.isOk) return observationOf(outcome.rows[0] ?? []);
  const isLost = outcome.message === undefined;
  const otherwise = isLost
    ? 'the database closed the connection'
    : 'the database refused the question';
  return failure(outcome.fields.get('M') ?? otherwise);
}

function observationOf(row: readonly (string | undefined)[]): Observation {
  const [version = '', connections, superusers, others, ...standing] = row;
  const maxConnections = Number(connections);
  if (!Number.isInteger(maxConnections)) return failure('the database gave no max_connections');
  const reservedConnections = (Number(superusers) || 0) + (Number(others) || 0);
  const facts = { version, maxConnections, reservedConnections, standing: standingOf(standing) };
  return { isOk: true, facts };
}

/** Hexadecimal digits of a log file's name that are the timeline. */
const TIMELINE_DIGITS = 8;

function standingOf(row: readonly (string | undefined)[]): Standing {
  const [isInRecovery, walFile, position, lag] = row;
  return {
    isReadOnly: isInRecovery === 't',
    source: undefined,
    serverId: undefined,
    timeline:
      walFile === undefined ? undefined : Number.parseInt(walFile.slice(0, TIMELINE_DIGITS), 16),
    position: position === undefined ? undefined : Number(position),
    lagMs: lag === undefined ? undefined : Math.max(0, Number(lag) * 1000),
  };
}

function failure(detail: string): Observation {
  return { isOk: false, reason: 'CONNECTION_FAILED', detail };
}
