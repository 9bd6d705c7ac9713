/** The file descriptor sink, in a process of its own, with readers that behave and that do not. */

import { expect, test } from 'bun:test';

const OBSERVE = new URL('../../../src/observe/', import.meta.url).pathname;

/** Runs `body` with a log on its standard output, which goes through the shell command `reader`. */
function spawn(body: string, reader = 'cat') {
  const script = `
    const { EventLog } = await import('${OBSERVE}logs.ts');
    const { fileDescriptorSink } = await import('${OBSERVE}log-sink.ts');
    const log = new EventLog({ level: 'info', format: 'json', hasColor: false, sink: fileDescriptorSink(1) });
    const emit = (proxies) => log.emit({ event: 'configuration.applied', proxies });
    ${body}`;
  const command = `{ "$0" -e "$1"; echo "code $?" >&2; } | { ${reader}; }`;
  return Bun.spawn(['sh', '-c', command, process.execPath, script], {
    stdout: 'pipe',
    stderr: 'pipe',
  });
}

function recordsOf(text: string): { event: string; proxies?: number; msg: string }[] {
  return text
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));
}

test('lines come out in order, all of them, before flush resolves', async () => {
  const child = spawn(
    `
    for (let proxies = 0; proxies < 3000; proxies++) emit(proxies);
    await log.flush();
    process.exit(0);`,
    'sleep 0.3; cat',
  );
  const texts = recordsOf(await new Response(child.stdout).text()).map(({ msg }) => msg);
  const expected = Array.from({ length: 3000 }, (_, index) => `: ${index} prox`);
  expect(texts).toHaveLength(3000);
  for (const [index, part] of expected.entries()) expect(texts[index]).toContain(part);
});

test('a process that leaves without flush still writes its last lines', async () => {
  const child = spawn(`
    for (let proxies = 0; proxies < 100; proxies++) emit(proxies);
    process.exit(0);`);
  const records = recordsOf(await new Response(child.stdout).text());
  // A write that was under way may still come after it.
  expect(records.some(({ msg }) => msg.includes(': 99 prox'))).toBe(true);
});

test('a reader that stalls costs lines, not time or memory, and is told how many', async () => {
  const child = spawn(
    `
    const began = performance.now();
    for (let proxies = 0; proxies < 50000; proxies++) {
      emit(proxies);
      if (proxies % 100 === 0) await Bun.sleep(0);
    }
    process.stderr.write(String(Math.round(performance.now() - began)) + ' ms\\n');
    await log.flush();
    emit(50000);
    await log.flush();
    process.exit(0);`,
    'sleep 1; cat',
  );
  const records = recordsOf(await new Response(child.stdout).text());
  const lost = records.find(({ event }) => event === 'log.dropped');
  expect(records.length).toBeLessThan(20_000);
  expect(Number.parseInt(lost?.msg ?? '', 10)).toBe(50_001 - (records.length - 1));
  const took = Number.parseInt(await new Response(child.stderr).text(), 10);
  expect(took).toBeLessThan(1000);
});

test('a reader that goes away ends nothing', async () => {
  const child = spawn(
    `
    for (let turn = 0; turn < 20; turn++) {
      emit(turn);
      await Bun.sleep(5);
    }
    await log.flush();
    process.exit(7);`,
    'true',
  );
  expect(await new Response(child.stderr).text()).toBe('code 7\n');
});
