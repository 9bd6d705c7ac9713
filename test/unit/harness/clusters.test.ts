/** The clusters of the tests: what is written arrives, roles change, and whoever was away comes back. */

import { expect, test } from 'bun:test';
import type { Cluster, Member } from '../../harness/cluster/cluster.ts';
import { describeClusters, useCluster } from '../../harness/cluster/clusters.ts';

describeClusters('a cluster', (kind) => {
  const cluster = useCluster(kind, { isSynchronous: true });
  const table = kind.engine === 'postgres' ? 'letters' : 'app.letters';

  const write = (id: string, member: Member = cluster().writer) =>
    cluster().query(member, `insert into ${table} values ('${id}')`);

  const expectEverywhere = async (text: string) => {
    await cluster().untilCaughtUp();
    for (const member of [cluster().writer, ...cluster().replicas]) {
      const rows = await cluster().query(member, `select id from ${table} order by id`);
      expect([member.name, rows.flat().join('')]).toEqual([member.name, text]);
    }
  };

  test('has one writer, and replicas that get what is written', async () => {
    expect(await readOnly(cluster())).toEqual([false, true, true]);
    const { writer } = cluster();
    await cluster().query(writer, `create table ${table} (id varchar(9) primary key)`);
    await write('a');
    await expectEverywhere('a');
  });

  test('goes on with the replica that has most when the writer is killed', async () => {
    const [old, behind] = cluster().members;
    if (old === undefined || behind === undefined) throw new Error('there are three members');
    await cluster().detach(behind);
    await write('b');
    await cluster().kill(old);
    expect((await cluster().failOver()).name).toBe('member-3');
    expect(cluster().replicas).toEqual([]);
    await cluster().follow(behind);
    await write('c');
    await cluster().rejoin(old);
    await expectEverywhere('abc');
    expect(await readOnly(cluster())).toEqual([true, true, false]);
  });

  test('has two writers when one is promoted that nobody missed, until it rejoins', async () => {
    const old = cluster().writer;
    cluster().hang(old);
    const chosen = cluster().replica(1);
    await cluster().failOver(chosen);
    expect(cluster().writer).toBe(chosen);
    await write('d');
    cluster().wake(old);
    expect(await cluster().isReadOnly(old)).toBe(false);
    await cluster().rejoin(old);
    await expectEverywhere('abcd');
    expect(cluster().replicas).toHaveLength(2);
  });

  test('changes roles on purpose, and the old writer keeps its data', async () => {
    const old = cluster().writer;
    const chosen = await cluster().switchOver();
    expect(chosen).not.toBe(old);
    await write('e');
    expect(await cluster().isReadOnly(old)).toBe(true);
    await expectEverywhere('abcde');
  });
});

async function readOnly(cluster: Cluster): Promise<boolean[]> {
  return await Promise.all(cluster.members.map((member) => cluster.isReadOnly(member)));
}
