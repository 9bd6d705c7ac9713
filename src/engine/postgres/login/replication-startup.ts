/**
 * What a client asks for that wants to replicate: the start-up parameter `replication`, and what goes on
 * to the database with it. https://www.postgresql.org/docs/current/protocol-replication.html
 */

import { BerthError } from '../../../base/errors.ts';
import { SessionSettings } from '../settings.ts';

/** `parse_bool_with_len` in src/backend/utils/adt/bool.c: any beginning that only one word has. */
const TRUE = /^(t|tr|tru|true|y|ye|yes|on|1)$/i;
const FALSE = /^(f|fa|fal|fals|false|n|no|of|off|0)$/i;
const APPLICATION_NAME = 'application_name';

export interface ReplicationStartup {
  /** Logical replication is of one database, physical of them all. */
  readonly kind: 'logical' | 'physical';
  /** What the client sent, as it sent it, without what was for the proxy. */
  readonly parameters: ReadonlyMap<string, string>;
  readonly applicationName: string;
  /** What of it the priorities look at. The database reads all of it itself. */
  readonly settings: SessionSettings;
}

/** `undefined` for an ordinary client. Throws `replication_value_invalid`. */
export function replicationStartup(
  parameters: ReadonlyMap<string, string>,
): ReplicationStartup | undefined {
  const value = parameters.get('replication');
  if (value === undefined || FALSE.test(value)) return undefined;
  if (value !== 'database' && !TRUE.test(value)) {
    const detail = 'Valid values are: "false", 0, "true", 1, "database".';
    throw new BerthError('replication_value_invalid', { params: { value: utf8(value) }, detail });
  }
  const name = parameters.get(APPLICATION_NAME);
  return {
    kind: value === 'database' ? 'logical' : 'physical',
    // Options of the protocol have been answered by the proxy.
    parameters: new Map([...parameters].filter(([key]) => !key.startsWith('_pq_.'))),
    applicationName: utf8(name ?? ''),
    settings: new SessionSettings(name === undefined ? [] : [[APPLICATION_NAME, name]]),
  };
}

function utf8(latin1: string): string {
  return Buffer.from(latin1, 'latin1').toString('utf8');
}
