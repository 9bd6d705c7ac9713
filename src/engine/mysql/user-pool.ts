/**
 * The pool of one user, and what its sessions begin with: the variables that go with the character set of
 * a client's greeting, and whether the schema that it names can be used. The database is asked once for
 * each character set, and for each schema now and then; so only the first client of its kind needs a
 * database connection to log in.
 */

import { BerthError } from '../../base/errors.ts';
import type { TimerWheel } from '../../base/timer-wheel.ts';
import type { Borrower } from '../../pool/contract.ts';
import type { Pool } from '../../pool/pool.ts';
import {
  charsetFamily,
  quotingOf,
  type SyntaxOptions,
  versionNumber,
} from '../../sql/mysql/syntax.ts';
import type { DatabaseConnection } from './database-connection.ts';
import { giveBack, OwnHolder } from './own-holder.ts';
import { type Outcome, OwnStatement } from './own-statement.ts';
import { type InitialState, schemaReplay } from './session-state.ts';
import { SessionSettings } from './settings.ts';
import { Tracking } from './tracking.ts';
import {
  SERVER_STATUS_ANSI_QUOTES,
  SERVER_STATUS_AUTOCOMMIT,
  SERVER_STATUS_NO_BACKSLASH_ESCAPES,
} from './wire/capabilities.ts';
import type { TextRow } from './wire/replies.ts';

/** How long a schema that could be used is taken to be there for those who log in. */
const SCHEMA_KNOWN_MS = 10_000;
/** Schemas remembered. */
const SCHEMAS_MAX = 1_000;
/** Replays remembered that have gone well. A text is at most as long as all tracked variables. */
const PROVEN_MAX = 1_000;
/** A login gives up when this many connections were lost while they were asked. */
const CONNECTIONS_LOST_MAX = 3;
/** No statement can be read in these, and a server takes its own character set in their place. */
const NOT_FOR_CLIENTS: ReadonlySet<string> = new Set(['ucs2', 'utf16', 'utf16le', 'utf32']);

/** The status flags that say something of the session, not of one answer. */
const LASTING =
  SERVER_STATUS_AUTOCOMMIT | SERVER_STATUS_NO_BACKSLASH_ESCAPES | SERVER_STATUS_ANSI_QUOTES;

/** What a client says of itself at its login. */
export interface Arrival {
  /** The number of the collation in its greeting. */
  readonly collation: number;
  /** Empty for none. */
  readonly schema: string;
  readonly allowsMultiStatements: boolean;
}

export type Welcome =
  /** `state.status` is what the first OK tells. */
  | { readonly isOk: true; readonly state: InitialState }
  /** The pool had no connection to give, or the database did not take the schema. */
  | { readonly isOk: false; readonly error: BerthError };

/** Somebody who logs in. */
export interface Guest {
  welcomed(welcome: Welcome): void;
}

/** What is learnt of the server once. */
interface ServerFacts {
  readonly base: SessionSettings;
  readonly syntax: SyntaxOptions;
  readonly status: number;
  readonly tracking: Tracking;
}

export class UserPool {
  pool: Pool<DatabaseConnection>;
  /** Its sessions have a schema; or none of them has. */
  readonly hasSchema: boolean;
  private readonly wheel: TimerWheel;
  private facts: ServerFacts | undefined = undefined;
  /** Of the server before, until the one that is asked now has told its own. */
  private formerBase = SessionSettings.NONE;
  private readonly charsets = new Map<number, SessionSettings>();
  /** Until when each is taken to be usable, in the wheel's time. */
  private readonly schemas = new Map<string, number>();
  private readonly proven = new Set<string>();
  private generation = 0;

  constructor(pool: Pool<DatabaseConnection>, wheel: TimerWheel, hasSchema: boolean) {
    this.pool = pool;
    this.wheel = wheel;
    this.hasSchema = hasSchema;
  }

  /** What a session has after COM_RESET_CONNECTION. */
  get base(): SessionSettings {
    return this.facts?.base ?? this.formerBase;
  }

  /** Tells `guest`, now or later, what its session begins with. */
  welcome(arrival: Arrival, priority: number, guest: Guest): void {
    const known = this.known(arrival, this.wheel.now);
    if (known !== undefined) guest.welcomed({ isOk: true, state: known });
    else new Visit(this, arrival, priority, guest).begin();
  }

  /** Forgets what was learnt when the configuration is of another `generation` than it was then. */
  useGeneration(generation: number): void {
    if (this.generation === generation) return;
    this.generation = generation;
    this.forget();
  }

  forget(): void {
    this.formerBase = this.base;
    this.facts = undefined;
    this.charsets.clear();
    this.schemas.clear();
    this.proven.clear();
  }

  /** The same replay has gone well before. */
  isProven(name: string): boolean {
    return this.proven.has(name);
  }

  prove(name: string): void {
    if (this.proven.size >= PROVEN_MAX) this.proven.clear();
    this.proven.add(name);
  }

  /** What a client begins with, if all of it is known. */
  known(arrival: Arrival, now: number): InitialState | undefined {
    const charset = this.charsets.get(arrival.collation);
    if (charset === undefined || !this.isSchemaKnown(arrival.schema, now)) return undefined;
    return this.stateOf(arrival, charset);
  }

  knowsCharset(collation: number): boolean {
    return this.facts !== undefined && this.charsets.has(collation);
  }

  isSchemaKnown(schema: string, now: number): boolean {
    return schema === '' || (this.schemas.get(schema) ?? Number.NEGATIVE_INFINITY) > now;
  }

  private stateOf(
    { schema, allowsMultiStatements }: Arrival,
    charset: SessionSettings,
  ): InitialState | undefined {
    const { facts } = this;
    if (facts === undefined) return undefined;
    const { base, ...server } = facts;
    return { ...server, settings: charset, schema, allowsMultiStatements };
  }

