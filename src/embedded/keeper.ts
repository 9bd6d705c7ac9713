/**
 * A folder that cannot outlive us. A keeper is a tiny shell that waits on a pipe which only we hold.
 * When we end, in whatever way (SIGKILL included), the kernel closes the pipe; the keeper then stops
 * the PostgreSQL whose data is in the folder, if one runs, and removes the folder.
 * It reads the process id from the data directory at that moment, so a restart needs no notice.
 */

import { spawn } from 'node:child_process';

const SCRIPT = `
read -r word && [ "$word" = release ] && exit 0
pid_file="$1/data/postmaster.pid"
pid=$(head -n 1 "$pid_file" 2>/dev/null) && kill -QUIT "$pid" 2>/dev/null
turn=0
while [ -f "$pid_file" ] && [ "$turn" -lt 100 ]; do sleep 0.05; turn=$((turn + 1)); done
[ -f "$pid_file" ] && kill -KILL "$pid" 2>/dev/null
rm -rf "$1"
`;

export interface Keeper {
  /** The folder is gone or in other hands: the keeper leaves without touching it. */
  release(): void;
}

/** Starts a keeper for a folder that we made. */
export function keepFolder(folder: string): Keeper {
  const child = spawn('sh', ['-c', SCRIPT, 'keeper', folder], {
    cwd: '/',
    detached: true,
    stdio: ['pipe', 'ignore', 'ignore'],
  });
  child.stdin.on('error', () => undefined);
  child.unref();
  return { release: () => void child.stdin.end('release\n') };
}
