/** The texts that clients have prepared, so that clients with the same one share it and its plan. */

import { isSameDescription, type StatementDescription } from './description.ts';
import { privateStatement, type Reading, type Statement, sharedStatement } from './statement.ts';

/** Texts that nobody uses any more are forgotten beyond this many bytes, oldest first. */
const REGISTRY_BYTES_MAX = 32 * 1024 * 1024;
/** Of each, beside its key and its message, twice: measured with 50,000 texts, and a description of some columns. */
const STATEMENT_BYTES = 1_000;
/** Of one text, for a client that prepares it under several names; what it has beyond that is its alone. */
export const TWINS_MAX = 16;

/**
 * All statements by text, in two generations: what is used moves to the young one, and when that is
 * full the old one is dropped. A client that still has a dropped statement keeps it.
 */
export class StatementRegistry {
  private young = new Map<string, Statement[]>();
  private old = new Map<string, Statement[]>();
  private youngBytes = 0;
  private readonly bytesMax: number;

  constructor(bytesMax = REGISTRY_BYTES_MAX) {
    this.bytesMax = bytesMax;
  }

  /**
   * The statement whose Parse message has `bytes[from, to)` after the name: text, NUL, types. One
   * that `isTaken` is passed over for another of the same text.
   */
  intern(
    bytes: Buffer,
    from: number,
    to: number,
    reading: Reading,
    isTaken: (statement: Statement) => boolean,
  ): Statement {
    const body = bytes.toString('latin1', from, to);
    const key = `${reading.syntax}\0${reading.variant}\0${body}`;
    const twins = this.used(key);
    const free = twins.find((twin) => !isTaken(twin));
    if (free !== undefined) return free;
    if (twins.length >= TWINS_MAX) return privateStatement(bytes, from, to, reading);
    const made = sharedStatement(bytes, from, to, reading, key);
    twins.push(made);
    this.grown(key, made);
    return made;
  }

  /**
   * `statement` is described otherwise than it was: the one that it is now, for whoever prepares it
   * from here on. One that `isTaken` is not returned.
   */
  succeed(
    statement: Statement,
    description: StatementDescription,
    isTaken: (statement: Statement) => boolean,
  ): Statement {
    const { key } = statement;
    const twins = key === undefined ? undefined : (this.young.get(key) ?? this.old.get(key));
    const at = twins?.indexOf(statement) ?? -1;
    const known = twins?.find(
      (twin) =>
        twin !== statement &&
        twin.description !== undefined &&
        isSameDescription(twin.description, description) &&
        !isTaken(twin),
    );
    if (known !== undefined) {
      if (at >= 0) twins?.splice(at, 1);
      return known;
    }
    const successor = statement.another();
    successor.isDescribed(description);
    // Whoever has the one in whose place it comes keeps it.
    twins?.splice(Math.max(at, 0), 1, successor);
    return successor;
  }

  /**
   * `statement` for a client whose settings have changed since it was read: who shares it must not
   * meet it as this client would prepare it. It is to be what it was described as.
   */
  reread(
    statement: Statement,
    reading: Reading,
    isTaken: (statement: Statement) => boolean,
  ): Statement {
    const { body, description } = statement;
    const twin = this.intern(body, 0, body.length, reading, isTaken);
    if (description === undefined || twin.isDescribed(description)) return twin;
    const own = statement.alone(reading.variant);
    own.isDescribed(description);
    return own;
  }

  /** The statements of one text, which somebody uses. */
  private used(key: string): Statement[] {
    const young = this.young.get(key);
    if (young !== undefined) return young;
    const twins = this.old.get(key) ?? [];
    this.young.set(key, twins);
    for (const twin of twins) this.grown(key, twin);
    return twins;
  }

  private grown(key: string, statement: Statement): void {
    this.youngBytes += STATEMENT_BYTES + 2 * (key.length + statement.parse.length);
    if (this.youngBytes < this.bytesMax / 2) return;
    this.old = this.young;
    this.young = new Map();
    this.youngBytes = 0;
  }
}
