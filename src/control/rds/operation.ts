/** Operations of the RDS API, and what they look up. */

import { Fault, type FaultCode } from '../aws/fault.ts';
import { type ApiOperation, definer } from '../aws/operation.ts';
import type { DesiredState, KnownInstance, KnownProxy } from '../state/desired-state.ts';
import type { DBClusterRecord } from '../state/records.ts';
import type { ProxyObservation } from './answers.ts';
import type { FormTree } from './form.ts';
import { readParameters } from './parameters.ts';
import type { XmlValue } from './xml.ts';

export interface RdsContext {
  readonly state: DesiredState;
  /** Undefined when no proxy of that name runs. */
  readonly observe: (proxy: string) => ProxyObservation | undefined;
}

type Result = { readonly [name: string]: XmlValue };

/** Throws `Fault`. */
export type Operation = ApiOperation<FormTree, RdsContext, Result>;

export const operation = definer<FormTree, RdsContext, Result>(readParameters);

/** Names are compared as the data plane does: `Orders` is another one than `orders`. */
export function findProxy({ state }: RdsContext, name: string): KnownProxy {
  const found = state.proxies.find(({ record }) => record.name === name);
  if (found !== undefined) return found;
  throw new Fault('DBProxyNotFoundFault', `DB proxy ${name} was not found.`);
}

/** One that the API may change. */
export function findOwnProxy(context: RdsContext, name: string): KnownProxy['record'] {
  const { record, isDeclared } = findProxy(context, name);
  if (isDeclared) throw declared('InvalidDBProxyStateFault', `DB proxy ${name}`);
  return record;
}

export function findInstance({ state }: RdsContext, name: string): KnownInstance {
  const found = state.instances.find(({ record }) => record.name === name);
  if (found !== undefined) return found;
  throw new Fault('DBInstanceNotFound', `DBInstance ${name} not found.`);
}

export function findCluster({ state }: RdsContext, name: string): DBClusterRecord {
  const found = state.clusters.find((cluster) => cluster.name === name);
  if (found !== undefined) return found;
  throw new Fault('DBClusterNotFoundFault', `DBCluster ${name} not found.`);
}

/** One that the API may change. */
export function findOwnCluster({ state }: RdsContext, name: string): DBClusterRecord {
  const found = state.knownClusters.find(({ record }) => record.name === name);
  if (found?.isDeclared === true) {
    throw declared('InvalidDBClusterStateFault', `DB cluster ${name}`);
  }
  if (found !== undefined) return found.record;
  throw new Fault('DBClusterNotFoundFault', `DBCluster ${name} not found.`);
}

/** One that the API may change. */
export function findOwnInstance(context: RdsContext, name: string): KnownInstance['record'] {
  const { record, isDeclared } = findInstance(context, name);
  if (isDeclared) throw declared('InvalidDBInstanceState', `DB instance ${name}`);
  return record;
}

/** What a file declares only the file changes; at its next reading it would be as before. */
export function declared(code: FaultCode, what: string): Fault {
  return new Fault(
    code,
    `${what} is declared in the configuration file, so it can be changed only there.`,
  );
}

export function now(): string {
  return new Date().toISOString();
}
