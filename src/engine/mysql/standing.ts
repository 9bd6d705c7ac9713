/**
 * What a MySQL or MariaDB server says of its part in replication, and how it is asked: the differences
 * between servers are data here. What needs a privilege that the user may lack is asked for by itself, and
 * missed when it is refused.
 * https://dev.mysql.com/doc/refman/en/show-replica-status.html
 * https://mariadb.com/docs/server/reference/sql-statements/administrative-sql-statements/show/show-replica-status
 */

import type { Source, Standing } from '../../target/topology.ts';
import type { ServerFacts } from './login/server-facts.ts';
import type { TextRow } from './wire/replies.ts';

interface Dialect {
  /** How far it has got, as a set of transactions. */
  readonly gtids: string;
  /** Everybody may ask. */
  readonly facts: string;
  /** REPLICATION CLIENT, or SLAVE MONITOR. */
  readonly status: string;
  /** In place of `status` for who may not ask that: a row with ON while it follows somebody. */
  readonly running: string | undefined;
  readonly columns: {
    readonly serverId: string;
    readonly receiving: string;
    readonly lagS: string;
  };
}

const FACTS =
  'SELECT @@version, @@max_connections, @@global.read_only OR @@global.innodb_read_only, @@server_id';
const LEAST_FACTS = 'SELECT @@version, @@max_connections';
const OLD_NAMES = {
  serverId: 'Master_Server_Id',
  receiving: 'Slave_IO_Running',
  lagS: 'Seconds_Behind_Master',
};
/** The names that MySQL has had since. */
const REPLICA_STATUS_SINCE = 80_022;

const MARIADB: Dialect = {
  gtids: '@@gtid_current_pos',
  // In later versions the setting is a word.
  facts:
    "SELECT @@version, @@max_connections, @@global.read_only NOT IN ('0', 'OFF') OR @@global.innodb_read_only, @@server_id",
  status: 'SHOW SLAVE STATUS',
  running: "SHOW GLOBAL STATUS LIKE 'Slave_running'",
  columns: OLD_NAMES,
};

const MYSQL: Dialect = {
  gtids: '@@global.gtid_executed',
  facts: FACTS,
  status: 'SHOW REPLICA STATUS',
  running: undefined,
  columns: {
    serverId: 'Source_Server_Id',
    receiving: 'Replica_IO_Running',
    lagS: 'Seconds_Behind_Source',
  },
};

const OLD_MYSQL: Dialect = { ...MYSQL, status: 'SHOW SLAVE STATUS', columns: OLD_NAMES };

export function dialectOf({ flavour, versionNumber }: ServerFacts): Dialect {
  if (flavour === 'mariadb') return MARIADB;
  return versionNumber >= REPLICA_STATUS_SINCE ? MYSQL : OLD_MYSQL;
}

/** What everybody may know; and less of it, for a database that only speaks like one of these. */
export function factsQuestions({ facts, gtids }: Dialect): readonly string[] {
  return [`${facts}, ${gtids}`, LEAST_FACTS];
}

/** What the answer to `status` says; undefined when it follows nobody. */
export function sourceIn(
  { columns }: Dialect,
  names: readonly string[],
  [row]: readonly TextRow[],
): (Source & Pick<Standing, 'lagMs'>) | undefined {
  if (row === undefined) return undefined;
  const read = (name: string) => row[names.indexOf(name)];
  const lagS = read(columns.lagS);
  return {
    serverId: read(columns.serverId),
    // Yes, No, Connecting or Preparing.
    isRunning: read(columns.receiving) !== 'No',
    lagMs: lagS === undefined ? undefined : Number(lagS) * 1000,
  };
}

/** The answer to `running`. */
export function sourceRunning([row]: readonly TextRow[]): Source | undefined {
  return row?.[1] === 'ON' ? { serverId: undefined, isRunning: true } : undefined;
}

/**
 * How many transactions there are in a set: `uuid:1-5:7` of MySQL, or the last of each domain,
 * `domain-server-number`, of MariaDB. Sets of the same cluster can be compared by it.
 */
export function transactionsIn(gtids: string): number {
  let count = 0;
  for (const part of gtids.split(',')) {
    const [first = '', ...intervals] = part.trim().split(':');
    if (intervals.length === 0) count += Number(first.split('-')[2] ?? 0);
    for (const interval of intervals) {
      const [from = '', to = from] = interval.split('-');
      // Others than numbers are tags.
      if (/^\d+$/.test(from)) count += Number(to) - Number(from) + 1;
    }
  }
  return count;
}
