/**
 * What a client wants to hear of its session. The proxy lets the server report everything; a client that
 * asked for less, or left it at what the server does by itself, gets that much of it and no more.
 * https://dev.mysql.com/doc/refman/en/session-state-tracking.html
 */

import type { Flavour } from './login/server-facts.ts';
import {
  SESSION_TRACK_SCHEMA,
  SESSION_TRACK_STATE_CHANGE,
  SESSION_TRACK_SYSTEM_VARIABLES,
  SESSION_TRACK_TRANSACTION_CHARACTERISTICS,
  SESSION_TRACK_TRANSACTION_STATE,
} from './wire/capabilities.ts';
import {
  readSessionState,
  readStateText,
  readSystemVariables,
  sessionState,
} from './wire/replies.ts';

const EVERYTHING = '*';
const EMPTY = Buffer.alloc(0);

/** MySQL tells of the begin and the end of a transaction even when it is not asked to. */
const TELLS_BEGIN: Readonly<Record<Flavour, boolean>> = { mysql: true, mariadb: false };
const BEGUN = 'T_______';
const ENDED = '________';

/** What a client that did not ask has been told of its transaction. */
export interface ToldTransaction {
  hasBegun: boolean;
}

export class Tracking {
  /** Undefined for all. */
  private readonly variables: ReadonlySet<string> | undefined;
  private readonly schema: boolean;
  private readonly stateChange: boolean;
  private readonly transactionState: boolean;
  private readonly transactionCharacteristics: boolean;
  private readonly tellsBegin: boolean;

  /** The values of the variables `session_track_...`, as the server gives them. */
  constructor(values: {
    readonly systemVariables: string;
    readonly schema: string;
    readonly stateChange: string;
    readonly transactionInfo: string;
    readonly flavour: Flavour;
  }) {
    const { systemVariables, transactionInfo } = values;
    const names = systemVariables.split(',').map((name) => name.trim().toLowerCase());
    this.variables = names.includes(EVERYTHING) ? undefined : new Set(names);
    this.schema = isOn(values.schema);
    this.stateChange = isOn(values.stateChange);
    this.tellsBegin = TELLS_BEGIN[values.flavour];
    this.transactionCharacteristics = transactionInfo.toUpperCase() === 'CHARACTERISTICS';
    this.transactionState =
      this.transactionCharacteristics || transactionInfo.toUpperCase() === 'STATE';
  }

  /** Of a session state as the server has sent it, what the client is to have; maybe nothing. */
  filter(state: Uint8Array, told: ToldTransaction): Uint8Array {
    const entries = readSessionState(state);
    if (entries === undefined) return EMPTY;
    const wanted = entries.filter(({ type, data }) => this.wants(type, data, told));
    return wanted.length === entries.length ? state : sessionState(wanted);
  }

  private wants(type: number, data: Uint8Array, told: ToldTransaction): boolean {
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
        return this.transactionState || (this.tellsBegin && isNewsOf(data, told));
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

/** The client is told of the end of what it was told the begin of. */
function isNewsOf(data: Uint8Array, told: ToldTransaction): boolean {
  const state = readStateText(data)?.toString('latin1');
  const isNews = state === BEGUN || (state === ENDED && told.hasBegun);
  if (isNews) told.hasBegun = state === BEGUN;
  return isNews;
}

function isOn(value: string): boolean {
  return value === '1' || value.toUpperCase() === 'ON';
}
