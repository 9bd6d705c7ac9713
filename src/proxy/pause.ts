/**
 * Pauses a proxy, for a database that is to be restarted, upgraded or replaced: no transaction begins,
 * those that run end, and then the database has no connection of the proxy any more. Clients stay connected,
 * and who asks for something waits for his turn, for ConnectionBorrowTimeout at most.
 *
 * Transactions that do not end in time are not cut: then the pause has failed and clients are served
 * again, unless it is kept. A pause is the process's own: one that starts anew serves at once.
 */

import { Timer, type TimerWheel } from '../base/timer-wheel.ts';
import type { Engine } from '../engine/contract.ts';
import type {
  PauseDescription,
  PauseFailure,
  PauseState,
  SessionDescription,
} from '../observe/descriptions.ts';
import type { Observer } from '../observe/events.ts';
import type { ProxyTarget } from './proxy-target.ts';

/** Sessions that are described; of more only the number is told. */
const HOLDERS_DESCRIBED = 100;
/** Sessions that a line of the log names. */
const HOLDERS_TOLD = 5;

export interface PauseOptions {
  /** For the transactions that run. */
  readonly timeoutMs: number;
  /** After that time it goes on waiting. */
  readonly isKept: boolean;
}

interface Parts {
  readonly proxy: string;
  readonly engine: Pick<Engine, 'hold' | 'letGo' | 'describeHolders' | 'usage'>;
  readonly target: Pick<ProxyTarget, 'suspend' | 'resume'>;
  readonly wheel: TimerWheel;
  readonly observer: Observer;
}

/** What lasts from `begin` to `end`. */
interface Attempt extends PauseOptions {
  /** Milliseconds since 1970. */
  readonly since: number;
  /** Milliseconds of `performance.now()`. */
  readonly startedAt: number;
  isHeld: boolean;
}

export class Pause {
  private readonly parts: Parts;
  private readonly deadline = new Timer(() => this.overdue());
  private attempt: Attempt | undefined = undefined;
  private failure: PauseFailure | undefined = undefined;

  constructor(parts: Parts) {
    this.parts = parts;
  }

  get state(): PauseState {
    if (this.attempt === undefined) return 'RUNNING';
    return this.attempt.isHeld ? 'PAUSED' : 'PAUSING';
  }

  /** Does nothing when it has begun already. */
  begin({ timeoutMs, isKept }: PauseOptions): void {
    if (this.attempt !== undefined) return;
    const { proxy, engine, target, wheel, observer } = this.parts;
    const startedAt = performance.now();
    const attempt = { timeoutMs, isKept, since: Date.now(), startedAt, isHeld: false };
    this.attempt = attempt;
    this.failure = undefined;
    observer.emit({ event: 'proxy.pausing', proxy, timeoutMs });
    wheel.arm(this.deadline, timeoutMs);
    target.suspend();
    engine.hold(() => {
      wheel.disarm(this.deadline);
      attempt.isHeld = true;
      observer.emit({ event: 'proxy.paused', proxy, tookMs: elapsed(attempt) });
    });
  }

  /** Does nothing when it has not begun. */
  end(): void {
    const { attempt, parts } = this;
    this.failure = undefined;
    if (attempt === undefined) return;
    const { proxy, engine, observer } = parts;
    const { waiting } = engine.usage;
    observer.emit({ event: 'proxy.resumed', proxy, heldMs: elapsed(attempt), waiting });
    this.letGo();
  }

  /** The proxy is stopping. */
  stop(): void {
    this.parts.wheel.disarm(this.deadline);
  }

  describe(): PauseDescription {
    const { proxy, engine } = this.parts;
    const { attempt, failure, state } = this;
    const { waiting } = engine.usage;
    const { connections, holders } = this.inUse;
    return { proxy, state, since: attempt?.since, waiting, connections, holders, failure };
  }

  private get inUse() {
    const { engine } = this.parts;
    const { connections } = engine.usage;
    return { connections, holders: engine.describeHolders(HOLDERS_DESCRIBED) };
  }

  private letGo(): void {
    this.parts.wheel.disarm(this.deadline);
    this.attempt = undefined;
    const { engine, target } = this.parts;
    target.resume(() => engine.letGo());
  }

  private overdue(): void {
    const { attempt, inUse, parts } = this;
    if (attempt === undefined) return;
    const { timeoutMs, isKept } = attempt;
    const { proxy, observer } = parts;
    const detail = describe(inUse);
    observer.emit({ event: 'proxy.pause_overdue', proxy, timeoutMs, isKept, detail });
    if (isKept) return;
    this.failure = { at: Date.now(), timeoutMs, ...inUse };
    this.letGo();
  }
}

function elapsed({ startedAt }: Attempt): number {
  return Math.round(performance.now() - startedAt);
}

function describe({ connections, holders }: Pick<PauseFailure, 'connections' | 'holders'>): string {
  const { items, total } = holders;
  if (total === 0) return `No session holds a connection, but ${connections} are not closed yet.`;
  const told = items.slice(0, HOLDERS_TOLD).map(describeHolder).join(', ');
  const rest = total > HOLDERS_TOLD ? ` and ${total - HOLDERS_TOLD} more` : '';
  return `A connection is held by ${told}${rest}.`;
}

function describeHolder({ clientConnection, user, state, pin }: SessionDescription): string {
  const pinned = pin === undefined ? '' : `, pinned by ${pin.reason}`;
  return `client connection ${clientConnection} (user ${user}, ${state}${pinned})`;
}
