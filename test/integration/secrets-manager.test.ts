/** The embedded store of secrets, through AWS's own clients: every operation, and every fault. */

import { describe, expect, setDefaultTimeout, test } from 'bun:test';
import { randomUUID } from 'node:crypto';
import {
  CreateSecretCommand,
  DeleteSecretCommand,
  DescribeSecretCommand,
  GetRandomPasswordCommand,
  GetSecretValueCommand,
  ListSecretsCommand,
  ListSecretVersionIdsCommand,
  PutSecretValueCommand,
  RestoreSecretCommand,
  RotateSecretCommand,
  type SecretsManagerClient,
  TagResourceCommand,
  UntagResourceCommand,
  UpdateSecretCommand,
  UpdateSecretVersionStageCommand,
} from '@aws-sdk/client-secrets-manager';
import { useBerth } from '../harness/berth.ts';
import { usePostgres } from '../harness/postgres.ts';
import { testWith } from '../harness/programs.ts';
import { type AccessKey, TEST_KEY } from '../harness/rds.ts';
import { awsSecrets, secretsClient, secretsFaultOf } from '../harness/secrets-manager.ts';

setDefaultTimeout(30_000);

const READER_KEY = { accessKeyId: 'AKIAREADER', secretAccessKey: 'of the reader' };

function principal(UserName: string, key: AccessKey, allowed: object) {
  const { accessKeyId: AccessKeyId, secretAccessKey: SecretAccessKey } = key;
  const PolicyDocument = { Statement: [{ Effect: 'Allow', ...allowed }] };
  const Policies = [{ PolicyName: 'test', PolicyDocument }];
  return { UserName, AccessKeys: [{ AccessKeyId, SecretAccessKey }], Policies };
}

const database = usePostgres();
const berth = useBerth(() => ({
  database: database(),
  file: {
    StateDirectory: 'state',
    Api: {
      Listen: '127.0.0.1:0',
    },
    Principals: [
      principal('first', TEST_KEY, { Action: '*', Resource: '*' }),
      principal('reader', READER_KEY, {
        Action: 'secretsmanager:*',
        Resource: `arn:aws:secretsmanager:us-east-1:000000000000:secret:readable/*`,
      }),
    ],
  },
}));

const ARN = /^arn:aws:secretsmanager:us-east-1:000000000000:secret:(.+)-[A-Za-z0-9]{6}$/;

function client(): SecretsManagerClient {
  return secretsClient(berth());
}

/** A secret of its own for each test. */
async function make(SecretString: string | undefined = 'one') {
  const Name = `test/${randomUUID()}`;
  const made = await client().send(new CreateSecretCommand({ Name, SecretString }));
  return { Name, ARN: made.ARN ?? '', VersionId: made.VersionId ?? '' };
}

const secretString = async (SecretId: string, more = {}) =>
  (await client().send(new GetSecretValueCommand({ SecretId, ...more }))).SecretString;

const stagesOf = async (SecretId: string) =>
  (await client().send(new DescribeSecretCommand({ SecretId }))).VersionIdsToStages;

