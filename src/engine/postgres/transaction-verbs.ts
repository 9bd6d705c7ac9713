/**
 * What a client's messages do to its transaction, by their texts: only looked at when the connection that
 * they were sent on is lost, and nobody else can tell any more.
 */

import { type TransactionVerb, transactionVerb } from '../../sql/postgres/transaction-verb.ts';
import { BIND, HEADER_BYTES, lengthAt, PARSE, QUERY } from './wire/messages.ts';

export type { TransactionVerb };

/** The text, in latin1, that a client has prepared under a name; empty for the unnamed statement. */
type TextOf = (name: string) => string | undefined;

/** A text that may do it is not longer. */
const TEXT_MAX = 200;

/** Whether a transaction is open behind the messages in `bytes`, if one was (`isOpen`) before them. */
export function isOpenBehind(isOpen: boolean, bytes: Buffer, textOf: TextOf): boolean {
  /** A BEGIN that nothing follows has begun nothing that could be lost. */
  let hasBegun = false;
  /** Of the unnamed statement, if these messages prepare it. */
  let unnamed: TransactionVerb | 'other' | undefined;
  for (let at = 0; at + HEADER_BYTES <= bytes.length; at += 1 + lengthAt(bytes, at)) {
    const type = bytes[at];
    if (type === PARSE && bytes[at + HEADER_BYTES] === 0) {
      unnamed = verbOf(bytes, at, textOf) ?? 'other';
    }
    if (type !== QUERY && type !== BIND) continue;
    const isUnnamed = type === BIND && nameOfBind(bytes, at) === '';
    const verb = isUnnamed && unnamed !== undefined ? unnamed : verbOf(bytes, at, textOf);
    if (verb === 'begin') {
      hasBegun = true;
    } else if (verb === 'commit' || verb === 'rollback') {
      hasBegun = false;
      isOpen = false;
    } else if (hasBegun) {
      isOpen = true;
    }
  }
  return isOpen;
}

function nameOfBind(bytes: Buffer, at: number): string {
  const name = bytes.indexOf(0, at + HEADER_BYTES) + 1;
  return bytes.toString('latin1', name, bytes.indexOf(0, name));
}

/**
 * What the message at `at` runs, or is about to, if that begins or ends a transaction. Of a statement that
 * gets a name it is not certain that it is run.
 */
export function verbOf(bytes: Buffer, at: number, textOf: TextOf): TransactionVerb | undefined {
  const from = at + HEADER_BYTES;
  switch (bytes[at]) {
    case QUERY:
      return transactionVerb(textAt(bytes, from));
    case PARSE:
      return bytes[from] === 0 ? transactionVerb(textAt(bytes, from + 1)) : undefined;
    case BIND: {
      const text = textOf(nameOfBind(bytes, at));
      return text === undefined ? undefined : transactionVerb(upToNul(text));
    }
    default:
      return undefined;
  }
}

function textAt(bytes: Buffer, from: number): string {
  return upToNul(bytes.toString('latin1', from, Math.min(bytes.length, from + TEXT_MAX)));
}

/** Nothing of a text that does not end in time. */
function upToNul(text: string): string {
  const end = text.indexOf('\0');
  return end < 0 ? '' : text.slice(0, end);
}
