/**
 * Turns events into log lines: JSON for machines, one readable line for a terminal. Nobody else
 * writes logs. The words are in `log-text.ts`.
 *
 * Writing never holds up the data plane (`log-sink.ts`): when the reader of the log is too slow, lines
 * are dropped and counted. Await `flush` before the process ends.
 */

import pino, { type DestinationStream, type Logger } from 'pino';
import { prettyFactory } from 'pino-pretty';
import { withoutControls } from '../base/printable.ts';
import type { Event, Observer } from './events.ts';
import type { LogSink } from './log-sink.ts';
import { type LogLevel, levelOf, textOf } from './log-text.ts';

export { fileDescriptorSink } from './log-sink.ts';

export const LOG_FORMATS = ['json', 'text'] as const;
export type LogFormat = (typeof LOG_FORMATS)[number];

export interface LogOptions {
  readonly level: LogLevel;
  readonly format: LogFormat;
  readonly hasColor: boolean;
  readonly sink: LogSink;
}

/** An `Observer` that writes the log. */
export class EventLog implements Observer {
  private readonly logger: Logger;
  /** For what comes from proxies with DebugLogging. */
  private readonly detailed: Logger;
  private readonly sink: LogSink;

  constructor({ level, format, hasColor, sink }: LogOptions) {
    this.sink = sink;
    this.logger = pino(
      {
        level,
        base: null,
        timestamp: pino.stdTimeFunctions.isoTime,
        formatters: { level: (label) => ({ level: label }) },
      },
      format === 'json' ? sink : readable(sink, hasColor),
    );
    this.detailed = this.logger.child({}, { level: level === 'trace' ? 'trace' : 'debug' });
  }

  emit(event: Event, isDetailed = false): void {
    const level = levelOf(event);
    const logger = isDetailed ? this.detailed : this.logger;
    if (!logger.isLevelEnabled(level)) return;
    const lines = this.sink.takeDropped();
    if (lines > 0)
      logger.warn(
        { event: 'log.dropped', lines },
        `${lines} log lines were lost: the reader of the log is too slow.`,
      );
    logger[level](fieldsOf(event), textOf(event));
  }

  /** Resolves when everything is written; await it last. */
  flush(): Promise<void> {
    return this.sink.flush();
  }
}

/** The fixed names of fields, whatever the event calls them. */
function fieldsOf(event: Event): Record<string, unknown> {
  const fields: Record<string, unknown> = { event: event.event };
  if ('proxy' in event) fields.proxy = event.proxy;
  if ('endpoint' in event) fields.endpoint = event.endpoint;
  if ('target' in event) fields.target = event.target;
  if ('clientConnection' in event) fields.client_connection = event.clientConnection;
  if ('databaseConnection' in event) fields.database_connection = event.databaseConnection;
  if ('user' in event) fields.user = event.user;
  if ('database' in event) fields.database = event.database;
  if ('reason' in event) fields.reason = event.reason;
  if ('why' in event) fields.reason = event.why;
  if ('principal' in event) fields.principal = event.principal;
  if ('waitedMs' in event) fields.duration_ms = event.waitedMs;
  if ('durationMs' in event) fields.duration_ms = event.durationMs;
  if ('digest' in event) fields.digest = event.digest;
  if ('error' in event) fields.err = toError(event.error);
  return fields;
}

/** What was thrown, in a form that keeps its stack; not everything that is thrown is an error. */
function toError(thrown: unknown): unknown {
  return thrown instanceof Error ? thrown : { message: String(thrown), stack: String(thrown) };
}

/** Lines for people: time, level, RDS Proxy's tags, text. */
function readable(sink: LogSink, hasColor: boolean): DestinationStream {
  const format = prettyFactory({
    colorize: hasColor,
    colorizeObjects: false,
    translateTime: 'SYS:HH:MM:ss.l',
    hideObject: true,
    messageFormat: (record, messageKey) => readableText(record, messageKey),
  });
  return { write: (line) => sink.write(format(line)) };
}

/** The names of the tags are those of RDS Proxy's own log. */
const TAGS = [
  ['proxy', 'proxy'],
  ['endpoint', 'proxyEndpoint'],
  ['target', 'target'],
  ['client_connection', 'clientConnection'],
  ['database_connection', 'dbConnection'],
] as const;

function readableText(record: Readonly<Record<string, unknown>>, messageKey: string): string {
  const tags = TAGS.filter(([field]) => record[field] !== undefined)
    // The text of a pin names its database connection itself.
    .filter(([field]) => field !== 'database_connection' || record.client_connection === undefined)
    .map(([field, tag]) => `[${tag}=${String(record[field])}] `);
  return `${withoutControls(tags.join('') + String(record[messageKey]))}${stackOf(record.err)}`;
}

function stackOf(error: unknown): string {
  const isSerialised = typeof error === 'object' && error !== null && 'stack' in error;
  if (!isSerialised) return '';
  return `\n${String(error.stack).split('\n').map(withoutControls).join('\n')}`;
}
