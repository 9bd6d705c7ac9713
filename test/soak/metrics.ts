/** Reads gauges of Berth off its `/metrics`, summed over their labels. */

export type Gauges = ReadonlyMap<string, number>;

export async function scrape(url: string): Promise<Gauges> {
  const text = await (await fetch(url)).text();
  const sums = new Map<string, number>();
  for (const line of text.split('\n')) {
    const [, name, value] = /^([a-z_]+)(?:\{.*\})? ([-+.\deE]+)$/.exec(line) ?? [];
    if (name === undefined) continue;
    sums.set(name, (sums.get(name) ?? 0) + Number(value));
  }
  return sums;
}
