/** Waiting for something that must happen, for as long as that may reasonably take. */

/** What a test waits for one event, unless it says otherwise. Generous: a loaded machine is no failure. */
export const EVENT_DEADLINE_MS = 15_000;

/** The promise's outcome, or an error that says what did not happen in time. */
export async function within<T>(
  promise: Promise<T>,
  what: string | (() => string),
  deadlineMs = EVENT_DEADLINE_MS,
): Promise<T> {
  const { promise: late, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => {
    const text = typeof what === 'string' ? what : what();
    reject(new Error(`not within ${deadlineMs} ms: ${text}`));
  }, deadlineMs);
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** A list that is waited on: each `next` looks at what is there, then at what arrives. */
export class Arrivals<T> {
  readonly all: T[] = [];
  readonly #waiters = new Set<() => void>();

  push(item: T): void {
    this.all.push(item);
    this.wake();
  }

  /** Lets everyone who waits look again. */
  wake(): void {
    for (const waiter of [...this.#waiters]) waiter();
  }

  /** Resolves with the first defined answer of `look`, asked now and after each change. */
  async until<Answer>(
    look: () => Answer | undefined,
    what: string | (() => string),
    deadlineMs = EVENT_DEADLINE_MS,
  ): Promise<Answer> {
    const { promise, resolve, reject } = Promise.withResolvers<Answer>();
    const waiter = () => {
      try {
        const answer = look();
        if (answer !== undefined) resolve(answer);
      } catch (error) {
        reject(error);
      }
    };
    this.#waiters.add(waiter);
    waiter();
    try {
      return await within(promise, what, deadlineMs);
    } finally {
      this.#waiters.delete(waiter);
    }
  }
}
