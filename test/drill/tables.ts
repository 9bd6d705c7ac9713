/** What the clients of a drill write, and how the engines want it said. */

import type { Cluster, ClusterEngine } from '../harness/cluster/cluster.ts';

export interface DrillSql {
  readonly makeTables: string;
  readonly insertPrepared: string;
  readonly rowsById: string;
  readonly makeTemporary: string;
  /** A setting of a session that can be given to another database connection. */
  readonly track: string;
  readonly showTracked: string;
  readonly tracked: string;
  readonly probe: string;
  readonly showReadOnly: string;
}

const COMMON = {
  makeTemporary: 'create temporary table pinned (id int)',
  probe: 'insert into drill_probes (at) values (1)',
};

const POSTGRES: DrillSql = {
  ...COMMON,
  makeTables: `
    create table drill_writes (
      row_id bigint generated always as identity primary key, id text not null, part int not null
    );
    create table drill_probes (row_id bigint generated always as identity primary key, at int);
    grant all on drill_writes, drill_probes to public`,
  insertPrepared: 'insert into drill_writes (id, part) values ($1, 1)',
  rowsById: 'select id, count(*) from drill_writes group by id',
  track: "set timezone to 'Asia/Tokyo'",
  showTracked: 'show timezone',
  tracked: 'Asia/Tokyo',
  showReadOnly: 'select pg_is_in_recovery()::int',
};

const MYSQL: DrillSql = {
  ...COMMON,
  makeTables: `
    create table app.drill_writes (
      row_id bigint auto_increment primary key, id varchar(64) not null, part int not null
    ) engine = innodb;
    create table app.drill_probes (row_id bigint auto_increment primary key, at int) engine = innodb`,
  insertPrepared: 'insert into drill_writes (id, part) values (?, 1)',
  rowsById: 'select id, count(*) from app.drill_writes group by id',
  track: "set time_zone = '+09:00'",
  showTracked: 'select @@session.time_zone',
  tracked: '+09:00',
  showReadOnly: 'select @@global.read_only',
};

export function sqlOf(engine: ClusterEngine): DrillSql {
  return engine === 'postgres' ? POSTGRES : MYSQL;
}

/** A write of one row. */
export function insert(id: string, part = 1): string {
  return `insert into drill_writes (id, part) values ('${id}', ${part})`;
}

export async function makeTables(cluster: Cluster): Promise<void> {
  for (const sql of sqlOf(cluster.engine).makeTables.split(';')) {
    await cluster.query(cluster.writer, sql);
  }
  await cluster.untilCaughtUp();
}

/** The writer's own count of rows for each id. */
export async function readRows(cluster: Cluster): Promise<Map<string, number>> {
  const rows = await cluster.query(cluster.writer, sqlOf(cluster.engine).rowsById);
  return new Map(rows.map(([id, count]) => [id ?? '', Number(count)]));
}
