/**
 * What subnets and security groups are here: ranges of addresses that the configuration file names. Those
 * that it does not name have the usual ones, so that commands written for AWS work as they are.
 */

import { PRIVATE_RANGES } from '../base/source-ranges.ts';
import type { File } from './schema.ts';
import { type AddressRange, parseRange } from './state/endpoint-addresses.ts';

/** What has no security group has this one, as in a VPC. */
const DEFAULT_GROUP = 'default';

export interface Networks {
  /** Where endpoints get their addresses, by `SubnetId`. */
  readonly subnets: ReadonlyMap<string, AddressRange>;
  /** Who may connect, in CIDR notation, by `GroupId`. */
  readonly securityGroups: ReadonlyMap<string, readonly string[]>;
}

export function toNetworks({ Subnets, SecurityGroups }: File): Networks {
  return {
    subnets: new Map(
      Subnets.flatMap(({ SubnetId, CidrBlock }) => {
        const range = parseRange(CidrBlock);
        return range === undefined ? [] : [[SubnetId, range] as const];
      }),
    ),
    securityGroups: new Map(SecurityGroups.map(({ GroupId, CidrIps }) => [GroupId, CidrIps])),
  };
}

/** Who may connect to what has these security groups: whom one of them allows. */
export function allowedSources(
  { securityGroups }: Networks,
  groupIds: readonly string[],
): readonly string[] {
  const ids = groupIds.length === 0 ? [DEFAULT_GROUP] : groupIds;
  const ranges = ids.flatMap((id) => securityGroups.get(id) ?? PRIVATE_RANGES);
  return [...new Set(ranges)].toSorted();
}

/** Of these subnets, in their order; `usual` stands for all that the file does not name. */
export function subnetRanges(
  { subnets }: Networks,
  subnetIds: readonly string[],
  usual: AddressRange,
): readonly AddressRange[] {
  return [...new Set(subnetIds.map((id) => subnets.get(id) ?? usual))];
}
