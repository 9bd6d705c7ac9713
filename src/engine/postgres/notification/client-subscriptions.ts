/**
 * What one client listens to by way of a hub, and the notifications that wait for it. Made with the
 * client's first LISTEN; clients that never listen have none.
 *
 * A LISTEN runs on the session's own connection too, so its errors and its transaction are the
 * database's own. From before it is sent until it is known whether it was committed its channels are
 * *expected*: what is notified on them waits, and is forgotten if they turn out not to be listened to.
 *
 * An UNLISTEN of what the hub holds means nothing to the session's connection. It counts when it was
 * answered and nothing since the last time that everything was answered has failed or was rolled
 * back; in doubt the client goes on listening.
 * https://www.postgresql.org/docs/current/sql-notify.html
 */

import {
  type ListenStatement,
  mayNotify,
  unlistensIn,
} from '../../../sql/postgres/listen-statements.ts';
import type { HubWait, Listener, NotificationHub } from './hub.ts';
import { Mailbox, type Sorting } from './mailbox.ts';

/** The session, as its subscriptions see it. */
export interface SubscriberHost {
  /** Notifications have come; if they can be delivered now, `ClientSession` takes them. */
  mailArrived(): void;
  /** This client's mailbox is full: what comes until it has been emptied is dropped. */
  mailboxFull(): void;
  mailDropped(): void;
}

export class ClientSubscriptions implements Listener {
  readonly user: string;
  readonly hub: NotificationHub;
  /** The request that is under way may notify this very client; see `NotificationHub.authorBegan`. */
  isAuthor = false;
  private readonly host: SubscriberHost;
  private readonly channels = new Set<string>();
  private readonly expected = new Set<string>();
  private readonly mailbox = new Mailbox();
  private isOverflowing = false;
  private wait: HubWait | undefined = undefined;
  /** UNLISTEN statements that were sent, and how many UNLISTENs were answered. */
  private unlistens: ListenStatement[] = [];
  private unlistensAnswered = 0;
  private isUnlistenDoubtful = false;

  constructor(host: SubscriberHost, user: string, hub: NotificationHub) {
    this.host = host;
    this.user = user;
    this.hub = hub;
  }

  // --- Requests

  /** Whether the hub listens to `names`. From here on they are expected. */
  expect(names: readonly string[]): boolean {
    for (const name of names) {
      this.expected.add(name);
      this.hub.join(name, this);
    }
    return this.hub.hears(names);
  }

  whenHeard(names: readonly string[], answer: (isHeard: boolean) => void): void {
    this.wait = this.hub.whenHeard(names, (isHeard) => {
      this.wait = undefined;
      answer(isHeard);
    });
  }

  /** A text is about to be run. Returns whether it may notify somebody. */
  running(text: string): boolean {
    if (this.channels.size > 0) this.unlistens.push(...unlistensIn(text));
    return mayNotify(text);
  }

  /** Nothing that has been notified so far can be meant for a LISTEN that is still to be committed. */
  notCommittedYet(): void {
    if (this.expected.size === 0 || this.mailbox.isEmpty) return;
    this.mailbox.sort((name) => (this.channels.has(name) ? 'keep' : 'discard'));
  }

  // --- Replies

  completed(tag: string): void {
    if (tag === 'UNLISTEN') this.unlistensAnswered++;
    else if (tag === 'ROLLBACK') this.isUnlistenDoubtful = true;
    else if (tag === 'DISCARD ALL') this.removeAll();
  }

  failed(): void {
    this.isUnlistenDoubtful = true;
  }

  /** Everything has been answered, and no transaction is open. */
  settled(): void {
    const { unlistens } = this;
    const isKnown = !this.isUnlistenDoubtful && unlistens.length === this.unlistensAnswered;
    this.isUnlistenDoubtful = false;
    this.unlistensAnswered = 0;
    if (unlistens.length === 0) return;
    this.unlistens = [];
    if (isKnown) for (const statement of unlistens) this.unlisten(statement);
  }

  private unlisten(statement: ListenStatement): void {
    if (statement.kind === 'unlisten_all') this.removeAll();
    else if (statement.kind === 'unlisten') this.remove(statement.channel);
  }

  /** The channels that the session's connection listens to, now that the transaction is over. */
  committed(names: readonly string[]): void {
    for (const name of names) {
      if (!this.channels.has(name)) this.hub.subscriptions++;
      this.channels.add(name);
      this.hub.join(name, this);
    }
    this.nothingExpected();
  }

  /** Whatever was expected has not come to be. */
  nothingExpected(): void {
    if (this.expected.size === 0) return;
    for (const name of this.expected) if (!this.channels.has(name)) this.hub.leave(name, this);
    this.expected.clear();
  }

  // --- Notifications

  /** The hub tells this client what is notified on the channel. */
  has(name: string): boolean {
    return this.channels.has(name);
  }

  notified(channel: string, message: Buffer): void {
    if (!this.isOverflowing && this.mailbox.put(channel, message)) return;
    if (!this.isOverflowing) this.host.mailboxFull();
    this.isOverflowing = true;
    this.host.mailDropped();
  }

  rested(): void {
    this.host.mailArrived();
  }

  get hasMail(): boolean {
    return !this.mailbox.isEmpty;
  }

  /** Takes what the client is to be told now. */
  takeMail(): Buffer[] {
    const messages = this.mailbox.sort((name) => this.sortingOf(name));
    if (this.mailbox.isEmpty) this.isOverflowing = false;
    return messages;
  }

  private sortingOf(name: string): Sorting {
    if (this.channels.has(name)) return 'deliver';
    return this.expected.has(name) ? 'keep' : 'discard';
  }

  // --- End

  /** The session is over. */
  end(): void {
    this.wait?.abandon();
    this.wait = undefined;
    this.removeAll();
    this.nothingExpected();
  }

  private removeAll(): void {
    for (const name of [...this.channels]) this.remove(name);
  }

  private remove(name: string): void {
    if (!this.channels.delete(name)) return;
    this.hub.subscriptions--;
    if (!this.expected.has(name)) this.hub.leave(name, this);
  }
}
