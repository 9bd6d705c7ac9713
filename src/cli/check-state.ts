/**
 * What `berth check` tries: the proxies of the file and, unless a running Berth has the state directory to
 * itself, those that its API has made; with the secrets of every source. Nothing is changed.
 */

import type { Configuration } from '../control/config-file.ts';
import { VaultReader } from '../control/secrets/lookup.ts';
import { PolledSecrets } from '../control/secrets/polled-secrets.ts';
import { Vault } from '../control/secrets/vault.ts';
import { DesiredState } from '../control/state/desired-state.ts';
import { EventJournal } from '../control/state/event-journal.ts';
import { SqliteStore } from '../control/state/sqlite-store.ts';
import { StateError, type StateStore } from '../control/state/state-store.ts';
import type { Snapshot } from '../proxy/snapshot.ts';

/** For secrets that others keep. */
const READING_MS = 15_000;

export interface StateToCheck {
  readonly snapshot: Snapshot;
  /** Why secrets could not be read, by their names. */
  readonly unreadable: ReadonlyMap<string, string>;
  /** Why what the API has made is not among it. */
  readonly warning: string | undefined;
}

/** Throws `ConfigurationError` when the file and the state do not go together. */
export async function stateToCheck(
  file: string,
  configuration: Configuration,
): Promise<StateToCheck> {
  const opened = open(configuration);
  try {
    return { ...(await read(file, configuration, opened)), warning: opened.warning };
  } finally {
    opened.store.close();
  }
}

interface Opened {
  readonly store: StateStore;
  readonly vault: Vault | undefined;
  readonly warning: string | undefined;
}

function open({ stateDirectory: directory, secretKeys: keys }: Configuration): Opened {
  let store: StateStore | undefined;
  try {
    store = new SqliteStore(directory);
    const vault = new Vault({ store, directory, keys, isRenewing: false });
    return { store, vault, warning: undefined };
  } catch (error) {
    store?.close();
    if (!(error instanceof StateError)) throw error;
    const warning = `What the API has made is not checked. ${error.message}`;
    return { store: NOTHING, vault: undefined, warning };
  }
}

const NOTHING: StateStore = {
  records: [],
  commit: () => {
    throw new Error('a check changes nothing');
  },
  flushed: async () => {},
  close: () => {},
};

async function read(
  file: string,
  configuration: Configuration,
  { store, vault }: Opened,
): Promise<Omit<StateToCheck, 'warning'>> {
  const unreadable = new Map<string, string>();
  const polled = new PolledSecrets({
    changed: () => {},
    observer: {
      emit: (event) => {
        if (event.event === 'secret.unreadable') unreadable.set(event.secret, event.detail);
      },
    },
  });
  const vaultReader = vault && new VaultReader(vault);
  const state = new DesiredState({
    store,
    file,
    configuration,
    secretReader: {
      stored: (secret) => vaultReader?.read(secret),
      followed: (name) => polled.find(name),
      principal: (record) => vault?.openPrincipal(record),
    },
    journal: new EventJournal(),
    apply: () => {},
  });
  await Promise.race([polled.follow(state.secretSources), Bun.sleep(READING_MS)]);
  const { snapshot } = state;
  polled.stop();
  return { snapshot, unreadable };
}
