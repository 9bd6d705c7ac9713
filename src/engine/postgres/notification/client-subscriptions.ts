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
import type { ReplyLedger } from '../ledger.ts';
import { STATUS_IDLE } from '../wire/messages.ts';
import type { HubWait, Listener, NotificationHub } from './hub.ts';
import { Mailbox, type Sorting } from './mailbox.ts';

/** A client that listens to more channels than this by way of a hub is pinned. */
export const CLIENT_CHANNELS_MAX = 10_000;
/** UNLISTENs of one transaction that are remembered; with more, the client goes on listening. */
const UNLISTENS_MAX = 1_000;

/** The session, as its subscriptions see it. */
export interface SubscriberHost {
  /** The hub has answered to a `listen` that had to wait. */
  hubAnswered(): void;
  /** Notifications have come; if they can be told now, the session takes them. */
  mailArrived(): void;
  mailTaken(count: number): void;
  /** The mailbox is full: what comes until it has been emptied is dropped. */
  mailboxFull(): void;
  mailDropped(): void;
  /**
   * The answer to the client ends with `ready`, but something that belongs before it may still be on
   * its way from the hub. Returns whether the session waits for that, and then tells `ready` itself.
   */
  holdBack(ready: Buffer): boolean;
}

export class ClientSubscriptions implements Listener {
  readonly user: string;
  readonly hub: NotificationHub;
  /** The process id by which the database knows who may have notified this very client; 0 for none. */
  private authorProcessId = 0;
  private readonly host: SubscriberHost;
  private readonly channels = new Set<string>();
  private readonly expected = new Set<string>();
  /** What was expected when the database was asked. */
  private readonly inQuestion = new Set<string>();
  /** Of what is expected, what the LISTEN that waits for the hub has added. */
  private readonly fresh = new Set<string>();
  private readonly mailbox = new Mailbox();
  private isOverflowing = false;
  private wait: HubWait | undefined = undefined;
  /** The hub did not come to listen to what the client waits for. */
  private isRefused = false;
  /** The LISTEN that has waited for the hub may be sent now. */
  private isCaughtUp = false;
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

  /**
   * LISTEN is about to be sent, by a client of this encoding. The hub has to listen before the
   * database does on the session's connection, so that nothing is lost in between. Returns false when
   * it does not yet; `SubscriberHost.hubAnswered` follows. When it cannot, nothing is expected, and the
   * session's own connection has to go on listening.
   */
  mayListen(statements: readonly ListenStatement[], encoding: string | undefined): boolean {
    const names = statements.flatMap((each) => (each.kind === 'listen' ? [each.channel] : []));
    const count = this.channels.size + this.expected.size + names.length;
    if (this.isRefused || count > CLIENT_CHANNELS_MAX) return this.refused();
    for (const name of names) this.expect(name);
    if (!this.hub.hears(names)) {
      this.wait = this.hub.whenHeard(names, (isHeard) => {
        this.wait = undefined;
        this.isRefused = !isHeard;
        this.host.hubAnswered();
      });
      return false;
    }
    if (!this.isCaughtUp) {
      this.catchUp();
      return false;
    }
    this.isCaughtUp = false;
    // Payloads come in the encoding of the hub's connection.
    return this.hub.encoding === encoding || this.refused();
  }

  /** It is not known yet what has become of an earlier LISTEN to one of these. */
  isUncertain(statements: readonly ListenStatement[]): boolean {
    // What it has waited for is known.
    if (this.isCaughtUp) return false;
    return statements.some((each) => {
      return (
        each.kind === 'listen' && this.isExpected(each.channel) && !this.fresh.has(each.channel)
      );
    });
  }

  private expect(name: string): void {
    if (!this.isWanted(name)) this.fresh.add(name);
    this.expected.add(name);
    this.hub.join(name, this);
  }

  /** What was notified before is not for a LISTEN that has not been sent yet. */
  private catchUp(): void {
    this.hub.catchUp(() => {
      this.isCaughtUp = true;
      this.mailbox.sort((name) => (this.fresh.has(name) ? 'discard' : 'keep'));
      this.fresh.clear();
      this.host.hubAnswered();
    });
  }

  private refused(): true {
    this.isRefused = false;
    this.nothingExpected();
    return true;
  }

