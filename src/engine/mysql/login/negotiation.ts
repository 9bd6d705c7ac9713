/**
 * Which capabilities are spoken of with whom: what clients are offered, what databases are asked for,
 * and which of a client's choices change what a statement means, so that connections cannot be shared
 * across them. https://dev.mysql.com/doc/dev/mysql-server/latest/group__group__cs__capabilities__flags.html
 */

import {
  CLIENT_CONNECT_ATTRS,
  CLIENT_CONNECT_WITH_DB,
  CLIENT_DEPRECATE_EOF,
  CLIENT_FOUND_ROWS,
  CLIENT_IGNORE_SIGPIPE,
  CLIENT_IGNORE_SPACE,
  CLIENT_INTERACTIVE,
  CLIENT_LOCAL_FILES,
  CLIENT_LONG_FLAG,
  CLIENT_LONG_PASSWORD,
  CLIENT_MULTI_RESULTS,
  CLIENT_MULTI_STATEMENTS,
  CLIENT_NO_SCHEMA,
  CLIENT_ODBC,
  CLIENT_OPTIONAL_RESULTSET_METADATA,
  CLIENT_PLUGIN_AUTH,
  CLIENT_PLUGIN_AUTH_LENENC_CLIENT_DATA,
  CLIENT_PROTOCOL_41,
  CLIENT_PS_MULTI_RESULTS,
  CLIENT_QUERY_ATTRIBUTES,
  CLIENT_RESERVED,
  CLIENT_SECURE_CONNECTION,
  CLIENT_SESSION_TRACK,
  CLIENT_SSL,
  CLIENT_TRANSACTIONS,
  MARIADB_CLIENT_BULK_UNIT_RESULTS,
  MARIADB_CLIENT_EXTENDED_METADATA,
  MARIADB_CLIENT_STMT_BULK_OPERATIONS,
} from '../wire/capabilities.ts';
import type { ServerFacts } from './server-facts.ts';

/** Two numbers that always go together. */
export interface Capabilities {
  readonly capabilities: number;
  /** MariaDB's extended ones. */
  readonly mariadbCapabilities: number;
}

/** They cannot be changed after a log-in, and the same statement does something else with and without. */
const MEANINGFUL =
  CLIENT_FOUND_ROWS |
  CLIENT_NO_SCHEMA |
  CLIENT_ODBC |
  CLIENT_LOCAL_FILES |
  CLIENT_IGNORE_SPACE |
  CLIENT_INTERACTIVE |
  CLIENT_MULTI_RESULTS |
  CLIENT_PS_MULTI_RESULTS |
  CLIENT_OPTIONAL_RESULTSET_METADATA |
  CLIENT_QUERY_ATTRIBUTES;
const MEANINGFUL_MARIADB = MARIADB_CLIENT_EXTENDED_METADATA | MARIADB_CLIENT_BULK_UNIT_RESULTS;

/** What the proxy itself understands, whatever the database does. */
const OWN =
  CLIENT_PROTOCOL_41 |
  CLIENT_SECURE_CONNECTION |
  CLIENT_CONNECT_WITH_DB |
  CLIENT_PLUGIN_AUTH |
  CLIENT_PLUGIN_AUTH_LENENC_CLIENT_DATA |
  CLIENT_CONNECT_ATTRS;

/** Passed on from the database's offer. Not compression, MariaDB's progress reports and its cached metadata. */
const PASSED_ON =
  MEANINGFUL |
  CLIENT_LONG_PASSWORD |
  CLIENT_LONG_FLAG |
  CLIENT_IGNORE_SIGPIPE |
  CLIENT_RESERVED |
  CLIENT_TRANSACTIONS |
  CLIENT_MULTI_STATEMENTS |
  CLIENT_SESSION_TRACK |
  CLIENT_DEPRECATE_EOF;
const PASSED_ON_MARIADB = MEANINGFUL_MARIADB | MARIADB_CLIENT_STMT_BULK_OPERATIONS;

/** What every database connection is opened with, as far as the server has it; a client may use less. */
const ASKED =
  CLIENT_LONG_FLAG |
  CLIENT_PROTOCOL_41 |
  CLIENT_TRANSACTIONS |
  CLIENT_SECURE_CONNECTION |
  CLIENT_MULTI_STATEMENTS |
  CLIENT_PLUGIN_AUTH |
  CLIENT_PLUGIN_AUTH_LENENC_CLIENT_DATA |
  CLIENT_CONNECT_ATTRS |
  CLIENT_SESSION_TRACK |
  CLIENT_DEPRECATE_EOF;

/** What a client reads in our greeting. */
export function offeredTo(
  server: ServerFacts,
  { hasTls }: { readonly hasTls: boolean },
): Capabilities {
  const capabilities = (server.capabilities & PASSED_ON) | OWN | (hasTls ? CLIENT_SSL : 0);
  return { capabilities, mariadbCapabilities: server.mariadbCapabilities & PASSED_ON_MARIADB };
}

/** What both sides hold to: a client may ask for what it was not offered, and does not get it. */
export function agreedWith(asked: Capabilities, offered: Capabilities): Capabilities {
  return {
    capabilities: asked.capabilities & offered.capabilities,
    mariadbCapabilities: asked.mariadbCapabilities & offered.mariadbCapabilities,
  };
}

/** What a database connection for clients of `variant` is opened with. */
export function askedOf(server: Capabilities, variant: Capabilities = NO_VARIANT): Capabilities {
  const isMariaDb = (server.capabilities & CLIENT_LONG_PASSWORD) === 0;
  // With this flag MariaDB takes no extended capabilities.
  const own = isMariaDb ? 0 : CLIENT_LONG_PASSWORD;
  const wanted = ASKED | own | (variant.capabilities & MEANINGFUL);
  const wantedMariaDb =
    MARIADB_CLIENT_STMT_BULK_OPERATIONS | (variant.mariadbCapabilities & MEANINGFUL_MARIADB);
  return {
    capabilities: server.capabilities & wanted,
    mariadbCapabilities: server.mariadbCapabilities & wantedMariaDb,
  };
}

const NO_VARIANT: Capabilities = { capabilities: 0, mariadbCapabilities: 0 };

/** Of what was agreed on with a client, what its database connections have to have; `PoolKey.variant`. */
export function variantOf({ capabilities, mariadbCapabilities }: Capabilities): string {
  const numbers = [capabilities & MEANINGFUL, mariadbCapabilities & MEANINGFUL_MARIADB];
  return numbers.map((number) => number.toString(16)).join('.');
}

/** Reads what `variantOf` has written. */
export function readVariant(variant: string): Capabilities {
  const [capabilities = 0, mariadbCapabilities = 0] = variant
    .split('.')
    .map((text) => Number.parseInt(text, 16) || 0);
  return { capabilities, mariadbCapabilities };
}

/**
 * Nothing takes the schema of a connection away again, so the sessions that have none have connections of
 * their own, on which there never was one.
 */
const WITHOUT_SCHEMA = '.none';

/** The variant of connections for sessions that have a schema, or for those that have none. */
export function variantFor(variant: string, withSchema: boolean): string {
  const shared = variant.replace(WITHOUT_SCHEMA, '');
  return withSchema ? shared : `${shared}${WITHOUT_SCHEMA}`;
}

export function hasSchema(variant = ''): boolean {
  return !variant.endsWith(WITHOUT_SCHEMA);
}