describe('a secret', () => {
  test('is made, and found by its name, its ARN, and its ARN without the six characters', async () => {
    const { Name, ARN: arn, VersionId } = await make('{"username":"a","password":"b"}');
    expect(arn).toMatch(ARN);
    expect(ARN.exec(arn)?.[1]).toBe(Name);
    for (const SecretId of [Name, arn, arn.slice(0, -7)]) {
      const answer = await client().send(new GetSecretValueCommand({ SecretId }));
      expect(answer).toMatchObject({
        ARN: arn,
        Name,
        VersionId,
        SecretString: '{"username":"a","password":"b"}',
        VersionStages: ['AWSCURRENT'],
      });
      expect(Math.abs((answer.CreatedDate?.getTime() ?? 0) - Date.now())).toBeLessThan(60_000);
    }
  });

  test('is described', async () => {
    const Name = `test/${randomUUID()}`;
    const Tags = [{ Key: 'team', Value: 'ünï' }];
    const ClientRequestToken = randomUUID();
    const create = { Name, Description: 'what for', SecretString: 's', Tags, ClientRequestToken };
    const { VersionId, ARN: arn } = await client().send(new CreateSecretCommand(create));
    expect(VersionId).toBe(ClientRequestToken);
    const described = await client().send(new DescribeSecretCommand({ SecretId: Name }));
    expect(described).toMatchObject({
      ARN: arn ?? '',
      Name,
      Description: 'what for',
      Tags,
      VersionIdsToStages: { [ClientRequestToken]: ['AWSCURRENT'] },
    });
    expect(described.CreatedDate).toEqual(described.LastChangedDate ?? new Date(0));
    expect(described.DeletedDate).toBeUndefined();
  });

  test('may be binary', async () => {
    const Name = `test/${randomUUID()}`;
    const SecretBinary = Uint8Array.from([0, 255, 1, 254]);
    await client().send(new CreateSecretCommand({ Name, SecretBinary }));
    const answer = await client().send(new GetSecretValueCommand({ SecretId: Name }));
    expect(answer.SecretBinary).toEqual(SecretBinary);
    expect(answer.SecretString).toBeUndefined();
  });

  test('may be without a value, until it is given one', async () => {
    const Name = `test/${randomUUID()}`;
    const made = await client().send(new CreateSecretCommand({ Name }));
    expect(made.VersionId).toBeUndefined();
    expect(await secretsFaultOf(secretString(Name))).toEqual({
      code: 'ResourceNotFoundException',
      message:
        "Secrets Manager can't find the specified secret value for staging label: AWSCURRENT",
      status: 400,
    });
    const put = { SecretId: Name, SecretString: 'x', VersionStages: ['AWSPENDING'] };
    const answer = await client().send(new PutSecretValueCommand(put));
    expect(answer.VersionStages?.toSorted()).toEqual(['AWSCURRENT', 'AWSPENDING']);
  });

  test('of 65,536 bytes is taken, and of one more is not', async () => {
    const { Name } = await make('x'.repeat(65_536));
    expect(await secretString(Name)).toHaveLength(65_536);
    const put = new PutSecretValueCommand({ SecretId: Name, SecretString: 'x'.repeat(65_537) });
    expect(await secretsFaultOf(client().send(put))).toMatchObject({
      code: 'InvalidParameterException',
    });
  });

  test('is described anew, with or without a value', async () => {
    const { Name, VersionId } = await make();
    const update = { SecretId: Name, Description: 'new' };
    expect((await client().send(new UpdateSecretCommand(update))).VersionId).toBeUndefined();
    expect(await secretString(Name)).toBe('one');
    const SecretString = 'two';
    const second = await client().send(new UpdateSecretCommand({ ...update, SecretString }));
    expect(await secretString(Name)).toBe('two');
    expect(await stagesOf(Name)).toEqual({
      [VersionId]: ['AWSPREVIOUS'],
      [second.VersionId ?? '']: ['AWSCURRENT'],
    });
  });

  test('has its tags changed', async () => {
    const { Name: SecretId } = await make();
    const Tags = ['a', 'b'].map((Key) => ({ Key, Value: '1' }));
    await client().send(new TagResourceCommand({ SecretId, Tags }));
    await client().send(new TagResourceCommand({ SecretId, Tags: [{ Key: 'b', Value: '2' }] }));
    await client().send(new UntagResourceCommand({ SecretId, TagKeys: ['a', 'c'] }));
    const described = await client().send(new DescribeSecretCommand({ SecretId }));
    expect(described.Tags).toEqual([{ Key: 'b', Value: '2' }]);
    const many = Array.from({ length: 50 }, (_, index) => ({ Key: `k${index}`, Value: '' }));
    const tag = client().send(new TagResourceCommand({ SecretId, Tags: many }));
    expect(await secretsFaultOf(tag)).toMatchObject({ code: 'InvalidParameterException' });
  });
});