  /** A text is about to be run, on the connection that the database knows as `processId`. */
  running(text: string, processId: number, author: number): void {
    if (this.channels.size + this.expected.size + this.inQuestion.size === 0) return;
    if (this.unlistens.length < UNLISTENS_MAX) this.unlistens.push(...unlistensIn(text));
    if (processId === 0 || !mayNotify(text)) return;
    this.authorProcessId = processId;
    this.hub.authorBegan(processId, author);
  }

  /** What the client has notified has all been heard, or its connection is given back. */
  authorEnded(): void {
    if (this.authorProcessId === 0) return;
    this.hub.authorEnded(this.authorProcessId);
    this.authorProcessId = 0;
  }

  /** Nothing that has been notified so far can be meant for a LISTEN that is still to be committed. */
  notCommittedYet(): void {
    if (this.expected.size === 0 || this.mailbox.isEmpty) return;
    this.mailbox.sort((name) => {
      return this.channels.has(name) || this.inQuestion.has(name) ? 'keep' : 'discard';
    });
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

  /**
   * ReadyForQuery for the client. Returns what the client gets in its place: the notifications before
   * it, or nothing for now.
   */
  ready(message: Buffer, ledger: ReplyLedger): Uint8Array | undefined {
    if (ledger.status !== STATUS_IDLE) return undefined;
    if (ledger.isSettled) {
      this.settled();
      if (this.authorProcessId !== 0 && this.host.holdBack(message)) return NOTHING;
    }
    const mail = this.takeMail();
    return mail.length === 0 ? undefined : Buffer.concat([...mail, message]);
  }

  /** Everything has been answered, and no transaction is open. */
  private settled(): void {
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

  /** The database is being asked what has come of the LISTENs so far; there may be more behind. */
  asked(): void {
    for (const name of this.expected) this.inQuestion.add(name);
    this.expected.clear();
  }

  /**
   * The channels that the session's connection listened to when it was asked. Returns whether the hub
   * listens to all of them; then the connection need not.
   */
  committed(names: readonly string[]): boolean {
    const areHeard = names.every((name) => this.inQuestion.has(name) || this.channels.has(name));
    for (const name of areHeard ? names : []) {
      if (!this.channels.has(name)) this.hub.subscriptions++;
      this.channels.add(name);
      this.hub.join(name, this);
    }
    this.forget(this.inQuestion);
    return areHeard;
  }

  /** Whatever was expected has not come to be, or the session's own connection sees to it. */
  nothingExpected(): void {
    if (this.expected.size === 0) return;
    this.isCaughtUp = false;
    this.fresh.clear();
    this.forget(this.expected);
  }

  /** The session's connection is lost, and what was under way there. */
  connectionLost(): void {
    this.isUnlistenDoubtful = false;
    this.unlistensAnswered = 0;
    this.unlistens = [];
    if (this.wait === undefined) this.nothingExpected();
    this.forget(this.inQuestion);
  }

  private forget(names: Set<string>): void {
    const forgotten = [...names];
    names.clear();
    for (const name of forgotten) if (!this.isWanted(name)) this.hub.leave(name, this);
  }

  private isWanted(name: string): boolean {
    return this.channels.has(name) || this.isExpected(name);
  }

  private isExpected(name: string): boolean {
    return this.expected.has(name) || this.inQuestion.has(name);
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
    if (this.mailbox.isEmpty) return NO_MAIL;
    const messages = this.mailbox.sort((name) => this.sortingOf(name));
    if (this.mailbox.isEmpty) this.isOverflowing = false;
    if (messages.length > 0) this.host.mailTaken(messages.length);
    return messages;
  }

  private sortingOf(name: string): Sorting {
    if (this.channels.has(name)) return 'deliver';
    return this.isExpected(name) ? 'keep' : 'discard';
  }

  // --- End

  /** The session is over. */
  end(): void {
    this.wait?.abandon();
    this.wait = undefined;
    this.authorEnded();
    this.removeAll();
    this.nothingExpected();
    this.forget(this.inQuestion);
  }

  private removeAll(): void {
    for (const name of [...this.channels]) this.remove(name);
  }

  private remove(name: string): void {
    if (!this.channels.delete(name)) return;
    this.hub.subscriptions--;
    if (!this.isWanted(name)) this.hub.leave(name, this);
  }
}

const NO_MAIL: Buffer[] = [];
/** In place of a message that does not go to the client, or not yet. */
export const NOTHING = new Uint8Array(0);
