/**
 * Gives back what a crowd of log-ins leaves in the heap. The engine collects garbage as it makes
 * objects, so clients that come by the thousand and then are silent would keep twice their memory.
 * Collecting takes tens of milliseconds, so it is done once after a crowd, when nothing is going on.
 */

/** Fewer log-ins than this leave too little to look for. */
const CROWD_MIN = 1_000;
const LOOK_EVERY_MS = 1_000;

/** Totals since the start. */
export interface Activity {
  readonly logins: number;
  readonly requests: number;
}

export class IdleCollector {
  private readonly activity: () => Activity;
  private readonly collect: () => void;
  private last: Activity;
  private collectedAt = 0;
  private timer: ReturnType<typeof setInterval> | undefined = undefined;

  constructor(activity: () => Activity, collect: () => void) {
    this.activity = activity;
    this.collect = collect;
    this.last = activity();
  }

  start(): void {
    this.timer = setInterval(() => this.look(), LOOK_EVERY_MS);
    this.timer.unref();
  }

  stop(): void {
    clearInterval(this.timer);
  }

  look(): void {
    const now = this.activity();
    const isIdle = now.logins === this.last.logins && now.requests === this.last.requests;
    this.last = now;
    if (!isIdle || now.logins - this.collectedAt < CROWD_MIN) return;
    this.collectedAt = now.logins;
    this.collect();
  }
}