describe('versions', () => {
  test('move up: current, previous, and without a stage', async () => {
    const { Name: SecretId, VersionId: first } = await make();
    const put = (SecretString: string) =>
      client().send(new PutSecretValueCommand({ SecretId, SecretString }));
    const { VersionId: second = '' } = await put('two');
    const { VersionId: third = '' } = await put('three');
    expect(await stagesOf(SecretId)).toEqual({
      [second]: ['AWSPREVIOUS'],
      [third]: ['AWSCURRENT'],
    });
    expect(await secretString(SecretId, { VersionStage: 'AWSPREVIOUS' })).toBe('two');
    expect(await secretString(SecretId, { VersionId: first })).toBe('one');
    const list = (IncludeDeprecated: boolean) =>
      client().send(new ListSecretVersionIdsCommand({ SecretId, IncludeDeprecated }));
    expect((await list(false)).Versions).toHaveLength(2);
    const ids = (await list(true)).Versions?.map(({ VersionId }) => VersionId ?? '');
    expect(ids?.toSorted()).toEqual([first, second, third].toSorted());
  });

  test('are listed in pages', async () => {
    const { Name: SecretId } = await make();
    for (const SecretString of ['2', '3', '4', '5']) {
      await client().send(new PutSecretValueCommand({ SecretId, SecretString }));
    }
    const seen: unknown[] = [];
    let NextToken: string | undefined;
    do {
      const request = { SecretId, MaxResults: 2, IncludeDeprecated: true, NextToken };
      const answer = await client().send(new ListSecretVersionIdsCommand(request));
      seen.push(...(answer.Versions ?? []).map(({ VersionId }) => VersionId));
      NextToken = answer.NextToken;
    } while (NextToken !== undefined);
    expect(new Set(seen).size).toBe(5);
  });

  test('without a stage are kept up to a number, the newest', async () => {
    const { Name: SecretId, VersionId: first } = await make();
    for (let index = 0; index < 22; index++) {
      await client().send(new PutSecretValueCommand({ SecretId, SecretString: `${index}` }));
    }
    const request = new ListSecretVersionIdsCommand({ SecretId, IncludeDeprecated: true });
    const ids = (await client().send(request)).Versions?.map(({ VersionId }) => VersionId);
    expect(ids).toHaveLength(22);
    expect(ids).not.toContain(first);
  });

  test('are rotated as by a function of AWS: pending, then current', async () => {
    const { Name: SecretId, VersionId: first } = await make();
    const VersionStages = ['AWSPENDING'];
    const put = new PutSecretValueCommand({ SecretId, SecretString: 'two', VersionStages });
    const { VersionId: second = '' } = await client().send(put);
    expect(await secretString(SecretId)).toBe('one');
    expect(await secretString(SecretId, { VersionStage: 'AWSPENDING' })).toBe('two');
    const move = {
      SecretId,
      VersionStage: 'AWSCURRENT',
      RemoveFromVersionId: first,
      MoveToVersionId: second,
    };
    await client().send(new UpdateSecretVersionStageCommand(move));
    expect(await stagesOf(SecretId)).toEqual({
      [first]: ['AWSPREVIOUS'],
      [second]: ['AWSPENDING', 'AWSCURRENT'],
    });
    const unstage = { SecretId, VersionStage: 'AWSPENDING', RemoveFromVersionId: second };
    await client().send(new UpdateSecretVersionStageCommand(unstage));
    expect(await stagesOf(SecretId)).toMatchObject({ [second]: ['AWSCURRENT'] });
  });

  test('are moved only by who knows where the stage is', async () => {
    const { Name: SecretId, VersionId: first } = await make();
    const put = new PutSecretValueCommand({ SecretId, SecretString: 'two' });
    const { VersionId: second = '' } = await client().send(put);
    const update = (more: object) => {
      const request = { SecretId, VersionStage: 'AWSCURRENT', ...more };
      return secretsFaultOf(client().send(new UpdateSecretVersionStageCommand(request)));
    };
    const invalid = { code: 'InvalidParameterException', status: 400 };
    expect(await update({})).toMatchObject(invalid);
    expect(await update({ MoveToVersionId: first })).toMatchObject(invalid);
    expect(await update({ RemoveFromVersionId: second })).toMatchObject(invalid);
    const wrong = { RemoveFromVersionId: first, MoveToVersionId: first };
    expect(await update(wrong)).toMatchObject(invalid);
    expect(await update({ MoveToVersionId: randomUUID() })).toMatchObject({
      code: 'ResourceNotFoundException',
    });
  });

  test('are asked for by id and stage only together', async () => {
    const { Name, VersionId } = await make();
    const asked = secretString(Name, { VersionId, VersionStage: 'AWSPREVIOUS' });
    expect(await secretsFaultOf(asked)).toMatchObject({ code: 'InvalidRequestException' });
    const unknown = secretString(Name, { VersionId: randomUUID() });
    expect(await secretsFaultOf(unknown)).toMatchObject({ code: 'ResourceNotFoundException' });
  });
});

