/**
 * Makes sure that node_modules is what package-lock.json says, and prints the path of Bun.
 * Plain Node.js without dependencies: it runs before anything is installed.
 *
 * A stamp inside node_modules holds the hash of the lock file that it was made from. Without a
 * stamp (somebody ran npm by hand) npm's own record of what it installed is compared, so that a good
 * folder is never thrown away.
 */

import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const NODE_MAJOR_MIN = 20;
/** npm leaves a small script in place of Bun when install scripts are switched off. */
const BUN_LENGTH_MIN = 1024 * 1024;

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const modules = join(root, 'node_modules');
const stampFile = join(modules, '.berth-stamp');
const bunFile = join(modules, 'bun', 'bin', 'bun.exe');

main();

function main() {
  if (Number.parseInt(process.versions.node, 10) < NODE_MAJOR_MIN) {
    fail(`Node.js ${NODE_MAJOR_MIN} or later is needed, this is ${process.versions.node}`);
  }
  const stamp = currentStamp();
  if (readStamp() !== stamp) {
    if (!isInstalled()) install();
    writeStamp(stamp);
  }
  ensureBun();
  process.stdout.write(`${bunFile}\n`);
}

function currentStamp() {
  const lock = readFileSync(join(root, 'package-lock.json'));
  const hash = createHash('sha256').update(lock).update(`${process.platform} ${process.arch}`);
  return hash.digest('hex');
}

function readStamp() {
  return existsSync(stampFile) ? readFileSync(stampFile, 'utf8').trim() : undefined;
}

function writeStamp(stamp) {
  try {
    writeFileSync(stampFile, `${stamp}\n`);
  } catch {
    // A read-only checkout that is complete: it is compared again next time.
  }
}

/** True when npm's record of node_modules has every package of the lock file that it must have. */
function isInstalled() {
  const record = readPackages(join(modules, '.package-lock.json'));
  const wanted = readPackages(join(root, 'package-lock.json'));
  if (record === undefined || wanted === undefined) return false;
  return Object.entries(wanted).every(([path, { version, optional }]) => {
    if (path === '') return true;
    const isThere = existsSync(join(root, path, 'package.json'));
    return isThere ? record[path]?.version === version : optional === true;
  });
}

function readPackages(file) {
  return existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')).packages : undefined;
}

/**
 * `npm install --no-save` takes versions and checksums from the lock file; it
 * does not insist that the lock file names the optional packages of every other platform, which
 * not every registry has. The result is compared with the lock file afterwards.
 */
function install() {
  process.stderr.write('Installing dependencies with npm ...\n');
  const started = Date.now();
  const args = ['install', '--no-save', '--include=dev', '--include=optional'];
  const result = spawnSync('npm', args, { cwd: root, encoding: 'utf8' });
  if (result.error) fail(`npm does not start: ${result.error.message}`);
  if (result.status !== 0) fail(`npm install failed\n${result.stdout}${result.stderr}`);
  if (!isInstalled()) fail('npm installed something else than package-lock.json says');
  const seconds = ((Date.now() - started) / 1000).toFixed(1);
  process.stderr.write(`Installed in ${seconds} s.\n`);
}

/** Does what the install script of Bun's package does, where npm was told not to run it. */
function ensureBun() {
  if (hasBun()) return;
  const script = join(modules, 'bun', 'install.js');
  const result = spawnSync(process.execPath, [script], { cwd: dirname(script), encoding: 'utf8' });
  if (!hasBun()) fail(`Bun is not available on this platform\n${result.stdout}${result.stderr}`);
}

function hasBun() {
  return existsSync(bunFile) && statSync(bunFile).size >= BUN_LENGTH_MIN;
}

function fail(message) {
  process.stderr.write(`scripts/run: ${message}\n`);
  process.exit(1);
}
