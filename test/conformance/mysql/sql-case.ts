/**
 * Reads a case written in SQL. Each paragraph (empty lines separate them) is sent as one COM_QUERY, exactly as
 * it stands, which may be several statements. The first paragraph says in comments what the case is about (see
 * `headOf` for what else). Further:
 *
 *   \session NAME    go on in another session
 *   \connect         leave, and open the session anew
 *   LOAD DATA LOCAL …;  is followed by the file, up to a line `\.`
 *
 * `${id NAME}` is the connection id of a session.
 */

import { type Case, headOf, type Step } from './steps.ts';

export function parseSqlCase(name: string, text: string): Case {
  const [about = '', ...paragraphs] = text.split(/\n{2,}/);
  if (!about.startsWith('--')) throw new Error(`${name} does not say what it is about`);
  const steps = paragraphs
    .map((paragraph) => paragraph.trimEnd())
    .filter((paragraph) => paragraph !== '')
    .map(parseParagraph);
  return { name, steps, ...headOf(about) };
}

function parseParagraph(paragraph: string): Step {
  const [, command, argument = ''] = /^\\(\w+) ?(\w*)$/.exec(paragraph) ?? [];
  switch (command) {
    case undefined:
      return parseQuery(paragraph);
    case 'session':
      return { kind: 'session', name: argument };
    case 'connect':
      return { kind: 'reconnect' };
    default:
      throw new Error(`unknown command \\${command}`);
  }
}

function parseQuery(paragraph: string): Step {
  if (!paragraph.endsWith('\n\\.')) return { kind: 'query', sql: paragraph, localFile: undefined };
  const end = paragraph.indexOf(';\n') + 1;
  return { kind: 'query', sql: paragraph.slice(0, end), localFile: paragraph.slice(end + 1, -2) };
}
