/** Several observers of the same events. */

import type { Event, Observer } from './events.ts';

export class Observers implements Observer {
  private readonly observers: readonly Observer[];

  constructor(observers: readonly Observer[]) {
    this.observers = observers;
  }

  emit(event: Event, isDetailed?: boolean): void {
    for (const observer of this.observers) observer.emit(event, isDetailed);
  }
}
