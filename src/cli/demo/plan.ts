/** How big the demo is. Everything that the screen, the clients and the summary must agree on. */

/** Which databases it can be shown with. */
export const DEMO_ENGINES = ['postgres', 'mariadb'] as const;
export type DemoEngine = (typeof DEMO_ENGINES)[number];

export const BANK = {
  user: 'app',
  database: 'bank',
  accounts: 10_000,
  /** In each account, at the start. */
  balance: 1_000,
} as const;

export const LIMITS = {
  /** What Berth may have of the database's connections. */
  poolConnections: 10,
} as const;

/**
 * Clients come in waves, the way serverless functions do: many within a moment, each with a
 * connection of its own, each gone again soon.
 */
export const WAVES = {
  count: 3,
  clients: 300,
  /** From one wave to the next. */
  intervalMs: 2_300,
  /** Within which the clients of a wave arrive. */
  arrivalMs: 800,
  /** How long a client stays, at least and at most. */
  stayMinMs: 1_100,
  stayMaxMs: 1_500,
} as const;

export const CLIENT_COUNT = WAVES.count * WAVES.clients;

/** How long the clients take if nothing holds them up. */
export const RUN_MS = (WAVES.count - 1) * WAVES.intervalMs + WAVES.arrivalMs + WAVES.stayMaxMs;
