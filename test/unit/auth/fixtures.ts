/** Shared by the tests of this folder: whole SCRAM exchanges in one call, and a verifier to order. */

import { Secret } from '../../../src/credential/secret.ts';
import { ScramClient } from '../../../src/engine/postgres/auth/scram-client.ts';
import type { ScramStep } from '../../../src/engine/postgres/auth/scram-exchange.ts';
import { ScramKeyCache } from '../../../src/engine/postgres/auth/scram-key-cache.ts';
import { ScramKeys } from '../../../src/engine/postgres/auth/scram-keys.ts';
import type { ScramVerifier } from '../../../src/engine/postgres/auth/scram-verifiers.ts';

export const bytes = (text: string): Buffer => Buffer.from(text, 'utf8');
export const text = (message: Uint8Array): string => Buffer.from(message).toString('latin1');

/** The exchange of RFC 7677 section 3. */
export const RFC_7677 = {
  password: new Secret('pencil'),
  salt: Buffer.from('W22ZaJ0SNY7soEsUEjb6gQ==', 'base64'),
  iterations: 4096,
  serverNonce: '%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0',
  clientFirst: 'n,,n=user,r=rOprNGfwEbeRWgbNEkqO',
  serverFirst:
    'r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096',
  clientFinal:
    'c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,' +
    'p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=',
  serverFinal: 'v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=',
};

/** Few iterations, for tests that run many exchanges. */
export async function quickVerifier(password: string, isMock = false): Promise<ScramVerifier> {
  const salt = Buffer.from('0123456789abcdef');
  const keys = await ScramKeys.derive(new Secret(password), salt, 2);
  return { salt, iterations: 2, keys, isMock };
}

export function clientFor(password: string): ScramClient {
  return new ScramClient({ password: new Secret(password), keys: new ScramKeyCache() });
}

export function messageOf(step: ScramStep): Uint8Array {
  if (step.kind === 'message') return step.message;
  throw new Error(`the exchange failed: ${step.why}`);
}
