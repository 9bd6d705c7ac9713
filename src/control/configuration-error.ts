/**
 * The one error for everything that can be wrong with a configuration file. Its message is complete:
 * one line per problem, each with the file, the line and the path in the file, in the order of the
 * file. It never holds a secret; those who make a `Problem` see to that.
 */

export type Path = readonly (string | number)[];

export interface Problem {
  /** Counted from 1; undefined when the file as a whole is meant. */
  readonly line: number | undefined;
  /** Where in the file, as in `DBProxies[0].Listen`; undefined when a line is all there is to say. */
  readonly path: Path | undefined;
  readonly text: string;
}

export class ConfigurationError extends Error {
  readonly problems: readonly Problem[];

  constructor(file: string, problems: readonly Problem[]) {
    const sorted = problems.toSorted((a, b) => (a.line ?? 0) - (b.line ?? 0));
    super(sorted.map((problem) => describe(file, problem)).join('\n'));
    this.name = 'ConfigurationError';
    this.problems = sorted;
  }
}

function describe(file: string, { line, path, text }: Problem): string {
  const place = line === undefined ? file : `${file}:${line}`;
  if (path === undefined || path.length === 0) return `${place}  ${text}`;
  return `${place}  ${formatPath(path)}: ${text}`;
}

/** `['DBProxies', 0, 'Listen']` as `DBProxies[0].Listen`. */
export function formatPath(path: Path): string {
  return path.reduce<string>((text, step) => {
    if (typeof step === 'number') return `${text}[${step}]`;
    return text === '' ? step : `${text}.${step}`;
  }, '');
}
