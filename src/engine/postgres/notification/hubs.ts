/** The notification hubs of one proxy on its writer, one for each database that somebody listens on. */

import { type HubHost, type HubSiblings, type HubWait, NotificationHub } from './hub.ts';

export class NotificationHubs implements HubSiblings {
  private readonly host: HubHost;
  /** There are never more of them than the target has databases. */
  private readonly hubs = new Map<string, NotificationHub>();
  /** Until they listen again. */
  private waits: HubWait[] = [];

  constructor(host: HubHost) {
    this.host = host;
  }

  hubFor(database: string): NotificationHub {
    let hub = this.hubs.get(database);
    if (hub === undefined) {
      hub = new NotificationHub(database, this.host, this);
      this.hubs.set(database, hub);
    }
    return hub;
  }

  get permits(): number {
    let permits = 0;
    for (const hub of this.hubs.values()) if (hub.hasPermit) permits++;
    return permits;
  }

  /** Listening connections that are open. */
  get connections(): number {
    let connections = 0;
    for (const hub of this.hubs.values()) if (hub.isConnected) connections++;
    return connections;
  }

  get subscriptions(): number {
    let subscriptions = 0;
    for (const hub of this.hubs.values()) subscriptions += hub.subscriptions;
    return subscriptions;
  }

  /** What connections are opened with has changed, for users that are concerned. */
  renew(isConcerned: (user: string) => boolean): void {
    for (const hub of this.hubs.values()) if (isConcerned(hub.user)) hub.renew();
  }

  /** Another DB instance is the writer, or none. */
  move(): void {
    for (const hub of this.hubs.values()) hub.move();
  }

  /** Nothing listens until `letGo`. */
  hold(): void {
    for (const hub of this.hubs.values()) hub.hold();
  }

  /** `heard`: all of them listen again, or have waited for that for long enough. Not called after `stopWaiting`. */
  letGo(heard: () => void): void {
    this.stopWaiting();
    let missing = 1;
    const oneHeard = () => {
      if (--missing > 0) return;
      this.waits = [];
      heard();
    };
    for (const hub of this.hubs.values()) {
      hub.letGo();
      const names = hub.neededNames;
      if (hub.hears(names)) continue;
      missing++;
      this.waits.push(hub.whenHeard(names, oneHeard));
    }
    oneHeard();
  }

  stopWaiting(): void {
    for (const wait of this.waits) wait.abandon();
    this.waits = [];
  }

  async stop(): Promise<void> {
    await Promise.all(Array.from(this.hubs.values(), (hub) => hub.stop()));
  }
}
