/** What the engine families differ in, as far as the API is concerned. */

import type { ClientPasswordAuthType } from '../../credential/credentials.ts';
import type { EngineFamily, EngineName } from '../../proxy/snapshot.ts';

interface FamilyFacts {
  /** Of its endpoints and its databases, unless they say otherwise. */
  readonly port: number;
  readonly engines: readonly EngineName[];
  readonly authTypes: readonly ClientPasswordAuthType[];
  /** Undefined where it depends on the engine of the target. */
  readonly usualAuthType: ClientPasswordAuthType | undefined;
}

export const ENGINE_FAMILIES: Readonly<Record<EngineFamily, FamilyFacts>> = {
  POSTGRESQL: {
    port: 5432,
    engines: ['postgres'],
    authTypes: ['POSTGRES_SCRAM_SHA_256', 'POSTGRES_MD5'],
    usualAuthType: 'POSTGRES_SCRAM_SHA_256',
  },
  MYSQL: {
    port: 3306,
    engines: ['mysql', 'mariadb'],
    authTypes: ['MYSQL_CACHING_SHA2_PASSWORD', 'MYSQL_NATIVE_PASSWORD'],
    usualAuthType: undefined,
  },
};
