/**
 * Unpacks database servers for tests and benchmarks that the distribution does not have:
 *
 *   scripts/run servers [mysql] [mariadb-11]        default: mysql
 *
 * Debian's tools fetch and check the packages, into a folder of their own: nothing of the machine changes, and
 * no rights are needed. What is there already is kept; to have it anew, remove its folder. About 10 s.
 */

import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import {
  findServer,
  isUnpacked,
  SERVER_PACKAGES,
  serversFolder,
  type UnpackedServer,
  unpackedFolder,
} from './server-packages.ts';

const SUITE = 'unstable';
const KEYRINGS = ['gpg', 'pgp'].map((end) => `/usr/share/keyrings/debian-archive-keyring.${end}`);
const COMMAND_DEADLINE_MS = 300_000;
/** Packages that only scripts need, which are not run. */
const UNUSED_PACKAGE =
  /^(perl|libperl|libdb5|libgdbm|galera|lib.*-perl_|systemd|psmisc|rsync|socat|gawk|lsof|passwd)/;
const UNUSED_FOLDERS = ['usr/share/doc', 'usr/share/man', 'usr/share/locale', 'usr/include', 'var'];

process.exitCode = main(process.argv.slice(2));

function main(names: readonly string[]): number {
  const wanted = names.length === 0 ? ['mysql'] : names;
  return wanted.map(install).every(Boolean) ? 0 : 1;
}

function install(name: string): boolean {
  if (!isKnown(name)) {
    say(`no such server: ${name}; there are ${Object.keys(SERVER_PACKAGES).join(', ')}`);
    return false;
  }
  if (isUnpacked(name)) return true;
  const missing = missingTool();
  if (missing !== undefined) {
    say(`${name} cannot be installed here: ${missing}`);
    return false;
  }
  const begun = performance.now();
  mkdirSync(serversFolder(), { recursive: true, mode: 0o755 });
  const work = mkdtempSync(join(serversFolder(), 'partial-'));
  chmodSync(work, 0o755);
  try {
    unpack(SERVER_PACKAGES[name], work);
    publish(join(work, 'root'), unpackedFolder(name));
  } catch (error) {
    say(`${name} cannot be installed here: ${error instanceof Error ? error.message : error}`);
    return false;
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
  const seconds = ((performance.now() - begun) / 1000).toFixed(1);
  say(`Installed ${name} ${findServer(name)?.version ?? ''} for tests in ${seconds} s.`);
  return true;
}

function isKnown(name: string): name is UnpackedServer {
  return Object.hasOwn(SERVER_PACKAGES, name);
}

function missingTool(): string | undefined {
  for (const tool of ['apt-get', 'dpkg-deb']) if (Bun.which(tool) === null) return `no ${tool}`;
  return KEYRINGS.some(existsSync) ? undefined : 'no debian-archive-keyring';
}

/** Where this machine gets its packages from; what is newer is there, too. */
function archive(): string {
  const fields = ['Created-By: Packages', 'Component: main'];
  const found = run(['apt-get', 'indextargets', '--format', '$(REPO_URI)', ...fields]).split('\n');
  const uri = found.find((each) => each !== '' && !each.includes('security'));
  if (uri === undefined) throw new Error("no archive of Debian among apt's sources");
  return uri;
}

/** Fetches packages and all they need, as if nothing were installed, and unpacks them into `work/root`. */
function unpack(packages: readonly string[], work: string): void {
  const configuration = writeConfiguration(work);
  const apt = ['apt-get', '-q', '-y'];
  run([...apt, 'update'], configuration);
  run([...apt, 'install', '--download-only', ...packages, 'libc6'], configuration);
  const root = join(work, 'root');
  mkdirSync(root);
  const archives = join(work, 'cache/archives');
  for (const file of readdirSync(archives)) {
    if (!file.endsWith('.deb') || UNUSED_PACKAGE.test(file)) continue;
    run(['dpkg-deb', '-x', join(archives, file), root]);
  }
  for (const folder of UNUSED_FOLDERS) rmSync(join(root, folder), { recursive: true, force: true });
  run(['chmod', '-R', 'a+rX', root]);
}

/** Settings of apt that keep it inside our folder. Returns the file. */
function writeConfiguration(work: string): string {
  for (const folder of ['lists/partial', 'cache/archives/partial', 'empty']) {
    mkdirSync(join(work, folder), { recursive: true });
  }
  const keyring = KEYRINGS.find(existsSync);
  writeFileSync(join(work, 'status'), '');
  const source = `deb [signed-by=${keyring}] ${archive()} ${SUITE} main\n`;
  writeFileSync(join(work, 'sources.list'), source);
  const settings = {
    Dir: work,
    'Dir::Etc::sourcelist': join(work, 'sources.list'),
    'Dir::Etc::sourceparts': join(work, 'empty'),
    'Dir::Etc::parts': join(work, 'empty'),
    'Dir::Etc::preferencesparts': join(work, 'empty'),
    'Dir::State': work,
    'Dir::State::status': join(work, 'status'),
    'Dir::Cache': join(work, 'cache'),
    'APT::Install-Recommends': 'false',
    'APT::Sandbox::User': '',
    'Acquire::Languages': 'none',
    // A mirror that is some days behind has packages that are as good; their signatures are checked.
    'Acquire::Check-Valid-Until': 'false',
    'Acquire::Retries': '3',
  };
  const lines = Object.entries(settings).map(([name, value]) => `${name} "${value}";\n`);
  const file = join(work, 'apt.conf');
  writeFileSync(file, lines.join(''));
  return file;
}

function run([program = '', ...args]: readonly string[], aptConfiguration?: string): string {
  const result = spawnSync(program, args, {
    encoding: 'utf8',
    timeout: COMMAND_DEADLINE_MS,
    env: { ...process.env, LC_ALL: 'C', ...(aptConfiguration && { APT_CONFIG: aptConfiguration }) },
  });
  if (result.status === 0) return result.stdout;
  const said = `${result.stdout ?? ''}${result.stderr ?? ''}`.trim().split('\n').at(-1);
  throw new Error(`${program} ${args[0] ?? ''}: ${result.error?.message ?? said}`);
}

/** Whoever comes second takes the first one's. */
function publish(partial: string, folder: string): void {
  try {
    renameSync(partial, folder);
  } catch (error) {
    if (!existsSync(folder)) throw error;
  }
}

function say(text: string): void {
  process.stderr.write(`${text}\n`);
}
