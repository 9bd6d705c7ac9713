/**
 * What decides how a server reads a text: its version, the client's character set, and three of
 * the SQL modes. https://dev.mysql.com/doc/refman/9.4/en/sql-mode.html
 */

/**
 * Character sets by how their bytes can mislead a reader of single bytes: in `safe` ones they cannot;
 * in `latin` ones a byte over 0x7f may be a space; in the others the second byte of a character may
 * be a backslash or a backtick.
 */
export const CHARSET_FAMILIES = [
  'safe',
  'latin',
  'gbk',
  'gb18030',
  'sjis',
  'big5',
  'unknown',
] as const;
export type CharsetFamily = (typeof CHARSET_FAMILIES)[number];

const FAMILY_OF: Readonly<Record<string, CharsetFamily>> = {
  utf8: 'safe',
  utf8mb3: 'safe',
  utf8mb4: 'safe',
  ascii: 'safe',
  binary: 'safe',
  // Here second bytes are letters at most.
  ujis: 'safe',
  eucjpms: 'safe',
  euckr: 'safe',
  gb2312: 'safe',
  armscii8: 'latin',
  cp1250: 'latin',
  cp1251: 'latin',
  cp1256: 'latin',
  cp1257: 'latin',
  cp850: 'latin',
  cp852: 'latin',
  cp866: 'latin',
  dec8: 'latin',
  geostd8: 'latin',
  greek: 'latin',
  hebrew: 'latin',
  hp8: 'latin',
  keybcs2: 'latin',
  koi8r: 'latin',
  koi8u: 'latin',
  latin1: 'latin',
  latin2: 'latin',
  latin5: 'latin',
  latin7: 'latin',
  macce: 'latin',
  macroman: 'latin',
  swe7: 'latin',
  tis620: 'latin',
  gbk: 'gbk',
  gb18030: 'gb18030',
  sjis: 'sjis',
  cp932: 'sjis',
  big5: 'big5',
};

/** The family of a character set, by the name that `character_set_client` has. */
export function charsetFamily(name: string): CharsetFamily {
  return FAMILY_OF[name] ?? 'unknown';
}

export interface SyntaxOptions {
  readonly isMariaDb: boolean;
  /** As in `/*!80036`: 101119 for 10.11.19. 0: not known, and then conditional comments are not judged. */
  readonly version: number;
  readonly charset: CharsetFamily;
  readonly ansiQuotes: boolean;
  readonly noBackslashEscapes: boolean;
  /** `[name]`, in MariaDB's mode MSSQL. */
  readonly bracketQuotes: boolean;
}

/** How a text is read. */
export interface Syntax extends SyntaxOptions {
  /** The same for the same options only. */
  readonly key: number;
}

/** Make one for each session and each change of its modes, not for each text. */
export function syntaxOf(options: SyntaxOptions): Syntax {
  const { isMariaDb, version, charset, ansiQuotes, noBackslashEscapes, bracketQuotes } = options;
  const flags = [isMariaDb, ansiQuotes, noBackslashEscapes, bracketQuotes];
  const bits = flags.reduce((all, flag) => (all << 1) | Number(flag), 0);
  const key = (version << 7) | (CHARSET_FAMILIES.indexOf(charset) << 4) | bits;
  return { isMariaDb, version, charset, ansiQuotes, noBackslashEscapes, bracketQuotes, key };
}

export type Quoting = Pick<Syntax, 'ansiQuotes' | 'noBackslashEscapes' | 'bracketQuotes'>;

/** The modes that change how a text is read, from `sql_mode` as the server reports it. */
export function quotingOf(sqlMode: string): Quoting {
  const modes = sqlMode.split(',');
  return {
    ansiQuotes: modes.includes('ANSI_QUOTES'),
    noBackslashEscapes: modes.includes('NO_BACKSLASH_ESCAPES'),
    bracketQuotes: modes.includes('MSSQL'),
  };
}

const VERSION = /^(?:5\.5\.5-(?=1\d\.))?(\d{1,2})\.(\d{1,2})\.(\d{1,2})/;

/** The number of a server's version as its greeting has it, and as conditional comments compare it. */
export function versionNumber(greeting: string): number {
  const [, major = '0', minor = '0', patch = '0'] = VERSION.exec(greeting) ?? [];
  return Number(major) * 10_000 + Number(minor) * 100 + Number(patch);
}

/** Nothing is known of the server or of the session. */
export const UNKNOWN_SYNTAX = syntaxOf({
  isMariaDb: false,
  version: 0,
  charset: 'unknown',
  ansiQuotes: false,
  noBackslashEscapes: false,
  bracketQuotes: false,
});
