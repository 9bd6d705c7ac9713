/**
 * The names of an application's own settings (`app.tenant`) that a text may change. The database lists
 * its own settings when it is asked, but not these, so their names have to be known.
 * https://www.postgresql.org/docs/current/runtime-config-custom.html
 *
 * Too many names do no harm: what is not set is no answer. One too few would.
 */

/** Longer texts are not searched. */
const TEXT_MAX = 64 * 1024;
const NAMES_MAX = 64;

const PART = '(?:"[^"\\0]+"|[a-z_\\x80-\\xff][\\w$\\x80-\\xff]*)';
/** What follows SET or RESET; also that of an UPDATE, which does no harm. */
const SET = new RegExp(
  `\\b(?:set|reset)\\s+(?:(?:session|local)\\s+)?(${PART}(?:\\s*\\.\\s*${PART})*)`,
  'gi',
);
const CALL = /\bset_config\W/gi;
/** A call whose name is a constant without an escape in it. */
const NAMED_CALL = /\bset_config"?\s*\(\s*'([^'\\]*)'\s*(?:::\s*text\s*)?,/gi;
/** A call whose name is a parameter. */
const BOUND_CALL = /\bset_config"?\s*\(\s*\$(\d{1,5})\s*(?:::\s*text\s*)?,/gi;
/** A name written with Unicode escapes: it could be any name. */
const ENCODED_NAME = /\bu&"/i;
/** The innermost of nested ones. */
const BLOCK_COMMENT = /\/\*(?:(?!\/\*|\*\/)[\s\S])*\*\//g;
const LINE_COMMENT = /--[^\n\r]*/g;
/** What can be sent as a constant in any encoding. */
const SAFE_NAME = /^[\w.$]{1,127}$/;

/** The value of a parameter, by its number, as latin1. `undefined`: it is not known. */
export type ParameterValue = (number: number) => string | undefined;

const UNBOUND: ParameterValue = () => undefined;

/**
 * `undefined`: they cannot be known from the text and its parameters. `text` is latin1: one character
 * for each byte.
 */
export function customSettingNames(
  text: string,
  parameter: ParameterValue = UNBOUND,
): readonly string[] | undefined {
  if (text.length > TEXT_MAX || ENCODED_NAME.test(text)) return undefined;
  const names = new Set<string>();
  const bare = withoutComments(text);
  // What looks like a comment may be in a string, and what looks like a name in a comment.
  for (const each of [text, bare]) {
    for (const [, name = ''] of each.matchAll(SET)) {
      if (name.includes('.')) names.add(name.replaceAll(/["\s]/g, ''));
    }
  }
  let named = 0;
  for (const [, name = ''] of bare.matchAll(NAMED_CALL)) {
    named++;
    if (name.includes('.')) names.add(name);
  }
  for (const [, number] of bare.matchAll(BOUND_CALL)) {
    const name = parameter(Number(number));
    if (name === undefined) return undefined;
    named++;
    if (name.includes('.')) names.add(name);
  }
  if (named !== (text.match(CALL)?.length ?? 0)) return undefined;
  const found = [...names].map((name) => name.toLowerCase());
  const areSafe = found.length <= NAMES_MAX && found.every((name) => SAFE_NAME.test(name));
  return areSafe ? found : undefined;
}

function withoutComments(text: string): string {
  let bare = text;
  for (let before = ''; before !== bare; ) {
    before = bare;
    bare = bare.replace(BLOCK_COMMENT, ' ');
  }
  return bare.replace(LINE_COMMENT, ' ');
}
