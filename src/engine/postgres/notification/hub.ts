/**
 * Listens on one database for all clients of a proxy: one connection, opened when somebody first needs
 * it, which listens to every channel that any of them listens to. What the database notifies goes to
 * each who listens to the channel. When the connection is lost it is opened again and listens to
 * the same channels; what is notified in between is lost.
 *
 * The connection holds a permit of the budget like any other. It runs nothing of a client's.
 */

import { Timer, type TimerWheel } from '../../../base/timer-wheel.ts';
import { OPEN_SOCKETS } from '../../../net/open-sockets.ts';
import type { Stream } from '../../../net/stream.ts';
import type { Observer } from '../../../observe/events.ts';
import { Backoff } from '../../../pool/backoff.ts';
import type { ConnectionBudget, PermitClaim } from '../../../pool/budget.ts';
import type { OpenFailure, PoolSettings } from '../../../pool/contract.ts';
import type { ConnectionFacts } from '../database-connection.ts';
import { DatabaseLogin, type LoginIdentity } from '../login/database-login.ts';
import type { TargetContext } from '../target-context.ts';
import { HEADER_BYTES, int32At } from '../wire/messages.ts';
import { ListeningConnection, type ListeningHost } from './listening-connection.ts';

const APPLICATION_NAME = 'berth-listener';
/** How long a client's LISTEN waits for the listening connection; then the session is pinned instead. */
export const LISTEN_WAIT_MS = 5_000;
/** How long an answer is held back for the notifications that belong before it. */
const CATCH_UP_MS = 1_000;
/** How long the connection goes on listening to what nobody listens to any more. */
const UNUSED_KEPT_MS = 10_000;
/** To listen must leave connections to work with. */
const CONNECTIONS_LEFT_MIN = 1;
/** The database must not end a connection that only waits. Not every version has the setting. */
const NEVER_TOO_IDLE = `SELECT pg_catalog.set_config(name, '0', false) FROM pg_catalog.pg_settings
  WHERE name OPERATOR(pg_catalog.=) 'idle_session_timeout'`;

/** Somebody who gets the notifications of channels. */
export interface Listener {
  /** As whom it may listen. */
  readonly user: string;
  notified(channel: string, message: Buffer): void;
  /** There is no more for now. */
  rested(): void;
}

/** What a hub needs of its engine. */
export interface HubHost {
  readonly proxy: string;
  readonly wheel: TimerWheel;
  readonly observer: Observer;
  /** Where the writer is; undefined while there is none. */
  readonly place: HubPlace | undefined;
  readonly poolSettings: PoolSettings;
  /** `undefined` when the proxy has no credentials for the user any more. */
  identityOf(user: string): Pick<LoginIdentity, 'user' | 'password' | 'trial'> | undefined;
}

export interface HubPlace {
  readonly target: TargetContext;
  readonly budget: ConnectionBudget;
}

/** All hubs of an engine. */
export interface HubSiblings {
  /** How many of them have a permit, or wait for one. */
  readonly permits: number;
}

interface Channel {
  readonly listeners: Set<Listener>;
  /** The connection, as it is now, has been told to listen; and the database has confirmed it. */
  isAsked: boolean;
  isHeard: boolean;
}

export class NotificationHub implements ListeningHost {
  readonly database: string;
  /** As whom it has logged in. */
  user = '';
  private lastUser = '';
  /** How many clients listen to how many channels; kept by the clients' subscriptions. */
  subscriptions = 0;
  /** The encoding of names and payloads: what the connection was given. */
  encoding: string | undefined = undefined;
  private readonly host: HubHost;
  private readonly siblings: HubSiblings;
  private readonly channels = new Map<string, Channel>();
  private readonly waits = new Set<HubWait>();
  /** Who is to be told that there is no more for now. */
  private readonly touched = new Set<Listener>();
  /** By the process id that the database has for a session's connection: the one that its client has. */
  private readonly authors = new Map<number, number>();
  private readonly backoff = new Backoff();
  private readonly retry = new Timer(() => this.open());
  private readonly sweep = new Timer(() => this.dropUnused());
  private claim: PermitClaim | undefined = undefined;
  private login: DatabaseLogin | undefined = undefined;
  private connection: ListeningConnection | undefined = undefined;
  /** Of the connection that it has, or opens. */
  private target = '';
  private isClosing = false;
  private isHeld = false;
  private isStopped = false;
  private stopped: (() => void) | undefined = undefined;

