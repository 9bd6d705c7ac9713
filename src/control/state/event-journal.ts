/**
 * What has happened to proxies, for DescribeEvents: what the API and the file have changed, and what the
 * data plane has seen of their targets. Kept in memory, since the start of the process.
 * https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/USER_Events.Messages.html
 */

import { isDeepStrictEqual } from 'node:util';
import type { Event as ObservedEvent, Observer } from '../../observe/events.ts';
import { textOf } from '../../observe/log-text.ts';
import type { ProxyRecord } from './records.ts';

/** Beyond it the oldest are forgotten, and so are those of 14 days ago, as in RDS. */
const EVENTS_MAX = 10_000;
export const KEPT_MS = 14 * 86_400_000;

export const EVENT_CATEGORIES = [
  'availability',
  'configuration change',
  'creation',
  'deletion',
  'failure',
] as const;
export type EventCategory = (typeof EVENT_CATEGORIES)[number];

export interface ProxyEvent {
  /** Counts events; larger is later. */
  readonly number: number;
  /** Milliseconds since 1970. */
  readonly at: number;
  /** The name of the proxy. */
  readonly source: string;
  readonly category: EventCategory;
  readonly message: string;
}

type HealthChanged = Extract<ObservedEvent, { event: 'target.health_changed' }>;

export class EventJournal implements Observer {
  private readonly now: () => number;
  private events: ProxyEvent[] = [];
  private last = 0;

  constructor(now: () => number = Date.now) {
    this.now = now;
  }

  /** The oldest first. */
  get all(): readonly ProxyEvent[] {
    const oldest = this.now() - KEPT_MS;
    return this.events.filter(({ at }) => at >= oldest);
  }

  emit(event: ObservedEvent): void {
    switch (event.event) {
      case 'target.health_changed':
        this.healthChanged(event);
        return;
      case 'proxy.pausing':
        this.add(event.proxy, 'availability', 'The DB proxy is being paused.');
        return;
      case 'proxy.paused':
        this.add(event.proxy, 'availability', 'The DB proxy is paused.');
        return;
      case 'proxy.pause_overdue':
        this.add(event.proxy, 'failure', textOf(event));
        return;
      case 'proxy.resumed':
        this.add(event.proxy, 'availability', 'The DB proxy serves its clients again.');
        return;
      default:
        return;
    }
  }

  private healthChanged({ proxy, target, state, reason, detail }: HealthChanged): void {
    if (state === 'AVAILABLE') {
      this.add(proxy, 'availability', `The target ${target} of the DB proxy is available.`);
      return;
    }
    const why = reason === undefined ? '' : ` (${reason})`;
    this.add(
      proxy,
      'failure',
      `The target ${target} of the DB proxy is unavailable${why}: ${detail}`,
    );
  }

  /** `before` and `after` are all proxies that there were and are. */
  changed(before: readonly ProxyRecord[], after: readonly ProxyRecord[]): void {
    const earlier = new Map(before.map((proxy) => [proxy.id, proxy]));
    for (const proxy of after) {
      const known = earlier.get(proxy.id);
      earlier.delete(proxy.id);
      if (known === undefined) this.created(proxy);
      else if (known !== proxy) this.modified(known, proxy);
    }
    for (const { name } of earlier.values())
      this.add(name, 'deletion', 'The DB proxy was deleted.');
  }

  private created(proxy: ProxyRecord): void {
    const { name } = proxy;
    this.add(name, 'creation', 'The DB proxy was created.');
    this.targetsChanged(name, [], targetsOf(proxy));
  }

  private modified(before: ProxyRecord, after: ProxyRecord): void {
    const { name } = after;
    if (!isDeepStrictEqual(ownPart(before), ownPart(after))) {
      this.add(name, 'configuration change', 'The DB proxy was modified.');
    }
    this.targetsChanged(name, targetsOf(before), targetsOf(after));
    const endpoints = new Map(before.endpoints.map((each) => [each.id, each]));
    for (const endpoint of after.endpoints) {
      const known = endpoints.get(endpoint.id);
      endpoints.delete(endpoint.id);
      if (known === undefined) {
        this.add(name, 'creation', `The DB proxy endpoint ${endpoint.name} was created.`);
      } else if (!isDeepStrictEqual(known, endpoint)) {
        this.add(
          name,
          'configuration change',
          `The DB proxy endpoint ${endpoint.name} was modified.`,
        );
      }
    }
    for (const endpoint of endpoints.values()) {
      this.add(name, 'deletion', `The DB proxy endpoint ${endpoint.name} was deleted.`);
    }
  }

  private targetsChanged(name: string, before: readonly string[], after: readonly string[]): void {
    for (const target of after.filter((each) => !before.includes(each))) {
      this.add(
        name,
        'configuration change',
        `The target ${target} was registered with the DB proxy.`,
      );
    }
    for (const target of before.filter((each) => !after.includes(each))) {
      this.add(
        name,
        'configuration change',
        `The target ${target} was deregistered from the DB proxy.`,
      );
    }
  }

  private add(source: string, category: EventCategory, message: string): void {
    this.events.push({ number: ++this.last, at: this.now(), source, category, message });
    // Seldom, so that forgetting costs little.
    if (this.events.length > EVENTS_MAX * 1.1) this.events = this.events.slice(-EVENTS_MAX);
  }
}

function targetsOf({ targetGroup: { targets, clusterId } }: ProxyRecord): readonly string[] {
  return clusterId === undefined ? targets : [clusterId];
}

/** Without what has events of its own. */
function ownPart({ endpoints: _, targetGroup, ...proxy }: ProxyRecord): unknown {
  return { ...proxy, updatedAt: '', config: targetGroup.config };
}
