/** What the two APIs say of the same failure, each in its own words. */

import { describe, expect, test } from 'bun:test';
import { faultOf } from '../../../src/control/aws/failure.ts';
import { Fault } from '../../../src/control/aws/fault.ts';
import { fromFault } from '../../../src/control/secretsmanager/fault.ts';
import {
  StateClosedError,
  StateError,
  StateUncertainError,
} from '../../../src/control/state/state-store.ts';

describe.each([
  [
    'too many requests',
    new Fault('Throttling', 'Rate exceeded'),
    'Throttling',
    'ThrottlingException',
    400,
    0,
  ],
  [
    'no key',
    new Fault('MissingAuthenticationToken', 'no'),
    'MissingAuthenticationToken',
    'MissingAuthenticationTokenException',
    400,
    0,
  ],
  ['no policy', new Fault('AccessDenied', 'no'), 'AccessDenied', 'AccessDeniedException', 400, 0],
  [
    'the end of the process',
    new StateClosedError(),
    'ServiceUnavailable',
    'ServiceUnavailableException',
    503,
    0,
  ],
  [
    'a full disk',
    new StateError('full', undefined),
    'ServiceUnavailable',
    'ServiceUnavailableException',
    503,
    1,
  ],
  ['a bug', new TypeError('x'), 'InternalFailure', 'InternalServiceError', 500, 1],
] as const)('%s', (_name, error, code, secretsCode, secretsStatus, told) => {
  test('has a code in each', () => {
    const unexpected: unknown[] = [];
    const fault = faultOf(error, (what) => unexpected.push(what));
    expect(fault.code).toBe(code);
    expect(fromFault(fault)).toMatchObject({ code: secretsCode, status: secretsStatus });
    expect(unexpected).toHaveLength(told);
  });
});

test('a change that may have been kept is never said not to have been', () => {
  const fault = faultOf(new StateUncertainError('no disk', undefined), () => {});
  for (const { message } of [fault, fromFault(fault)]) {
    expect(message).toBe('It is not certain that the change was kept.');
  }
});

test('a failure of our own is told without its words', () => {
  const fault = faultOf(new Error('canary'), () => {});
  for (const { message } of [fault, fromFault(fault)]) expect(message).not.toContain('canary');
});
