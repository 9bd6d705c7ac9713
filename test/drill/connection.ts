/**
 * A client's connection, in the hands of the driver that applications use: node-postgres, and mysql2 for both
 * MySQL and MariaDB. It never connects again by itself.
 */

import { createConnection, type RowDataPacket } from 'mysql2/promise';
import pg from 'pg';
import type { ClusterEngine } from '../harness/cluster/cluster.ts';

export type Values = readonly (string | number)[];

/** All values as text. */
export type Rows = readonly (readonly (string | null)[])[];

export interface Address {
  readonly host: string;
  readonly port: number;
}

export interface Connection {
  /** True from the moment the driver knows. */
  readonly isLost: boolean;
  /** Runs text; rejects with StatementFailure. */
  query(sql: string): Promise<Rows>;
  /** Runs a statement that the connection keeps prepared. */
  execute(sql: string, values: Values): Promise<Rows>;
  /** At once, whatever it is doing. */
  destroy(): void;
}

/** What a client is told when a statement, or a login, fails. */
export class StatementFailure extends Error {
  readonly code: string;
  readonly isLost: boolean;

  constructor(code: string, message: string, options: { isLost: boolean; cause?: unknown }) {
    super(message, { cause: options.cause });
    this.name = 'StatementFailure';
    this.code = code;
    this.isLost = options.isLost;
  }
}

export interface ConnectOptions {
  readonly deadlineMs: number;
}

const LOGIN = { user: 'app', password: 'app-password', database: 'app' };

export function connect(
  engine: ClusterEngine,
  address: Address,
  options: ConnectOptions,
): Promise<Connection> {
  return engine === 'postgres' ? connectPostgres(address, options) : connectMysql(address, options);
}

async function connectPostgres(
  { host, port }: Address,
  { deadlineMs }: ConnectOptions,
): Promise<Connection> {
  const client = new pg.Client({ host, port, ...LOGIN, connectionTimeoutMillis: deadlineMs });
  const state = { isLost: false };
  const lose = () => {
    state.isLost = true;
  };
  client.on('error', lose);
  client.on('end', lose);
  const names = new Map<string, string>();
  const run = async (query: pg.QueryArrayConfig): Promise<Rows> => {
    try {
      const { rows } = await client.query(query);
      return rows.map((row) => row.map(textOf));
    } catch (error) {
      throw failureOf(error, state.isLost);
    }
  };
  try {
    await client.connect();
  } catch (error) {
    client.connection.stream.destroy();
    throw failureOf(error, true);
  }
  return {
    get isLost() {
      return state.isLost;
    },
    query: (text) => run({ text, rowMode: 'array' }),
    execute: (text, values) => {
      const name = names.get(text) ?? `statement_${names.size + 1}`;
      names.set(text, name);
      return run({ name, text, values: [...values], rowMode: 'array' });
    },
    destroy: () => void client.connection.stream.destroy(),
  };
}

async function connectMysql(
  { host, port }: Address,
  { deadlineMs }: ConnectOptions,
): Promise<Connection> {
  const state = { isLost: false };
  const client = await createConnection({
    host,
    port,
    ...LOGIN,
    connectTimeout: deadlineMs,
    rowsAsArray: true,
  }).catch((error: unknown) => {
    throw failureOf(error, true);
  });
  const lose = () => {
    state.isLost = true;
  };
  client.on('error', lose);
  client.on('end', lose);
  const run = async (running: Promise<[unknown, unknown]>): Promise<Rows> => {
    try {
      const [rows] = await running;
      return Array.isArray(rows) ? rows.map((row: unknown[]) => row.map(textOf)) : [];
    } catch (error) {
      throw failureOf(error, state.isLost);
    }
  };
  return {
    get isLost() {
      return state.isLost;
    },
    query: (sql) => run(client.query<RowDataPacket[]>(sql)),
    execute: (sql, values) => run(client.execute<RowDataPacket[]>(sql, [...values])),
    destroy: () => client.destroy(),
  };
}

function textOf(value: unknown): string | null {
  return value === null || value === undefined ? null : String(value);
}

/** What the drivers say when it is the connection that failed, and not a statement. */
const LOST = /terminat|closed|ECONN|EPIPE|ETIMEDOUT|PROTOCOL_CONNECTION_LOST|not queryable/i;

function failureOf(error: unknown, isLost: boolean): StatementFailure {
  const { code, errno, message, severity, fatal } = fieldsOf(error);
  const isFatal = severity === 'FATAL' || fatal === true;
  const name = typeof errno === 'number' && errno > 0 ? String(errno) : String(code ?? 'closed');
  const lost = isLost || isFatal || (severity === undefined && LOST.test(`${code} ${message}`));
  return new StatementFailure(name, String(message), { isLost: lost, cause: error });
}

function fieldsOf(error: unknown): Record<string, unknown> {
  return error instanceof Error ? { ...error, message: error.message } : { message: error };
}
