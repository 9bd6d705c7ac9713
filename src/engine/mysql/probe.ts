/**
 * Looks at a MySQL or MariaDB server from a connection of its own: logs in as the user it is given, asks
 * what the server allows and what its part in replication is, and leaves, or stays to be asked again. Such
 * a connection calls itself `berth-monitor`.
 */

import type { TimerWheel } from '../../base/timer-wheel.ts';
import { Timer } from '../../base/timer-wheel.ts';
import type { Stream } from '../../net/stream.ts';
import type { Observation } from '../../target/monitor.ts';
import type { Source, Standing } from '../../target/topology.ts';
import type { WatchCallbacks, WatchConnection } from '../target-watch.ts';
import { whenServerHasForgotten } from './forgetting.ts';
import {
  DatabaseLogin,
  type LoggedInFacts,
  type LoginFailure,
  type LoginIdentity,
  type LoginTarget,
} from './login/database-login.ts';
import type { Flavour } from './login/server-facts.ts';
import { type Answer, AskedConnection } from './question.ts';
import { dialectOf, factsQuestions, sourceIn, sourceRunning, transactionsIn } from './standing.ts';

const PROGRAM_NAME = 'berth-monitor';
const ANSWER_TIMEOUT_MS = 5_000;

/** Syntax, privileges, and variables that are not there. */
const NOT_UNDERSTOOD: ReadonlySet<number> = new Set([1064, 1142, 1193, 1227]);

/** MariaDB says its name behind the number. */
const NAMES: Readonly<Record<Flavour, string>> = { mysql: 'MySQL ', mariadb: '' };

export type ProbeIdentity = Pick<LoginIdentity, 'user' | 'password' | 'trial'>;

/** Does not reject. Resolves when the connection is gone again. */
export function probe(target: LoginTarget, identity: ProbeIdentity): Promise<Observation> {
  return new Promise((resolve) => {
    let seen = failure('the database closed the connection');
    const { wheel } = target;
    const login = { ...identity, programName: PROGRAM_NAME };
    new DatabaseLogin(target, login, {
      opened: (stream, facts) => {
        const timer = new Timer(() => {
          seen = failure(`no answer within ${ANSWER_TIMEOUT_MS} ms`);
          connection.destroy();
        });
        const connection = new ProbeConnection(stream, facts, false, () => {
          wheel.disarm(timer);
          whenServerHasForgotten(() => resolve(seen));
        });
        wheel.arm(timer, ANSWER_TIMEOUT_MS);
        connection.ask((observation) => {
          seen = observation;
          connection.leave(wheel);
        });
      },
      failed: (failed) => resolve(refusal(failed)),
    });
  });
}

/** Opens a connection that is asked again and again. */
export function watch(target: LoginTarget, identity: ProbeIdentity, callbacks: WatchCallbacks) {
  const login = { ...identity, programName: PROGRAM_NAME };
  return new DatabaseLogin(target, login, {
    opened: (stream, facts) =>
      callbacks.opened(new ProbeConnection(stream, facts, true, () => callbacks.lost())),
    failed: (failed) => callbacks.failed(refusal(failed)),
  });
}

class ProbeConnection implements WatchConnection {
  private readonly connection: AskedConnection;
  private readonly facts: LoggedInFacts;
  /** Whether it matters whom the server follows. */
  private readonly isOfCluster: boolean;
  /** The database has understood the whole question so far. */
  private isWhole = true;
  private mayAskStatus = true;
  private isOver = false;

  /** `ended` when the connection is gone, unless it was destroyed while nothing was asked. */
  constructor(stream: Stream, facts: LoggedInFacts, isOfCluster: boolean, ended: () => void) {
    this.facts = facts;
    this.isOfCluster = isOfCluster;
    this.connection = new AskedConnection(stream, facts.capabilities, ended);
  }

  ask(answered: (observation: Observation) => void): void {
    const { flavour } = this.facts.server;
    const dialect = dialectOf(this.facts.server);
    const [whole = '', least = ''] = factsQuestions(dialect);
    this.connection.ask(this.isWhole ? whole : least, (facts) => {
      if (!facts.isOk) {
        const { said } = facts;
        const isTooMuch = said !== undefined && NOT_UNDERSTOOD.has(said.errno);
        const isRefused = this.isWhole && isTooMuch && !this.isOver;
        this.isWhole = !isRefused;
        if (isRefused) this.ask(answered);
        else answered(failure(facts.detail));
        return;
      }
      this.askSource((source) => answered(observationOf(facts, source, flavour)));
    });
  }

  private askSource(told: (source: SourceSeen) => void): void {
    const dialect = dialectOf(this.facts.server);
    if (!this.isOfCluster) {
      told(undefined);
      return;
    }
    if (!this.mayAskStatus) {
      if (dialect.running === undefined) told(undefined);
      else {
        this.connection.ask(dialect.running, (answer) =>
          told(answer.isOk ? sourceRunning(answer.rows) : undefined),
        );
      }
      return;
    }
    this.connection.ask(dialect.status, (answer) => {
      if (answer.isOk) {
        told(sourceIn(dialect, answer.columns, answer.rows));
      } else if (answer.said === undefined || this.isOver) {
        told(undefined);
      } else {
        this.mayAskStatus = false;
        this.askSource(told);
      }
    });
  }

  leave(wheel: TimerWheel): void {
    this.isOver = true;
    this.connection.leave(wheel);
  }

  destroy(): void {
    this.isOver = true;
    this.connection.destroy();
  }
}

type SourceSeen = (Source & Partial<Pick<Standing, 'lagMs'>>) | undefined;

function observationOf(
  { rows }: Extract<Answer, { isOk: true }>,
  source: SourceSeen,
  flavour: Flavour,
): Observation {
  const [[version = '', limit = '', readOnly = '0', serverId, gtids] = []] = rows;
  const maxConnections = Number(limit);
  if (limit === '' || !Number.isInteger(maxConnections)) {
    return failure('the database gave no max_connections');
  }
  const standing = {
    isReadOnly: readOnly !== '0',
    source,
    serverId,
    timeline: undefined,
    position: gtids === undefined ? undefined : transactionsIn(gtids),
    lagMs: source?.lagMs,
  };
  return {
    isOk: true,
    facts: {
      version: `${NAMES[flavour]}${version}`,
      maxConnections,
      // The one connection that servers keep for administrators is beyond max_connections.
      reservedConnections: 0,
      standing,
    },
  };
}

function refusal({ reason, detail, isAlive = false, isAnswer = false }: LoginFailure): Observation {
  return { isOk: false, reason, detail, isAlive, isAnswer };
}

function failure(detail: string): Observation {
  return { isOk: false, reason: 'CONNECTION_FAILED', detail };
}
