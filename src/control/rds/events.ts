/** DescribeEvents, of proxies. */

import { Fault } from '../aws/fault.ts';
import { arnOf } from '../state/arns.ts';
import { EVENT_CATEGORIES, KEPT_MS, type ProxyEvent } from '../state/event-journal.ts';
import { operation, type RdsContext } from './operation.ts';
import { page } from './page.ts';
import { integer, listOf, members, oneOf, paging, text, time } from './parameters.ts';

const MINUTE_MS = 60_000;
const USUAL_DURATION = 60;
const DIGITS = 12;

/** Of the others there are none here, and nobody is told that something has happened to them. */
const SOURCE_TYPES = [
  'db-proxy',
  'db-instance',
  'db-cluster',
  'db-parameter-group',
  'db-security-group',
  'db-snapshot',
  'db-cluster-snapshot',
  'custom-engine-version',
  'blue-green-deployment',
  'db-shard-group',
  'zero-etl',
] as const;

export const describeEvents = operation(
  members({
    SourceIdentifier: text(255, 1).optional(),
    SourceType: oneOf(SOURCE_TYPES).optional(),
    StartTime: time().optional(),
    EndTime: time().optional(),
    Duration: integer(1, KEPT_MS / MINUTE_MS).optional(),
    EventCategories: listOf(oneOf(EVENT_CATEGORIES), 100, 'EventCategory').default([]),
    ...paging,
  }),
  (parameters, context) => {
    const { SourceIdentifier, SourceType = 'db-proxy', EventCategories, ...rest } = parameters;
    if (SourceIdentifier !== undefined && parameters.SourceType === undefined) {
      throw new Fault(
        'InvalidParameterCombination',
        'SourceType must be given when SourceIdentifier is.',
      );
    }
    const { from, to } = periodOf(parameters);
    const events = context.state.events.filter(
      ({ at, source, category }) =>
        SourceType === 'db-proxy' &&
        at >= from &&
        at < to &&
        (SourceIdentifier ?? source) === source &&
        (EventCategories.length === 0 || EventCategories.includes(category)),
    );
    const { items, Marker } = page(events, keyOf, rest);
    return { Events: items.map((event) => eventAnswer(event, context)), Marker };
  },
);

/** A period without a beginning is as long as RDS has it, and one without an end goes on until now. */
function periodOf({
  StartTime,
  EndTime,
  Duration = USUAL_DURATION,
}: {
  readonly StartTime?: Date | undefined;
  readonly EndTime?: Date | undefined;
  readonly Duration?: number | undefined;
}): { readonly from: number; readonly to: number } {
  const length = Duration * MINUTE_MS;
  const to = EndTime?.getTime() ?? Number.POSITIVE_INFINITY;
  const from = StartTime?.getTime() ?? (EndTime?.getTime() ?? Date.now()) - length;
  if (from > to) {
    throw new Fault('InvalidParameterCombination', 'StartTime must not be after EndTime.');
  }
  return { from, to };
}

/** Sorts as a text like the numbers do. */
function keyOf({ number }: ProxyEvent): string {
  return String(number).padStart(DIGITS, '0');
}

export function eventAnswer(event: ProxyEvent, { state }: Pick<RdsContext, 'state'>) {
  const proxy = state.proxies.find(({ record }) => record.name === event.source)?.record;
  return {
    SourceIdentifier: event.source,
    SourceType: 'db-proxy' as const,
    Message: event.message,
    EventCategories: [event.category],
    Date: new Date(event.at),
    SourceArn: proxy && arnOf(state.owner, 'db-proxy', proxy.id),
  };
}
