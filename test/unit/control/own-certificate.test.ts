/** The certificate that is made when none is given: what is in it, and when it is kept. */

import { afterEach, beforeEach, expect, test } from 'bun:test';
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { certificateNames, ownCertificate } from '../../../src/control/own-certificate.ts';
import type { DBProxy } from '../../../src/proxy/snapshot.ts';

const DAY_MS = 86_400_000;
const NOW = Date.UTC(2030, 0, 1);
const NAMES = ['localhost', '127.0.0.1', '::1', 'db.example.internal'];

let folder = '';
beforeEach(() => {
  folder = join(mkdtempSync(join(tmpdir(), 'berth-certificate-')), 'state');
});
afterEach(() => rmSync(join(folder, '..'), { recursive: true, force: true }));

test('has the names, a P-256 key of its own, and two years', async () => {
  const { certificate, privateKey, warning } = await ownCertificate(folder, NAMES, NOW);
  const parsed = new X509Certificate(certificate);
  expect(warning).toBeUndefined();
  expect(parsed.checkPrivateKey(createPrivateKey(privateKey.reveal()))).toBe(true);
  expect(parsed.publicKey.asymmetricKeyDetails?.namedCurve).toBe('prime256v1');
  for (const name of ['localhost', 'db.example.internal']) {
    expect(parsed.checkHost(name)).toBe(name);
  }
  for (const address of ['127.0.0.1', '::1']) expect(parsed.checkIP(address)).toBeDefined();
  expect(parsed.checkHost('other.example')).toBeUndefined();
  expect(Date.parse(parsed.validFrom)).toBe(NOW - DAY_MS);
  expect(Date.parse(parsed.validTo)).toBe(NOW + 730 * DAY_MS);
  expect(parsed.verify(parsed.publicKey)).toBe(true);
});

test('is kept, for its owner only', async () => {
  const first = await ownCertificate(folder, NAMES, NOW);
  const second = await ownCertificate(folder, NAMES, NOW + 600 * DAY_MS);
  expect(second.certificate).toBe(first.certificate);
  expect(second.privateKey.reveal()).toBe(first.privateKey.reveal());
  expect(statSync(folder).mode & 0o777).toBe(0o700);
  expect(readdirSync(folder).sort()).toEqual(['self-signed.crt', 'self-signed.pem']);
  for (const name of readdirSync(folder)) {
    expect(statSync(join(folder, name)).mode & 0o777).toBe(0o600);
  }
});

test('is kept when a name is not needed any more', async () => {
  const first = await ownCertificate(folder, NAMES, NOW);
  const second = await ownCertificate(folder, NAMES.slice(0, 3), NOW);
  expect(second.certificate).toBe(first.certificate);
});

test.each([
  ['it is about to expire', NAMES, NOW + 701 * DAY_MS],
  ['a name is missing', [...NAMES, 'new.example'], NOW],
  ['an address is missing', [...NAMES, '192.0.2.1'], NOW],
])('is made anew when %s', async (_why, names, now) => {
  const first = await ownCertificate(folder, NAMES, NOW);
  const second = await ownCertificate(folder, names, now);
  expect(second.certificate).not.toBe(first.certificate);
  expect((await ownCertificate(folder, names, now)).certificate).toBe(second.certificate);
});

test('is made anew when the file is damaged', async () => {
  const first = await ownCertificate(folder, NAMES, NOW);
  const other = await ownCertificate(`${folder}-other`, NAMES, NOW);
  const halves = ['', 'nonsense', first.certificate, first.certificate + other.privateKey.reveal()];
  for (const text of halves) {
    writeFileSync(join(folder, 'self-signed.pem'), text);
    const again = await ownCertificate(folder, NAMES, NOW);
    expect(again.certificate).not.toBe(first.certificate);
    expect(again.warning).toBeUndefined();
  }
});

test('works when it cannot be kept, and says so', async () => {
  mkdirSync(join(folder, '..'), { recursive: true });
  writeFileSync(folder, 'a file where the folder should be');
  const { certificate, warning } = await ownCertificate(folder, NAMES, NOW);
  expect(new X509Certificate(certificate).checkHost('localhost')).toBe('localhost');
  expect(warning).toContain('StateDirectory');
});

test('names this machine and what is listened on, but no wildcard and no Unix socket', () => {
  const hosts = ['127.0.0.1', '0.0.0.0', '::', 'DB.example.internal', '10.1.2.3'];
  const addresses = [
    ...hosts.map((host) => ({ host, port: 1 })),
    { socketPath: '/run/.s.PGSQL.1' },
  ];
  const proxies = addresses.map((Listen) => ({
    Endpoints: [{ DBProxyEndpointName: 'default', Listen }],
  })) as unknown as DBProxy[];
  const names = certificateNames(proxies);
  expect(names).toContain(hostname().toLowerCase());
  const others = names.filter((name) => name !== hostname().toLowerCase());
  expect(others).toEqual(['localhost', '127.0.0.1', '::1', 'db.example.internal', '10.1.2.3']);
});
