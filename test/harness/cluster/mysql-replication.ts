/** How MariaDB and MySQL say the same things about replication. */

import type { MysqlProduct, MysqlSettings, MysqlUser } from '../../../src/embedded/mysql.ts';

export interface ReplicationDialect {
  /** Of every member. */
  readonly settings: MysqlSettings;
  /** Of one whose commits wait for the disk. */
  readonly durable: MysqlSettings;
  /** Of one that starts as a replica. */
  readonly readOnly: MysqlSettings;
  /** Of one that starts without a replica of its own: nobody would answer it. */
  readonly insecure: MysqlSettings;
  /** What the test users need to see roles and positions. */
  readonly monitorPrivileges: string;
  readonly status: string;
  readonly columns: {
    readonly receiving: string;
    readonly applying: string;
    /** The position up to which it has received. */
    readonly received: string;
  };
  /** The position up to which a member has everything. */
  readonly executed: string;
  /** Answers 0 when it has got there. */
  readonly waitFor: (position: string, seconds: number) => string;
  readonly count: (position: string) => number;
  /** What it has received it still applies. */
  readonly stopReceiving: string;
  readonly start: string;
  readonly replicate: (port: number) => readonly string[];
  readonly promote: readonly string[];
  /** A writer takes no more writes of those who have no right to write all the same. */
  readonly stopWrites: string;
  /** A former writer continues where it was. */
  readonly forgetRole: readonly string[];
  /** How many replicas confirm what they receive. */
  readonly countSecuring: string;
  /** Commits wait for one of them, however long that takes. */
  readonly secure: string;
  readonly relax: string;
}

export const REPLICATOR: MysqlUser & { readonly password: string } = {
  name: 'replicator',
  password: 'replicator-password',
  grants: ['REPLICATION SLAVE ON *.*'],
};

/** More than a month: a commit does not go on without a replica. */
const FOR_EVER_MS = 3_153_600_000;

const DURABLE = {
  sync_binlog: 1,
  innodb_flush_log_at_trx_commit: 1,
  innodb_flush_method: 'fsync',
};

const RELAX_MARIADB = 'SET GLOBAL rpl_semi_sync_master_enabled = OFF';
const RELAX_MYSQL = 'SET GLOBAL rpl_semi_sync_source_enabled = OFF';

const MARIADB: ReplicationDialect = {
  settings: {
    log_bin: 'binlog',
    log_slave_updates: true,
    gtid_strict_mode: true,
    binlog_format: 'ROW',
    sync_binlog: 0,
    rpl_semi_sync_slave_enabled: true,
    rpl_semi_sync_master_wait_point: 'AFTER_SYNC',
    rpl_semi_sync_master_timeout: FOR_EVER_MS,
    rpl_semi_sync_master_wait_no_slave: true,
    // A replica that stops tells its master so, by another connection; a master that hangs takes none.
    rpl_semi_sync_slave_kill_conn_timeout: 1,
  },
  durable: { ...DURABLE, debug_no_sync: false },
  readOnly: { read_only: true, skip_slave_start: true },
  insecure: { rpl_semi_sync_master_enabled: false },
  monitorPrivileges: 'PROCESS, REPLICATION CLIENT, SLAVE MONITOR',
  status: 'SHOW SLAVE STATUS',
  columns: {
    receiving: 'Slave_IO_Running',
    applying: 'Slave_SQL_Running',
    received: 'Gtid_IO_Pos',
  },
  executed: 'SELECT @@global.gtid_current_pos',
  waitFor: (position, seconds) => `SELECT MASTER_GTID_WAIT('${position}', ${seconds})`,
  // 0-1-123: domain, server, sequence number.
  count: (position) => Number(position.split('-').at(-1)),
  stopReceiving: 'STOP SLAVE IO_THREAD',
  start: 'START SLAVE',
  replicate: (port) => [
    'STOP SLAVE',
    `CHANGE MASTER TO MASTER_HOST='127.0.0.1', MASTER_PORT=${port}, MASTER_USER='${REPLICATOR.name}',
      MASTER_PASSWORD='${REPLICATOR.password}', MASTER_CONNECT_RETRY=1, MASTER_USE_GTID=slave_pos,
      MASTER_SSL=0, MASTER_SSL_VERIFY_SERVER_CERT=0`,
    'START SLAVE',
  ],
  promote: ['STOP SLAVE', 'RESET SLAVE ALL', RELAX_MARIADB, 'SET GLOBAL read_only = OFF'],
  stopWrites: 'SET GLOBAL read_only = ON',
  forgetRole: ['SET GLOBAL gtid_slave_pos = @@global.gtid_current_pos'],
  countSecuring: "SHOW STATUS LIKE 'Rpl_semi_sync_master_clients'",
  secure: 'SET GLOBAL rpl_semi_sync_master_enabled = ON',
  relax: RELAX_MARIADB,
};

