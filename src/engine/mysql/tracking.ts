/**
 * What a client wants to hear of its session. The proxy lets the server report everything; a client that
 * asked for less, or left it at what the server does by itself, gets that much of it and no more.
 * https://dev.mysql.com/doc/refman/en/session-state-tracking.html
 */

import {
  SESSION_TRACK_SCHEMA,
  SESSION_TRACK_STATE_CHANGE,
  SESSION_TRACK_SYSTEM_VARIABLES,
  SESSION_TRACK_TRANSACTION_CHARACTERISTICS,
  SESSION_TRACK_TRANSACTION_STATE,
} from './wire/capabilities.ts';
import { readSessionState, readSystemVariables, sessionState } from './wire/replies.ts';

const EVERYTHING = '*';
const EMPTY = Buffer.alloc(0);

export class Tracking {
  /** Undefined for all. */
  private readonly variables: ReadonlySet<string> | undefined;
  private readonly schema: boolean;
  private readonly stateChange: boolean;
  private readonly transactionState: boolean;
  private readonly transactionCharacteristics: boolean;

  /** The values of the variables `session_track_...`, as the server gives them. */
  constructor(values: {
    readonly systemVariables: string;
    readonly schema: string;
    readonly stateChange: string;
    readonly transactionInfo: string;
  }) {
    const { systemVariables, transactionInfo } = values;
    const names = systemVariables.split(',').map((name) => name.trim().toLowerCase());
    this.variables = names.includes(EVERYTHING) ? undefined : new Set(names);
    this.schema = isOn(values.schema);
    this.stateChange = isOn(values.stateChange);
    this.transactionCharacteristics = transactionInfo.toUpperCase() === 'CHARACTERISTICS';
    this.transactionState =
      this.transactionCharacteristics || transactionInfo.toUpperCase() === 'STATE';
  }

  /** Of a session state as the server has sent it, what the client is to have; maybe nothing. */
  filter(state: Uint8Array): Uint8Array {
    const entries = readSessionState(state);
    if (entries === undefined) return EMPTY;
    const wanted = entries.filter(({ type, data }) => this.wants(type, data));
    return wanted.length === entries.length ? state : sessionState(wanted);
  }

  private wants(type: number, data: Uint8Array): boolean {
    switch (type) {
      case SESSION_TRACK_SYSTEM_VARIABLES:
        return this.wantsVariable(data);
      case SESSION_TRACK_SCHEMA:
        return this.schema;
      case SESSION_TRACK_STATE_CHANGE:
        return this.stateChange;
      case SESSION_TRACK_TRANSACTION_CHARACTERISTICS:
        return this.transactionCharacteristics;
      case SESSION_TRACK_TRANSACTION_STATE:
        return this.transactionState;
      default:
        return true;
    }
  }

  private wantsVariable(data: Uint8Array): boolean {
    const { variables } = this;
    if (variables === undefined) return true;
    const changed = readSystemVariables(data) ?? [];
    return changed.some(([name]) => variables.has(name.toString('latin1').toLowerCase()));
  }
}

function isOn(value: string): boolean {
  return value === '1' || value.toUpperCase() === 'ON';
}