  constructor(database: string, host: HubHost, siblings: HubSiblings) {
    this.database = database;
    this.host = host;
    this.siblings = siblings;
  }

  /** Has a permit, or waits for one. */
  get hasPermit(): boolean {
    return this.claim !== undefined;
  }

  get isConnected(): boolean {
    return this.connection !== undefined;
  }

  // --- What clients' subscriptions ask

  /** From now on `listener` is told what is notified on `channel`, once the connection listens. */
  join(name: string, listener: Listener): void {
    let channel = this.channels.get(name);
    if (channel === undefined) {
      channel = { listeners: new Set(), isAsked: false, isHeard: false };
      this.channels.set(name, channel);
    }
    channel.listeners.add(listener);
    this.lastUser = listener.user;
  }

  leave(name: string, listener: Listener): void {
    const channel = this.channels.get(name);
    channel?.listeners.delete(listener);
    if (channel?.listeners.size !== 0 || this.sweep.isArmed || this.isStopped) return;
    this.wheel.arm(this.sweep, UNUSED_KEPT_MS);
  }

  hears(names: Iterable<string>): boolean {
    for (const name of names) if (this.channels.get(name)?.isHeard !== true) return false;
    return true;
  }

  /**
   * Begins to listen to channels that somebody has joined. `answer` is called once, with whether the
   * connection listens to all of them; not before this returns, and not after `HubWait.abandon`.
   */
  whenHeard(names: readonly string[], answer: (isHeard: boolean) => void): HubWait {
    const wait = new HubWait(names, answer, (done) => {
      this.waits.delete(done);
      this.wheel.disarm(done.timer);
    });
    this.waits.add(wait);
    this.wheel.arm(wait.timer, LISTEN_WAIT_MS);
    if (this.isStopped || (this.claim === undefined && !this.isThereRoom)) {
      queueMicrotask(() => wait.end(false));
    } else if (this.connection === undefined) {
      this.open();
    } else {
      this.listenTo(names);
    }
    return wait;
  }

  /**
   * Calls `done` when everything has been read that the database has notified so far; after a while
   * in any case, and not before this returns.
   */
  catchUp(done: () => void): void {
    let isDone = false;
    const end = () => {
      if (isDone) return;
      isDone = true;
      this.wheel.disarm(timer);
      done();
    };
    const timer = new Timer(end);
    this.wheel.arm(timer, CATCH_UP_MS);
    if (this.connection === undefined) queueMicrotask(end);
    else this.connection.run('', end);
  }

  /** What the database process `processId` notifies comes from the client that knows itself as `as`. */
  authorBegan(processId: number, as: number): void {
    this.authors.set(processId, as);
  }

  authorEnded(processId: number): void {
    this.authors.delete(processId);
  }

  // --- The engine

  /** Opens the connection anew: what it was opened with has changed. */
  renew(): void {
    this.closeConnection();
    this.openAgain(0);
  }

  /** Where to listen is another place now; there is no point in waiting for the former one. */
  move(): void {
    this.backoff.succeeded();
    if (this.connection !== undefined) this.connection.destroy('its DB instance is not the writer');
    else if (!this.isClosing) this.giveUp();
    this.openAgain(0);
  }

  /** Closes the connection, once it has been read what was notified up to now, and opens none until `letGo`. */
  hold(): void {
    this.isHeld = true;
    this.wheel.disarm(this.retry);
    this.catchUp(() => {
      if (this.isHeld) this.closeConnection();
    });
  }

  /** Listens again. */
  letGo(): void {
    this.isHeld = false;
    this.wheel.disarm(this.retry);
    this.backoff.succeeded();
    if (this.connection === undefined) this.open();
  }

  /** Resolves when the connection is gone. */
  stop(): Promise<void> {
    this.isStopped = true;
    this.wheel.disarm(this.retry);
    this.wheel.disarm(this.sweep);
    this.refuse();
    this.closeConnection();
    if (this.claim === undefined) return Promise.resolve();
    return new Promise((resolve) => {
      this.stopped = resolve;
    });
  }

