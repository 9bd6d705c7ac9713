/**
 * From what zod found to what a person reads: the path, the line, the rule that was broken and, for
 * an unknown key, the key that was probably meant. A value is shown only where it cannot be a secret.
 */

import { z } from 'zod';
import { formatPath, type Path, type Problem } from './configuration-error.ts';
import type { Conflict } from './cross-check.ts';
import { fileSchema, UNSUPPORTED_KEYS } from './schema.ts';
import type { YamlSource } from './yaml-source.ts';

type Issue = z.core.$ZodIssue;

interface JsonSchema {
  readonly type?: string;
  readonly properties?: Readonly<Record<string, JsonSchema>>;
  readonly items?: JsonSchema;
}

let shape: JsonSchema | undefined;

/** Made when it is asked for: a start does not wait for it. */
function fileShape(): JsonSchema {
  shape ??= z.toJSONSchema(fileSchema, { io: 'input', unrepresentable: 'any' }) as JsonSchema;
  return shape;
}
const SHOWN_MAX = 60;

/** What the problems of one file are made from. */
export interface Explained {
  readonly value: unknown;
  readonly source: YamlSource;
  readonly fromEnvironment: ReadonlySet<string>;
}

export function explain(issues: readonly Issue[], file: Explained): readonly Problem[] {
  return firstOfEach(issues).flatMap((issue) => {
    const path = pathOf(issue);
    if (issue.code === 'unrecognized_keys') {
      return issue.keys.map((key) => unknownKey([...path, key], file.source));
    }
    return [{ line: file.source.lineOf(path), path, text: describe(issue, path, file) }];
  });
}

function pathOf({ path }: Issue): Path {
  return path.map((step) => (typeof step === 'number' ? step : String(step)));
}

/** A value of the wrong type breaks rules about its length as well; the type is what to tell. */
function firstOfEach(issues: readonly Issue[]): readonly Issue[] {
  const seen = new Set<string>();
  return issues.filter((issue) => {
    const place = `${issue.code === 'unrecognized_keys'} ${formatPath(pathOf(issue))}`;
    return !seen.has(place) && seen.add(place);
  });
}

/** A broken rule of `cross-check.ts`, worded like one of the schema. */
export function explainConflict(
  { path, text, isComplete = false }: Conflict,
  file: Explained,
): Problem {
  const line = file.source.lineOf(path);
  if (isComplete || !isShowable(path, file)) return { line, path, text };
  return { line, path, text: `${text}${gotten(valueAt(file.value, path))}` };
}

/** Every key that the file may have, as paths without indexes. */
export function everyKey(
  shape: JsonSchema = fileShape(),
  path: readonly string[] = [],
): readonly string[] {
  const { properties = {}, items } = shape;
  if (items !== undefined) return everyKey(items, path);
  return Object.entries(properties).flatMap(([key, inner]) => {
    const here = [...path, key];
    return [here.join('.'), ...everyKey(inner, here)];
  });
}

export function typeAt(path: Path): 'number' | 'boolean' | 'other' {
  const type = shapeAt(path)?.type;
  if (type === 'integer' || type === 'number') return 'number';
  return type === 'boolean' ? 'boolean' : 'other';
}

function shapeAt(path: Path): JsonSchema | undefined {
  return path.reduce<JsonSchema | undefined>(
    (shape, step) => (typeof step === 'number' ? shape?.items : shape?.properties?.[step]),
    fileShape(),
  );
}

function describe(issue: Issue, path: Path, file: Explained): string {
  const value = valueAt(file.value, path);
  if (value === undefined) return 'is required';
  if (!isShowable(path, file)) return issue.message;
  return `${issue.message}${gotten(value)}`;
}

/** Nothing of a secret, nothing from the environment and no SQL is shown. */
function isShowable(path: Path, { fromEnvironment }: Explained): boolean {
  if (path[0] === 'Secrets' && path[2] !== 'Name') return false;
  if (path.includes('SecretAccessKey') || path.includes('SessionToken')) return false;
  return !path.includes('InitQuery') && !fromEnvironment.has(formatPath(path));
}

function gotten(value: unknown): string {
  if (value === null) return ', got nothing';
  if (Array.isArray(value)) return '';
  if (typeof value === 'object') return '';
  const shown = JSON.stringify(value) ?? String(value);
  return `, got ${shown.length > SHOWN_MAX ? `${shown.slice(0, SHOWN_MAX)}...` : shown}`;
}

function valueAt(value: unknown, path: Path): unknown {
  return path.reduce<unknown>((inner, step) => {
    if (typeof inner !== 'object' || inner === null || !Object.hasOwn(inner, step))
      return undefined;
    return (inner as Record<string | number, unknown>)[step];
  }, value);
}

function unknownKey(path: Path, source: YamlSource): Problem {
  const line = source.lineOfKey(path);
  const general = path.filter((step) => typeof step === 'string').join('.');
  const unsupported = UNSUPPORTED_KEYS[general];
  if (unsupported !== undefined) return { line, path, text: `is not supported: ${unsupported}` };
  const known = Object.keys(shapeAt(path.slice(0, -1))?.properties ?? {});
  const meant = closest(String(path.at(-1)), known);
  const hint =
    meant === undefined ? `; known here: ${known.join(', ')}` : `; did you mean ${meant}?`;
  return { line, path, text: `unknown key${hint}` };
}

/** The known key that a typing error would turn into `key`. */
function closest(key: string, known: readonly string[]): string | undefined {
  const ranked = known
    .map((candidate) => ({ candidate, away: distance(key.toLowerCase(), candidate.toLowerCase()) }))
    .sort((a, b) => a.away - b.away);
  const best = ranked[0];
  return best !== undefined && best.away <= Math.max(2, key.length / 3)
    ? best.candidate
    : undefined;
}

/** Levenshtein's distance. */
function distance(a: string, b: string): number {
  let previous = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (const [row, letter] of [...a].entries()) {
    const next = [row + 1];
    for (const [column, other] of [...b].entries()) {
      const replaced = (previous[column] ?? 0) + (letter === other ? 0 : 1);
      next.push(Math.min(replaced, (previous[column + 1] ?? 0) + 1, (next[column] ?? 0) + 1));
    }
    previous = next;
  }
  return previous[b.length] ?? 0;
}
