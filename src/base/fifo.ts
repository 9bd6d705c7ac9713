/** A queue of which the head is taken in constant time, however many wait; `Array.shift` moves them all. */

/** So many places of what has been taken are kept before the rest moves up. */
const TAKEN_KEPT_MAX = 64;

export class Fifo<T> {
  private items: T[] = [];
  private first = 0;

  get length(): number {
    return this.items.length - this.first;
  }

  /** Who is next; undefined when nobody waits. */
  get head(): T | undefined {
    return this.items[this.first];
  }

  push(item: T): void {
    this.items.push(item);
  }

  /** Takes the head out. */
  shift(): T | undefined {
    const { items, first } = this;
    if (first === items.length) return undefined;
    const item = items[first];
    this.forget(first + 1);
    return item;
  }

  /** Takes out the `count` that were pushed first, in this order. */
  take(count: number): T[] {
    const to = Math.min(this.first + count, this.items.length);
    const taken = this.items.slice(this.first, to);
    this.forget(to);
    return taken;
  }

  *[Symbol.iterator](): IterableIterator<T> {
    for (let at = this.first; at < this.items.length; at++) yield this.items[at];
  }

  /** What is before `to` has been taken. What moves up is never more than was taken since it did last. */
  private forget(to: number): void {
    this.first = to;
    if (to === this.items.length) this.items.length = 0;
    else if (to <= TAKEN_KEPT_MAX || to * 2 < this.items.length) return;
    else this.items.splice(0, to);
    this.first = 0;
  }
}
