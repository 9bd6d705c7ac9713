/**
 * The digest of a text: what it says without what it says it about. Lower case, no comments, no
 * excess white space, and `$1`, `$2` ... for every literal and parameter, in the order they appear.
 * It is what a person reads in a log to find out which statement pinned a session.
 *
 * No literal survives: a string that never ends is a placeholder, and where the server might see
 * other strings than we do the digest stops. Built on the lexer that also judges the statements.
 */

import { DigestText } from '../digest-text.ts';
import { Lexer, type TokenSink } from './lexer.ts';
import { WORD_LENGTH_MAX, type WordId, wordId } from './words.ts';

const ALTER = wordId('alter');
const DEFAULT = wordId('default');
const SET = wordId('set');
const TO = wordId('to');

const SEMICOLON = 0x3b;
const EQUALS = 0x3d;
const CHUNK_BYTES = 4096;

/** The digest of a statement text, at most `maxLength` characters long. */
export function digest(text: Uint8Array | string, maxLength = 200): string {
  const bytes = typeof text === 'string' ? new TextEncoder().encode(text) : text;
  const writer = new DigestWriter();
  const lexer = writer.lexer;
  for (let at = 0; at < bytes.length && !writer.isFull(maxLength); at += CHUNK_BYTES) {
    lexer.push(bytes, at, Math.min(at + CHUNK_BYTES, bytes.length));
  }
  lexer.end();
  return writer.digest(maxLength);
}

class DigestWriter implements TokenSink {
  readonly lexer = new Lexer(this);
  private readonly decoder = new TextDecoder();
  private readonly text = new DigestText();
  private literals = 0;
  private endsInNumber = false;
  private firstWord: WordId | undefined = undefined;
  private isSetting = false;
  /** After `SET name =`: identifiers here are values. */
  private isValue = false;

  constructor() {
    this.lexer.reset('unsure');
  }

  isFull(maxLength: number): boolean {
    return this.text.isFull(maxLength);
  }

  digest(maxLength: number): string {
    return this.text.cut(maxLength);
  }

  word(id: WordId): void {
    this.firstWord ??= id;
    if (this.endsInNumber && !this.lexer.gap) return;
    if (id === SET && (this.firstWord === SET || this.firstWord === ALTER)) this.isSetting = true;
    if (this.isValue && id !== DEFAULT) {
      this.literal();
      return;
    }
    this.put(this.tokenText(), true);
    if (this.isSetting && id === TO) this.isValue = true;
  }

  name(): void {
    if (this.isValue) {
      this.literal();
      return;
    }
    this.put(`"${this.tokenText().replaceAll('"', '""')}"`, true);
  }

  unicodeName(): void {
    if (this.isValue) {
      this.literal();
      return;
    }
    this.put(`u&"${this.tokenText().replaceAll('"', '""')}"`, true);
  }

  string(): boolean {
    this.literal();
    return false;
  }

  content(): void {}

  number(): void {
    this.literal();
    this.endsInNumber = true;
  }

  parameter(): void {
    this.literal();
    this.endsInNumber = true;
  }

  symbol(byte: number): void {
    this.put(String.fromCharCode(byte), false);
    if (byte === SEMICOLON) this.beginStatement();
    else if (byte === EQUALS && this.isSetting) this.isValue = true;
  }

  obscured(): void {
    this.text.stop(this.lexer.gap);
  }

  private beginStatement(): void {
    this.firstWord = undefined;
    this.isSetting = false;
    this.isValue = false;
  }

  private tokenText(): string {
    const length = Math.min(this.lexer.length, WORD_LENGTH_MAX);
    return this.decoder.decode(this.lexer.text.subarray(0, length));
  }

  private literal(): void {
    this.literals += 1;
    this.put(`$${this.literals}`, true);
  }

  private put(token: string, isWord: boolean): void {
    this.endsInNumber = false;
    this.text.put(token, isWord, this.lexer.gap);
  }
}
