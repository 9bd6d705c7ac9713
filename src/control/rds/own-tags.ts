/**
 * What Berth needs to know and RDS has no parameter for is said by tags, which every tool can send as it
 * is. A tag takes effect with the call that sets or removes it.
 */

import { isIPv6 } from 'node:net';
import { targetAddress } from '../../proxy/settings.ts';
import type { EndpointReaders, EngineFamily } from '../../proxy/snapshot.ts';
import { Fault } from '../aws/fault.ts';
import {
  isHost,
  isTooLong,
  mayShare,
  overlaps,
  parseListenAddress,
  parseTcpAddress,
} from '../listen-address.ts';
import { freeListen } from '../state/endpoint-addresses.ts';
import { type DBInstanceRecord, type Tag, TLS_MODES } from '../state/records.ts';
import type { RdsContext } from './operation.ts';

const PREFIX = 'berth:';
/** Of a proxy, for its default endpoint, or of an endpoint: where it listens. */
const LISTEN = 'berth:listen';
/** Of a DB instance: the host, or the Unix socket (of PostgreSQL its folder), where the database is. */
const ADDRESS = 'berth:address';
/** Of a DB instance: as `Tls.Mode` in the configuration file. */
const TLS_MODE = 'berth:tls-mode';

/** Of a `READ_ONLY` endpoint: seconds that a reader may be behind the writer. */
const MAX_REPLICA_LAG = 'berth:max-replica-lag';
/** Of a `READ_ONLY` endpoint: `WRITER`, so that clients read there while there is no reader for them, or `NONE`. */
const READER_FALLBACK = 'berth:reader-fallback';
const MAX_REPLICA_LAG_MAX_S = 86_400;

const OWN_TAGS = {
  proxy: [LISTEN],
  endpoint: [LISTEN, MAX_REPLICA_LAG, READER_FALLBACK],
  instance: [ADDRESS, TLS_MODE],
  cluster: [],
  group: [],
} as const satisfies Record<string, readonly string[]>;

/** Refuses tags of Berth that a resource does not have; a typing error would go unnoticed. */
export function checkOwnTags(tags: readonly Tag[], what: keyof typeof OWN_TAGS): void {
  const known: readonly string[] = OWN_TAGS[what];
  const unknown = tags.find(({ Key }) => Key.startsWith(PREFIX) && !known.includes(Key));
  if (unknown === undefined) return;
  const hint = known.length === 0 ? 'there is none for it' : `known for it: ${known.join(', ')}`;
  throw invalid(`The tag ${unknown.Key} means nothing here; ${hint}.`);
}

/**
 * Where an endpoint listens: what its tag says, otherwise `current` if that is from a subnet, otherwise
 * the first free address of its subnets, which is nobody else's, not even at another port.
 */
export function listenOf(
  { what, tags, family, subnetIds }: EndpointWish,
  { state }: RdsContext,
  current?: { readonly listen: string; readonly tags: readonly Tag[] },
): string {
  checkOwnTags(tags, what);
  const asked = valueIn(tags, LISTEN);
  const others = state.proxies
    .flatMap(({ record }) =>
      [record, ...record.endpoints].map(({ listen }) => ({
        listen,
        family: record.engineFamily,
      })),
    )
    .filter(({ listen }) => listen !== current?.listen);
  if (asked !== undefined) return checkListen(asked, family, others);
  if (current !== undefined && valueIn(current.tags, LISTEN) === undefined) return current.listen;
  const taken = [
    ...others.map(({ listen }) => listen),
    ...state.instances.map(({ record }) => `${record.address}:0`),
  ];
  const hosts = new Set(taken.map((listen) => parseTcpAddress(listen)?.host ?? ''));
  const free = freeListen(state.rangesOf(subnetIds), family, hosts);
  if (free !== undefined) return free;
  throw new Fault(
    'InsufficientAvailableIPsInSubnetFault',
    'Every address of the subnets is taken; Subnets and Api.EndpointRange in the configuration file say which there are.',
  );
}

