/**
 * Keeps a connection to a DB instance of a cluster, to ask it again and again how it is: whoever has to find
 * out within moments who is the writer cannot log in for each question. It is in addition to what the proxy
 * may open, so that the question gets through when everything is in use. A question that is not answered in
 * time costs the connection: TCP would tell much later.
 */

import type { Observation } from '../target/monitor.ts';
import type { DatabaseUser } from './database-passwords.ts';

/** For the question, and for the log-in before it when there is no connection. */
export const ANSWER_WITHIN_MS = 1_000;

export interface WatchConnection {
  /** Calls `answered` once; also when the connection is lost first. */
  ask(answered: (observation: Observation) => void): void;
  destroy(): void;
}

export interface WatchCallbacks {
  opened(connection: WatchConnection): void;
  failed(observation: Observation): void;
  /** After `opened`: the connection has ended by itself. */
  lost(): void;
}

export type OpenWatch = (
  login: DatabaseUser,
  callbacks: WatchCallbacks,
) => { readonly abandon: () => void };

export class Watch {
  private readonly open: OpenWatch;
  private readonly lost: () => void;
  private connection: WatchConnection | undefined = undefined;
  /** As whom the connection was opened. */
  private user = '';
  private giveUp: (() => void) | undefined = undefined;

  /** `lost` is called when the connection has ended by itself. */
  constructor(open: OpenWatch, lost: () => void) {
    this.open = open;
    this.lost = lost;
  }

  get isConnected(): boolean {
    return this.connection !== undefined;
  }

  /** One question at a time. Does not reject. */
  ask(login: DatabaseUser): Promise<Observation> {
    if (login.user !== this.user) this.close();
    this.user = login.user;
    return new Promise((resolve) => {
      const answered = (observation: Observation) => {
        clearTimeout(deadline);
        this.giveUp = undefined;
        resolve(observation);
      };
      // The wheel's tick is too coarse for those who wait.
      const deadline = setTimeout(() => {
        this.close();
        const detail = `no answer within ${ANSWER_WITHIN_MS} ms`;
        answered({ isOk: false, reason: 'UNREACHABLE', detail });
      }, ANSWER_WITHIN_MS);
      if (this.connection === undefined) this.connect(login, answered);
      else this.connection.ask(answered);
    });
  }

  private connect(login: DatabaseUser, answered: (observation: Observation) => void): void {
    const opening = this.open(login, {
      failed: answered,
      opened: (connection) => {
        this.connection = connection;
        connection.ask(answered);
      },
      lost: () => {
        this.connection = undefined;
        this.lost();
      },
    });
    this.giveUp = () => opening.abandon();
  }

  close(): void {
    const { connection, giveUp } = this;
    this.connection = undefined;
    this.giveUp = undefined;
    if (connection === undefined) giveUp?.();
    else connection.destroy();
  }
}
