/**
 * Branded identifiers. A client connection and a database connection are both numbers, and mixing
 * them up sends a cancel to the wrong session; here that does not compile.
 */

declare const brand: unique symbol;
type Branded<T, Name extends string> = T & { readonly [brand]: Name };

/** One accepted client connection; unique for the life of the process. */
export type ClientConnectionId = Branded<number, 'ClientConnectionId'>;
/** One connection to a database; unique for the life of the process. */
export type DatabaseConnectionId = Branded<number, 'DatabaseConnectionId'>;

let lastClientConnection = 0;
let lastDatabaseConnection = 0;

export function nextClientConnectionId(): ClientConnectionId {
  return ++lastClientConnection as ClientConnectionId;
}

export function nextDatabaseConnectionId(): DatabaseConnectionId {
  return ++lastDatabaseConnection as DatabaseConnectionId;
}
