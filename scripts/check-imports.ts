/**
 * Keeps imports pointing downwards, as ARCHITECTURE.md draws them. A room (a folder of src, or a
 * part of one) may import its own layer and those below, except what FORBIDDEN says; only `net` opens
 * sockets; what is not product code is never imported by it. Type-only and dynamic imports obey the same
 * rules. Imports are found by pattern, without a compiler, so this runs in a moment.
 */

import { readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';

/** The layers, lowest first. `*` stands for one folder. The longest pattern that fits a file is its room. */
const LAYERS: readonly (readonly string[])[] = [
  ['base', 'embedded'],
  ['net', 'sql', 'engine/*/wire'],
  ['pool', 'target', 'credential', 'observe'],
  ['engine', 'engine/*'],
  ['proxy'],
  ['control'],
  ['cli', 'compose.ts', 'main.ts'],
];

/** Pairs that the layers alone would allow. `*` stands for one folder, `**` for any file below. */
const FORBIDDEN: readonly { readonly from: string; readonly to: string; readonly why: string }[] = [
  { from: 'control/**', to: 'engine/**', why: 'control never imports an engine' },
  { from: 'control/**', to: 'pool/**', why: 'control never imports pool' },
  { from: 'control/**', to: 'net/**', why: 'control never imports net' },
  { from: 'engine/*.ts', to: 'engine/*/**', why: 'the contract knows no engine' },
];

/** Only these may import the room named first. */
const RESERVED: readonly { readonly room: string; readonly by: readonly string[] }[] = [
  { room: 'embedded', by: ['embedded/**', 'cli/demo.ts', 'cli/demo/**', 'cli/demo-*.ts'] },
];

const SOCKET_ROOM = 'net';
/** What of these modules has no socket in it. */
const SOCKET_MODULES: Readonly<Record<string, readonly string[]>> = {
  'node:net': ['isIP', 'isIPv4', 'isIPv6', 'BlockList'],
  'node:tls': ['createSecureContext', 'rootCertificates'],
  'node:dgram': [],
  'node:http2': [],
  bun: ['SQL'],
};
const SOCKET_CALL = /\bBun\s*\.\s*(listen|connect|udpSocket)\b/;

export interface SourceFile {
  /** Below `src`, with forward slashes: `pool/pool.ts`. */
  readonly path: string;
  readonly text: string;
}

export interface Violation {
  readonly path: string;
  readonly line: number;
  readonly message: string;
}

export interface Import {
  /** As written; undefined when it is not a literal. */
  readonly specifier: string | undefined;
  /** The imported names, as far as they are listed. */
  readonly names: readonly string[];
  readonly isTypeOnly: boolean;
  readonly line: number;
}

const STATIC_IMPORT =
  /^[ \t]*(?:import|export)\s+(?<type>type\s)?(?<what>[^'"`;()=]*?)\bfrom\s*['"](?<specifier>[^'"]+)['"]/gm;
const BARE_IMPORT = /^[ \t]*import\s*['"](?<specifier>[^'"]+)['"]/gm;
const DYNAMIC_IMPORT = /\b(?:import|require)\s*\(\s*(?:(['"`])(?<specifier>[^'"`$]+)\1\s*[,)])?/g;

/** Every import of a file: static, re-export, side effect, dynamic, and types. */
export function findImports(text: string): Import[] {
  const imports: Import[] = [];
  for (const pattern of [STATIC_IMPORT, BARE_IMPORT, DYNAMIC_IMPORT]) {
    for (const match of text.matchAll(pattern)) {
      if (isInComment(text, match.index)) continue;
      const { specifier, what = '', type } = match.groups ?? {};
      const names = what.match(/[\w$]+/g)?.filter((name) => name !== 'type') ?? [];
      const line = lineOf(text, match.index + match[0].length);
      imports.push({ specifier, names, isTypeOnly: type !== undefined, line });
    }
  }
  return imports;
}

/** True on a line that is, up to there, a comment. */
function isInComment(text: string, index: number): boolean {
  const line = text.slice(text.lastIndexOf('\n', index - 1) + 1, index);
  return /^\s*(\/?\*|\/\/)|(^|\s)\/\//.test(line);
}

function lineOf(text: string, index: number): number {
  return text.slice(0, index).split('\n').length;
}

/** Everything that breaks a rule. */
export function findViolations(files: readonly SourceFile[]): Violation[] {
  return files.flatMap((file) => [
    ...unknownRoom(file),
    ...findImports(file.text).flatMap((entry) => judge(file, entry)),
    ...socketCalls(file),
  ]);
}

function unknownRoom({ path }: SourceFile): Violation[] {
  if (roomOf(path) !== undefined) return [];
  return [{ path, line: 1, message: 'is in no room that scripts/check-imports.ts knows' }];
}

function judge(file: SourceFile, entry: Import): Violation[] {
  const { specifier, line } = entry;
  if (specifier === undefined) return judgeUnknown(file, line);
  const message = specifier.startsWith('.')
    ? judgeRelative(file.path, specifier)
    : judgeModule(file.path, entry, specifier);
  return message === undefined ? [] : [{ path: file.path, line, message }];
}

/** A dynamic import of a computed path: nobody can check it, so only the top layer may. */
function judgeUnknown({ path }: SourceFile, line: number): Violation[] {
  if (roomOf(path)?.layer === LAYERS.length - 1) return [];
  return [{ path, line, message: 'imports a path that is computed' }];
}

function judgeRelative(path: string, specifier: string): string | undefined {
  const target = normalize(join(dirname(path), specifier)).replaceAll('\\', '/');
  if (target === '../package.json') return undefined;
  if (target.startsWith('../'))
    return `imports ${target.slice(3)}, which is not part of the product`;
  const from = roomOf(path);
  const to = roomOf(target);
  if (from === undefined || to === undefined) return undefined;
  if (to.layer > from.layer) return `${from.name} may not import ${to.name}, which is above it`;
  if (from.engine !== undefined && to.engine !== undefined && from.engine !== to.engine) {
    return `engines never import each other: ${target}`;
  }
  return judgeExceptions(path, target, to.name);
}

function judgeExceptions(path: string, target: string, room: string): string | undefined {
  const rule = FORBIDDEN.find(({ from, to }) => fits(path, from) && fits(target, to));
  if (rule !== undefined) return `${rule.why}: ${target}`;
  const reserved = RESERVED.find((entry) => entry.room === room);
  if (reserved === undefined || reserved.by.some((pattern) => fits(path, pattern)))
    return undefined;
  return `${room} is only for the demo and the tests`;
}

function judgeModule(path: string, entry: Import, specifier: string): string | undefined {
  const module = specifier in SOCKET_MODULES ? specifier : `node:${specifier}`;
  const harmless = SOCKET_MODULES[module];
  if (harmless === undefined || roomOf(path)?.name === SOCKET_ROOM || entry.isTypeOnly) {
    return undefined;
  }
  const isHarmless = entry.names.length > 0 && entry.names.every((name) => harmless.includes(name));
  return isHarmless ? undefined : `only ${SOCKET_ROOM} opens sockets: ${specifier}`;
}

function socketCalls({ path, text }: SourceFile): Violation[] {
  if (roomOf(path)?.name === SOCKET_ROOM) return [];
  return text.split('\n').flatMap((line, index) => {
    const call = SOCKET_CALL.exec(line);
    if (call === null || isInComment(line, call.index)) return [];
    return [{ path, line: index + 1, message: `only ${SOCKET_ROOM} opens sockets: ${call[0]}` }];
  });
}

interface Room {
  readonly name: string;
  readonly layer: number;
  /** The engine that the room belongs to. */
  readonly engine: string | undefined;
}

function roomOf(path: string): Room | undefined {
  let best: Room | undefined;
  let bestLength = 0;
  for (const [layer, patterns] of LAYERS.entries()) {
    for (const pattern of patterns) {
      const isFile = pattern.endsWith('.ts');
      const length = pattern.split('/').length;
      if (length <= bestLength || !fits(path, isFile ? pattern : `${pattern}/**`)) continue;
      const name = isFile ? pattern : path.split('/').slice(0, length).join('/');
      best = { name, layer, engine: /^engine\/([^/]+)\//.exec(path)?.[1] };
      bestLength = length;
    }
  }
  return best;
}

function fits(path: string, pattern: string): boolean {
  const expression = pattern
    .split('/')
    .map((part) => (part === '**' ? '.+' : part.replaceAll('.', '\\.').replaceAll('*', '[^/]*')))
    .join('/');
  return new RegExp(`^${expression}$`).test(path);
}

/** Reads all source files below a folder. Throws when there are none: then nothing was checked. */
export function readSources(folder: string): SourceFile[] {
  const paths = [...new Bun.Glob('**/*.{ts,tsx,mts,js,mjs}').scanSync(folder)].sort();
  if (paths.length === 0) throw new Error(`no source files in ${folder}`);
  return paths.map((path) => ({ path, text: readFileSync(join(folder, path), 'utf8') }));
}

function main(folder = join(import.meta.dir, '..', 'src')): void {
  const files = readSources(folder);
  const violations = findViolations(files);
  for (const { path, line, message } of violations) {
    process.stdout.write(`src/${path}:${line}: ${message}\n`);
  }
  process.stdout.write(`${files.length} files, ${violations.length} violations\n`);
  process.exitCode = violations.length === 0 ? 0 : 1;
}

if (import.meta.main) main(process.argv[2]);
