/**
 * How statements are called. On connections they have names of the proxy's; clients keep their own,
 * and read them in the database's errors.
 */

/** Names on connections begin with it; a client's own that do are escaped (`escapedName`). */
export const SERVER_NAME_PREFIX = 'berth_';
const ESCAPE = `${SERVER_NAME_PREFIX}~`;
/** A statement that comes and goes, for DEALLOCATE of one that is only a name. */
export const PASSING_NAME = `${SERVER_NAME_PREFIX}0`;
/** A statement that takes it away. */
export const PASSING_REMOVAL_NAME = `${SERVER_NAME_PREFIX}00`;
/** Nobody's: an error, whatever is to be done with it. */
export const CHANGED_NAME = `${SERVER_NAME_PREFIX}!result_type_changed`;

/** What the database is told instead of a client's `name` that must not meet one of ours. */
export function escapedName(name: string): string {
  return ESCAPE + name;
}

/** Not within a longer name of a client's. */
const SERVER_NAME = new RegExp(`(?<![\\w ])${SERVER_NAME_PREFIX}(?:~|\\d+(?!\\w))`);

/** `text` of the database with a statement's name as its client knows it. */
export function inClientsWords(
  text: string,
  nameOf: (serverName: string) => string | undefined,
): string | undefined {
  const found = SERVER_NAME.exec(text);
  if (found === null) return undefined;
  const [serverName] = found;
  const name = serverName === ESCAPE ? '' : nameOf(serverName);
  if (name === undefined) return undefined;
  return text.slice(0, found.index) + name + text.slice(found.index + serverName.length);
}

/** As an identifier in SQL. */
export function quoted(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}
