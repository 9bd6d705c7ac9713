/** What the engine families differ in, as far as the API is concerned. */

import type { DBInstance, DBProxy, UserAuth } from '../../proxy/snapshot.ts';

export type EngineFamily = DBProxy['EngineFamily'];

interface FamilyFacts {
  /** Of its endpoints and its databases, unless they say otherwise. */
  readonly port: number;
  readonly engines: readonly DBInstance['Engine'][];
  /** The first is the usual one. */
  readonly authTypes: readonly [
    UserAuth['ClientPasswordAuthType'],
    ...UserAuth['ClientPasswordAuthType'][],
  ];
}

export const ENGINE_FAMILIES: Readonly<Record<EngineFamily, FamilyFacts>> = {
  POSTGRESQL: {
    port: 5432,
    engines: ['postgres'],
    authTypes: ['POSTGRES_SCRAM_SHA_256', 'POSTGRES_MD5'],
  },
};
