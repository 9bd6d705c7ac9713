/**
 * Who waits, in which order: higher priority first, first-in-first-out within a priority. Entering
 * and leaving are O(1); the head is O(number of priorities in use).
 *
 * Within a priority the places are in the order of `since`, so the head of each list is its oldest.
 * The queue has no limit of its own: every place belongs to a client connection, and those are
 * limited by MaxClientConnections.
 */

import type { Waiter } from './contract.ts';

/** Priorities are configured, so they are few; above this, unused lists are forgotten. */
const LISTS_KEPT = 16;

interface PriorityList<T> {
  readonly priority: number;
  head: Place<T> | undefined;
  tail: Place<T> | undefined;
}

/** One place in the queue; what the waiting session holds, to leave with. */
export class Place<T> implements Waiter {
  readonly priority: number;
  /** Wheel time at which the wait began. */
  readonly since: number;
  /** Undefined as soon as nobody may be called back any more. */
  occupant: T | undefined;
  /** How long it had waited when it was last told; 0 before that. */
  toldAfterMs = 0;
  next: Place<T> | undefined = undefined;
  previous: Place<T> | undefined = undefined;
  /** The list that holds this place; undefined while it is in none. */
  list: PriorityList<T> | undefined = undefined;
  /** Where it is; another one when who waits here goes on waiting elsewhere. Written by the queue. */
  queue: WaitQueue<T>;

  constructor(queue: WaitQueue<T>, occupant: T, priority: number, since: number) {
    this.queue = queue;
    this.occupant = occupant;
    this.priority = priority;
    this.since = since;
  }

  abandon(): void {
    this.occupant = undefined;
    this.queue.remove(this);
  }
}

export class WaitQueue<T> {
  length = 0;
  /** Highest priority first. */
  private readonly lists: PriorityList<T>[] = [];

  push(place: Place<T>): void {
    const list = this.listOf(place.priority);
    place.list = list;
    place.previous = list.tail;
    if (list.tail === undefined) list.head = place;
    else list.tail.next = place;
    list.tail = place;
    this.length++;
  }

  /** Takes over who waits in `other`: each keeps its priority, and its place by when its wait began. */
  takeOver(other: WaitQueue<T>): void {
    for (const list of other.lists) {
      for (let place = list.head; place !== undefined; place = list.head) {
        other.remove(place);
        place.queue = this;
        this.insert(place);
      }
    }
  }

  /** Behind everybody of its priority who has waited for as long; mostly that is the end. */
  private insert(place: Place<T>): void {
    const list = this.listOf(place.priority);
    let before = list.tail;
    while (before !== undefined && before.since > place.since) before = before.previous;
    const after = before === undefined ? list.head : before.next;
    place.list = list;
    place.previous = before;
    place.next = after;
    if (before === undefined) list.head = place;
    else before.next = place;
    if (after === undefined) list.tail = place;
    else after.previous = place;
    this.length++;
  }

  /** Takes the place out; does nothing when it has left already. */
  remove(place: Place<T>): void {
    const list = place.list;
    if (list === undefined) return;
    if (place.previous === undefined) list.head = place.next;
    else place.previous.next = place.next;
    if (place.next === undefined) list.tail = place.previous;
    else place.next.previous = place.previous;
    place.next = undefined;
    place.previous = undefined;
    place.list = undefined;
    this.length--;
    if (this.length === 0 && this.lists.length > LISTS_KEPT) this.lists.length = 0;
  }

  /** Whose turn it is. */
  get head(): Place<T> | undefined {
    for (const list of this.lists) {
      if (list.head !== undefined) return list.head;
    }
    return undefined;
  }

  /** Takes out whose turn it is; nobody else can reach the occupant after that. */
  shift(): T | undefined {
    const place = this.head;
    if (place === undefined) return undefined;
    const occupant = place.occupant;
    place.abandon();
    return occupant;
  }

  /** When the longest wait began, of any priority; Infinity when nobody waits. */
  get oldestSince(): number {
    let oldest = Number.POSITIVE_INFINITY;
    for (const { head } of this.lists) {
      if (head !== undefined && head.since < oldest) oldest = head.since;
    }
    return oldest;
  }

  /**
   * Calls `visit` for every place whose wait began at `since` or before, with its position (1 is
   * the next to be served). `visit` must not change the queue.
   */
  visitSince(since: number, visit: (place: Place<T>, position: number) => void): void {
    let ahead = 0;
    for (const list of this.lists) {
      for (let place = list.head; place !== undefined; place = place.next) {
        ahead++;
        if (place.since <= since) visit(place, ahead);
      }
    }
  }

  /** Throws when links, lists and length disagree. */
  audit(): void {
    let found = 0;
    for (const list of this.lists) {
      let previous: Place<T> | undefined;
      for (let place = list.head; place !== undefined; place = place.next) {
        if (place.previous !== previous || place.list !== list || place.occupant === undefined) {
          throw new Error('wait queue: a place is linked wrongly');
        }
        previous = place;
        found++;
      }
      if (list.tail !== previous) throw new Error('wait queue: the tail is not the last place');
    }
    if (found !== this.length) {
      throw new Error(`wait queue: ${found} places found, ${this.length} counted`);
    }
  }

  private listOf(priority: number): PriorityList<T> {
    let index = 0;
    for (const list of this.lists) {
      if (list.priority === priority) return list;
      if (list.priority < priority) break;
      index++;
    }
    const made: PriorityList<T> = { priority, head: undefined, tail: undefined };
    this.lists.splice(index, 0, made);
    return made;
  }
}
