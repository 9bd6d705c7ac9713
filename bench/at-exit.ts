/**
 * What must not outlive us: processes that we started and folders that we made. Runs when the
 * process ends by itself, by Ctrl-C or by SIGTERM.
 */

const tasks = new Set<() => void>();
const SIGNAL_EXIT_CODES = { SIGINT: 130, SIGTERM: 143 } as const;

/** Registers a synchronous task; the result takes it back. */
export function atExit(task: () => void): () => void {
  listen();
  tasks.add(task);
  return () => tasks.delete(task);
}

let isListening = false;

function listen(): void {
  if (isListening) return;
  isListening = true;
  process.once('exit', () => {
    for (const task of tasks) task();
  });
  process.once('SIGINT', () => process.exit(SIGNAL_EXIT_CODES.SIGINT));
  process.once('SIGTERM', () => process.exit(SIGNAL_EXIT_CODES.SIGTERM));
}
