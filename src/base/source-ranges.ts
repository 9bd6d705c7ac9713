/** Which addresses may connect: ranges in CIDR notation, IPv4 and IPv6. */

import { BlockList, isIP, isIPv4, isIPv6 } from 'node:net';

/**
 * Loopback, private (RFC 1918, RFC 4193), shared (RFC 6598) and link-local addresses: what does not
 * come out of the internet.
 */
export const PRIVATE_RANGES: readonly string[] = [
  '127.0.0.0/8',
  '10.0.0.0/8',
  '172.16.0.0/12',
  '192.168.0.0/16',
  '100.64.0.0/10',
  '169.254.0.0/16',
  '::1/128',
  'fc00::/7',
  'fe80::/10',
];

/** How Linux writes an IPv4 address that has come to a socket for both kinds. */
const MAPPED = '::ffff:';

interface Range {
  readonly address: string;
  readonly prefix: number;
}

/** Undefined when `text` is no range. */
export function parseSourceRange(text: string): Range | undefined {
  const [address = '', bits = '', ...rest] = text.split('/');
  const widest = isIPv4(address) ? 32 : 128;
  if (isIP(address) === 0 || !/^\d{1,3}$/.test(bits) || rest.length > 0) return undefined;
  return Number(bits) <= widest ? { address, prefix: Number(bits) } : undefined;
}

export class SourceRanges {
  /** Whether addresses of the internet are among them. */
  readonly hasPublic: boolean;
  private readonly list: BlockList;

  /** Throws when one is no range. */
  constructor(ranges: readonly string[]) {
    const parsed = ranges.map(checked);
    this.list = listOf(parsed);
    this.hasPublic = !parsed.every((range) => PRIVATE.some((each) => contains(each, range)));
  }

  admits(address: string): boolean {
    const plain = address.startsWith(MAPPED) ? address.slice(MAPPED.length) : address;
    if (isIPv4(plain)) return this.list.check(plain, 'ipv4');
    return isIPv6(plain) && this.list.check(plain, 'ipv6');
  }
}

function checked(text: string): Range {
  const range = parseSourceRange(text);
  if (range === undefined) throw new Error(`${text} is no range of addresses`);
  return range;
}

function listOf(ranges: readonly Range[]): BlockList {
  const list = new BlockList();
  for (const { address, prefix } of ranges) {
    list.addSubnet(address, prefix, isIPv4(address) ? 'ipv4' : 'ipv6');
  }
  return list;
}

const PRIVATE = PRIVATE_RANGES.map(checked);

function contains(outer: Range, inner: Range): boolean {
  const family = isIPv4(inner.address) ? 'ipv4' : 'ipv6';
  return outer.prefix <= inner.prefix && listOf([outer]).check(inner.address, family);
}
