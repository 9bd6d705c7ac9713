/**
 * A subject is something that answers clients of a database: a proxy, or the database itself. The
 * scenarios treat all of them alike; what is different about each is in the file of its name.
 */

import type { BenchTls } from '../tls.ts';
import type { Address, Credentials } from '../wire/raw-client.ts';

/** In front of PostgreSQL, and in front of MySQL or MariaDB. */
export const POSTGRES_SUBJECTS = ['direct', 'pgbouncer', 'floor', 'berth'] as const;
export const MYSQL_SUBJECTS = ['direct', 'mysqlrouter', 'proxysql', 'berth'] as const;
export const SUBJECT_NAMES = [...new Set([...POSTGRES_SUBJECTS, ...MYSQL_SUBJECTS])];
export type PostgresSubject = (typeof POSTGRES_SUBJECTS)[number];
export type MysqlSubject = (typeof MYSQL_SUBJECTS)[number];
export type SubjectName = PostgresSubject | MysqlSubject;

/** What a proxy must know of the database behind it. */
export interface DatabaseBehind {
  readonly version: string;
  readonly address: Address;
  readonly credentials: Credentials;
  /** The account of the operating system it runs as, when that is not ours. */
  readonly account: string | undefined;
  /** As Berth's configuration says it. */
  readonly engine: 'postgres' | 'mysql' | 'mariadb';
}

export interface Principal {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
}

export interface SubjectRequest {
  readonly database: DatabaseBehind;
  /** A folder of its own, for configuration and logs. */
  readonly directory: string;
  readonly poolSize: number;
  readonly clientsMax: number;
  readonly tls: BenchTls | undefined;
  /** Whose key the API wants, and tokens of clients when `isIam`; undefined: everybody may use the API. */
  readonly principal?: Principal;
  /** Clients log in with IAM tokens. */
  readonly isIam?: boolean;
  /** Divides what the subject waits for by default; 1 if not given. */
  readonly haste?: number;
}

export interface Subject {
  readonly name: SubjectName;
  readonly version: string;
  readonly address: Address;
  /** Undefined for the database itself, which has a process for every connection. */
  readonly pid: number | undefined;
  /** Where it serves Prometheus metrics, if it does. */
  readonly metricsUrl: string | undefined;
  /** Where it lists its sessions, if it does. */
  readonly sessionsUrl: string | undefined;
  /** Where its output goes. */
  readonly logFile: string | undefined;
  stop(): Promise<void>;
}
