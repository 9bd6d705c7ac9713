/**
 * Reads a case written in SQL. Each paragraph (empty lines separate them) is sent as one simple
 * query, exactly as it stands. The first paragraph says in comments what the case is about. Further:
 *
 *   \session NAME   go on in another session
 *   \connect        leave, and open the session anew
 *   \until TYPE     wait for a message that nobody asked for, such as A
 *   COPY … FROM STDIN;  is followed by its data, up to a line `\.`
 */

import { type Case, connectionsOf, type Step } from './steps.ts';

export function parseSqlCase(name: string, text: string): Case {
  const [about = '', ...paragraphs] = text.split(/\n{2,}/);
  if (!about.startsWith('--')) throw new Error(`${name} does not say what it is about`);
  const steps = paragraphs
    .map((paragraph) => paragraph.trimEnd())
    .filter((paragraph) => paragraph !== '')
    .map(parseParagraph);
  return { name, steps, connections: connectionsOf(about) };
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
    case 'until':
      return { kind: 'until', type: argument, count: 1 };
    default:
      throw new Error(`unknown command \\${command}`);
  }
}

function parseQuery(paragraph: string): Step {
  if (!paragraph.endsWith('\n\\.')) return { kind: 'query', sql: paragraph, copyData: undefined };
  const end = paragraph.indexOf(';\n') + 1;
  const copyData = paragraph.slice(end + 1, -'\\.'.length);
  return { kind: 'query', sql: paragraph.slice(0, end), copyData };
}
