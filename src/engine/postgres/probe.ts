/**
 * Looks at a PostgreSQL server from a connection of its own: logs in as the user it is given, asks
 * what the server allows, and leaves. Such a connection calls itself `berth-monitor`.
 */

import { Timer, type TimerWheel } from '../../base/timer-wheel.ts';
import type { Secret } from '../../credential/secret.ts';
import type { Stream, StreamHandler } from '../../net/stream.ts';
import type { Observation } from '../../target/monitor.ts';
import type { Standing } from '../../target/topology.ts';
import type { PasswordTrial, TokenSource } from '../database-passwords.ts';
import { DatabaseLogin, type LoginTarget } from './login/database-login.ts';
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
 * log file that is written begins with the timeline. Everybody may call these functions.
 */
const FACTS = `SELECT pg_catalog.version(), pg_catalog.current_setting('max_connections'),
  pg_catalog.current_setting('superuser_reserved_connections'),
  coalesce(pg_catalog.current_setting('reserved_connections', true), '0'),
  pg_catalog.pg_is_in_recovery(),
  CASE WHEN NOT pg_catalog.pg_is_in_recovery()
    THEN pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_insert_lsn()) END,
  pg_catalog.pg_wal_lsn_diff(CASE WHEN pg_catalog.pg_is_in_recovery()
    THEN pg_catalog.pg_last_wal_replay_lsn() ELSE pg_catalog.pg_current_wal_lsn() END, '0/0'),
  CASE WHEN pg_catalog.pg_is_in_recovery() THEN
    CASE WHEN pg_catalog.pg_last_wal_receive_lsn() OPERATOR(pg_catalog.=) pg_catalog.pg_last_wal_replay_lsn() THEN 0
    ELSE extract(epoch FROM pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) pg_catalog.pg_last_xact_replay_timestamp())
    END END`;

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
    const login = {
      ...identity,
      database: PROBE_DATABASE,
      applicationName: APPLICATION_NAME,
      initQuery: undefined,
    };
    new DatabaseLogin(target, login, {
      opened: (stream) => new ProbeConnection(stream, target.wheel, resolve),
      failed: ({ reason, detail, databaseMessage }) => {
        resolve({ isOk: false, reason, detail, isAnswer: databaseMessage !== undefined });
      },
    });
  });
}

/** Asks the one question and closes. */
class ProbeConnection implements StreamHandler {
  private readonly stream: Stream;
  private readonly wheel: TimerWheel;
  private readonly resolve: (observation: Observation) => void;
  private readonly timer: Timer;
  private readonly statement: OwnStatement;
  private observation: Observation = failure('the database closed the connection');
  private buffer = Buffer.alloc(0);

  constructor(stream: Stream, wheel: TimerWheel, resolve: (observation: Observation) => void) {
    this.stream = stream;
    this.wheel = wheel;
    this.resolve = resolve;
    this.statement = new OwnStatement((outcome) => this.answered(outcome));
    this.timer = new Timer(() => {
      this.observation = failure(`no answer within ${ANSWER_TIMEOUT_MS} ms`);
      stream.destroy();
    });
    wheel.arm(this.timer, ANSWER_TIMEOUT_MS);
    stream.handler = this;
    stream.write(queryMessage(FACTS));
  }

  received(bytes: Buffer): void {
    let buffer = Buffer.concat([this.buffer, bytes]);
    while (buffer.length >= HEADER_BYTES && buffer.length >= 1 + lengthAt(buffer, 0)) {
      const whole = buffer.subarray(0, 1 + lengthAt(buffer, 0));
      buffer = buffer.subarray(whole.length);
      if (whole[0] === DATA_ROW) this.statement.row(whole);
      else if (whole[0] === ERROR_RESPONSE) this.statement.failed(whole, readFields(whole));
      else if (whole[0] === READY_FOR_QUERY) this.statement.ended();
    }
    this.buffer = buffer;
  }

  congested(): void {}

  drained(): void {}

  closed(): void {
    this.wheel.disarm(this.timer);
    this.resolve(this.observation);
  }

  private answered(outcome: Outcome): void {
    this.observation = outcome.isOk
      ? observationOf(outcome.rows[0] ?? [])
      : failure(outcome.fields.get('M') ?? 'the database refused the question');
    this.stream.write(TERMINATE_MESSAGE);
    this.stream.end(this.wheel, CLOSE_LINGER_MS);
  }
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