describe('a request that is sent again', () => {
  test('makes a secret once', async () => {
    const request = { Name: `test/${randomUUID()}`, ClientRequestToken: randomUUID() };
    const create = new CreateSecretCommand({ ...request, SecretString: 'a' });
    const first = await client().send(create);
    const second = await client().send(create);
    expect(second).toMatchObject({ ARN: first.ARN ?? '', VersionId: request.ClientRequestToken });
    const other = new CreateSecretCommand({ ...request, SecretString: 'b' });
    expect(await secretsFaultOf(client().send(other))).toMatchObject({
      code: 'ResourceExistsException',
    });
  });

  test('makes a version once', async () => {
    const { Name: SecretId, VersionId: first } = await make();
    const ClientRequestToken = randomUUID();
    const put = (SecretString: string) =>
      client().send(new PutSecretValueCommand({ SecretId, ClientRequestToken, SecretString }));
    await put('two');
    await put('two');
    expect(await stagesOf(SecretId)).toEqual({
      [first]: ['AWSPREVIOUS'],
      [ClientRequestToken]: ['AWSCURRENT'],
    });
    expect(await secretsFaultOf(put('three'))).toMatchObject({ code: 'ResourceExistsException' });
    const update = { SecretId, ClientRequestToken, SecretString: 'three' };
    expect(await secretsFaultOf(client().send(new UpdateSecretCommand(update)))).toMatchObject({
      code: 'ResourceExistsException',
    });
    expect(await secretString(SecretId)).toBe('two');
  });
});

describe('a secret that is deleted', () => {
  test('is out of use, and can be restored', async () => {
    const { Name: SecretId } = await make();
    const remove = new DeleteSecretCommand({ SecretId, RecoveryWindowInDays: 7 });
    const { DeletionDate } = await client().send(remove);
    const days = ((DeletionDate?.getTime() ?? 0) - Date.now()) / 86_400_000;
    expect(Math.round(days)).toBe(7);
    const denied = { code: 'InvalidRequestException', status: 400 };
    expect(await secretsFaultOf(secretString(SecretId))).toMatchObject(denied);
    const put = new PutSecretValueCommand({ SecretId, SecretString: 'two' });
    expect(await secretsFaultOf(client().send(put))).toMatchObject(denied);
    const create = new CreateSecretCommand({ Name: SecretId });
    expect(await secretsFaultOf(client().send(create))).toMatchObject(denied);
    expect(await secretsFaultOf(client().send(remove))).toMatchObject(denied);
    const described = await client().send(new DescribeSecretCommand({ SecretId }));
    expect(described.DeletedDate).toBeDefined();
    expect(await namesLike(SecretId)).toEqual([]);
    expect(await namesLike(SecretId, { IncludePlannedDeletion: true })).toEqual([SecretId]);
    await client().send(new RestoreSecretCommand({ SecretId }));
    expect(await secretString(SecretId)).toBe('one');
  });

  test('is gone at once if that is asked for, and then the name is free', async () => {
    const { Name: SecretId, ARN: arn } = await make();
    const remove = { SecretId, ForceDeleteWithoutRecovery: true };
    expect((await client().send(new DeleteSecretCommand(remove))).ARN).toBe(arn);
    expect(await secretsFaultOf(secretString(SecretId))).toMatchObject({
      code: 'ResourceNotFoundException',
    });
    // Again, as AWS does.
    expect((await client().send(new DeleteSecretCommand(remove))).Name).toBe(SecretId);
    const again = await client().send(new CreateSecretCommand({ Name: SecretId }));
    expect(again.ARN).not.toBe(arn);
  });

  test('has a window of 7 to 30 days, or none', async () => {
    const { Name: SecretId } = await make();
    const remove = (more: object) =>
      secretsFaultOf(client().send(new DeleteSecretCommand({ SecretId, ...more })));
    const invalid = { code: 'InvalidParameterException' };
    expect(await remove({ RecoveryWindowInDays: 6 })).toMatchObject(invalid);
    expect(await remove({ RecoveryWindowInDays: 31 })).toMatchObject(invalid);
    const both = { RecoveryWindowInDays: 7, ForceDeleteWithoutRecovery: true };
    expect(await remove(both)).toMatchObject(invalid);
  });
});

async function namesLike(prefix: string, more = {}): Promise<unknown[]> {
  const Filters = [{ Key: 'name' as const, Values: [prefix] }];
  const { SecretList = [] } = await client().send(new ListSecretsCommand({ Filters, ...more }));
  return SecretList.map(({ Name }) => Name);
}

