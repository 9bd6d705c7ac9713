/**
 * `${NAME}` in the texts of a configuration file, replaced by the environment. It happens after
 * YAML was read, so that what a variable holds can never be taken for YAML. `$${` is a literal `${`.
 * Keys are left alone. The values that came from a variable are remembered: no message shows them.
 */

import type { Path, Problem } from './configuration-error.ts';
import { formatPath } from './configuration-error.ts';
import type { YamlSource } from './yaml-source.ts';

export type Environment = Readonly<Record<string, string | undefined>>;

export interface Substituted {
  readonly value: unknown;
  /** Formatted paths of the texts that hold something from the environment. */
  readonly fromEnvironment: ReadonlySet<string>;
  readonly problems: readonly Problem[];
}

/** What the schema wants at a path, so that `Port: ${PORT}` can be the number it looks like. */
export type TypeAt = (path: Path) => 'number' | 'boolean' | 'other';

export function substitute(
  input: unknown,
  source: YamlSource,
  environment: Environment,
  typeAt: TypeAt,
): Substituted {
  const problems: Problem[] = [];
  const fromEnvironment = new Set<string>();

  function visit(value: unknown, path: Path): unknown {
    if (typeof value === 'string') return visitText(value, path);
    if (Array.isArray(value)) return value.map((item, index) => visit(item, [...path, index]));
    if (typeof value !== 'object' || value === null) return value;
    return Object.fromEntries(
      Object.entries(value).map(([key, item]) => [key, visit(item, [...path, key])]),
    );
  }

  function visitText(text: string, path: Path): unknown {
    if (!text.includes('${')) return text;
    const { result, faults, isReplaced } = expand(text, environment);
    const line = source.lineOf(path);
    problems.push(...faults.map((fault) => ({ line, path, text: fault })));
    if (!isReplaced) return result;
    fromEnvironment.add(formatPath(path));
    return source.isUnquoted(path) ? convert(result, typeAt(path)) : result;
  }

  return { value: visit(input, []), fromEnvironment, problems };
}

interface Expansion {
  readonly result: string;
  readonly faults: readonly string[];
  readonly isReplaced: boolean;
}

function expand(text: string, environment: Environment): Expansion {
  const faults: string[] = [];
  let isReplaced = false;
  const result = text.replace(
    /(\$?)\$\{([^}]*)(\}?)/g,
    (whole, before: string, name: string, end: string) => {
      if (before === '$') return whole.slice(1);
      // What stands between the braces may be part of a password: it is named only if it is a name.
      if (end === '' || !/^[A-Za-z_][A-Za-z0-9_]*$/.test(name)) {
        faults.push(
          `"\${" is not followed by the name of a variable and "}"; write "$\${" for the two characters`,
        );
        return whole;
      }
      const value = environment[name];
      if (value === undefined) faults.push(`the environment variable ${name} is not set`);
      isReplaced = true;
      return value ?? '';
    },
  );
  return { result, faults, isReplaced };
}

function convert(text: string, type: 'number' | 'boolean' | 'other'): unknown {
  if (type === 'number' && /^-?\d+$/.test(text)) return Number(text);
  if (type === 'boolean' && /^(true|false)$/.test(text)) return text === 'true';
  return text;
}
