/**
 * Holds a connection for a statement of the proxy's own, for nobody's sake but the proxy's. Nothing of a
 * client's is sent meanwhile, so nothing comes back but what the statement itself hears.
 */

import type { ConnectionHolder, DatabaseConnection } from './database-connection.ts';

export abstract class OwnHolder implements ConnectionHolder {
  readonly capabilities = 0;
  readonly tracking = undefined;

  stillWaiting(): void {}
  deliver(): void {}
  deliverChunk(): void {}
  requestFailed(): void {}
  answered(): void {}
  replied(): void {}
  replayed(): void {}
  runAgain(): boolean {
    return false;
  }
  wasReset(): void {}
  connectionCongested(): void {}
  connectionDrained(): void {}
  connectionLost(): void {}
}

/** After the answer to a statement of the proxy's own. */
export function giveBack(connection: DatabaseConnection): void {
  const { isDirty, pool, unfitBy } = connection;
  connection.takenBack();
  if (unfitBy !== undefined) pool.release(connection, 'destroy', unfitBy);
  else pool.release(connection, isDirty ? 'cleanable' : 'clean');
}
