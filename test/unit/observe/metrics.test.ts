/** The text of a scrape, and docs/metrics.md against it. */

import { describe, expect, test } from 'bun:test';
import { readFileSync } from 'node:fs';
import {
  EndpointCounters,
  type MemberGauges,
  type MetricsSource,
  TargetCounters,
} from '../../../src/observe/counters.ts';
import { createMetrics } from '../../../src/observe/metrics.ts';
import {
  CLIENT_CLOSE_REASONS,
  DATABASE_CLOSE_REASONS,
  PIN_REASONS,
} from '../../../src/observe/reasons.ts';

const GAUGES: MemberGauges = {
  databaseConnections: 9001,
  databaseConnectionsWithTls: 9002,
  databaseConnectionsCurrentlyBorrowed: 9003,
  databaseConnectionsCurrentlyInTransaction: 9004,
  databaseConnectionsCurrentlySessionPinned: 9005,
  maxDatabaseConnectionsAllowed: 9006,
  queueDepth: 9007,
  listeningConnections: 9008,
  subscriptions: 9009,
  isAvailable: true,
  isHeld: false,
  isWriter: true,
  isReader: false,
};

interface Parsed {
  readonly types: ReadonlyMap<string, string>;
  readonly samples: ReadonlyMap<string, number>;
  readonly labels: ReadonlyMap<string, string>;
}

/** Reads Prometheus's text format; throws on a line that is not in it. */
function parse(body: string): Parsed {
  const types = new Map<string, string>();
  const samples = new Map<string, number>();
  const labels = new Map<string, string>();
  for (const line of body.split('\n').filter((each) => each !== '' && !each.startsWith('# HELP'))) {
    const type = /^# TYPE (\w+) (counter|gauge|summary)$/.exec(line);
    if (type !== null) {
      types.set(type[1] ?? '', type[2] ?? '');
      continue;
    }
    const sample = /^(\w+)(?:\{((?:\w+="[^"\\]*",?)*)\})? (-?[\d.e+-]+|NaN)$/.exec(line);
    if (sample === null) throw new Error(`not a line of the format: ${line}`);
    const [, name = '', labelText = '', value] = sample;
    expect(samples.has(`${name}{${labelText}}`)).toBe(false);
    samples.set(`${name}{${labelText}}`, Number(value));
    const names = [...labelText.matchAll(/(\w+)=/g)].map(([, label]) => label);
    labels.set(types.has(name) ? name : name.replace(/_(sum|count)$/, ''), names.join(', '));
  }
  return { types, samples, labels };
}

function sourceOf(endpoint: EndpointCounters, target: TargetCounters): MetricsSource {
  return {
    endpoints: () => [{ proxy: 'orders', endpoint: 'default', counters: endpoint }],
    targets: () => [{ proxy: 'orders', target: 'orders-db', counters: target, gauges: GAUGES }],
  };
}

/** Gives every counter a number of its own, and says which. */
function fill(counters: EndpointCounters | TargetCounters, from: number): readonly number[] {
  const fields = counters as unknown as Record<string, unknown>;
  let next = from;
  for (const [key, value] of Object.entries(fields)) {
    if (typeof value === 'number') fields[key] = next++;
    else for (const reason of Object.keys(Object(value))) Object(value)[reason] = next++;
  }
  return Array.from({ length: next - from }, (_, index) => from + index);
}

async function scrape(source: MetricsSource): Promise<Parsed> {
  const metrics = createMetrics(source, '1.2.3');
  // The event loop's numbers are there from the second scrape on.
  await metrics.scrape();
  return parse((await metrics.scrape()).body);
}

describe('a scrape', () => {
  test('tells every field of the counters and gauges', async () => {
    const endpoint = new EndpointCounters();
    const target = new TargetCounters();
    const expected = [...fill(endpoint, 1000), ...fill(target, 5000)];
    const { samples } = await scrape(sourceOf(endpoint, target));
    const told = new Set(samples.values());
    for (const number of expected) expect(told).toContain(number);
    for (let number = 9001; number <= 9009; number++) expect(told).toContain(number);
  });

  test("is RDS Proxy's name with its labels", async () => {
    const endpoint = new EndpointCounters();
    endpoint.clientConnections = 7;
    endpoint.borrows = 2;
    endpoint.borrowLatencyMicros = 300;
    endpoint.pins.set = 4;
    const { samples } = await scrape(sourceOf(endpoint, new TargetCounters()));
    expect(samples.get('client_connections{proxy="orders",endpoint="default"}')).toBe(7);
    const latency = 'database_connections_borrow_latency';
    expect(samples.get(`${latency}_sum{proxy="orders",endpoint="default"}`)).toBe(300);
    expect(samples.get(`${latency}_count{proxy="orders",endpoint="default"}`)).toBe(2);
    expect(samples.get('availability_percentage{proxy="orders",target="orders-db"}')).toBe(100);
    const pins = 'berth_session_pins_total{proxy="orders",endpoint="default",reason="set"}';
    expect(samples.get(pins)).toBe(4);
    expect(samples.get('berth_build_info{version="1.2.3"}')).toBe(1);
  });

  test('forgets a proxy that is gone, and does not add up scrapes', async () => {
    const endpoint = new EndpointCounters();
    endpoint.queryRequests = 5;
    let isThere = true;
    const source = sourceOf(endpoint, new TargetCounters());
    const metrics = createMetrics(
      { endpoints: () => (isThere ? source.endpoints() : []), targets: () => [] },
      '1',
    );
    const name = 'query_requests{proxy="orders",endpoint="default"}';
    expect(parse((await metrics.scrape()).body).samples.get(name)).toBe(5);
    expect(parse((await metrics.scrape()).body).samples.get(name)).toBe(5);
    isThere = false;
    expect(parse((await metrics.scrape()).body).samples.has(name)).toBe(false);
  });

  test('has the content type of the text format', async () => {
    const metrics = createMetrics(sourceOf(new EndpointCounters(), new TargetCounters()), '1');
    expect((await metrics.scrape()).contentType).toStartWith('text/plain; version=0.0.4');
  });
});

describe('docs/metrics.md', () => {
  const manual = readFileSync(new URL('../../../docs/metrics.md', import.meta.url), 'utf8');
  const rows = [...manual.matchAll(/^\| `(\w+)` \| (\w+) \| (.*?) ?\| .+ \|$/gm)].map(
    ([, name = '', type = '', labels = '']) =>
      `${name} ${type} ${labels.replaceAll('`', '')}`.trim(),
  );

  test('has every metric, with its type and labels, and no other', async () => {
    const source = sourceOf(new EndpointCounters(), new TargetCounters());
    const { types, labels } = await scrape(source);
    const real = [...types].map(([name, type]) =>
      `${name} ${type} ${labels.get(name) ?? ''}`.trim(),
    );
    expect(rows.toSorted()).toEqual(real.toSorted());
  });

  test('names every reason', () => {
    for (const reason of [...PIN_REASONS, ...CLIENT_CLOSE_REASONS, ...DATABASE_CLOSE_REASONS]) {
      expect(manual).toContain(`\`${reason}\``);
    }
  });
});
