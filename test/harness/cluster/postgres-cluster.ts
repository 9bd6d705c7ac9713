/**
 * A PostgreSQL primary with streaming replicas. All members begin with copies of one data directory, so no base
 * backup is needed: a replica, also one that rejoins, streams everything from the beginning.
 * https://www.postgresql.org/docs/18/warm-standby.html
 */

import type { EmbeddedPostgres, EmbeddedPostgresOptions } from '../../../src/embedded/postgres.ts';
import { EVENT_DEADLINE_MS, within } from '../deadline.ts';
import { eventually } from '../polling.ts';
import { adminQuery, startPostgres } from '../postgres.ts';
import { Cluster, type ClusterOptions, type Member, makeTemplates, type Rows } from './cluster.ts';

export interface PostgresClusterOptions extends ClusterOptions {
  /** Of every member. */
  readonly server?: Omit<EmbeddedPostgresOptions, 'isStandby' | 'templateDirectory'>;
}

type PostgresMember = Member<EmbeddedPostgres>;

const SETTINGS = {
  wal_level: 'replica',
  hot_standby: true,
  // Nothing is thrown away: whoever rejoins begins at the beginning.
  wal_keep_size: '16GB',
  wal_retrieve_retry_interval: '100ms',
  wal_receiver_status_interval: 1,
  max_wal_senders: 20,
  // Otherwise a commit is acknowledged before anybody has it.
  synchronous_commit: true,
  primary_conninfo: '',
  synchronous_standby_names: '',
};

export class PostgresCluster extends Cluster<EmbeddedPostgres> {
  readonly engine = 'postgres';

  /** Resolves when all replicas replicate. */
  static async start(options: PostgresClusterOptions = {}): Promise<PostgresCluster> {
    const { replicas = 2, isDurable = false, server = {} } = options;
    const templates = await makeTemplates();
    const settings = { ...SETTINGS, fsync: isDurable, ...server.settings };
    const start = async (name: string, from?: PostgresMember): Promise<PostgresMember> => {
      const ofReplica = from === undefined ? {} : { primary_conninfo: conninfo(name, from) };
      const database = await startPostgres({
        ...server,
        templateDirectory: templates.directory,
        isStandby: from !== undefined,
        settings: { ...settings, ...ofReplica },
      });
      return { name, server: database, port: database.port };
    };
    const members: PostgresMember[] = [];
    try {
      const writer = await start('member-1');
      members.push(writer);
      const names = Array.from({ length: replicas }, (_, index) => `member-${index + 2}`);
      const started = names.map(async (name) => {
        const member = await start(name, writer);
        members.push(member);
        return member;
      });
      const cluster = new PostgresCluster(
        [writer, ...(await Promise.all(started))],
        templates,
        options,
      );
      await Promise.all(cluster.others.map((member) => cluster.untilReplicating(member, writer)));
      await cluster.secure();
      return cluster;
    } catch (error) {
      await Promise.all(members.map((member) => member.server.stop()));
      templates.remove();
      throw error;
    }
  }

  override async query({ server }: PostgresMember, sql: string): Promise<Rows> {
    const rows = await adminQuery(server, sql);
    return rows.map((row) => Object.values(row));
  }

  override async isReadOnly(member: PostgresMember): Promise<boolean> {
    const [row] = await this.query(member, 'select pg_is_in_recovery()::int');
    return row?.[0] === '1';
  }

  override async stopWrites({ server }: PostgresMember): Promise<void> {
    await server.configure({ default_transaction_read_only: true });
  }

  protected override async received(member: PostgresMember): Promise<number> {
    const [row] = await this.query(
      member,
      `select pg_wal_lsn_diff(coalesce(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()), '0/0')`,
    );
    return Number(row?.[0]);
  }

  protected override async takeWrites(member: PostgresMember): Promise<void> {
    // Until a replica follows, a commit would wait for ever.
    await member.server.configure({ synchronous_standby_names: '' });
    await this.query(member, 'select pg_promote(false)');
    await eventually(
      async () => ((await this.isReadOnly(member)) ? undefined : true),
      `${member.name} takes writes`,
    );
  }

  protected override async replicate(
    { name, server }: PostgresMember,
    from: PostgresMember,
  ): Promise<void> {
    await server.configure({ primary_conninfo: conninfo(name, from) });
  }

  /** It does so by itself. */
  protected override async goOnReplicating(): Promise<void> {}

  protected override async stopReplicating(member: PostgresMember): Promise<void> {
    await member.server.configure({ primary_conninfo: '' });
    await eventually(async () => {
      const [row] = await this.query(member, 'select count(*) from pg_stat_wal_receiver');
      return row?.[0] === '0' ? true : undefined;
    }, `${member.name} receives nothing`);
  }

  protected override async startAfresh(
    { name, server }: PostgresMember,
    from: PostgresMember,
  ): Promise<void> {
    await server.configure(ofReplica(name, from));
    await server.startAfresh({ isStandby: true });
  }

  protected override async startAsReplica(
    { name, server }: PostgresMember,
    from: PostgresMember,
  ): Promise<void> {
    await server.configure(ofReplica(name, from));
    server.becomeStandby();
    await server.startUp();
  }

  protected override async untilReplicating(
    member: PostgresMember,
    from: PostgresMember,
  ): Promise<void> {
    const sql = `select 1 from pg_stat_replication
      where application_name = '${member.name}' and state = 'streaming'`;
    const look = async () => ((await this.query(from, sql)).length > 0 ? true : undefined);
    await eventually(look, `${member.name} streams from ${from.name}\n${member.server.log}`);
  }

  protected override async untilApplied(
    members: readonly PostgresMember[],
    deadlineMs = EVENT_DEADLINE_MS,
  ): Promise<void> {
    const [row] = await this.query(this.writer, 'select pg_current_wal_insert_lsn()');
    const sql = `select pg_last_wal_replay_lsn() >= '${row?.[0]}'::pg_lsn`;
    const wait = (member: PostgresMember) =>
      eventually(
        async () => ((await this.query(member, sql))[0]?.[0] === 't' ? true : undefined),
        `${member.name} has caught up`,
        deadlineMs,
      );
    await within(Promise.all(members.map(wait)), 'all replicas have caught up', deadlineMs + 1_000);
  }

  override async relax(): Promise<void> {
    await this.writer.server.configure({ synchronous_standby_names: '' });
  }

  protected override async secure(): Promise<void> {
    if (!this.isSynchronous || this.replicas.length === 0) return;
    await this.writer.server.configure({ synchronous_standby_names: 'ANY 1 (*)' });
  }
}

function ofReplica(name: string, from: PostgresMember) {
  return {
    primary_conninfo: conninfo(name, from),
    synchronous_standby_names: '',
    default_transaction_read_only: false,
  };
}

/** By the Unix socket, which asks the administrator for no password. */
function conninfo(name: string, { server }: PostgresMember): string {
  return `host=${server.socketDirectory} port=${server.port} user=postgres application_name=${name}`;
}
