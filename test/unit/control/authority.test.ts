/** The authority of an installation: what it signs, and when it is kept and renewed. */

import { afterEach, beforeEach, expect, test } from 'bun:test';
import { createPrivateKey, X509Certificate } from 'node:crypto';
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { Authority } from '../../../src/control/certificate/authority.ts';
import { serverNames } from '../../../src/control/certificate/server-names.ts';

const DAY_MS = 86_400_000;
const NOW = Date.UTC(2030, 0, 1);
const NAMES = [
  '*.proxy-0123456789ab.us-east-1.berth.internal',
  'localhost',
  '127.0.0.1',
  '::1',
  '2001:db8::1:ff',
];

let folder = '';
beforeEach(() => {
  folder = join(mkdtempSync(join(tmpdir(), 'berth-authority-')), 'state');
});
afterEach(() => rmSync(join(folder, '..'), { recursive: true, force: true }));

test('signs what has the names, a P-256 key of its own, and 90 days', () => {
  const authority = Authority.keptIn(folder, NOW);
  const { certificate, privateKey } = authority.issue('orders', NAMES, NOW);
  const parsed = new X509Certificate(certificate);
  const root = new X509Certificate(authority.certificate);
  expect(authority.warning).toBeUndefined();
  expect(parsed.checkPrivateKey(createPrivateKey(privateKey.reveal()))).toBe(true);
  expect(parsed.publicKey.asymmetricKeyDetails?.namedCurve).toBe('prime256v1');
  expect(parsed.subject).toBe('CN=orders');
  expect(parsed.checkHost('orders.proxy-0123456789ab.us-east-1.berth.internal')).toBeDefined();
  expect(parsed.checkHost('a.b.proxy-0123456789ab.us-east-1.berth.internal')).toBeUndefined();
  expect(parsed.checkHost('localhost')).toBe('localhost');
  for (const address of ['127.0.0.1', '::1', '2001:db8::1:ff']) {
    expect(parsed.checkIP(address)).toBeDefined();
  }
  expect(parsed.checkIP('127.0.0.2')).toBeUndefined();
  expect(Date.parse(parsed.validFrom)).toBe(NOW - DAY_MS);
  expect(Date.parse(parsed.validTo)).toBe(NOW + 90 * DAY_MS);
  expect(parsed.ca).toBe(false);
  expect(parsed.checkIssued(root)).toBe(true);
  expect(parsed.verify(root.publicKey)).toBe(true);
  expect(root.ca).toBe(true);
  expect(root.verify(root.publicKey)).toBe(true);
});

test('is kept, for its owner only, and the key is not beside the certificate for clients', () => {
  const first = Authority.keptIn(folder, NOW);
  expect(Authority.keptIn(folder, NOW + 3000 * DAY_MS).certificate).toBe(first.certificate);
  expect(Authority.isKeptIn(folder)).toBe(true);
  expect(statSync(folder).mode & 0o777).toBe(0o700);
  expect(readdirSync(folder).sort()).toEqual(['ca.crt', 'ca.pem']);
  for (const name of readdirSync(folder)) {
    expect(statSync(join(folder, name)).mode & 0o777).toBe(0o600);
  }
  expect(readFileSync(join(folder, 'ca.crt'), 'utf8')).toBe(first.certificate);
});

test('gives the same certificate again, until its names change or its end is near', () => {
  const authority = Authority.keptIn(folder, NOW);
  const issue = (names: readonly string[], days: number) =>
    authority.issue('orders', names, NOW + days * DAY_MS).certificate;
  const first = issue(NAMES, 0);
  expect(issue(NAMES, 59)).toBe(first);
  expect(authority.hasToRenew(NOW + 59 * DAY_MS)).toBe(false);
  expect(authority.hasToRenew(NOW + 60 * DAY_MS)).toBe(true);
  const renewed = issue(NAMES, 60);
  expect(authority.hasToRenew(NOW + 60 * DAY_MS)).toBe(false);
  expect(renewed).not.toBe(first);
  expect(Date.parse(new X509Certificate(renewed).validTo)).toBe(NOW + 150 * DAY_MS);
  expect(issue([...NAMES, '192.0.2.1'], 60)).not.toBe(renewed);
  authority.keepOnly(new Set(['other']));
  expect(issue(NAMES, 60)).not.toBe(renewed);
});

test('is renewed a year before its end, with its key, so that nothing it has signed is lost', () => {
  const first = Authority.keptIn(folder, NOW);
  const later = NOW + (3650 - 364) * DAY_MS;
  expect(first.isGoodFor(folder, NOW)).toBe(true);
  expect(first.isGoodFor(`${folder}-other`, NOW)).toBe(false);
  expect(first.isGoodFor(folder, later)).toBe(false);
  expect(first.hasToRenew(later)).toBe(true);
  const second = Authority.keptIn(folder, later);
  expect(second.certificate).not.toBe(first.certificate);
  expect(second.warning).toContain('berth ca');
  const issued = new X509Certificate(second.issue('orders', NAMES, later).certificate);
  for (const { certificate } of [first, second]) {
    const root = new X509Certificate(certificate);
    expect(issued.checkIssued(root)).toBe(true);
    expect(issued.verify(root.publicKey)).toBe(true);
  }
});

test('is made anew when the file is damaged', () => {
  const first = Authority.keptIn(folder, NOW);
  const other = Authority.keptIn(`${folder}-other`, NOW);
  for (const text of ['', 'nonsense', first.certificate, other.certificate]) {
    writeFileSync(join(folder, 'ca.pem'), text);
    expect(Authority.isKeptIn(folder)).toBe(false);
    const again = Authority.keptIn(folder, NOW);
    expect(again.certificate).not.toBe(first.certificate);
    expect(again.warning).toBeUndefined();
  }
});

test('works when it cannot be kept, and says so', () => {
  mkdirSync(join(folder, '..'), { recursive: true });
  writeFileSync(folder, 'a file where the folder should be');
  const authority = Authority.keptIn(folder, NOW);
  const { certificate } = authority.issue('orders', NAMES, NOW);
  expect(new X509Certificate(certificate).checkHost('localhost')).toBe('localhost');
  expect(authority.warning).toContain('StateDirectory');
});

test('names are those of the proxy, of this machine and of what is listened on, but no wildcard and no Unix socket', () => {
  const hosts = ['127.0.0.1', '0.0.0.0', '::', 'DB.example.internal', 'no_name', '10.1.2.3'];
  const endpoints = [
    ...hosts.map((host) => ({ Listen: { host, port: 1 } })),
    { Listen: { socketPath: '/run/.s.PGSQL.1' } },
  ];
  const names = serverNames(['*.own'], endpoints);
  expect(names).toContain(hostname().toLowerCase());
  expect(names.filter((name) => name !== hostname().toLowerCase())).toEqual([
    '*.own',
    'localhost',
    '127.0.0.1',
    '::1',
    'db.example.internal',
    '10.1.2.3',
  ]);
});
