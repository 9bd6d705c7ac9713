/** Starts subjects by name, and says why one cannot be had on this machine. */

import { hasBerth, startBerth } from './berth.ts';
import { startDirect } from './direct.ts';
import { startFloor } from './floor.ts';
import { mysqlrouterVersion, startMysqlrouter } from './mysqlrouter.ts';
import { pgbouncerVersion, startPgbouncer } from './pgbouncer.ts';
import { proxysqlVersion, startProxysql } from './proxysql.ts';
import type { Subject, SubjectName, SubjectRequest } from './subject.ts';

export interface Programs {
  readonly pgbouncer: string;
}

export function startSubject(
  name: SubjectName,
  request: SubjectRequest,
  programs: Programs,
): Promise<Subject> {
  switch (name) {
    case 'direct':
      return startDirect(request);
    case 'pgbouncer':
      return startPgbouncer(request, programs.pgbouncer);
    case 'mysqlrouter':
      return startMysqlrouter(request);
    case 'proxysql':
      return startProxysql(request);
    case 'floor':
      return startFloor(request);
    case 'berth':
      return startBerth(request);
  }
}

/** Why the subject cannot be measured here, or undefined when it can. */
export function whyAbsent(name: SubjectName, programs: Programs): string | undefined {
  if (name === 'pgbouncer' && pgbouncerVersion(programs.pgbouncer) === undefined) {
    return `${programs.pgbouncer} does not run`;
  }
  if (name === 'mysqlrouter' && mysqlrouterVersion() === undefined) {
    return 'there is none; npm run servers installs it';
  }
  if (name === 'proxysql' && proxysqlVersion() === undefined) return 'proxysql does not run';
  if (name === 'berth' && !hasBerth()) return 'bin/berth does not exist';
  return undefined;
}
