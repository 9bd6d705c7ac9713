/** CreateDBProxy, DescribeDBProxies, ModifyDBProxy, DeleteDBProxy. */

import type { z } from 'zod';
import type { EngineFamily } from '../../proxy/snapshot.ts';
import { Fault } from '../aws/fault.ts';
import { isLoopback, parseTcpAddress } from '../listen-address.ts';
import { newId } from '../state/arns.ts';
import { debugLoggingUntil } from '../state/debug-logging.ts';
import { ENGINE_FAMILIES } from '../state/engine-families.ts';
import type { AuthRecord, ProxyRecord } from '../state/records.ts';
import { dbProxyAnswer } from './answers.ts';
import { findOwnProxy, findProxy, now, operation, type RdsContext } from './operation.ts';
import { listenOf, withTags } from './own-tags.ts';
import { page } from './page.ts';
import {
  auth,
  flag,
  integer,
  members,
  name,
  oneOf,
  paging,
  tags,
  text,
  vpcIds,
} from './parameters.ts';

const PROXIES_MAX = 1_000;
/** RDS wants two in different availability zones; here there are no zones. */
const SUBNETS_MIN = 2;
const IDLE_CLIENT_TIMEOUT = integer(1, 28_800);
const USUAL_IDLE_CLIENT_TIMEOUT = 1_800;

const roleArn = text(2048, 20);
const defaultAuthScheme = oneOf(['NONE', 'IAM_AUTH']);

const notYet = 'is not supported yet';
export const onlyIpv4 = oneOf(['IPV4'], { IPV6: `IPV6 ${notYet}`, DUAL: `DUAL ${notYet}` });

export const createDBProxy = operation(
  members({
    DBProxyName: name(),
    EngineFamily: oneOf(['POSTGRESQL', 'MYSQL']),
    RoleArn: roleArn,
    VpcSubnetIds: vpcIds,
    Auth: auth.optional(),
    DefaultAuthScheme: defaultAuthScheme.default('NONE'),
    VpcSecurityGroupIds: vpcIds.default([]),
    RequireTLS: flag().optional(),
    IdleClientTimeout: IDLE_CLIENT_TIMEOUT.default(USUAL_IDLE_CLIENT_TIMEOUT),
    DebugLogging: flag().default(false),
    Tags: tags.default([]),
    EndpointNetworkType: onlyIpv4.optional(),
    TargetConnectionNetworkType: onlyIpv4.optional(),
  }),
  (parameters, context) => {
    const { state } = context;
    checkIsFree(parameters.DBProxyName, context);
    if (state.proxies.length >= PROXIES_MAX) {
      throw new Fault('DBProxyQuotaExceededFault', `There are ${PROXIES_MAX} proxies already.`);
    }
    checkSubnets(parameters.VpcSubnetIds);
    const at = now();
    const allTags = withTags([], parameters.Tags);
    const { EngineFamily: family, VpcSubnetIds: subnetIds } = parameters;
    const listen = listenOf({ what: 'proxy', tags: allTags, family, subnetIds }, context);
    const record: ProxyRecord = {
      kind: 'proxy',
      id: newId('proxy'),
      name: parameters.DBProxyName,
      engineFamily: parameters.EngineFamily,
      roleArn: parameters.RoleArn,
      vpcSubnetIds: parameters.VpcSubnetIds,
      vpcSecurityGroupIds: parameters.VpcSecurityGroupIds,
      ...authentication(parameters.DefaultAuthScheme, parameters.Auth ?? [], family),
      requireTls: parameters.RequireTLS ?? !isLocal(listen),
      idleClientTimeout: parameters.IdleClientTimeout,
      ...debugLogging(debugLoggingUntil(parameters.DebugLogging, undefined)),
      listen,
      createdAt: at,
      updatedAt: at,
      tags: allTags,
      targetGroup: {
        id: newId('target-group'),
        config: {},
        targets: [],
        createdAt: at,
        updatedAt: at,
        tags: [],
      },
      endpoints: [],
    };
    state.commit({ put: record });
    return { DBProxy: dbProxyAnswer(record, state, undefined) };
  },
);

export const describeDBProxies = operation(
  members({ DBProxyName: text(255).optional(), ...paging }),
  ({ DBProxyName, ...paging }, context) => {
    const { state, observe } = context;
    const found = DBProxyName === undefined ? state.proxies : [findProxy(context, DBProxyName)];
    const { items, Marker } = page(found, ({ record }) => record.name, paging);
    return {
      DBProxies: items.map(({ record }) => dbProxyAnswer(record, state, observe(record.name))),
      Marker,
    };
  },
);

