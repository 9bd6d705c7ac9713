/**
 * One wheel for every timer in the process. Arming and disarming are O(1) and allocate nothing: a
 * timer is an intrusive list node that its owner keeps. Precision is one tick; delays longer than
 * the wheel go round again, so there is no 2^31 ms overflow.
 *
 * The hot path never arms a timer. It writes `wheel.now` (a coarse clock) into a field, and the
 * timer, when it fires, looks at that field and arms itself for what is left.
 */

const SLOTS = 512;
/** `Timer.slot` of a timer that is not armed. */
const NONE = -1;
/** `Timer.slot` of a timer that is due, while others of its slot fire before it. */
const DUE = -2;
export const TICK_MS = 100;

/** A timer that its owner keeps and arms again and again. What there are many of has a kind of its own. */
export abstract class WheelTimer {
  /** Milliseconds on the wheel's clock; 0 while not armed. */
  deadline = 0;
  next: WheelTimer | undefined;
  previous: WheelTimer | undefined;
  slot = NONE;

  abstract fire(): void;

  get isArmed(): boolean {
    return this.slot !== NONE;
  }
}

/** A timer that calls a function. */
export class Timer extends WheelTimer {
  private readonly callback: () => void;

  constructor(callback: () => void) {
    super();
    this.callback = callback;
  }

  fire(): void {
    this.callback();
  }
}

export class TimerWheel {
  /** Milliseconds of a monotonic clock, as of the last tick. */
  now: number;
  private readonly slots: (WheelTimer | undefined)[] = new Array<WheelTimer | undefined>(
    SLOTS,
  ).fill(undefined);
  /** The last tick whose slot has been emptied. */
  private tick: number;
  private interval: ReturnType<typeof setInterval> | undefined;

  constructor(now: number) {
    this.now = now;
    this.tick = Math.floor(now / TICK_MS);
  }

  /** Drives the wheel from `clock`, in milliseconds. Stop it with `stop`. */
  start(clock: () => number): void {
    this.now = clock();
    this.interval ??= setInterval(() => this.advance(clock()), TICK_MS);
  }

  stop(): void {
    clearInterval(this.interval);
    this.interval = undefined;
  }

  /** Arms `timer` to fire `delayMs` from now, rounded up to a tick; an armed timer is moved. */
  arm(timer: WheelTimer, delayMs: number): void {
    this.disarm(timer);
    timer.deadline = this.now + Math.max(0, delayMs);
    this.place(timer);
  }

  disarm(timer: WheelTimer): void {
    if (timer.slot >= 0) {
      if (timer.previous === undefined) this.slots[timer.slot] = timer.next;
      else timer.previous.next = timer.next;
      if (timer.next !== undefined) timer.next.previous = timer.previous;
      timer.next = undefined;
      timer.previous = undefined;
    }
    timer.slot = NONE;
    timer.deadline = 0;
  }

  /** Moves the clock to `now` and fires, in order of ticks, every timer that is due. */
  advance(now: number): void {
    if (now < this.now) return;
    const target = Math.floor(now / TICK_MS);
    this.now = now;
    // After a long pause of the process one round of the wheel visits every slot.
    if (target - this.tick > SLOTS) this.tick = target - SLOTS;
    while (this.tick < target) {
      this.tick++;
      this.empty(this.tick % SLOTS);
    }
  }

  private empty(slot: number): void {
    let timer = this.slots[slot];
    if (timer === undefined) return;
    this.slots[slot] = undefined;
    // Detach the whole slot first: a timer may arm itself, or others, into this very slot.
    const due: WheelTimer[] = [];
    while (timer !== undefined) {
      const next: WheelTimer | undefined = timer.next;
      timer.next = undefined;
      timer.previous = undefined;
      if (timer.deadline > this.now) {
        this.place(timer);
      } else {
        timer.slot = DUE;
        due.push(timer);
      }
      timer = next;
    }
    this.fireAll(due);
  }

  private fireAll(due: readonly WheelTimer[]): void {
    let fired = 0;
    try {
      for (const timer of due) {
        fired++;
        // An earlier one of this batch may have armed or disarmed it.
        if (timer.slot !== DUE) continue;
        timer.slot = NONE;
        timer.deadline = 0;
        timer.fire();
      }
    } finally {
      // Only after an exception is anything left; it belongs to one timer, the others keep their turn.
      for (; fired < due.length; fired++) {
        const left = due[fired];
        if (left?.slot === DUE) this.place(left);
      }
    }
  }

  private place(timer: WheelTimer): void {
    const ticks = Math.ceil(timer.deadline / TICK_MS) - this.tick;
    const slot = (this.tick + Math.min(Math.max(ticks, 1), SLOTS - 1)) % SLOTS;
    const head = this.slots[slot];
    timer.slot = slot;
    timer.next = head;
    if (head !== undefined) head.previous = timer;
    this.slots[slot] = timer;
  }
}
