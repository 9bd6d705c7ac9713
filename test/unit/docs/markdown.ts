/** What the tests of documents need of Markdown: headings, links, paths and the rows of tables. */

export interface Heading {
  readonly level: number;
  readonly text: string;
}

/** The text without code blocks and comments: what is in them is not Markdown. */
function prose(text: string): string {
  return text.replaceAll(/^```[\s\S]*?^```$/gm, '').replaceAll(/<!--[\s\S]*?-->/g, '');
}

export function headingsOf(text: string): Heading[] {
  const found = prose(text).matchAll(/^(#{1,6}) (.+)$/gm);
  return [...found].map(([, marks = '', heading = '']) => ({
    level: marks.length,
    text: heading.trim(),
  }));
}

/** The targets of links and images, as they are written. */
export function linksOf(text: string): string[] {
  const found = prose(text).matchAll(/\]\(([^()\s]+)\)/g);
  return [...found].map(([, target = '']) => target);
}

/** What a link may have after `#`: the headings in lower case, with hyphens for spaces. */
export function anchorsOf(text: string): ReadonlySet<string> {
  return new Set(
    headingsOf(text).map(({ text: heading }) =>
      heading
        .toLowerCase()
        .replaceAll(/[^\p{L}\p{N}_ -]/gu, '')
        .replaceAll(' ', '-'),
    ),
  );
}

/** Everything in `code` that looks like a path of the repository: it has a slash and no space. */
export function pathsOf(text: string): string[] {
  const found = prose(text).matchAll(/`([\w.-]+(?:\/[\w.-]*)+)`/g);
  return [...new Set([...found].map(([, path = '']) => path))];
}

/** The first cells of the table under a heading, without its head. */
export function rowsOf(text: string, heading: string): string[] {
  return tableOf(text, heading).map(([first = '']) => first);
}

/** The cells of the table under a heading, without its head. */
export function tableOf(text: string, heading: string): string[][] {
  const lines = text.split('\n');
  const from = lines.findIndex((line) => line.replace(/^#+ /, '') === heading);
  const isTable = (line: string) => line.startsWith('|');
  const table = lines.slice(lines.findIndex((line, at) => at > from && isTable(line)));
  const end = table.findIndex((line) => !isTable(line));
  const rows = table.slice(2, end < 0 ? undefined : end);
  return from < 0 ? [] : rows.map((row) => cellsOf(row));
}

function cellsOf(row: string): string[] {
  return row
    .split('|')
    .slice(1, -1)
    .map((cell) => cell.trim());
}