describe('a list', () => {
  test('has pages, in either order', async () => {
    const prefix = `list-${randomUUID()}/`;
    const names = ['a', 'ab', 'b', 'B', 'c'].map((name) => prefix + name);
    for (const Name of names) {
      const Tags = [{ Key: Name.endsWith('b') ? 'end' : 'other', Value: 'x' }];
      await client().send(new CreateSecretCommand({ Name, Description: 'Of a LIST', Tags }));
    }
    const walk = async (more: object) => {
      const seen: unknown[] = [];
      let NextToken: string | undefined;
      do {
        const Filters = [{ Key: 'name' as const, Values: [prefix] }];
        const request = { Filters, MaxResults: 2, NextToken, ...more };
        const answer = await client().send(new ListSecretsCommand(request));
        expect(answer.SecretList?.length).toBeLessThanOrEqual(2);
        seen.push(...(answer.SecretList ?? []).map(({ Name }) => Name));
        NextToken = answer.NextToken;
      } while (NextToken !== undefined);
      return seen;
    };
    expect(await walk({})).toEqual(names.toSorted());
    expect(await walk({ SortOrder: 'desc' })).toEqual(names.toSorted().reverse());
    const name = { Key: 'name' as const, Values: [prefix] };
    const tagged = { Filters: [name, { Key: 'tag-key' as const, Values: ['end'] }] };
    expect(await walk(tagged)).toEqual([`${prefix}ab`, `${prefix}b`]);
    const others = { Filters: [name, { Key: 'tag-key' as const, Values: ['!end'] }] };
    expect(await walk(others)).toEqual(names.filter((each) => !/b$/.test(each)).toSorted());
    const described = { Filters: [name, { Key: 'description' as const, Values: ['of a list'] }] };
    expect(await walk(described)).toHaveLength(5);
  });

  test('begins nowhere else than a page has ended', async () => {
    const list = client().send(new ListSecretsCommand({ NextToken: 'nonsense' }));
    expect(await secretsFaultOf(list)).toMatchObject({ code: 'InvalidNextTokenException' });
  });
});

describe('the secrets of the configuration file', () => {
  test('are listed and described, without their values', async () => {
    expect(await namesLike('app')).toContain('app');
    const described = await client().send(new DescribeSecretCommand({ SecretId: 'app' }));
    expect(described.ARN).toMatch(ARN);
    const byArn = await client().send(new DescribeSecretCommand({ SecretId: described.ARN ?? '' }));
    expect(byArn.Name).toBe('app');
    expect(await secretsFaultOf(secretString('app'))).toEqual({
      code: 'InvalidRequestException',
      message:
        'The secret app is declared in the configuration file, so its value is used and changed only there.',
      status: 400,
    });
  });

  test('keep their names', async () => {
    const create = new CreateSecretCommand({ Name: 'app', SecretString: 'x' });
    expect(await secretsFaultOf(client().send(create))).toMatchObject({
      code: 'ResourceExistsException',
    });
  });
});

describe('a fault', () => {
  test.each([
    ['a name that is none', new CreateSecretCommand({ Name: 'a b' })],
    [
      'two values',
      new CreateSecretCommand({ Name: 'x', SecretString: 'x', SecretBinary: Uint8Array.of(1) }),
    ],
    ['an empty value', new CreateSecretCommand({ Name: 'x', SecretString: '' })],
    ['a short token', new CreateSecretCommand({ Name: 'x', ClientRequestToken: 'short' })],
    ['a key of KMS', new CreateSecretCommand({ Name: 'x', KmsKeyId: 'alias/aws' })],
    [
      'regions',
      new CreateSecretCommand({ Name: 'x', AddReplicaRegions: [{ Region: 'eu-west-1' }] }),
    ],
    ['a tag of AWS', new CreateSecretCommand({ Name: 'x', Tags: [{ Key: 'aws:x', Value: '' }] })],
    ['an unknown filter', new ListSecretsCommand({ Filters: [{ Key: 'all', Values: ['x'] }] })],
  ])('for %s', async (_name, command) => {
    expect(await secretsFaultOf(client().send(command as CreateSecretCommand))).toMatchObject({
      code: 'InvalidParameterException',
      status: 400,
    });
  });

  test('for a secret that is not there', async () => {
    expect(await secretsFaultOf(secretString('nothing'))).toEqual({
      code: 'ResourceNotFoundException',
      message: "Secrets Manager can't find the specified secret.",
      status: 400,
    });
  });

  test('for a version without a value', async () => {
    const { Name: SecretId } = await make();
    const put = new PutSecretValueCommand({ SecretId });
    expect(await secretsFaultOf(client().send(put))).toMatchObject({
      code: 'InvalidParameterException',
    });
  });

  test('for an operation that is not there', async () => {
    const rotate = new RotateSecretCommand({ SecretId: 'app' });
    expect(await secretsFaultOf(client().send(rotate))).toMatchObject({
      code: 'UnknownOperationException',
    });
  });

  test.each([
    ['an unknown key', { ...TEST_KEY, accessKeyId: 'AKIANOBODY' }, 'UnrecognizedClientException'],
    ['another secret', { ...TEST_KEY, secretAccessKey: 'other' }, 'InvalidSignatureException'],
  ])('for %s', async (_name, credentials, code) => {
    const list = secretsClient(berth(), { credentials }).send(new ListSecretsCommand({}));
    expect(await secretsFaultOf(list)).toMatchObject({ code });
  });

  test('for who signs for another region', async () => {
    const elsewhere = secretsClient(berth(), { region: 'eu-west-1' });
    expect(await secretsFaultOf(elsewhere.send(new ListSecretsCommand({})))).toMatchObject({
      code: 'InvalidSignatureException',
    });
  });
});

