/** No proxy: what the database does when it is asked without anybody between. */

import type { Subject, SubjectRequest } from './subject.ts';

export async function startDirect({ database }: SubjectRequest): Promise<Subject> {
  return {
    name: 'direct',
    version: database.version,
    address: database.address,
    pid: undefined,
    metricsUrl: undefined,
    sessionsUrl: undefined,
    logFile: undefined,
    stop: async () => undefined,
  };
}