  // --- The connection

  private get wheel() {
    return this.host.wheel;
  }

  private get scope() {
    return { proxy: this.host.proxy, target: this.target, database: this.database };
  }

  /** What somebody listens to. */
  get neededNames(): readonly string[] {
    const names: string[] = [];
    for (const [name, { listeners }] of this.channels) if (listeners.size > 0) names.push(name);
    return names;
  }

  private get isNeeded(): boolean {
    for (const { listeners } of this.channels.values()) if (listeners.size > 0) return true;
    return false;
  }

  private get isThereRoom(): boolean {
    const { place } = this.host;
    // Without a writer there may be soon, and the client waits for a while.
    return place === undefined || place.budget.limit - this.siblings.permits > CONNECTIONS_LEFT_MIN;
  }

  private open(): void {
    if (this.claim !== undefined || this.retry.isArmed || this.isHeld || this.isStopped) return;
    // See `move`.
    const { place } = this.host;
    if (place === undefined || !this.isNeeded) return;
    this.target = place.target.target;
    // The permit may be there before `claim` returns.
    this.claim = place.budget.claim(() => queueMicrotask(() => this.logIn(place.target)));
  }

  private logIn(target: TargetContext): void {
    const isOvertaken = this.login !== undefined || this.host.place?.target !== target;
    if (this.claim === undefined || isOvertaken || this.isStopped) return;
    const startedAt = this.wheel.now;
    if (!OPEN_SOCKETS.mayConnect) {
      this.giveUp();
      this.wheel.arm(this.retry, this.host.poolSettings.backoffMaxMs);
      return;
    }
    this.user = this.userForLogin();
    const identity = this.host.identityOf(this.user);
    const whole = identity && {
      ...identity,
      database: this.database,
      applicationName: APPLICATION_NAME,
      initQuery: undefined,
    };
    this.login = new DatabaseLogin(target, whole, {
      opened: (stream, facts) => this.opened(stream, facts),
      failed: (failure) => queueMicrotask(() => this.failed(failure, startedAt)),
    });
  }

  /** One of those who listen, preferably who came last; the proxy may know some of them no more. */
  private userForLogin(): string {
    let chosen = this.lastUser;
    for (const { listeners } of this.channels.values()) {
      for (const { user } of listeners) {
        if (this.host.identityOf(user) === undefined) continue;
        if (user === this.lastUser) return user;
        chosen = user;
      }
    }
    return chosen;
  }

  private failed(failure: OpenFailure, startedAt: number): void {
    if (this.login === undefined) return;
    const { observer, poolSettings } = this.host;
    const { isTemporary, detail } = failure;
    const { user } = this;
    const event = 'connection.open_failed';
    observer.emit({ ...this.scope, event, user, isTemporary, detail });
    this.giveUp();
    if (!isTemporary) this.refuse();
    const { now } = this.wheel;
    this.backoff.failed(failure, { startedAt, now }, poolSettings, Math.random);
    this.openAgain(this.backoff.retryAt - now);
  }

  private opened(stream: Stream, facts: ConnectionFacts): void {
    this.login = undefined;
    this.backoff.succeeded();
    this.encoding = facts.parameters.get('client_encoding');
    const connection = new ListeningConnection(stream, this.wheel, this);
    this.connection = connection;
    connection.run(NEVER_TOO_IDLE, () => {});
    this.listenTo([...this.channels.keys()]);
    const channels = this.channels.size;
    this.host.observer.emit({ ...this.scope, event: 'listener.opened', channels });
  }

  private listenTo(names: readonly string[]): void {
    const { connection } = this;
    const asked = names.filter((name) => this.channels.get(name)?.isAsked === false);
    if (connection === undefined || asked.length === 0) return;
    for (const name of asked) this.mark(name, { isAsked: true });
    connection.run(asked.map((name) => `LISTEN ${quoted(name)}`).join(';'), (isOk) => {
      if (this.connection !== connection) return;
      if (isOk) this.heard(asked);
      else this.unheard(asked);
    });
  }