interface EndpointWish {
  readonly what: 'proxy' | 'endpoint';
  readonly tags: readonly Tag[];
  readonly family: EngineFamily;
  readonly subnetIds: readonly string[];
}

function checkListen(
  asked: string,
  family: EngineFamily,
  others: readonly { readonly listen: string; readonly family: EngineFamily }[],
): string {
  const address = parseTcpAddress(asked);
  if (address === undefined || address.port === 0) {
    throw invalid(`The tag ${LISTEN} must be host:port, for example 127.0.0.1:6432.`);
  }
  const isTaken = others.some((other) => {
    const taken = parseListenAddress(other.listen);
    if (taken === undefined || !overlaps(taken, address)) return false;
    return other.family !== family || !mayShare(taken, address);
  });
  if (isTaken) {
    const why = `an endpoint of another engine, or of all addresses, listens on ${asked}`;
    throw invalid(`The tag ${LISTEN}: ${why}.`);
  }
  return asked;
}

/** What an endpoint asks of the readers; undefined when it is not about them. */
export function readersOf(tags: readonly Tag[], isReadOnly: boolean): EndpointReaders | undefined {
  const lag = valueIn(tags, MAX_REPLICA_LAG);
  const fallback = valueIn(tags, READER_FALLBACK) ?? 'NONE';
  if (!isReadOnly) {
    const misplaced = tags.find(({ Key }) => Key === MAX_REPLICA_LAG || Key === READER_FALLBACK);
    if (misplaced === undefined) return undefined;
    throw invalid(`The tag ${misplaced.Key} is for endpoints whose TargetRole is READ_ONLY.`);
  }
  if (fallback !== 'NONE' && fallback !== 'WRITER') {
    throw invalid(`The tag ${READER_FALLBACK} must be NONE or WRITER.`);
  }
  const MaxReplicaLag = lag === undefined ? undefined : Number(lag);
  const isSeconds = lag === undefined || /^\d{1,5}$/.test(lag);
  if (!isSeconds || (MaxReplicaLag ?? 0) > MAX_REPLICA_LAG_MAX_S) {
    throw invalid(`The tag ${MAX_REPLICA_LAG} must be seconds, 0 to ${MAX_REPLICA_LAG_MAX_S}.`);
  }
  return { MaxReplicaLag, ReaderFallback: fallback };
}

/** Where a database is and how it is spoken to. */
export function placeOf(
  tags: readonly Tag[],
  { port, engine }: Pick<DBInstanceRecord, 'port' | 'engine'>,
): Pick<DBInstanceRecord, 'address' | 'tlsMode'> {
  checkOwnTags(tags, 'instance');
  const address = valueIn(tags, ADDRESS);
  if (address === undefined) {
    throw invalid(
      `The tag ${ADDRESS} must say where the database is: Berth registers databases, and creates none.`,
    );
  }
  const isFolder = address.startsWith('/');
  if (!isFolder && !isHost(address) && !isIPv6(address)) {
    throw invalid(
      `The tag ${ADDRESS} must be a host name, an IP address or, for a Unix socket, a path.`,
    );
  }
  const target = targetAddress({ Engine: engine, Endpoint: { Address: address, Port: port } });
  if ('socketPath' in target && isTooLong(target)) {
    throw invalid(`The tag ${ADDRESS} is too long for a Unix socket of ${engine}.`);
  }
  const mode = valueIn(tags, TLS_MODE) ?? 'prefer';
  const tlsMode = TLS_MODES.find((each) => each === mode);
  if (tlsMode === undefined) {
    throw invalid(`The tag ${TLS_MODE} must be one of ${TLS_MODES.join(', ')}.`);
  }
  return { address, tlsMode };
}

/** `added` over `tags`, in the order in which they came. */
export function withTags(tags: readonly Tag[], added: readonly Tag[]): readonly Tag[] {
  const merged = new Map([...tags, ...added].map((tag) => [tag.Key, tag]));
  return [...merged.values()];
}

function valueIn(tags: readonly Tag[], key: string): string | undefined {
  return tags.find(({ Key }) => Key === key)?.Value;
}

function invalid(message: string): Fault {
  return new Fault('InvalidParameterValue', message);
}
