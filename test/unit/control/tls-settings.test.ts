/** TLS in the configuration file: what is taken, what is refused with which words, and the files. */

import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { parseConfiguration } from '../../../src/control/config-file.ts';
import { ConfigurationError } from '../../../src/control/configuration-error.ts';
import { TestAuthority } from '../../harness/certificates.ts';

let folder = '';
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'berth-tls-'));
  const authority = await TestAuthority.make();
  const [good, other] = [await authority.issue(), await authority.issue()];
  const expired = await authority.issue({ validDays: [-9, -2] });
  const soon = await authority.issue({ validDays: [-9, 3] });
  const files = {
    'ca.crt': authority.certificate,
    'good.crt': good.certificate + authority.certificate,
    'good.key': good.privateKey,
    'other.key': other.privateKey,
    'expired.crt': expired.certificate,
    'expired.key': expired.privateKey,
    'soon.crt': soon.certificate,
    'soon.key': soon.privateKey,
    'nonsense.pem': 'nonsense',
    'broken.crt': '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n',
  };
  for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

interface Parts {
  readonly tls?: string;
  readonly database?: string;
  readonly proxy?: string;
}

function parse({ tls = '{}', database = '{}', proxy = '' }: Parts) {
  const text = `Tls: ${tls}
DBInstances: [{ DBInstanceIdentifier: a, Engine: postgres, Endpoint: { Address: db }, Tls: ${database} }]
Secrets: [{ Name: app, SecretString: { username: app, password: hunter2 } }]
DBProxies:
  - DBProxyName: orders
    EngineFamily: POSTGRESQL
    Listen: 127.0.0.1:6432
    Auth: [{ SecretArn: app }]
    TargetGroup: { DBInstanceIdentifiers: [a] }
    ${proxy}
`;
  return parseConfiguration(text, { file: join(folder, 'berth.yaml'), environment: {} });
}

function refusal(parts: Parts): string {
  try {
    parse(parts);
  } catch (error) {
    if (error instanceof ConfigurationError) return error.message.replace(`${folder}/`, '');
    throw error;
  }
  throw new Error('the file was accepted');
}

test('by default: our own certificate for clients, prefer for databases', () => {
  const { snapshot, ownTls, stateDirectory, warnings } = parse({});
  expect(snapshot.Tls).toBeUndefined();
  expect(stateDirectory).toBe(join(folder, '.berth'));
  expect(ownTls).toMatchObject({
    settings: { ClientCA: undefined, ClientCertificate: 'OPTIONAL', MinProtocolVersion: 'TLSv1.2' },
  });
  expect(snapshot.DBProxies[0]).toMatchObject({
    RequireTLS: false,
    Target: {
      Members: [{ Tls: { Mode: 'prefer', CA: undefined, MinProtocolVersion: 'TLSv1.2' } }],
    },
  });
  expect(warnings).toEqual([]);
});

test('files are read, from the folder of the configuration or from anywhere', () => {
  const configuration = parse({
    tls: `{ CertificateFile: good.crt, PrivateKeyFile: ${folder}/good.key, ClientCAFile: ca.crt, ClientCertificate: REQUIRED }`,
    database:
      '{ Mode: verify-full, CAFile: ca.crt, CertificateFile: good.crt, PrivateKeyFile: good.key, MinProtocolVersion: TLSv1 }',
    proxy: 'RequireTLS: true',
  });
  const { snapshot, ownTls } = configuration;
  expect(ownTls).toBeUndefined();
  expect(snapshot.Tls?.Certificate.match(/BEGIN CERTIFICATE/g)).toHaveLength(2);
  expect(snapshot.Tls?.ClientCA).toContain('BEGIN CERTIFICATE');
  expect(snapshot.DBProxies[0]?.RequireTLS).toBe(true);
  expect(snapshot.DBProxies[0]?.Target.Members[0]?.Tls.PrivateKey?.reveal()).toContain(
    'PRIVATE KEY',
  );
  expect(inspect(configuration, { depth: 20 }) + JSON.stringify(configuration)).not.toContain(
    'PRIVATE KEY',
  );
});

describe('refused', () => {
  const cases: readonly [Parts, string][] = [
    [
      { tls: '{ CertificateFile: good.crt }' },
      'berth.yaml:1  Tls: must have both CertificateFile and PrivateKeyFile, or neither',
    ],
    [
      { tls: '{ CertificateFile: none.crt, PrivateKeyFile: good.key }' },
      'berth.yaml:1  Tls.CertificateFile: must be a file that is there, got "none.crt"',
    ],
    [
      { tls: '{ CertificateFile: good.crt, PrivateKeyFile: other.key }' },
      'berth.yaml:1  Tls.PrivateKeyFile: must be the key of the certificate in CertificateFile',
    ],
    [
      { tls: '{ CertificateFile: nonsense.pem, PrivateKeyFile: good.key }' },
      'berth.yaml:1  Tls.CertificateFile: must be a file with certificates in PEM, got "nonsense.pem"',
    ],
    [
      { tls: '{ CertificateFile: good.crt, PrivateKeyFile: nonsense.pem }' },
      'berth.yaml:1  Tls.PrivateKeyFile: must be a file with a private key in PEM, without passphrase, got "nonsense.pem"',
    ],
    [
      { tls: '{ ClientCAFile: broken.crt }' },
      'berth.yaml:1  Tls.ClientCAFile: must be a file with certificates in PEM, got "broken.crt"',
    ],
    [
      { tls: '{ ClientCertificate: REQUIRED }' },
      'berth.yaml:1  Tls.ClientCertificate: may be REQUIRED only with a ClientCAFile, got "REQUIRED"',
    ],
    [
      { tls: '{ MinProtocolVersion: TLSv1.1 }' },
      'berth.yaml:1  Tls.MinProtocolVersion: must be one of TLSv1.2, TLSv1.3 (TLS 1.1 is not safe; only towards databases it may be allowed), got "TLSv1.1"',
    ],
    [
      { database: '{ Mode: verify-ca }' },
      'berth.yaml:2  DBInstances[0].Tls.Mode: may be verify-ca only with a CAFile, got "verify-ca"',
    ],
    [
      { database: '{ CAFile: ca.crt }' },
      'berth.yaml:2  DBInstances[0].Tls.CAFile: has no effect unless Mode is require, verify-ca or verify-full, got "ca.crt"',
    ],
    [
      { database: '{ Mode: verify-full, CAFile: .. }' },
      'berth.yaml:2  DBInstances[0].Tls.CAFile: must be a file that can be read, got ".."',
    ],
    [
      { proxy: 'RequireTLS: 1' },
      'berth.yaml:10  DBProxies[0].RequireTLS: must be true or false, got 1',
    ],
  ];
  test.each([...cases])('%j', (parts, message) => {
    expect(refusal(parts)).toBe(message);
  });
});

test('what expires is told, and taken', () => {
  for (const [name, word] of [
    ['expired', 'expired on'],
    ['soon', 'expires on'],
  ]) {
    const { warnings } = parse({
      tls: `{ CertificateFile: ${name}.crt, PrivateKeyFile: ${name}.key }`,
    });
    expect(warnings).toHaveLength(1);
    expect(warnings[0]).toContain(`Tls.CertificateFile: the certificate "CN=test" ${word} `);
  }
});
