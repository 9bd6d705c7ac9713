/** Writes the answers of an AWS Query API. Nothing here reads XML, and nothing else writes it. */

export type XmlValue =
  | string
  | number
  | boolean
  | Date
  | undefined
  | readonly XmlValue[]
  | { readonly [name: string]: XmlValue };

/** Lists whose items have another name than `member`. */
const ITEM_NAMES: Readonly<Record<string, string>> = {
  TagList: 'Tag',
  DBInstances: 'DBInstance',
  DBClusters: 'DBCluster',
  DBClusterMembers: 'DBClusterMember',
  Events: 'Event',
  EventCategories: 'EventCategory',
};

const ESCAPES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  // A reader would take it for the end of a line.
  '\r': '&#13;',
};

/** What XML 1.0 cannot hold in any form. https://www.w3.org/TR/xml/#charsets */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for.
const IMPOSSIBLE = /[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]|\p{Surrogate}/gu;

/** `<name>...</name>`; nothing when the value is undefined. */
export function element(name: string, value: XmlValue, attributes = ''): string {
  if (value === undefined) return '';
  return `<${name}${attributes}>${content(name, value)}</${name}>`;
}

function content(name: string, value: Exclude<XmlValue, undefined>): string {
  if (typeof value === 'string') return escaped(value);
  if (typeof value === 'number' || typeof value === 'boolean') return String(value);
  if (value instanceof Date) return value.toISOString();
  if (isList(value)) {
    const itemName = ITEM_NAMES[name] ?? 'member';
    return value.map((item) => element(itemName, item)).join('');
  }
  return Object.entries(value)
    .map(([key, inner]) => element(key, inner))
    .join('');
}

function isList(value: object): value is readonly XmlValue[] {
  return Array.isArray(value);
}

function escaped(text: string): string {
  return text
    .replace(IMPOSSIBLE, '\ufffd')
    .replace(/[&<>"\r]/g, (found) => ESCAPES[found] ?? found);
}
