/** What a driver's program prints: one line of JSON for each step, to be compared between two runs. */

import { createHash } from 'node:crypto';

/** More connections than the pool has. */
export const CLIENTS = 16;

const FIELDS = [
  ...['code', 'severity', 'detail', 'hint', 'position', 'table', 'constraint'],
  ...['errno', 'sqlState'],
];

export function report(step: string, result: unknown): void {
  process.stdout.write(`${step}: ${JSON.stringify(result, plain)}\n`);
}

/** How a promise failed, as the database said it. */
export async function failureOf(promise: PromiseLike<unknown>): Promise<Record<string, unknown>> {
  try {
    return { result: await promise };
  } catch (error) {
    return describe(error);
  }
}

/** Short words for much data. */
export function digest(data: Uint8Array): string {
  return createHash('sha256').update(data).digest('hex');
}

function describe(error: unknown): Record<string, unknown> {
  if (!(error instanceof Error)) return { thrown: String(error) };
  // An ORM's error says what it tried; the driver's is its cause.
  if (error.cause instanceof Error) return describe(error.cause);
  // MySQL's drivers put more into the message, such as the number of the connection.
  const message: unknown = Reflect.get(error, 'sqlMessage') ?? error.message;
  const fields: Record<string, unknown> = { message };
  for (const name of FIELDS) {
    if (name in error) fields[name] = Reflect.get(error, name);
  }
  return fields;
}

function plain(_key: string, value: unknown): unknown {
  return typeof value === 'bigint' ? String(value) : value;
}