test('a random password has what it must and nothing that it must not', async () => {
  const random = async (request: object) =>
    (await client().send(new GetRandomPasswordCommand(request))).RandomPassword ?? '';
  expect(await random({})).toMatch(/^(?=.*[a-z])(?=.*[A-Z])(?=.*\d)(?=.*[^\w\s])[!-~]{32}$/);
  const digits = { ExcludePunctuation: true, ExcludeUppercase: true, ExcludeLowercase: true };
  const request = { ...digits, ExcludeCharacters: '012345678', PasswordLength: 5 };
  expect(await random(request)).toBe('99999');
  const none = random({ ...request, ExcludeCharacters: '0123456789' });
  expect(await secretsFaultOf(none)).toMatchObject({ code: 'InvalidParameterException' });
});

testWith('aws', "by AWS's command line", async () => {
  const run = async (command: string) => {
    const { code, stdout, stderr } = await awsSecrets(berth(), command);
    expect([code, stderr]).toEqual([0, '']);
    return stdout === '' ? {} : JSON.parse(stdout);
  };
  const Name = `cli-${randomUUID()}`;
  const made = await run(`create-secret --name ${Name} --secret-string '{"a":"b c"}'`);
  expect(made.ARN).toMatch(ARN);
  await run(`put-secret-value --secret-id ${Name} --secret-string two`);
  const got = await run(`get-secret-value --secret-id ${Name} --version-stage AWSPREVIOUS`);
  expect(got.SecretString).toBe('{"a":"b c"}');
  const listed = await run(`list-secrets --filters Key=name,Values=${Name}`);
  expect(listed.SecretList).toHaveLength(1);
  await run(`delete-secret --secret-id ${Name} --force-delete-without-recovery`);
  const { stderr } = await awsSecrets(berth(), `get-secret-value --secret-id ${Name}`);
  expect(stderr).toContain('(ResourceNotFoundException)');
});

describe('a policy', () => {
  const reader = () => secretsClient(berth(), { credentials: READER_KEY });
  const refused = async (answer: Promise<unknown>, action: string, resource: string) => {
    const { code, message, status } = await secretsFaultOf(answer);
    expect({ code, status }).toEqual({ code: 'AccessDeniedException', status: 400 });
    expect(message).toStartWith(
      `User: arn:aws:iam::000000000000:user/reader is not authorized to perform: secretsmanager:${action} on resource: ${resource}`,
    );
  };

  test('allows what it says, of secrets that are there and of those that are not yet', async () => {
    const Name = `readable/${randomUUID()}`;
    const made = await reader().send(new CreateSecretCommand({ Name, SecretString: 'one' }));
    for (const SecretId of [Name, made.ARN]) {
      const read = await reader().send(new GetSecretValueCommand({ SecretId }));
      expect(read.SecretString).toBe('one');
    }
    const gone = reader().send(new GetSecretValueCommand({ SecretId: 'readable/none' }));
    expect(await secretsFaultOf(gone)).toMatchObject({ code: 'ResourceNotFoundException' });
  });

  test('does not allow the rest', async () => {
    const other = await make();
    for (const SecretId of [other.Name, other.ARN]) {
      const read = reader().send(new GetSecretValueCommand({ SecretId }));
      await refused(read, 'GetSecretValue', other.ARN);
    }
    const none = 'arn:aws:secretsmanager:us-east-1:000000000000:secret:none';
    await refused(
      reader().send(new DeleteSecretCommand({ SecretId: 'none' })),
      'DeleteSecret',
      none,
    );
    const create = new CreateSecretCommand({ Name: 'none', SecretString: 'one' });
    await refused(reader().send(create), 'CreateSecret', none);
    await refused(reader().send(new ListSecretsCommand({})), 'ListSecrets', '* because');
  });
});
