/**
 * `berth check`: is the configuration file right, and does every target answer to every user that a
 * proxy has for it? Each target is tried once per user, and nothing listens. What the API has made is tried
 * as well, unless a running Berth has it.
 */

import { type Configuration, loadConfiguration } from '../control/config-file.ts';
import { ConfigurationError } from '../control/configuration-error.ts';
import type { Environment } from '../control/environment.ts';
import { type CredentialProblem, Credentials } from '../credential/credentials.ts';
import type { DBInstance, SecretEntry } from '../proxy/snapshot.ts';
import { type StateToCheck, stateToCheck } from './check-state.ts';
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
  let state: StateToCheck;
  try {
    configuration = await loadConfiguration(config, parts.environment);
    state = await stateToCheck(config, configuration);
  } catch (error) {
    if (!(error instanceof ConfigurationError)) throw error;
    parts.output.err(`${error.message}\n`);
    return EXIT.badUsage;
  }
  const rows = await Promise.all(attemptsOf(state).map((attempt) => run(attempt, parts.probe)));
  parts.output.out(formatTable([HEADINGS, ...rows.map(({ cells }) => cells)]));
  const warnings = [...configuration.warnings, state.warning].filter((text) => text !== undefined);
  for (const warning of warnings) parts.output.out(`\nWarning: ${warning}\n`);
  const failed = rows.filter(({ isReached }) => isReached === false).length;
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
  /** Of `Auth`. */
  readonly secretArn: string;
  readonly secret: SecretEntry | undefined;
  /** Why there is nothing to try. */
  readonly obstacle: Obstacle | undefined;
}

interface Obstacle {
  readonly isFailure: boolean;
  readonly text: string;
}

function attemptsOf(state: StateToCheck): readonly Attempt[] {
  const { DBProxies, Secrets } = state.snapshot;
  return DBProxies.flatMap(({ DBProxyName: proxy, Target, Auth, DefaultAuthScheme }) => {
    const { Members } = Target;
    const { problems } = Credentials.resolve(Auth, Secrets);
    const others = { proxy, secretArn: 'others', secret: undefined, obstacle: ONLY_IAM };
    const attempts = Auth.flatMap(({ SecretArn: secretArn }, index) => {
      const problem = problems.find(({ authIndex }) => authIndex === index);
      const obstacle = problem && obstacleOf(problem, secretArn, state);
      const secret = Secrets.find(({ Name }) => Name === secretArn);
      return Members.map((target) => ({ proxy, target, secretArn, secret, obstacle }));
    });
    if (DefaultAuthScheme === 'NONE') return attempts;
    return [...attempts, ...Members.map((target) => ({ ...others, target }))];
  });
}

const ONLY_IAM: Obstacle = {
  isFailure: false,
  text: 'they log in with IAM tokens, and policies say who they are',
};

function obstacleOf(
  { kind, text }: CredentialProblem,
  secretArn: string,
  { unreadable, warning }: StateToCheck,
): Obstacle {
  if (kind !== 'secret_missing') return { isFailure: true, text };
  const why = unreadable.get(secretArn);
  if (why !== undefined) return { isFailure: true, text: `the secret cannot be read: ${why}` };
  if (warning === undefined) return { isFailure: true, text };
  return { isFailure: false, text: 'the secret may be one that the API has made' };
}

interface Row {
  /** Undefined when it was not tried. */
  readonly isReached: boolean | undefined;
  readonly cells: readonly string[];
}

async function run(attempt: Attempt, probe: TargetProbe): Promise<Row> {
  const { proxy, target, secretArn, secret, obstacle } = attempt;
  const { Address, Port } = target.Endpoint;
  const address = Address.includes(':') ? `[${Address}]:${Port}` : `${Address}:${Port}`;
  const place = [proxy, target.DBInstanceIdentifier, address];
  if (secret === undefined || obstacle !== undefined) {
    const { isFailure = true, text = '' } = obstacle ?? {};
    const isReached = isFailure ? false : undefined;
    return {
      isReached,
      cells: [
        ...place,
        secret?.username ?? secretArn,
        `${isFailure ? 'failed' : 'not tried'}: ${text}`,
      ],
    };
  }
  const result = await probe(target, secret);
  return { isReached: result.isReached, cells: [...place, secret.username, describe(result)] };
}

function describe(result: ProbeResult): string {
  if (!result.isReached) return `failed: ${result.detail}`;
  const { serverVersion, maxConnections, durationMs } = result;
  return `ok: ${serverVersion}, max_connections ${maxConnections}, ${Math.round(durationMs)} ms`;
}
