/**
 * Where an endpoint listens that the API has made: on an address of its own, out of a range, with the
 * usual port of its engine, as an elastic network interface would give it one.
 */

import { isIPv4 } from 'node:net';
import type { EngineFamily } from '../../proxy/snapshot.ts';
import { ENGINE_FAMILIES } from './engine-families.ts';

/** An IPv4 range, as numbers, both ends included. */
export interface AddressRange {
  readonly first: number;
  readonly last: number;
}

const SMALLEST_PREFIX = 8;
const LARGEST_PREFIX = 30;

/** Of `10.1.0.0/16`; without the two addresses that a network keeps for itself. Undefined when it is none. */
export function parseRange(text: string): AddressRange | undefined {
  const [address = '', bits = ''] = text.split('/');
  const prefix = Number(bits);
  if (!isIPv4(address) || !/^\d{1,2}$/.test(bits)) return undefined;
  if (prefix < SMALLEST_PREFIX || prefix > LARGEST_PREFIX) return undefined;
  const size = 2 ** (32 - prefix);
  const base = Math.floor(toNumber(address) / size) * size;
  return { first: base + 1, last: base + size - 2 };
}

/** The lowest address of the first range that has one whose host is not in `taken`, as `host:port`. */
export function freeListen(
  ranges: readonly AddressRange[],
  family: EngineFamily,
  taken: ReadonlySet<string>,
): string | undefined {
  const { port } = ENGINE_FAMILIES[family];
  for (const { first, last } of ranges) {
    for (let address = first; address <= last; address++) {
      const host = toText(address);
      if (!taken.has(host)) return `${host}:${port}`;
    }
  }
  return undefined;
}

function toNumber(address: string): number {
  return address.split('.').reduce((sum, part) => sum * 256 + Number(part), 0);
}

function toText(address: number): string {
  return [24, 16, 8, 0].map((shift) => Math.floor(address / 2 ** shift) % 256).join('.');
}
