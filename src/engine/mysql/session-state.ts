/**
 * What a session is, apart from the connection that it has at the moment: the variables, the schema, the
 * options that its client has set, and the status flags that the client saw last. A connection is made
 * the session's by replays; what statements then change is taken over from what the server reports.
 */

import {
  charsetFamily,
  quotingOf,
  type Syntax,
  type SyntaxOptions,
  syntaxOf,
} from '../../sql/mysql/syntax.ts';
import type { DatabaseConnection } from './database-connection.ts';
import { OWES_OK, OWES_RESULT } from './ledger.ts';
import type { SessionSettings } from './settings.ts';
import type { Tracking } from './tracking.ts';
import {
  COM_INIT_DB,
  COM_SET_OPTION,
  SERVER_MORE_RESULTS_EXISTS,
  SERVER_PS_OUT_PARAMS,
  SERVER_QUERY_NO_GOOD_INDEX_USED,
  SERVER_QUERY_NO_INDEX_USED,
  SERVER_QUERY_WAS_SLOW,
  SERVER_SESSION_STATE_CHANGED,
  SERVER_STATUS_CURSOR_EXISTS,
  SERVER_STATUS_IN_TRANS,
  SERVER_STATUS_IN_TRANS_READONLY,
  SERVER_STATUS_LAST_ROW_SENT,
  SERVER_STATUS_METADATA_CHANGED,
} from './wire/capabilities.ts';
import { queryMessage } from './wire/commands.ts';
import { packet } from './wire/packets.ts';

const MULTI_STATEMENTS_MESSAGES = {
  on: packet(0, Buffer.of(COM_SET_OPTION, 0, 0)),
  off: packet(0, Buffer.of(COM_SET_OPTION, 1, 0)),
};
/** Flags of one answer, not of the session. */
const PASSING =
  SERVER_MORE_RESULTS_EXISTS |
  SERVER_QUERY_NO_GOOD_INDEX_USED |
  SERVER_QUERY_NO_INDEX_USED |
  SERVER_STATUS_CURSOR_EXISTS |
  SERVER_STATUS_LAST_ROW_SENT |
  SERVER_STATUS_METADATA_CHANGED |
  SERVER_QUERY_WAS_SLOW |
  SERVER_PS_OUT_PARAMS |
  SERVER_SESSION_STATE_CHANGED;

/** A connection that has rested for longer is probed before it is lent. */
const SHORT_WAIT_SECONDS = 60;

/** A command that makes a connection the session's. */
export interface Replay {
  readonly message: Buffer;
  readonly owes: number;
  /** Equal for replays that do the same; `undefined` for one that cannot fail. */
  readonly name: string | undefined;
}

export interface InitialState {
  readonly settings: SessionSettings;
  readonly schema: string;
  readonly allowsMultiStatements: boolean;
  /** Status flags. */
  readonly status: number;
  /** What the client hears of its session as long as it does not ask for more or less. */
  readonly tracking: Tracking;
  /** How the server reads texts, but for what the settings say. */
  readonly syntax: SyntaxOptions;
}

export class SessionState {
  settings: SessionSettings;
  schema: string;
  allowsMultiStatements: boolean;
  /** The status flags that the client saw last. */
  status: number;
  syntax: Syntax;
  tracking: Tracking;
  /** It has asked the server to close its connection soon when nothing is sent: `wait_timeout`. */
  isImpatient = false;
  private readonly initialTracking: Tracking;
  private readonly server: SyntaxOptions;
  private readonly initialStatus: number;

  constructor(initial: InitialState) {
    const { settings, schema, allowsMultiStatements, status, syntax, tracking } = initial;
    this.tracking = tracking;
    this.initialTracking = tracking;
    this.settings = settings;
    this.schema = schema;
    this.allowsMultiStatements = allowsMultiStatements;
    this.status = status;
    this.initialStatus = status;
    this.server = syntax;
    this.syntax = this.syntaxNow();
  }

  /** What is to be run on `connection`, in this order; it is taken to be done from here on. */
  replaysFor(connection: DatabaseConnection): Replay[] | undefined {
    const { state } = connection;
    let replays: Replay[] | undefined;
    if (connection.allowsMultiStatements !== this.allowsMultiStatements) {
      connection.allowsMultiStatements = this.allowsMultiStatements;
      replays = [this.optionReplay()];
    }
    if (state.settings !== this.settings) {
      const isSame = this.settings.equals(state.settings);
      const { capabilities } = connection;
      const text = isSame ? undefined : this.settings.replayFrom(state.settings, capabilities);
      state.settings = this.settings;
      if (text !== undefined) {
        replays ??= [];
        replays.push({
          message: queryMessage(text, capabilities),
          owes: OWES_RESULT,
          name: text,
        });
      }
    }
    if (state.schema !== this.schema && this.schema !== '') {
      state.schema = this.schema;
      replays ??= [];
      replays.push(schemaReplay(this.schema));
    }
    return replays;
  }

  private optionReplay(): Replay {
    const { on, off } = MULTI_STATEMENTS_MESSAGES;
    return { message: this.allowsMultiStatements ? on : off, owes: OWES_OK, name: undefined };
  }

  /** Takes over what the session's statements have made of `connection`. */
  adopt({ ledger, state }: DatabaseConnection): void {
    this.status = ledger.status & ~PASSING;
    if (state.isSchemaTold) {
      state.isSchemaTold = false;
      this.schema = state.schema;
    }
    if (state.settings === this.settings) return;
    this.settings = state.settings;
    this.syntax = this.syntaxNow();
    this.isImpatient = Number(this.settings.get('wait_timeout')) < SHORT_WAIT_SECONDS;
  }

  /** The transaction was lost with its connection. */
  transactionEnded(): void {
    this.status &= ~(SERVER_STATUS_IN_TRANS | SERVER_STATUS_IN_TRANS_READONLY);
  }

  /** COM_RESET_CONNECTION: everything but the schema is as at the beginning, with the server's charset. */
  reset(base: SessionSettings): void {
    this.settings = base;
    this.status = this.initialStatus;
    this.tracking = this.initialTracking;
    this.isImpatient = false;
    this.syntax = this.syntaxNow();
  }

  private syntaxNow(): Syntax {
    const charset = this.settings.get('character_set_client');
    const sqlMode = this.settings.get('sql_mode');
    return syntaxOf({
      ...this.server,
      ...(charset === undefined ? {} : { charset: charsetFamily(charset) }),
      ...(sqlMode === undefined ? {} : quotingOf(sqlMode)),
    });
  }
}

export function schemaReplay(schema: string): Replay {
  const message = packet(0, Buffer.of(COM_INIT_DB), Buffer.from(schema));
  return { message, owes: OWES_OK, name: `\0${schema}` };
}
