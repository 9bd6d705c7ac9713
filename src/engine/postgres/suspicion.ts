/**
 * What the statements since the last audit may have left on the connection, by their texts. It is a
 * suspicion until the database has been asked, when everything is answered and the transaction over.
 */

import { digest } from '../../sql/postgres/digest.ts';
import type { Effects, SqlPinReason } from '../../sql/postgres/effects.ts';
import { customSettingNames } from '../../sql/postgres/setting-names.ts';
import { type AuditedReason, isAudited } from './audit.ts';
import type { BoundParameters } from './wire/bound-parameters.ts';

/** Names of an application's own settings that are asked for at once. */
const NAMES_MAX = 256;
/** Of a longer text the beginning is kept, for its digest. */
const TEXT_MAX = 4 * 1024;
/** A rollback undoes these; not a lock of the session, nor a PREPARE. */
const ENDS_WITH_TRANSACTION: ReadonlySet<AuditedReason> = new Set([
  'set',
  'temporary_object',
  'listen',
  'hold_cursor',
]);
/** One SET or RESET, of which the same text has the same effect whenever it is run. */
const SOLE_SET = /^\s*(?:set|reset)\s(?!\s*local\s)[^;]{1,1000};?\s*$/i;

export class Suspicion {
  readonly reasons = new Set<AuditedReason>();
  /** A reason that the database cannot be asked about: the session is pinned. */
  certain: SqlPinReason | undefined = undefined;
  /** An application's own settings that may have been set. */
  readonly customNames = new Set<string>();
  /** Something may have been undone. */
  mayClear = false;
  /** Something that was sent since has failed. */
  hasFailed = false;
  /** What cannot be parsed has not been run, not even in part. */
  hasFailedToParse = false;
  private texts = 0;
  private text = '';
  private areNamesKnown = true;
  /** What there was before a DISCARD ALL whose reply has not come. */
  private before: Suspicion | undefined;

  constructor(before?: Suspicion) {
    this.before = before;
    this.mayClear = before !== undefined;
  }

  /** The oldest DISCARD ALL has succeeded. With several on their way, nothing is forgotten. */
  afterDiscard(): Suspicion | undefined {
    if (this.before?.before === undefined) this.before = undefined;
    return this.before === undefined && this.texts === 0 ? undefined : this;
  }

  /** Everything is answered: a DISCARD ALL that is still on its way has failed, and so have all of them. */
  afterFailedDiscard(): Suspicion {
    // As many as a pipeline is long, so not by recursion.
    for (let { before } = this; before !== undefined; before = before.before) this.absorb(before);
    this.before = undefined;
    return this;
  }

  private absorb(before: Suspicion): void {
    this.certain ??= before.certain;
    this.areNamesKnown &&= before.areNamesKnown;
    this.texts += before.texts;
    if (before.text !== '') this.text = before.text;
    for (const reason of before.reasons) this.reasons.add(reason);
    for (const name of before.customNames) this.customNames.add(name);
  }

  /** `text` is empty when it was not kept. */
  add(effects: Effects, text: Uint8Array, parameters?: BoundParameters): void {
    this.mayClear ||= effects.mayClear;
    if (effects.reasons.length === 0) return;
    if (this.texts++ === 0) this.text = latin1(text.subarray(0, TEXT_MAX));
    for (const reason of effects.reasons) {
      if (!isAudited(reason)) this.certain ??= reason;
      else this.reasons.add(reason);
    }
    if (effects.reasons.includes('set')) this.addNames(latin1(text), parameters);
  }

  private addNames(text: string, parameters: BoundParameters | undefined): void {
    const parameter = (number: number) => parameters?.text(number);
    const names = text === '' ? undefined : customSettingNames(text, parameter);
    if (names === undefined || this.customNames.size + names.length > NAMES_MAX) {
      this.areNamesKnown = false;
      return;
    }
    for (const name of names) this.customNames.add(name);
  }

  /** There is nothing that a statement may have left, only something that may be gone. */
  get isEmpty(): boolean {
    return this.certain === undefined && this.reasons.size === 0 && this.before === undefined;
  }

  /** Whatever was left in a transaction goes with it. */
  get endsWithTransaction(): boolean {
    if (this.certain !== undefined || this.before !== undefined) return false;
    return [...this.reasons].every((reason) => ENDS_WITH_TRANSACTION.has(reason));
  }

  /** No answer of the database could clear it up. */
  get isBeyondAudit(): boolean {
    return this.certain !== undefined || !this.areNamesKnown;
  }

  get pinReason(): SqlPinReason {
    return this.certain ?? [...this.reasons][0] ?? 'set';
  }

  /** The first statement, without its literals. */
  get digest(): string {
    return digest(Buffer.from(this.text, 'latin1'));
  }

  /** The text, if it is one SET and the only thing that was done. `requests`: how many there were. */
  soleSet(requests: number): string | undefined {
    const isSole = this.texts === 1 && requests === 1 && !this.isBeyondAudit;
    const isSet = this.reasons.size === 1 && this.reasons.has('set');
    return isSole && isSet && SOLE_SET.test(this.text) ? this.text : undefined;
  }

  /** Nothing was done after all: the one statement was no SQL. */
  isGroundless(requests: number): boolean {
    return this.hasFailedToParse && this.texts === 1 && requests <= 1;
  }
}

function latin1(text: Uint8Array): string {
  return Buffer.from(text.buffer, text.byteOffset, text.byteLength).toString('latin1');
}