export const modifyDBProxy = operation(
  members({
    DBProxyName: text(255),
    NewDBProxyName: name().optional(),
    Auth: auth.optional(),
    DefaultAuthScheme: defaultAuthScheme.optional(),
    RequireTLS: flag().optional(),
    IdleClientTimeout: IDLE_CLIENT_TIMEOUT.optional(),
    DebugLogging: flag().optional(),
    RoleArn: roleArn.optional(),
    SecurityGroups: vpcIds.optional(),
  }),
  (parameters, context) => {
    const { state, observe } = context;
    const before = findOwnProxy(context, parameters.DBProxyName);
    const { NewDBProxyName: newName = before.name, Auth } = parameters;
    const { DefaultAuthScheme: scheme = before.defaultAuthScheme } = parameters;
    if (newName !== before.name) checkIsFree(newName, context);
    const { debugLoggingUntil: until, ...rest } = before;
    const record: ProxyRecord = {
      ...rest,
      ...debugLogging(debugLoggingUntil(parameters.DebugLogging, until)),
      name: newName,
      ...authentication(scheme, Auth ?? before.auth, before.engineFamily),
      requireTls: parameters.RequireTLS ?? before.requireTls,
      idleClientTimeout: parameters.IdleClientTimeout ?? before.idleClientTimeout,
      roleArn: parameters.RoleArn ?? before.roleArn,
      vpcSecurityGroupIds: parameters.SecurityGroups ?? before.vpcSecurityGroupIds,
      updatedAt: now(),
    };
    state.commit({ put: record });
    return { DBProxy: dbProxyAnswer(record, state, observe(record.name)) };
  },
);

export const deleteDBProxy = operation(
  members({ DBProxyName: text(255) }),
  ({ DBProxyName }, context) => {
    const record = findOwnProxy(context, DBProxyName);
    context.state.commit({ remove: record });
    const answer = dbProxyAnswer(record, context.state, undefined);
    return { DBProxy: { ...answer, Status: 'deleting' } };
  },
);

export function checkSubnets(subnetIds: readonly string[]): void {
  if (new Set(subnetIds).size >= SUBNETS_MIN) return;
  throw new Fault('InvalidSubnet', `VpcSubnetIds must have at least ${SUBNETS_MIN} subnets.`);
}

function checkIsFree(proxyName: string, { state }: RdsContext): void {
  if (!state.proxies.some(({ record }) => record.name === proxyName)) return;
  throw new Fault('DBProxyAlreadyExistsFault', `DB proxy ${proxyName} already exists.`);
}

function debugLogging(until: string | undefined): Pick<ProxyRecord, 'debugLoggingUntil'> {
  return until === undefined ? {} : { debugLoggingUntil: until };
}

function isLocal(listen: string): boolean {
  return isLoopback(parseTcpAddress(listen)?.host ?? '');
}

/** With IAM_AUTH the policies say who may log in, so no entry is needed. */
function authentication(
  scheme: ProxyRecord['defaultAuthScheme'],
  given: z.output<typeof auth> | readonly AuthRecord[],
  family: EngineFamily,
): Pick<ProxyRecord, 'auth' | 'defaultAuthScheme'> {
  if (scheme !== 'IAM_AUTH' && given.length === 0) {
    throw new Fault(
      'InvalidParameterCombination',
      'Auth must have at least one entry unless DefaultAuthScheme is IAM_AUTH.',
    );
  }
  return { auth: toAuth(given, family), defaultAuthScheme: scheme ?? 'NONE' };
}

function toAuth(
  given: z.output<typeof auth> | readonly AuthRecord[],
  family: EngineFamily,
): AuthRecord[] {
  const { authTypes } = ENGINE_FAMILIES[family];
  return given.map(({ ClientPasswordAuthType: asked, ...entry }) => {
    if (asked !== undefined && !authTypes.includes(asked)) {
      throw new Fault(
        'InvalidParameterCombination',
        `The ClientPasswordAuthType ${asked} is not one of EngineFamily ${family}.`,
      );
    }
    const { AuthScheme, SecretArn, IAMAuth, Description, UserName } = entry;
    return {
      AuthScheme,
      SecretArn,
      IAMAuth,
      ...(asked === undefined ? {} : { ClientPasswordAuthType: asked }),
      ...(Description === undefined ? {} : { Description }),
      ...(UserName === undefined ? {} : { UserName }),
    };
  });
}
