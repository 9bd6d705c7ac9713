/** What every scenario is given, and how it gets its subjects. */

import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Database } from '../database.ts';
import type { Options } from '../options.ts';
import { startSubject, whyAbsent } from '../subject/start.ts';
import type { DatabaseBehind, Principal, Subject, SubjectName } from '../subject/subject.ts';
import type { BenchTls } from '../tls.ts';

/** What does not depend on the kind of database. */
export interface AnyBench {
  readonly options: Options;
  readonly database: DatabaseBehind;
  readonly directory: string;
  /** Given, clients use TLS. */
  readonly tls: BenchTls | undefined;
  /** Tells the person who waits what is going on. */
  say(line: string): void;
}

export interface Bench extends AnyBench {
  readonly database: Database;
}

export interface SubjectsRequest {
  readonly bench: AnyBench;
  /** When the command line names none. */
  readonly names: readonly SubjectName[];
  readonly poolSize: number;
  readonly clientsMax: number;
  readonly principal?: Principal;
  readonly isIam?: boolean;
}

/** Those that can be asked to speak TLS with their clients. */
const HAVE_TLS: readonly SubjectName[] = ['pgbouncer', 'mysqlrouter', 'proxysql', 'berth'];

/** Room for the clients of one scenario and for those that are just leaving. */
export const CLIENTS_MAX = 12_000;

/** Starts the subjects that this machine has; says which it does not have. */
export async function startSubjects(request: SubjectsRequest): Promise<Subject[]> {
  const { bench, names, ...more } = request;
  const subjects: Subject[] = [];
  for (const name of bench.options.subjects ?? names) {
    const hasTls = HAVE_TLS.includes(name);
    const absent =
      bench.tls !== undefined && !hasTls ? 'it has no TLS' : whyAbsent(name, bench.options);
    if (absent !== undefined) {
      bench.say(`${name}: left out, ${absent}`);
      continue;
    }
    const directory = join(bench.directory, name);
    mkdirSync(directory, { recursive: true });
    const { database } = bench;
    const one = { ...more, database, directory, tls: bench.tls };
    try {
      subjects.push(await startSubject(name, one, bench.options));
    } catch (error) {
      await stopSubjects(subjects);
      throw error;
    }
  }
  return subjects;
}

export async function stopSubjects(subjects: readonly Subject[]): Promise<void> {
  await Promise.all(subjects.map((subject) => subject.stop()));
}

/** The versions of the proxies; the database's own is in every report. */
export function versionsOf(subjects: readonly Subject[]): string[] {
  return subjects
    .filter((subject) => subject.name !== 'direct')
    .map((subject) => `${subject.name}: ${subject.version}`);
}
