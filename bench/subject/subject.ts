/**
 * A subject is something that answers PostgreSQL clients: a proxy, or the database itself. The
 * scenarios treat all of them alike; what is different about each is in the file of its name.
 */

import type { Database } from '../database.ts';
import type { BenchTls } from '../tls.ts';
import type { Address } from '../wire/raw-client.ts';

export const SUBJECT_NAMES = ['direct', 'pgbouncer', 'floor', 'berth'] as const;
export type SubjectName = (typeof SUBJECT_NAMES)[number];

export interface SubjectRequest {
  readonly database: Database;
  /** A folder of its own, for configuration and logs. */
  readonly directory: string;
  readonly poolSize: number;
  readonly clientsMax: number;
  readonly tls: BenchTls | undefined;
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
