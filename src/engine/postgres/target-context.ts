/** What everything that talks to one target of one proxy shares. */

import { type EngineTarget, type PlaceOptions, TargetPlace } from '../target-place.ts';
import { Canceller } from './cancel.ts';
import { ServerProtocol } from './login/server-protocol.ts';
import type { SchemaGeneration } from './statement/connection-statements.ts';

export interface TargetContext extends EngineTarget {
  readonly canceller: Canceller;
  readonly schema: SchemaGeneration;
  readonly protocol: ServerProtocol;
}

export class PostgresTarget extends TargetPlace implements TargetContext {
  readonly canceller: Canceller;
  readonly schema: SchemaGeneration = { generation: 0 };
  readonly protocol = new ServerProtocol();

  constructor(options: PlaceOptions) {
    super(options);
    this.canceller = new Canceller(this);
  }
}
