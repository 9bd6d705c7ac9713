/** The import check itself, on made-up files: what it must find, and what it must leave alone. */

import { describe, expect, test } from 'bun:test';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { findImports, findViolations, readSources } from '../../../scripts/check-imports.ts';

/** The complaints about one file. */
function complaints(path: string, text: string): string[] {
  return findViolations([{ path, text }]).map(({ line, message }) => `${line}: ${message}`);
}

describe('refuses', () => {
  const refused: readonly (readonly [path: string, text: string, message: string])[] = [
    ['base/deque.ts', "import { a } from '../pool/pool.ts';", 'base may not import pool'],
    ['sql/lexer.ts', "import type { A } from '../proxy/proxy.ts';", 'sql may not import proxy'],
    ['pool/pool.ts', "import { a } from '../engine/contract.ts';", 'pool may not import engine'],
    ['target/a.ts', "import { a } from '../engine/postgres/b.ts';", 'target may not import engine'],
    ['net/a.ts', "export * from '../observe/events.ts';", 'net may not import observe'],
    ['net/a.ts', "export { b } from '../observe/events.ts';", 'net may not import observe'],
    ['net/a.ts', "import '../observe/events.ts';", 'net may not import observe'],
    ['net/a.ts', "const b = await import('../observe/b.ts');", 'net may not import observe'],
    ['net/a.ts', "type B = import('../observe/b.ts').B;", 'net may not import observe'],
    ['net/a.ts', 'await import(`../observe/b.ts`);', 'net may not import observe'],
    ['net/a.ts', 'await import(path);', 'a path that is computed'],
    ['net/a.ts', 'await import(`../` + name);', 'a path that is computed'],
    ['proxy/a.ts', "import { b } from '../control/b.ts';", 'proxy may not import control'],
    ['control/a.ts', "import { b } from '../cli/b.ts';", 'control may not import cli'],
    ['control/a.ts', "import { b } from '../main.ts';", 'control may not import main.ts'],
    ['control/a.ts', "import { b } from '../engine/contract.ts';", 'never imports an engine'],
    ['control/http/a.ts', "import { b } from '../../pool/b.ts';", 'never imports pool'],
    ['control/a.ts', "import type { B } from '../net/b.ts';", 'never imports net'],
    ['engine/mysql/a.ts', "import { b } from '../postgres/b.ts';", 'never import each other'],
    [
      'engine/mysql/wire/a.ts',
      "import { b } from '../../postgres/wire/b.ts';",
      'never import each other',
    ],
    ['engine/mysql/wire/a.ts', "import { b } from '../session.ts';", 'may not import engine/mysql'],
    ['engine/contract.ts', "import { b } from './postgres/b.ts';", 'the contract knows no engine'],
    ['cli/serve.ts', "import { b } from '../embedded/postgres.ts';", 'for the demo and the tests'],
    ['compose.ts', "import { b } from './embedded/postgres.ts';", 'for the demo and the tests'],
    ['pool/a.ts', "import { b } from '../../test/harness/b.ts';", 'not part of the product'],
    ['pool/a.ts', "import { connect } from 'node:net';", 'only net opens sockets'],
    ['pool/a.ts', "import net from 'net';", 'only net opens sockets'],
    ['pool/a.ts', "import { isIP, connect } from 'node:net';", 'only net opens sockets'],
    ['pool/a.ts', "import * as tls from 'node:tls';", 'only net opens sockets'],
    ['pool/a.ts', "import { listen } from 'bun';", 'only net opens sockets'],
    ['pool/a.ts', "await import('node:tls');", 'only net opens sockets'],
    ['pool/a.ts', 'const socket = Bun.connect({});', 'only net opens sockets: Bun.connect'],
    ['cli/a.ts', 'Bun . listen({});', 'only net opens sockets'],
    ['attic/a.ts', '', 'in no room'],
  ];
  for (const [path, text, message] of refused) {
    test(`${path}: ${text}`, () => {
      const found = complaints(path, text);
      expect(found).toHaveLength(1);
      expect(found[0]).toContain(message);
    });
  }
});

describe('allows', () => {
  const allowed: readonly (readonly [path: string, text: string])[] = [
    ['pool/pool.ts', "import { a } from '../base/deque.ts';"],
    ['pool/pool.ts', "import type { Observer } from '../observe/events.ts';"],
    ['pool/pool.ts', "import { a } from './wait-queue.ts';"],
    ['engine/postgres/session.ts', "import { a } from './wire/messages.ts';"],
    ['engine/postgres/login/a.ts', "import { a } from '../session.ts';"],
    ['engine/postgres/session.ts', "import { a } from '../contract.ts';"],
    ['engine/postgres/session.ts', "import { a } from '../../pool/pool.ts';"],
    ['proxy/registry.ts', "import { a } from '../engine/postgres/engine.ts';"],
    ['control/a.ts', "import { a } from '../proxy/snapshot.ts';"],
    ['control/a.ts', "import { isIPv4, isIPv6 } from 'node:net';"],
    ['pool/a.ts', "import type { Socket } from 'node:net';"],
    ['net/a.ts', "import { connect } from 'node:net'; Bun.listen({});"],
    ['cli/demo.ts', "import { a } from '../embedded/postgres.ts';"],
    ['cli/demo/a.ts', "import { a } from '../../embedded/postgres.ts';"],
    ['embedded/a.ts', "import { a } from './account.ts';"],
    ['main.ts', "import { a } from '../package.json' with { type: 'json' };"],
    ['main.ts', 'await import(path);'],
    ['pool/a.ts', "import { z } from 'zod'; import { hash } from 'node:crypto';"],
    ['pool/a.ts', " * only net calls Bun.listen and import('../proxy/a.ts')"],
    ['pool/a.ts', 'const a = 1; // not Bun.connect'],
    ['pool/a.ts', '// import { a } from "../proxy/a.ts"'],
  ];
  for (const [path, text] of allowed) {
    test(`${path}: ${text}`, () => expect(complaints(path, text)).toEqual([]));
  }
});

test('an import over several lines is one import, at its end', () => {
  const text =
    "const a = 1;\nimport {\n  b,\n  type C,\n} from './b.ts';\nimport d from './d.ts';\n";
  expect(findImports(text)).toEqual([
    { specifier: './b.ts', names: ['b', 'C'], isTypeOnly: false, line: 5 },
    { specifier: './d.ts', names: ['d'], isTypeOnly: false, line: 6 },
  ]);
});

test('a folder without sources is an error, not a success', () => {
  const folder = mkdtempSync(join(tmpdir(), 'berth-empty-'));
  try {
    expect(() => readSources(folder)).toThrow('no source files');
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('the program ends with 1 on a violation', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'berth-imports-'));
  try {
    const script = join(import.meta.dir, '..', '..', '..', 'scripts', 'check-imports.ts');
    const run = () => Bun.spawnSync([process.execPath, script, folder]);
    expect(run().exitCode).toBe(1);
    await Bun.write(join(folder, 'base', 'a.ts'), 'export const a = 1;\n');
    expect(run().exitCode).toBe(0);
    await Bun.write(join(folder, 'base', 'b.ts'), "import { c } from '../pool/c.ts';\n");
    const result = run();
    expect(result.exitCode).toBe(1);
    expect(result.stdout.toString()).toContain('src/base/b.ts:1: base may not import pool');
  } finally {
    rmSync(folder, { recursive: true });
  }
});
