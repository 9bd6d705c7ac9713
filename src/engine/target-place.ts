/** A DB instance of the target of one proxy, as everything that talks to it sees it, whatever the engine. */

import type { TimerWheel } from '../base/timer-wheel.ts';
import type { Address } from '../net/address.ts';
import type { TargetCounters } from '../observe/counters.ts';
import type { Observer } from '../observe/events.ts';
import type { DatabaseTls } from './contract.ts';

/** Where to connect. */
export interface ConnectTarget {
  readonly address: Address;
  readonly wheel: TimerWheel;
  /** What is in force; replaced as a whole when the configuration changes. */
  readonly databaseTls: DatabaseTls;
}

export interface EngineTarget extends ConnectTarget {
  readonly proxy: string;
  readonly target: string;
  readonly observer: Observer;
  readonly counters: TargetCounters;
  /** Called when something that it has said, or has not, needs a look. */
  readonly doubted: () => void;
}

export interface PlaceOptions extends Omit<EngineTarget, 'databaseTls'> {
  readonly tlsInForce: () => DatabaseTls;
}

export class TargetPlace implements EngineTarget {
  readonly proxy: string;
  readonly target: string;
  readonly address: Address;
  readonly wheel: TimerWheel;
  readonly observer: Observer;
  readonly counters: TargetCounters;
  readonly doubted: () => void;
  private readonly tlsInForce: () => DatabaseTls;

  constructor(options: PlaceOptions) {
    this.proxy = options.proxy;
    this.target = options.target;
    this.address = options.address;
    this.wheel = options.wheel;
    this.observer = options.observer;
    this.counters = options.counters;
    this.doubted = options.doubted;
    this.tlsInForce = options.tlsInForce;
  }

  get databaseTls(): DatabaseTls {
    return this.tlsInForce();
  }
}
