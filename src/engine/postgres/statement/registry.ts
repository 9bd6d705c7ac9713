/** The texts that clients have prepared, so that clients with the same one share it and its plan. */

import { isSameDescription, type StatementDescription } from './description.ts';
import { type Reading, type Statement, sharedStatement } from './statement.ts';

/** Texts that nobody uses any more are forgotten beyond this many bytes, oldest first. */
const REGISTRY_BYTES_MAX = 32 * 1024 * 1024;

/**
 * All statements by text, in two generations: what is used moves to the young one, and when that is
 * full the old one is dropped. A client that still has a dropped statement keeps it.
 */
export class StatementRegistry {
  private young = new Map<string, Statement>();
  private old = new Map<string, Statement>();
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
    for (let twin = 0; ; twin++) {
      const key = `${twin}${reading.syntax}\0${reading.variant}\0${body}`;
      let statement = this.young.get(key);
      if (statement === undefined) {
        statement = this.old.get(key) ?? sharedStatement(bytes, from, to, reading, key);
        this.remember(key, statement);
      }
      if (!isTaken(statement)) return statement;
    }
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
    const known = key === undefined ? undefined : (this.young.get(key) ?? this.old.get(key));
    if (known !== undefined && known !== statement && !isTaken(known)) {
      const { description: knownAs } = known;
      if (knownAs !== undefined && isSameDescription(knownAs, description)) return known;
    }
    const successor = statement.another();
    successor.isDescribed(description);
    if (key !== undefined && known !== undefined) this.remember(key, successor);
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

  private remember(key: string, statement: Statement): void {
    this.young.set(key, statement);
    // The key and the message, and about as much again for what holds them.
    this.youngBytes += 2 * (key.length + statement.parse.length);
    if (this.youngBytes < this.bytesMax / 2) return;
    this.old = this.young;
    this.young = new Map();
    this.youngBytes = 0;
  }
}