  private mark(name: string, state: Partial<Pick<Channel, 'isAsked' | 'isHeard'>>): void {
    const channel = this.channels.get(name);
    if (channel !== undefined) Object.assign(channel, state);
  }

  private heard(names: readonly string[]): void {
    for (const name of names) this.mark(name, { isHeard: true });
    for (const wait of [...this.waits]) if (this.hears(wait.names)) wait.end(true);
  }

  /** A standby refuses to listen, for example. Clients are told by the database itself. */
  private unheard(names: readonly string[]): void {
    for (const name of names) this.mark(name, { isAsked: false });
    for (const wait of [...this.waits]) {
      if (wait.names.some((name) => names.includes(name))) wait.end(false);
    }
    if (this.isNeeded) this.connection?.destroy('the database refused LISTEN');
  }

  private refuse(): void {
    for (const wait of [...this.waits]) wait.end(false);
  }

  private openAgain(delayMs: number): void {
    if (this.isNeeded && !this.isHeld && !this.isStopped) this.wheel.arm(this.retry, delayMs);
  }

  private dropUnused(): void {
    const unused = [...this.channels].filter(([, { listeners }]) => listeners.size === 0);
    for (const [name] of unused) this.channels.delete(name);
    if (this.channels.size === 0) this.closeConnection();
    const asked = unused.filter(([, { isAsked }]) => isAsked).map(([name]) => name);
    if (this.connection === undefined || asked.length === 0) return;
    const sql = asked.map((name) => `UNLISTEN ${quoted(name)}`).join(';');
    this.connection.run(sql, () => {});
  }

  private closeConnection(): void {
    const { connection } = this;
    if (connection === undefined) {
      if (!this.isClosing) this.giveUp();
      return;
    }
    this.disconnected();
    this.isClosing = true;
    connection.close();
  }

  private disconnected(): void {
    this.connection = undefined;
    for (const name of this.channels.keys()) this.mark(name, { isAsked: false, isHeard: false });
  }

  /** Gives an attempt to connect up. */
  private giveUp(): void {
    const { login } = this;
    this.login = undefined;
    login?.abandon();
    this.returnPermit();
  }

  private returnPermit(): void {
    const { claim } = this;
    this.claim = undefined;
    claim?.release();
    this.stopped?.();
  }

  // --- What the connection says

  /** NotificationResponse: Int32 process id, the channel, the payload. */
  notified(message: Buffer): void {
    const nameAt = HEADER_BYTES + 4;
    const nameEnd = message.indexOf(0, nameAt);
    if (nameEnd < 0) return;
    const name = message.toString('latin1', nameAt, nameEnd);
    const channel = this.channels.get(name);
    if (channel === undefined) return;
    const author = this.authors.get(int32At(message, HEADER_BYTES));
    if (author !== undefined) message.writeInt32BE(author, HEADER_BYTES);
    for (const listener of channel.listeners) {
      listener.notified(name, message);
      this.touched.add(listener);
    }
  }

  rested(): void {
    if (this.touched.size === 0) return;
    const listeners = [...this.touched];
    this.touched.clear();
    for (const listener of listeners) listener.rested();
  }

  closed(detail: string): void {
    const { observer } = this.host;
    const channels = this.channels.size;
    if (this.isClosing) observer.emit({ ...this.scope, event: 'listener.closed' });
    else observer.emit({ ...this.scope, event: 'listener.lost', channels, detail });
    this.isClosing = false;
    this.disconnected();
    this.returnPermit();
    this.openAgain(0);
  }
}

/** Somebody who waits until a hub listens. */
export class HubWait {
  readonly names: readonly string[];
  readonly timer: Timer;
  private answer: ((isHeard: boolean) => void) | undefined;
  private readonly ended: (wait: HubWait) => void;

  constructor(
    names: readonly string[],
    answer: (isHeard: boolean) => void,
    ended: (wait: HubWait) => void,
  ) {
    this.names = names;
    this.answer = answer;
    this.ended = ended;
    this.timer = new Timer(() => this.end(false));
  }

  end(isHeard: boolean): void {
    const { answer } = this;
    this.abandon();
    answer?.(isHeard);
  }

  abandon(): void {
    this.answer = undefined;
    this.ended(this);
  }
}

/** As an identifier in SQL. */
function quoted(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}
