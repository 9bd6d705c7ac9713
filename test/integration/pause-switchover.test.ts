/** A planned switchover: while a proxy is paused, another member of its cluster becomes the writer. */

import { expect, setDefaultTimeout, test } from 'bun:test';
import { useBerth } from '../harness/berth.ts';
import { BusyClients, WRITES_TABLE } from '../harness/busy-clients.ts';
import { describeClusters, useCluster } from '../harness/cluster/clusters.ts';
import { makeClusterConfiguration } from '../harness/cluster/configuration.ts';
import { runBerth } from '../harness/commands.ts';

setDefaultTimeout(60_000);

const BUSY = 200;

/** MySQL takes long to end and to start, and is the same here. */
const ENGINES = ['postgres', 'mariadb'] as const;

describeClusters(
  'a planned switchover',
  (kind) => {
    const cluster = useCluster(kind, { replicas: 1 });
    const berth = useBerth(() => ({
      configuration: makeClusterConfiguration(cluster(), { pool: { MaxConnections: 20 } }),
      expect: ['target.role_changed', 'failover.ended'],
    }));
    const command = (words: string) => runBerth(`${words} orders --url ${berth().apiUrl}`);

    test('with 200 busy clients: no error, and every write is at the new writer', async () => {
      const isPostgres = kind.engine === 'postgres';
      const grant = isPostgres ? 'alter table writes owner to app' : 'select 1';
      const use = isPostgres ? '' : 'use app;';
      await cluster().query(cluster().writer, `${use} ${WRITES_TABLE}; ${grant}`);
      using busy = await BusyClients.start(kind.engine, berth().port, BUSY);
      await busy.untilEachHasDone(1);
      expect(await command('pause --timeout 10')).toMatchObject({ code: 0, err: '' });
      const writer = await cluster().switchOver();
      expect(await command('resume')).toMatchObject({ code: 0, err: '' });
      await busy.untilEachHasDone(1);
      await busy.stop(async () =>
        (await cluster().query(writer, `${use} select id from writes`)).flat(),
      );
      const [ended] = await berth().untilLogged('failover.ended');
      expect(ended?.msg).toStartWith(`Clients go on at ${writer.name}, which is the writer after`);
      expect(berth().logged('target.health_changed')).toHaveLength(2);
    });
  },
  ENGINES,
);
