/** The clients of one engine: those who are logging in, and the sessions, by the number that clients know. */

import { BerthError } from '../base/errors.ts';
import type { Listing, SessionDescription, SessionQuery } from '../observe/descriptions.ts';
import type { ClientCloseReason } from '../observe/reasons.ts';

export interface ClientLogin {
  /** Ends the login now. */
  stop(): void;
}

export interface ClientOfEngine {
  readonly isPinned: boolean;
  /** Tells of each statement. */
  isDebugLogged: boolean;
  /** Has a database connection now. */
  readonly isHolding: boolean;
  describe(): SessionDescription;
  drain(): void;
  close(reason: ClientCloseReason, error?: BerthError): void;
}

export class Clients<L extends ClientLogin, S extends ClientOfEngine> {
  private readonly sessions = new Map<number, S>();
  private readonly logins = new Set<L>();
  private drained: (() => void) | undefined = undefined;

  get count(): number {
    return this.sessions.size + this.logins.size;
  }

  session(number: number): S | undefined {
    return this.sessions.get(number);
  }

  loginBegan(login: L): void {
    this.logins.add(login);
  }

  loginEnded(login: L): void {
    this.logins.delete(login);
    this.countdown();
  }

  sessionBegan(number: number, session: S): void {
    this.sessions.set(number, session);
    if (this.drained !== undefined) session.drain();
  }

  sessionEnded(number: number): void {
    this.sessions.delete(number);
    this.countdown();
  }

  /** For those that there are. */
  useDebugLogging(isOn: boolean): void {
    for (const session of this.sessions.values()) session.isDebugLogged = isOn;
  }

  describe({ isPinnedOnly, limit }: SessionQuery): Listing<SessionDescription> {
    return this.describeThose(limit, (session) => !isPinnedOnly || session.isPinned);
  }

  describeHolders(limit: number): Listing<SessionDescription> {
    return this.describeThose(limit, (session) => session.isHolding);
  }

  private describeThose(limit: number, isMeant: (session: S) => boolean) {
    const items: SessionDescription[] = [];
    let total = 0;
    for (const session of this.sessions.values()) {
      if (!isMeant(session)) continue;
      total++;
      if (items.length < limit) items.push(session.describe());
    }
    return { items, total };
  }

  /** Resolves when the last of them is gone. */
  drain(): Promise<void> {
    for (const login of [...this.logins]) login.stop();
    for (const session of [...this.sessions.values()]) session.drain();
    if (this.count === 0) return Promise.resolve();
    return new Promise((resolve) => {
      this.drained = resolve;
    });
  }

  /** Ends all of them now; returns how many there were. */
  stop(): number {
    const { count } = this;
    for (const login of [...this.logins]) login.stop();
    for (const session of [...this.sessions.values()]) {
      session.close('shutdown', new BerthError('shutting_down'));
    }
    return count;
  }

  private countdown(): void {
    if (this.drained !== undefined && this.count === 0) this.drained();
  }
}
