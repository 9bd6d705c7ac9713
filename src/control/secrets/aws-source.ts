/**
 * Secrets in AWS Secrets Manager, by the official client and its chain of credentials: the environment, the
 * shared configuration files, single sign-on, the roles of containers and machines. The client is loaded
 * when the first secret is read.
 */

import type { SecretsManagerClient } from '@aws-sdk/client-secrets-manager';
import { PENDING } from '../secretsmanager/versions.ts';
import { type LoginSecret, readLoginSecret } from './lookup.ts';
import type { ReadSecret, SecretSource } from './polled-secrets.ts';

const CONNECT_TIMEOUT_MS = 3_000;
const ANSWER_TIMEOUT_MS = 5_000;
const ATTEMPTS_MAX = 2;

export interface AwsSecretsOptions {
  readonly region: string;
  /** Undefined: that of the region. */
  readonly endpoint: string | undefined;
  readonly intervalMs: number;
}

export class AwsSecrets {
  private readonly options: AwsSecretsOptions;
  private loaded: Promise<SecretsManagerClient> | undefined = undefined;

  constructor(options: AwsSecretsOptions) {
    this.options = options;
  }

  sourceOf(name: string): SecretSource {
    const { intervalMs, region, endpoint = '' } = this.options;
    return {
      key: `aws ${region} ${endpoint} ${intervalMs} ${name}`,
      intervalMs,
      read: (isRefused) => this.read(name, isRefused),
    };
  }

  async read(name: string, isRefused: boolean): Promise<ReadSecret> {
    try {
      const current = await this.valueOf(name);
      if (current === undefined) throw new Error('it is not JSON with username and password');
      const pending = isRefused ? await this.pendingOf(name) : undefined;
      return { current, pending };
    } catch (error) {
      throw new Error(describe(error));
    }
  }

  /** Most secrets have none, most of the time; and not everybody may read it. */
  private async pendingOf(name: string): Promise<LoginSecret | undefined> {
    return this.valueOf(name, PENDING).catch(() => undefined);
  }

  private async valueOf(name: string, stage?: string): Promise<LoginSecret | undefined> {
    const { GetSecretValueCommand } = await import('@aws-sdk/client-secrets-manager');
    const client = await this.client();
    const answer = await client.send(
      new GetSecretValueCommand({ SecretId: name, VersionStage: stage }),
    );
    return readLoginSecret(answer.SecretString ?? '');
  }

  private client(): Promise<SecretsManagerClient> {
    this.loaded ??= this.load();
    return this.loaded;
  }

  private async load(): Promise<SecretsManagerClient> {
    const { SecretsManagerClient } = await import('@aws-sdk/client-secrets-manager');
    const { region, endpoint } = this.options;
    return new SecretsManagerClient({
      region,
      ...(endpoint === undefined ? {} : { endpoint }),
      maxAttempts: ATTEMPTS_MAX,
      requestHandler: {
        connectionTimeout: CONNECT_TIMEOUT_MS,
        requestTimeout: ANSWER_TIMEOUT_MS,
      },
    });
  }
}

/** AWS's own words, which name the secret and no value. */
function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.name === 'Error' ? error.message : `${error.name}: ${error.message}`;
}
