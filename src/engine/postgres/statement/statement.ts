/**
 * Virtual prepared statements. A client's named statement is a name for a text with its parameter types;
 * which database connection has it prepared, and under which name, is the proxy's business. So a client
 * may be served by any connection, and clients with the same statement share its plan.
 *
 * Around it: the texts that all share (`registry.ts`), the names of one client (`client-statements.ts`),
 * and what one connection has prepared (`connection-statements.ts`).
 *
 * A statement is also what it was described as when it was first prepared. Behind each Parse goes a Describe; a
 * connection that describes it otherwise, because the schema has changed, has something else under
 * its name: whoever knows the statement gets an error, as from a server (`cached plan must not change
 * result type`), and who prepares it now gets its successor.
 */

import { classify } from '../../../sql/postgres/classify.ts';
import { type Effects, PLAIN } from '../../../sql/postgres/effects.ts';
import type { StringSyntax } from '../../../sql/postgres/scanner.ts';
import type { StatementRemoval } from '../../../sql/postgres/statement-names.ts';
import { closeStatementMessage, describeStatementMessage } from '../wire/frontend.ts';
import { cString, message, PARSE } from '../wire/messages.ts';
import { isSameDescription, NO_ROWS, type StatementDescription, UNKNOWN } from './description.ts';
import { SERVER_NAME_PREFIX } from './names.ts';
import { removalIn, removalText } from './removal.ts';

/** A statement's text and parameter types, with the name that connections know it by. */
export class Statement {
  readonly serverName: string;
  /** The whole Parse message under `serverName`, with the types that the client gave. */
  readonly parse: Buffer;
  /** What the text does beside what `removal` says. */
  readonly effects: Effects;
  readonly removal: StatementRemoval | undefined;
  /** In the registry; `undefined` for a statement that is one client's alone. */
  readonly key: string | undefined;
  /** See `Reading`. */
  readonly variant: string;
  /** What comes after the name in a Parse. */
  readonly body: Buffer;
  private firstDescription: StatementDescription | undefined = undefined;
  private typedParse: Buffer | undefined = undefined;

  constructor(id: number, body: Buffer, made: StatementFacts) {
    this.serverName = `${SERVER_NAME_PREFIX}${id}`;
    this.parse = message(PARSE, cString(this.serverName), body);
    this.body = this.parse.subarray(this.parse.length - body.length);
    this.effects = made.effects;
    this.removal = made.removal;
    this.key = made.key;
    this.variant = made.variant;
  }

  get close(): Buffer {
    return closeStatementMessage(this.serverName);
  }

  get describe(): Buffer {
    return describeStatementMessage(this.serverName);
  }

  /** As it was when it was first prepared. */
  get description(): StatementDescription | undefined {
    return this.firstDescription;
  }

  /** It gives no rows, so none that could become others. */
  get hasNoRows(): boolean {
    return this.firstDescription?.rows === NO_ROWS;
  }

  /** A connection describes it so. Returns whether that is what it is. */
  isDescribed(description: StatementDescription): boolean {
    if (this.firstDescription !== undefined) {
      return isSameDescription(this.firstDescription, description);
    }
    this.firstDescription = description;
    const textEnd = this.body.indexOf(0) + 1;
    const { parameterTypes } = description;
    if (!this.body.subarray(textEnd).equals(parameterTypes)) {
      const text = this.body.subarray(0, textEnd);
      this.typedParse = message(PARSE, cString(this.serverName), text, parameterTypes);
    }
    return true;
  }

  /** What it was when it was first prepared will never be known, so it is not what it was. */
  describeAsUnknown(): void {
    this.firstDescription = UNKNOWN;
  }

  /** Parse with the types that its parameters had at first, which a server keeps too. */
  get parseAgain(): Buffer {
    return this.typedParse ?? this.parse;
  }

  /** Another with the same text. */
  another(): Statement {
    return new Statement(++lastStatement, this.body, this);
  }

  /** Another with the same text, for one client alone. */
  alone(variant: string): Statement {
    const { body, effects, removal } = this;
    return new Statement(++lastStatement, body, { effects, removal, key: undefined, variant });
  }
}

type StatementFacts = Pick<Statement, 'effects' | 'removal' | 'key' | 'variant'>;

/** Never reused: a connection may still have an older text under an older number (PG-59). */
let lastStatement = 0;

/** What decides the meaning of a text beside the text. */
export interface Reading {
  /** The settings under which it is read. */
  readonly variant: string;
  readonly syntax: StringSyntax;
}

/** The statement of a Parse that has `bytes[from, to)` after the name, for one client alone. */
export function privateStatement(
  bytes: Buffer,
  from: number,
  to: number,
  reading: Reading,
): Statement {
  return sharedStatement(bytes, from, to, reading, undefined);
}

/** The same, under `key` in the registry. */
export function sharedStatement(
  bytes: Buffer,
  from: number,
  to: number,
  { syntax, variant }: Reading,
  key: string | undefined,
): Statement {
  const textEnd = bytes.indexOf(0, from);
  const effects = classify(bytes, from, textEnd, syntax);
  const removal = removalIn(effects, bytes, from, textEnd);
  const body = Buffer.from(bytes.subarray(from, to));
  const facts = { removal, key, variant };
  if (removal === undefined) return new Statement(++lastStatement, body, { ...facts, effects });
  const text = removalText(removal);
  const types = bytes.subarray(textEnd + 1, to);
  const changed = text === undefined ? body : Buffer.concat([text, types]);
  return new Statement(++lastStatement, changed, { ...facts, effects: PLAIN });
}