const MYSQL: ReplicationDialect = {
  settings: {
    disable_log_bin: false,
    log_bin: 'binlog',
    gtid_mode: 'ON',
    enforce_gtid_consistency: true,
    sync_binlog: 0,
    // Of replication, which tries again at once instead of every minute.
    replica_net_timeout: 10,
    plugin_load_add: 'semisync_source.so;semisync_replica.so',
    loose_rpl_semi_sync_replica_enabled: true,
    loose_rpl_semi_sync_source_timeout: FOR_EVER_MS,
  },
  durable: DURABLE,
  readOnly: { super_read_only: true, skip_replica_start: true },
  insecure: { loose_rpl_semi_sync_source_enabled: false },
  monitorPrivileges: 'PROCESS, REPLICATION CLIENT',
  status: 'SHOW REPLICA STATUS',
  columns: {
    receiving: 'Replica_IO_Running',
    applying: 'Replica_SQL_Running',
    received: 'Retrieved_Gtid_Set',
  },
  executed: 'SELECT @@global.gtid_executed',
  waitFor: (position, seconds) => `SELECT WAIT_FOR_EXECUTED_GTID_SET('${position}', ${seconds})`,
  count: countTransactions,
  stopReceiving: 'STOP REPLICA IO_THREAD',
  start: 'START REPLICA',
  replicate: (port) => [
    'STOP REPLICA',
    `CHANGE REPLICATION SOURCE TO SOURCE_HOST='127.0.0.1', SOURCE_PORT=${port},
      SOURCE_USER='${REPLICATOR.name}', SOURCE_PASSWORD='${REPLICATOR.password}', SOURCE_CONNECT_RETRY=1,
      SOURCE_AUTO_POSITION=1, GET_SOURCE_PUBLIC_KEY=1`,
    'START REPLICA',
  ],
  promote: [
    'STOP REPLICA',
    'RESET REPLICA ALL',
    RELAX_MYSQL,
    'SET GLOBAL super_read_only = OFF',
    'SET GLOBAL read_only = OFF',
  ],
  stopWrites: 'SET GLOBAL super_read_only = ON',
  forgetRole: [],
  countSecuring: "SHOW STATUS LIKE 'Rpl_semi_sync_source_clients'",
  secure: 'SET GLOBAL rpl_semi_sync_source_enabled = ON',
  relax: RELAX_MYSQL,
};

export const REPLICATION: Readonly<Record<MysqlProduct, ReplicationDialect>> = {
  MariaDB: MARIADB,
  MySQL: MYSQL,
};

/** How many transactions a GTID set has: `uuid:1-5:8,uuid:1-3`. */
function countTransactions(set: string): number {
  let count = 0;
  for (const [, first = '0', last = first] of set.matchAll(/:(\d+)(?:-(\d+))?/g)) {
    count += Number(last) - Number(first) + 1;
  }
  return count;
}
