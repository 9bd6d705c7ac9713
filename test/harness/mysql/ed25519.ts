/**
 * Ed25519 signatures (RFC 8032) with a secret of any length, which is how MariaDB's `client_ed25519` uses
 * a password; Node.js only takes secrets of 32 bytes. Slow and not constant in time: for tests.
 */

import { createHash } from 'node:crypto';

const P = 2n ** 255n - 19n;
const L = 2n ** 252n + 27742317777372353535851937790883648493n;
const D = modulo(-121665n * power(121666n, P - 2n));
const BASE_Y = modulo(4n * power(5n, P - 2n));

interface Point {
  readonly x: bigint;
  readonly y: bigint;
  readonly z: bigint;
  readonly t: bigint;
}

function modulo(value: bigint, by = P): bigint {
  const rest = value % by;
  return rest < 0n ? rest + by : rest;
}

function power(base: bigint, exponent: bigint): bigint {
  let result = 1n;
  let square = modulo(base);
  for (let rest = exponent; rest > 0n; rest >>= 1n) {
    if (rest & 1n) result = modulo(result * square);
    square = modulo(square * square);
  }
  return result;
}

/** The x of even parity that belongs to a y. */
function evenX(y: bigint): bigint {
  const squared = modulo((y * y - 1n) * power(D * y * y + 1n, P - 2n));
  let x = power(squared, (P + 3n) / 8n);
  if (modulo(x * x - squared) !== 0n) x = modulo(x * power(2n, (P - 1n) / 4n));
  return x & 1n ? P - x : x;
}

function add(a: Point, b: Point): Point {
  const A = modulo((a.y - a.x) * (b.y - b.x));
  const B = modulo((a.y + a.x) * (b.y + b.x));
  const C = modulo(2n * a.t * b.t * D);
  const DD = modulo(2n * a.z * b.z);
  const [E, F, G, H] = [B - A, DD - C, DD + C, B + A];
  return { x: modulo(E * F), y: modulo(G * H), z: modulo(F * G), t: modulo(E * H) };
}

function multiplyBase(scalar: bigint): Buffer {
  const x = evenX(BASE_Y);
  let sum: Point = { x: 0n, y: 1n, z: 1n, t: 0n };
  let double: Point = { x, y: BASE_Y, z: 1n, t: modulo(x * BASE_Y) };
  for (let rest = scalar; rest > 0n; rest >>= 1n) {
    if (rest & 1n) sum = add(sum, double);
    double = add(double, double);
  }
  const inverse = power(sum.z, P - 2n);
  const bytes = encode(modulo(sum.y * inverse));
  if (modulo(sum.x * inverse) & 1n) bytes[31] = (bytes[31] ?? 0) | 0x80;
  return bytes;
}

function encode(value: bigint): Buffer {
  return Buffer.from(value.toString(16).padStart(64, '0'), 'hex').reverse();
}

function decode(bytes: Buffer): bigint {
  return BigInt(`0x${Buffer.from(bytes).reverse().toString('hex')}`);
}

function sha512(...parts: readonly Uint8Array[]): Buffer {
  const hash = createHash('sha512');
  for (const part of parts) hash.update(part);
  return hash.digest();
}

/** The signature of a message, 64 bytes. */
export function signEd25519(secret: Uint8Array, message: Uint8Array): Buffer {
  const hash = sha512(secret);
  const low = Buffer.from(hash.subarray(0, 32));
  low[0] = (low[0] ?? 0) & 0xf8;
  low[31] = ((low[31] ?? 0) & 0x7f) | 0x40;
  const scalar = decode(low);
  const publicKey = multiplyBase(scalar);
  const r = modulo(decode(sha512(hash.subarray(32), message)), L);
  const R = multiplyBase(r);
  const k = modulo(decode(sha512(R, publicKey, message)), L);
  return Buffer.concat([R, encode(modulo(r + k * scalar, L))]);
}
