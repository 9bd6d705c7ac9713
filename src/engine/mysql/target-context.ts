/** What everything that talks to one target of one proxy shares. */

import { type EngineTarget, type PlaceOptions, TargetPlace } from '../target-place.ts';
import { BaseSettings } from './base-settings.ts';
import { Canceller } from './cancel.ts';
import type { LoginIdentity } from './login/database-login.ts';
import { KnownServer, type ServerFacts } from './login/server-facts.ts';

export interface TargetContext extends EngineTarget {
  readonly canceller: Canceller;
  /** Which server it is. */
  readonly server: KnownServer;
  /** What is run first on its connections. */
  readonly baseSettings: BaseSettings;
}

export class MySqlTarget extends TargetPlace implements TargetContext {
  readonly canceller: Canceller;
  readonly server: KnownServer;
  readonly baseSettings = new BaseSettings();

  constructor(
    options: PlaceOptions,
    identityOf: (user: string) => LoginIdentity | undefined,
    met: (facts: ServerFacts) => void,
  ) {
    super(options);
    this.server = new KnownServer(met);
    this.canceller = new Canceller(this, identityOf);
  }
}
