/**
 * Looks at a PostgreSQL server from a connection of its own: logs in as the user it is given, asks
 * what the server allows, and leaves. Such a connection calls itself `berth-monitor`.
 */

import { Timer, type TimerWheel } from '../../base/timer-wheel.ts';
import type { Secret } from '../../credential/secret.ts';
import type { Stream, StreamHandler } from '../../net/stream.ts';
import type { Observation } from '../../target/monitor.ts';
import type { PasswordTrial } from '../database-passwords.ts';
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
/** `reserved_connections` is new in PostgreSQL 16; both kinds are kept from ordinary users. */
const FACTS = `SELECT pg_catalog.version(), pg_catalog.current_setting('max_connections'),
  pg_catalog.current_setting('superuser_reserved_connections'),
  coalesce(pg_catalog.current_setting('reserved_connections', true), '0')`;

/** The database that probes log in to; every cluster has one unless somebody dropped it. */
const PROBE_DATABASE = 'postgres';

export interface ProbeIdentity {
  readonly user: string;
  readonly password: Secret;
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
      failed: ({ reason, detail }) => resolve({ isOk: false, reason, detail }),
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
  const [version = '', ...numbers] = row;
  const [maxConnections, superuserReserved, reserved] = numbers.map(Number);
  if (!Number.isInteger(maxConnections)) return failure('the database gave no max_connections');
  const reservedConnections = (superuserReserved || 0) + (reserved || 0);
  return { isOk: true, facts: { version, maxConnections, reservedConnections } };
}

function failure(detail: string): Observation {
  return { isOk: false, reason: 'CONNECTION_FAILED', detail };
}
