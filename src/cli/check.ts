/**
 * `berth check`: is the configuration file right, and does every target answer to every user that a
 * proxy has for it? Each target is tried once per user, and nothing listens.
 */

import { type Configuration, loadConfiguration } from '../control/config-file.ts';
import { ConfigurationError } from '../control/configuration-error.ts';
import type { Environment } from '../control/environment.ts';
import type { DBInstance, SecretEntry } from '../proxy/snapshot.ts';
import { type CheckOptions, EXIT, type Output } from './command-line.ts';
import { formatTable } from './table.ts';

/** What came of logging in to a target. */
export type ProbeResult =
  | {
      readonly isReached: true;
      readonly serverVersion: string;
      readonly maxConnections: number;
      readonly durationMs: number;
    }
  | { readonly isReached: false; readonly detail: string };

/** Logs in to `target` as the user of `secret`, within a deadline of its own. */
export type TargetProbe = (target: DBInstance, secret: SecretEntry) => Promise<ProbeResult>;

export interface CheckParts {
  readonly probe: TargetProbe;
  readonly environment: Environment;
  readonly output: Output;
}

export async function check({ config }: CheckOptions, parts: CheckParts): Promise<number> {
  let configuration: Configuration;
  try {
    configuration = await loadConfiguration(config, parts.environment);
  } catch (error) {
    if (!(error instanceof ConfigurationError)) throw error;
    parts.output.err(`${error.message}\n`);
    return EXIT.badUsage;
  }
  const attempts = attemptsOf(configuration);
  const rows = await Promise.all(attempts.map((attempt) => run(attempt, parts.probe)));
  parts.output.out(formatTable([HEADINGS, ...rows.map(({ cells }) => cells)]));
  for (const warning of configuration.warnings) parts.output.out(`\nWarning: ${warning}\n`);
  const failed = rows.filter(({ isReached }) => !isReached).length;
  parts.output.out(
    failed === 0
      ? `\n${config} is right, and every target answers.\n`
      : `\n${config} is right, but ${failed} of ${rows.length} logins failed.\n`,
  );
  return failed === 0 ? EXIT.ok : EXIT.failed;
}

const HEADINGS = ['PROXY', 'TARGET', 'ADDRESS', 'USER', 'RESULT'] as const;

interface Attempt {
  readonly proxy: string;
  readonly target: DBInstance;
  readonly secret: SecretEntry;
}

function attemptsOf({ snapshot }: Configuration): readonly Attempt[] {
  return snapshot.DBProxies.flatMap((proxy) =>
    proxy.Auth.flatMap(({ SecretArn }) =>
      snapshot.Secrets.filter(({ Name }) => Name === SecretArn).map((secret) => ({
        proxy: proxy.DBProxyName,
        target: proxy.Target,
        secret,
      })),
    ),
  );
}

interface Row {
  readonly isReached: boolean;
  readonly cells: readonly string[];
}

async function run({ proxy, target, secret }: Attempt, probe: TargetProbe): Promise<Row> {
  const result = await probe(target, secret);
  const { Address, Port } = target.Endpoint;
  const address = Address.includes(':') ? `[${Address}]:${Port}` : `${Address}:${Port}`;
  const cells = [proxy, target.DBInstanceIdentifier, address, secret.username, describe(result)];
  return { isReached: result.isReached, cells };
}

function describe(result: ProbeResult): string {
  if (!result.isReached) return `failed: ${result.detail}`;
  const { serverVersion, maxConnections, durationMs } = result;
  return `ok: ${serverVersion}, max_connections ${maxConnections}, ${Math.round(durationMs)} ms`;
}
