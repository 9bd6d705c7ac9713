/**
 * A MariaDB or MySQL writer with replicas that follow it by GTID. All members begin with the same contents, of
 * which nothing is in a binary log, and binary logs are kept: a replica, also one that rejoins, replicates
 * everything from the beginning.
 */

import type { EmbeddedMysql, MysqlProduct } from '../../../src/embedded/mysql.ts';
import { EVENT_DEADLINE_MS, within } from '../deadline.ts';
import type { Part } from '../mysql/answers.ts';
import { MysqlRawClient, mustSucceed, rowsOf } from '../mysql/raw-client.ts';
import {
  MYSQL_USERS,
  type MysqlServer,
  mysqlAdmin,
  startMysql,
  type TestMysqlOptions,
} from '../mysql/server.ts';
import { eventually } from '../polling.ts';
import {
  Cluster,
  type ClusterOptions,
  type Member,
  makeTemplates,
  type Rows,
  type Templates,
} from './cluster.ts';
import { REPLICATION, REPLICATOR, type ReplicationDialect } from './mysql-replication.ts';

export interface MysqlClusterOptions extends ClusterOptions {
  /** Of every member. */
  readonly server?: Omit<TestMysqlOptions, 'templateDirectory'>;
}

type MysqlMember = Member<EmbeddedMysql>;

export class MysqlCluster extends Cluster<EmbeddedMysql> {
  readonly engine;
  readonly #dialect: ReplicationDialect;
  /** The last that was given. */
  #serverId: number;

  private constructor(
    product: MysqlProduct,
    members: readonly [MysqlMember, ...MysqlMember[]],
    templates: Templates,
    options: ClusterOptions,
  ) {
    super(members, templates, options);
    this.engine = ENGINES[product];
    this.#dialect = REPLICATION[product];
    this.#serverId = this.members.length;
  }

  /** Resolves when all replicas replicate. */
  static async start(kind: MysqlServer, options: MysqlClusterOptions = {}): Promise<MysqlCluster> {
    const { replicas = 2, isDurable = false, server = {} } = options;
    const { product, installation } = kind;
    const dialect = REPLICATION[product];
    const templates = await makeTemplates(installation.account);
    const start = async (index: number): Promise<MysqlMember> => {
      const isReplica = index > 0;
      const database = await startMysql(kind, {
        users: [...usersOf(dialect), REPLICATOR],
        ...server,
        templateDirectory: templates.directory,
        settings: {
          ...dialect.settings,
          ...(isDurable ? dialect.durable : {}),
          server_id: index + 1,
          ...(isReplica ? dialect.readOnly : {}),
          ...server.settings,
        },
      });
      return { name: `member-${index + 1}`, server: database, port: database.port };
    };
    const members: MysqlMember[] = [];
    try {
      // The first one makes the template, if there is none yet.
      const writer = await start(0);
      members.push(writer);
      const started = Array.from({ length: replicas }, async (_, index) => {
        const member = await start(index + 1);
        members.push(member);
        return member;
      });
      const all = await Promise.all(started);
      const cluster = new MysqlCluster(product, [writer, ...all], templates, options);
      await Promise.all(all.map((member) => cluster.follow(member)));
      await cluster.secure();
      return cluster;
    } catch (error) {
      await Promise.all(members.map((member) => member.server.stop()));
      templates.remove();
      throw error;
    }
  }

  override async query({ server }: MysqlMember, sql: string): Promise<Rows> {
    return await mysqlAdmin(server, sql);
  }

  override async isReadOnly(member: MysqlMember): Promise<boolean> {
    const [row] = await this.query(member, 'select @@global.read_only');
    return row?.[0] !== '0';
  }

  override async switchOver(to?: MysqlMember): Promise<MysqlMember> {
    await this.untilCaughtUp();
    // MySQL waits for seconds before it ends these when it shuts down.
    const senders = await this.query(this.writer, SENDERS);
    for (const [id] of senders) await this.query(this.writer, `KILL ${id}`);
    return await super.switchOver(to);
  }

