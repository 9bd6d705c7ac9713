/**
 * A folder that cannot outlive us. A keeper is a tiny shell that waits on a pipe which only we hold.
 * When we end, in whatever way (SIGKILL included), the kernel closes the pipe; the keeper then ends
 * the processes that are named in the folder and removes it. They are named by the first line of
 * `data/postmaster.pid`, which PostgreSQL keeps itself, and of `process.pid`, for any other program.
 * Both are read at that moment, so a restart needs no notice. Where the folder may be gone before that
 * (somebody else removes it), the keeper is told the process as soon as there is one.
 */

import { spawn } from 'node:child_process';
import { Writable } from 'node:stream';

/** The shell leaves a copy of itself behind, so that nobody who ends our children ends the keeper. */
const SCRIPT = `
{
  told=
  while read -r word pid <&3; do
    case $word in
      release) exit 0 ;;
      process) told=$pid ;;
    esac
  done
  [ -n "$told" ] && kill -KILL "$told" 2>/dev/null
  other=$(head -n 1 "$1/process.pid" 2>/dev/null) && kill -KILL "$other" 2>/dev/null
  pid_file="$1/data/postmaster.pid"
  pid=$(head -n 1 "$pid_file" 2>/dev/null) && kill -QUIT "$pid" 2>/dev/null
  turn=0
  while [ -f "$pid_file" ] && [ "$turn" -lt 100 ]; do sleep 0.05; turn=$((turn + 1)); done
  [ -f "$pid_file" ] && kill -KILL "$pid" 2>/dev/null
  rm -rf "$1"
} &
`;

export interface Keeper {
  /** The folder is gone or in other hands: the keeper leaves without touching it. */
  release(): void;
  /** The process that must not outlive us, even when the folder is gone; undefined: there is none now. */
  watch(pid: number | undefined): void;
}

/** Starts a keeper for a folder that we made. The pipe is not its standard input, which ends with the first shell. */
export function keepFolder(folder: string): Keeper {
  const child = spawn('sh', ['-c', SCRIPT, 'keeper', folder], {
    cwd: '/',
    detached: true,
    stdio: ['ignore', 'ignore', 'ignore', 'pipe'],
  });
  const pipe = child.stdio[3];
  if (!(pipe instanceof Writable)) throw new Error('no pipe to the keeper of a folder');
  pipe.on('error', () => undefined);
  child.unref();
  // A pipe is a socket to Node.js, and an open socket keeps a process running.
  if ('unref' in pipe && typeof pipe.unref === 'function') pipe.unref();
  return {
    release: () => void pipe.end('release\n'),
    watch: (pid) => void pipe.write(`process ${pid ?? ''}\n`),
  };
}
