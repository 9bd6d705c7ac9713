/**
 * The settings in a start-up packet: every parameter that is not about the connection itself, and
 * those in `options`. Split and unescaped as `pg_split_opts` and `process_postgres_switches` do
 * (src/backend/utils/init/postinit.c, src/backend/tcop/postgres.c).
 */

import { BerthError } from '../../../base/errors.ts';
import { SessionSettings } from '../settings.ts';

/** Parameters that are not settings. */
const CONNECTION_PARAMETERS = new Set(['user', 'database', 'options', 'replication']);
const PROTOCOL_OPTION_PREFIX = '_pq_.';

/** Throws `option_unknown` and `option_without_value` for options that are not settings. */
export function settingsOf(parameters: ReadonlyMap<string, string>): SessionSettings {
  const settings = new Map<string, string>();
  // As in a server, `options` comes first and the packet's own parameters win.
  for (const [name, value] of settingsInOptions(parameters.get('options') ?? '')) {
    settings.set(name, value);
  }
  for (const [name, value] of parameters) {
    if (CONNECTION_PARAMETERS.has(name) || name.startsWith(PROTOCOL_OPTION_PREFIX)) continue;
    settings.set(lowerCase(name), value);
  }
  return settings.size === 0 ? SessionSettings.NONE : new SessionSettings(settings);
}

function settingsInOptions(options: string): [string, string][] {
  const words = split(options);
  const settings: [string, string][] = [];
  for (let i = 0; i < words.length; i++) {
    const word = words[i];
    if (word === '-c') settings.push(setting('-c ', words[++i]));
    else if (word.startsWith('-c')) settings.push(setting('-c ', word.slice(2)));
    else if (word.startsWith('--')) settings.push(setting('--', word.slice(2)));
    else throw new BerthError('option_unknown', { params: { what: word } });
  }
  return settings;
}

/** `name=value`; a dash in a name stands for an underscore. */
function setting(before: string, text: string | undefined): [string, string] {
  if (text === undefined) throw new BerthError('option_unknown', { params: { what: '-c' } });
  const equals = text.indexOf('=');
  if (equals < 0) {
    throw new BerthError('option_without_value', { params: { what: before + text } });
  }
  return [lowerCase(text.slice(0, equals).replaceAll('-', '_')), text.slice(equals + 1)];
}

/** As `guc_name_compare` in src/backend/utils/misc/guc.c: ASCII only, the rest are bytes. */
function lowerCase(name: string): string {
  return name.replaceAll(/[A-Z]+/g, (letters) => letters.toLowerCase());
}

/** Words between white space; a backslash takes the next character as it is. */
function split(options: string): string[] {
  const words: string[] = [];
  for (const [word] of options.matchAll(/(?:\\[\s\S]|[^\s\\])+/g)) {
    words.push(word.replaceAll(/\\([\s\S])/g, '$1'));
  }
  return words;
}