  override async stopWrites(member: MysqlMember): Promise<void> {
    await this.query(member, this.#dialect.stopWrites);
  }

  protected override async received(member: MysqlMember): Promise<number> {
    const { received, executed } = await this.#positions(member);
    return Math.max(this.#dialect.count(received), this.#dialect.count(executed));
  }

  protected override async takeWrites(member: MysqlMember): Promise<void> {
    await this.query(member, this.#dialect.stopReceiving);
    const { received } = await this.#positions(member);
    if (received !== '') await this.#untilApplied(member, received, EVENT_DEADLINE_MS);
    for (const sql of this.#dialect.promote) await this.query(member, sql);
  }

  protected override async replicate(member: MysqlMember, from: MysqlMember): Promise<void> {
    for (const sql of this.#dialect.replicate(from.port)) await this.query(member, sql);
  }

  protected override async goOnReplicating(member: MysqlMember): Promise<void> {
    await this.query(member, this.#dialect.start);
  }

  protected override async stopReplicating(member: MysqlMember): Promise<void> {
    await this.query(member, this.#dialect.stopReceiving);
  }

  protected override async startAfresh(member: MysqlMember, from: MysqlMember): Promise<void> {
    const { readOnly, insecure } = this.#dialect;
    // A replica takes nothing that comes from itself, and this one has forgotten what it wrote.
    this.#serverId += 1;
    await member.server.startAfresh({ ...readOnly, ...insecure, server_id: this.#serverId });
    await this.replicate(member, from);
  }

  protected override async startAsReplica(member: MysqlMember, from: MysqlMember): Promise<void> {
    await member.server.startUp({ ...this.#dialect.readOnly, ...this.#dialect.insecure });
    for (const sql of this.#dialect.forgetRole) await this.query(member, sql);
    await this.replicate(member, from);
  }

  protected override async untilReplicating(member: MysqlMember): Promise<void> {
    const look = async () => {
      const status = await this.#status(member);
      const { receiving, applying } = this.#dialect.columns;
      const isRunning = status.get(receiving) === 'Yes' && status.get(applying) === 'Yes';
      return isRunning ? true : undefined;
    };
    await eventually(look, `${member.name} replicates\n${member.server.log}`);
  }

  protected override async untilApplied(
    members: readonly MysqlMember[],
    deadlineMs: number,
  ): Promise<void> {
    const [row] = await this.query(this.writer, this.#dialect.executed);
    const position = row?.[0] ?? '';
    const wait = members.map((member) => this.#untilApplied(member, position, deadlineMs));
    await within(Promise.all(wait), 'all replicas have caught up', deadlineMs + 1_000);
  }

  override async relax(): Promise<void> {
    await this.query(this.writer, this.#dialect.relax);
  }

  protected override async secure(): Promise<void> {
    if (!this.isSynchronous || this.replicas.length === 0) return;
    const look = async () => {
      const [row] = await this.query(this.writer, this.#dialect.countSecuring);
      return Number(row?.[1]) > 0 ? true : undefined;
    };
    await eventually(look, `a replica of ${this.writer.name} is semi-synchronous`);
    await this.query(this.writer, this.#dialect.secure);
  }

  async #untilApplied(member: MysqlMember, position: string, deadlineMs: number): Promise<void> {
    const [row] = await this.query(member, this.#dialect.waitFor(position, deadlineMs / 1_000));
    if (row?.[0] === '0') return;
    throw new Error(`${member.name} has not caught up with ${position}`);
  }

  async #positions(member: MysqlMember): Promise<{ received: string; executed: string }> {
    const status = await this.#status(member);
    const [row] = await this.query(member, this.#dialect.executed);
    return {
      received: status.get(this.#dialect.columns.received) ?? '',
      executed: row?.[0] ?? '',
    };
  }

  /** The row of SHOW REPLICA STATUS by the names of its columns; empty: it is no replica. */
  async #status({ server }: MysqlMember): Promise<Map<string, string>> {
    using client = await MysqlRawClient.login({ socketPath: server.socketPath }, { user: 'root' });
    const parts = mustSucceed(await client.query(this.#dialect.status));
    return record(parts);
  }
}

/** The connections of its replicas. */
const SENDERS = `select id from information_schema.processlist where command like 'Binlog Dump%'`;

const ENGINES = { MariaDB: 'mariadb', MySQL: 'mysql' } as const;

/**
 * They may do what they like with the data and see how replication is, but not write where `read_only` says no,
 * as everybody could who has all privileges.
 */
function usersOf({ monitorPrivileges }: ReplicationDialect) {
  const grants = ['ALL ON app.*', 'ALL ON second.*', `${monitorPrivileges} ON *.*`];
  return MYSQL_USERS.map((user) => ({ ...user, grants }));
}

function record(parts: readonly Part[]): Map<string, string> {
  const names = parts.flatMap((part) => (part.kind === 'column' ? [part.name] : []));
  const [values = []] = rowsOf(parts);
  return new Map(names.map((name, index) => [name, values[index] ?? '']));
}
