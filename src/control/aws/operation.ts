/** An operation of an API: what it takes, and what it does. */

import type { z } from 'zod';

export interface ApiOperation<Input, Context, Result> {
  /** The names of what it takes. The manual describes each, and a test compares. */
  readonly parameters: readonly string[];
  /** Returns the members of the result; throws what the API's faults are. */
  run(input: Input, context: Context): Result;
}

/** Makes operations of one API. `read` makes of an input what the schema has, or throws. */
export function definer<Input, Context, Result>(
  read: <Schema extends z.ZodObject>(schema: Schema, input: Input) => z.output<Schema>,
) {
  return <Schema extends z.ZodObject>(
    schema: Schema,
    perform: (parameters: z.output<Schema>, context: Context) => Result,
  ): ApiOperation<Input, Context, Result> => ({
    parameters: Object.keys(schema.shape),
    run: (input, context) => perform(read(schema, input), context),
  });
}
