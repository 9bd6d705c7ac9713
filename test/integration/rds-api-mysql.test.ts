/** Proxies of EngineFamily MYSQL, made through the RDS API. */

import { expect, setDefaultTimeout, test } from 'bun:test';
import {
  CreateDBInstanceCommand,
  DescribeDBInstancesCommand,
  DescribeDBProxyTargetsCommand,
  ModifyDBProxyTargetGroupCommand,
  RegisterDBProxyTargetsCommand,
} from '@aws-sdk/client-rds';
import { useMysqlBerths } from '../harness/mysql/berth.ts';
import { MysqlRawClient } from '../harness/mysql/raw-client.ts';
import { describeServers, loginOf, useMysql } from '../harness/mysql/server.ts';
import { eventually } from '../harness/polling.ts';
import { testWith } from '../harness/programs.ts';
import { aws, faultOf, randomRange, rdsClient } from '../harness/rds.ts';

setDefaultTimeout(60_000);

const ACCOUNT = '123456789012';
/** The three commands of a usual guide, as they are written there. */
const CREATE = `create-db-proxy --db-proxy-name myproxy --engine-family MYSQL --auth '[{"AuthScheme": "SECRETS", "SecretArn": "arn:aws:secretsmanager:us-east-1:${ACCOUNT}:secret:app", "IAMAuth": "DISABLED"}]' --role-arn arn:aws:iam::${ACCOUNT}:role/rds-proxy-role --vpc-subnet-ids subnet-abc123 subnet-def456 --vpc-security-group-ids sg-12345678`;
const REGISTER =
  'register-db-proxy-targets --db-proxy-name myproxy --target-group-name default --db-instance-identifiers mydbinstance';
const DESCRIBE = 'describe-db-proxies --db-proxy-name myproxy';

describeServers('the RDS API', (server) => {
  const database = useMysql(server);
  const start = useMysqlBerths(database);

  function startBerth() {
    const Api = { Listen: '127.0.0.1:0', AllowAnonymous: true, EndpointRange: randomRange() };
    return start({ file: { AccountId: ACCOUNT, StateDirectory: 'state', Api } });
  }

  testWith('aws', 'makes a proxy that serves, by the commands of the usual guide', async () => {
    const berth = await startBerth();
    const rds = rdsClient(berth);
    const { DBInstances } = await rds.send(new DescribeDBInstancesCommand({}));
    await rds.send(
      new CreateDBInstanceCommand({
        DBInstanceIdentifier: 'mydbinstance',
        DBInstanceClass: 'db.berth',
        Engine: DBInstances?.[0]?.Engine,
        Port: DBInstances?.[0]?.Endpoint?.Port,
        Tags: [{ Key: 'berth:address', Value: '127.0.0.1' }],
      }),
    );
    expect((await aws(berth, CREATE)).stderr).toBe('');
    expect((await aws(berth, REGISTER)).stderr).toBe('');
    const { stdout } = await aws(berth, DESCRIBE);
    const [proxy] = JSON.parse(stdout).DBProxies;
    expect(proxy).toMatchObject({ EngineFamily: 'MYSQL', Status: 'available' });
    const DBProxyName = 'myproxy';
    await eventually(async () => {
      const { Targets } = await rds.send(new DescribeDBProxyTargetsCommand({ DBProxyName }));
      return Targets?.[0]?.TargetHealth?.State === 'AVAILABLE' ? true : undefined;
    }, 'the target is available');
    using client = await MysqlRawClient.login({ host: proxy.Endpoint, port: 3306 }, loginOf('app'));
    expect(await client.rows('select 42')).toEqual([['42']]);
    const { DBProxyTargetGroup } = await rds.send(
      new ModifyDBProxyTargetGroupCommand({
        DBProxyName,
        TargetGroupName: 'default',
        ConnectionPoolConfig: { SessionPinningFilters: ['EXCLUDE_VARIABLE_SETS'] },
      }),
    );
    expect(DBProxyTargetGroup?.ConnectionPoolConfig?.SessionPinningFilters).toEqual([
      'EXCLUDE_VARIABLE_SETS',
    ]);
    expect(await client.rows('select 43')).toEqual([['43']]);
  });

  test('refuses a target of another family', async () => {
    const berth = await startBerth();
    const rds = rdsClient(berth);
    expect((await aws(berth, CREATE)).stderr).toBe('');
    await rds.send(
      new CreateDBInstanceCommand({
        DBInstanceIdentifier: 'other-family',
        DBInstanceClass: 'db.berth',
        Engine: 'postgres',
        Tags: [{ Key: 'berth:address', Value: '127.0.0.1' }],
      }),
    );
    const register = new RegisterDBProxyTargetsCommand({
      DBProxyName: 'myproxy',
      DBInstanceIdentifiers: ['other-family'],
    });
    expect(await faultOf(rds.send(register))).toMatchObject({
      code: 'InvalidDBInstanceStateFault',
      status: 400,
    });
  });
});
