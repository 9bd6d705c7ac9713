/** Pages of a list, as all Describe operations of RDS have them. */

import { Fault } from '../aws/fault.ts';

interface PageRequest {
  readonly Marker?: string | undefined;
  readonly MaxRecords: number;
}

interface Page<Item> {
  readonly items: readonly Item[];
  /** Undefined on the last page. */
  readonly Marker: string | undefined;
}

/**
 * The items after the one that the marker names. `keyOf` must be unique, and `items` sorted by it, so that
 * what is made or removed between two pages makes nothing else appear twice or not at all.
 */
export function page<Item>(
  items: readonly Item[],
  keyOf: (item: Item) => string,
  { Marker, MaxRecords }: PageRequest,
): Page<Item> {
  const after = Marker === undefined || Marker === '' ? undefined : readMarker(Marker);
  const rest = after === undefined ? items : items.filter((item) => keyOf(item) > after);
  const shown = rest.slice(0, MaxRecords);
  const last = shown.at(-1);
  const hasMore = last !== undefined && shown.length < rest.length;
  return { items: shown, Marker: hasMore ? writeMarker(keyOf(last)) : undefined };
}

const PREFIX = 'berth:';

function writeMarker(key: string): string {
  return Buffer.from(PREFIX + key).toString('base64url');
}

function readMarker(marker: string): string {
  const text = Buffer.from(marker, 'base64url').toString();
  if (!text.startsWith(PREFIX)) {
    throw new Fault('InvalidParameterValue', 'Invalid value for the parameter Marker.');
  }
  return text.slice(PREFIX.length);
}
