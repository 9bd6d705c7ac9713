/**
 * Looks at a MySQL or MariaDB server from a connection of its own: logs in as the user it is given, asks
 * what the server allows, and leaves. Such a connection calls itself `berth-monitor`.
 */

import type { Observation } from '../../target/monitor.ts';
import { whenServerHasForgotten } from './forgetting.ts';
import { DatabaseLogin, type LoginIdentity, type LoginTarget } from './login/database-login.ts';
import type { Flavour } from './login/server-facts.ts';
import { type Answer, Question } from './question.ts';

const PROGRAM_NAME = 'berth-monitor';
const ANSWER_TIMEOUT_MS = 5_000;
const FACTS = 'SELECT @@version, @@max_connections, @@global.read_only, @@server_id';

/** MariaDB says its name behind the number. */
const NAMES: Readonly<Record<Flavour, string>> = { mysql: 'MySQL ', mariadb: '' };

export type ProbeIdentity = Pick<LoginIdentity, 'user' | 'password' | 'trial'>;

/** Does not reject. Resolves when the connection is gone again. */
export function probe(target: LoginTarget, identity: ProbeIdentity): Promise<Observation> {
  return new Promise((resolve) => {
    new DatabaseLogin(
      target,
      { ...identity, programName: PROGRAM_NAME },
      {
        opened: (stream, { capabilities, server }) => {
          const { wheel } = target;
          const options = { stream, capabilities, wheel, sql: FACTS, timeoutMs: ANSWER_TIMEOUT_MS };
          new Question(options, (answer) =>
            whenServerHasForgotten(() => resolve(observationOf(answer, server.flavour))),
          );
        },
        failed: ({ reason, detail, isAnswer = false }) => {
          resolve({ isOk: false, reason, detail, isAnswer });
        },
      },
    );
  });
}

function observationOf(answer: Answer, flavour: Flavour): Observation {
  if (!answer.isOk) return failure(answer.detail);
  const [[version = '', limit = '', readOnly = '', serverId] = []] = answer.rows;
  const maxConnections = Number(limit);
  if (limit === '' || !Number.isInteger(maxConnections)) {
    return failure('the database gave no max_connections');
  }
  // The one connection that servers keep for administrators is beyond max_connections.
  const facts = {
    version: `${NAMES[flavour]}${version}`,
    maxConnections,
    reservedConnections: 0,
    standing: {
      isReadOnly: readOnly !== '0' && readOnly !== 'OFF',
      source: undefined,
      serverId,
      timeline: undefined,
      position: undefined,
      lagMs: undefined,
    },
  };
  return { isOk: true, facts };
}

function failure(detail: string): Observation {
  return { isOk: false, reason: 'CONNECTION_FAILED', detail };
}