  learnCharset(connection: DatabaseConnection, collation: number, row: TextRow): void {
    const [version = '', sqlMode = '', charset = '', charsetOfCollation, name, ...tracked] = row;
    const [systemVariables = '', schema = '', stateChange = '', transactionInfo = ''] = tracked;
    this.facts ??= {
      base: connection.base,
      status: connection.ledger.status & LASTING,
      tracking: new Tracking({
        systemVariables,
        schema,
        stateChange,
        transactionInfo,
        flavour: connection.server.flavour,
      }),
      syntax: {
        ...quotingOf(sqlMode),
        isMariaDb: /mariadb/i.test(version),
        version: versionNumber(version),
        charset: charsetFamily(charset),
      },
    };
    // Sessions that begin alike share this object, so that nothing has to be compared to lend a connection.
    const settings = settingsOf(charsetOfCollation, name).over(this.facts.base);
    this.charsets.set(collation, settings);
  }

  learnSchema(schema: string, now: number): void {
    if (this.schemas.size >= SCHEMAS_MAX) this.schemas.clear();
    this.schemas.set(schema, now + SCHEMA_KNOWN_MS);
    const { name } = schemaReplay(schema);
    if (name !== undefined) this.prove(name);
  }
}

/** What a server makes of the collation in a client's greeting; one that it does not know is ignored. */
function settingsOf(charset: string | undefined, collation: string | undefined): SessionSettings {
  if (charset === undefined || collation === undefined) return SessionSettings.NONE;
  return SessionSettings.NONE.withAll([
    ['character_set_client', charset],
    ['character_set_results', charset],
    ['character_set_connection', charset],
    ['collation_connection', collation],
  ]);
}

/** Borrows a connection and asks what is not known yet. */
class Visit extends OwnHolder implements Borrower<DatabaseConnection> {
  private readonly userPool: UserPool;
  private readonly arrival: Arrival;
  private readonly priority: number;
  private readonly guest: Guest;
  private connection: DatabaseConnection | undefined = undefined;
  private lost = 0;

  constructor(userPool: UserPool, arrival: Arrival, priority: number, guest: Guest) {
    super();
    this.userPool = userPool;
    this.arrival = arrival;
    this.priority = priority;
    this.guest = guest;
  }

  begin(): void {
    const { pool } = this.userPool;
    const connection = pool.borrow();
    if (connection === undefined) pool.wait(this, this.priority);
    else this.granted(connection);
  }

  granted(connection: DatabaseConnection): void {
    this.connection = connection;
    connection.lentTo(this);
    this.next(connection);
  }

  private next(connection: DatabaseConnection): void {
    const { arrival, userPool } = this;
    const { now } = connection.target.wheel;
    if (!userPool.knowsCharset(arrival.collation)) {
      this.ask(connection, charsetQuestion(arrival.collation));
    } else if (!userPool.isSchemaKnown(arrival.schema, now)) {
      this.trySchema(connection);
    } else {
      const state = userPool.known(arrival, now);
      if (state !== undefined) this.end({ isOk: true, state });
      else this.end({ isOk: false, error: new BerthError('internal') });
    }
  }

  private ask(connection: DatabaseConnection, sql: string): void {
    const statement = new OwnStatement((outcome) => {
      if (!outcome.isOk) {
        this.failed(outcome);
        return;
      }
      const row = outcome.rows[0] ?? [];
      const value = row[3];
      if (value !== undefined && NOT_FOR_CLIENTS.has(value)) {
        const error = new BerthError('character_set_unusable', { params: { value } });
        this.end({ isOk: false, error });
        return;
      }
      this.userPool.learnCharset(connection, this.arrival.collation, row);
      this.next(connection);
    });
    connection.run(sql, statement);
  }

  private trySchema(connection: DatabaseConnection): void {
    const { schema } = this.arrival;
    const statement = new OwnStatement((outcome) => {
      if (!outcome.isOk) {
        this.failed(outcome);
        return;
      }
      connection.state.schema = schema;
      this.userPool.learnSchema(schema, connection.target.wheel.now);
      this.next(connection);
    });
    connection.command(schemaReplay(schema).message, statement);
  }

  private failed(outcome: Outcome): void {
    if (outcome.isOk) return;
    const { payload: databaseMessage } = outcome;
    // Without a word of the database the connection is gone; nothing of a client's was sent, so another will do.
    if (databaseMessage !== undefined) {
      this.end({ isOk: false, error: new BerthError('internal', { databaseMessage }) });
    } else if (++this.lost < CONNECTIONS_LOST_MAX) {
      this.connection = undefined;
      this.begin();
    } else {
      this.connection = undefined;
      this.end({ isOk: false, error: new BerthError('connection_lost') });
    }
  }

  refused(error: BerthError): void {
    this.end({ isOk: false, error });
  }

  private end(welcome: Welcome): void {
    const { connection } = this;
    this.connection = undefined;
    if (connection !== undefined) giveBack(connection);
    this.guest.welcomed(welcome);
  }
}

/** The server's own, and what the collation with the number `id` is; nothing but ASCII, whatever is set. */
function charsetQuestion(id: number): string {
  return (
    'SELECT VERSION(), @@GLOBAL.sql_mode, @@GLOBAL.character_set_client, c.CHARACTER_SET_NAME, ' +
    'c.COLLATION_NAME, @@GLOBAL.session_track_system_variables, @@GLOBAL.session_track_schema, ' +
    '@@GLOBAL.session_track_state_change, @@GLOBAL.session_track_transaction_info FROM (SELECT 1) AS one LEFT JOIN information_schema.COLLATIONS AS c ' +
    `ON c.ID=${id}`
  );
}
