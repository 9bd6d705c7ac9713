import { describe, expect, test } from 'bun:test';
import fc from 'fast-check';
import { decide, fits, type PolicyStatement } from '../../../src/credential/policy.ts';

const CONNECT = 'rds-db:connect';
const PROXY = 'arn:aws:rds-db:us-east-1:123456789012:dbuser:prx-0123456789abcdef0';

function statement(
  Effect: 'Allow' | 'Deny',
  action: string | readonly string[],
  resource: string | readonly string[],
): PolicyStatement {
  return { Effect, Action: [action].flat(), Resource: [resource].flat() };
}

const allow = (action: string | readonly string[], resource: string | readonly string[]) =>
  statement('Allow', action, resource);
const deny = (action: string | readonly string[], resource: string | readonly string[]) =>
  statement('Deny', action, resource);

describe('a decision', () => {
  test.each<[string, readonly PolicyStatement[], string]>([
    ['is no, when there are no statements', [], 'not_allowed'],
    ['is yes, when one allows it', [allow(CONNECT, `${PROXY}/app`)], 'allowed'],
    ['does not look at the case of actions', [allow('RDS-DB:Connect', '*')], 'allowed'],
    ['looks at the case of resources', [allow(CONNECT, `${PROXY}/App`)], 'not_allowed'],
    [
      'needs action and resource in one statement',
      [allow(CONNECT, 'arn:x'), allow('rds:x', '*')],
      'not_allowed',
    ],
    ['takes any of several actions', [allow(['rds:x', 'rds-db:*'], '*')], 'allowed'],
    ['takes any of several resources', [allow('*', [`${PROXY}/x`, `${PROXY}/ap?`])], 'allowed'],
    ['is no, when another user is allowed', [allow(CONNECT, `${PROXY}/apps`)], 'not_allowed'],
    [
      'is no, when one denies it',
      [allow('*', '*'), deny(CONNECT, `${PROXY}/a*`)],
      'denied_explicitly',
    ],
    ['is no, whichever comes first', [deny(CONNECT, '*'), allow('*', '*')], 'denied_explicitly'],
    [
      'is not touched by a Deny of something else',
      [allow('*', '*'), deny('rds:*', '*')],
      'allowed',
    ],
  ])('%s', (_name, statements, expected) => {
    expect(String(decide(statements, CONNECT, `${PROXY}/app`))).toBe(expected);
  });
});

// Few letters, so that much of it fits.
const text = fc.string({ unit: fc.constantFrom('a', 'b', ':', '/'), maxLength: 8 });
const pattern = fc.string({ unit: fc.constantFrom('a', 'b', ':', '*', '?'), maxLength: 8 });
const statements = fc.array(
  fc.record({
    Effect: fc.constantFrom<'Allow' | 'Deny'>('Allow', 'Deny'),
    Action: fc.array(pattern, { minLength: 1, maxLength: 3 }),
    Resource: fc.array(pattern, { minLength: 1, maxLength: 3 }),
  }),
  { maxLength: 6 },
);
const all = allow('*', '*');

describe('whatever the statements', () => {
  const property = (
    holds: (given: PolicyStatement[], action: string, resource: string) => boolean,
  ) => fc.assert(fc.property(statements, text, text, holds), { numRuns: 2_000 });

  test('a Deny that concerns the request wins', () => {
    property(
      (given, action, resource) =>
        decide([all, ...given, deny(action, resource)], action, resource) === 'denied_explicitly',
    );
  });

  test('without an Allow nothing is allowed', () => {
    property((given, action, resource) => {
      const denials = given.filter(({ Effect }) => Effect === 'Deny');
      return decide(denials, action, resource) !== 'allowed';
    });
  });

  test('with Allow everything, only a Deny denies', () => {
    property((given, action, resource) => {
      const denials = given.filter(({ Effect }) => Effect === 'Deny');
      const isDenied = denials.some((each) => decide([each], action, resource) !== 'not_allowed');
      const expected = isDenied ? 'denied_explicitly' : 'allowed';
      return decide([...given, all], action, resource) === expected;
    });
  });

  test('their order does not matter', () => {
    property(
      (given, action, resource) =>
        decide(given, action, resource) === decide(given.toReversed(), action, resource),
    );
  });

  test('one more Deny allows nothing that was not, and one more Allow takes nothing away', () => {
    property((given, action, resource) => {
      const before = decide(given, action, resource);
      const [denied, allowed] = [deny('a*', '*'), allow('a*', '*')].map((more) =>
        decide([...given, more], action, resource),
      );
      return (
        (before === 'allowed' || denied !== 'allowed') &&
        (before !== 'allowed' || allowed === 'allowed')
      );
    });
  });

  test('a statement said twice is as said once', () => {
    property(
      (given, action, resource) =>
        decide([...given, ...given], action, resource) === decide(given, action, resource),
    );
  });
});

/** The same, said by a regular expression. */
function oracle(wildcards: string, subject: string): boolean {
  const source = wildcards
    .replace(/[.+^${}()|[\]\\/]/g, '\\$&')
    .replaceAll('*', '[^]*')
    .replaceAll('?', '[^]');
  return new RegExp(`^${source}$`).test(subject);
}

describe('wildcards', () => {
  const property = (holds: (pattern: string, text: string) => boolean) =>
    fc.assert(fc.property(pattern, text, holds), { numRuns: 5_000 });

  test('mean what a regular expression means by them', () => {
    property((given, subject) => fits(given, subject) === oracle(given, subject));
  });

  test('* takes everything, and what is no wildcard only itself', () => {
    property((_given, subject) => fits('*', subject));
    fc.assert(fc.property(text, text, (a, b) => fits(a, b) === (a === b)));
  });

  test('? takes one character', () => {
    property((_given, subject) => fits('?', subject) === (subject.length === 1));
  });

  test('two stars are one', () => {
    property(
      (given, subject) => fits(given.replaceAll('*', '**'), subject) === fits(given, subject),
    );
  });

  test('patterns side by side take texts side by side', () => {
    fc.assert(
      fc.property(pattern, pattern, text, text, (left, right, a, b) => {
        fc.pre(fits(left, a) && fits(right, b));
        return fits(left + right, a + b);
      }),
      { numRuns: 500, maxSkipsPerRun: 1_000 },
    );
  });

  test('a pattern made to be slow is not', () => {
    const started = performance.now();
    expect(fits(`${'*a'.repeat(500)}b`, 'a'.repeat(2_000))).toBe(false);
    // As many steps as both lengths multiplied; an expression that goes back would take for ever.
    expect(performance.now() - started).toBeLessThan(5_000);
  });
});
