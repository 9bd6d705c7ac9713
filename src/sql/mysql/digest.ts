/**
 * The digest of a text: what it says without what it says it about. Lower case, no comments, no
 * excess white space, and `?` for every literal and parameter. It is what a person reads in a log to
 * find out which statement pinned a session.
 *
 * No literal survives: a string that never ends is a placeholder, a value of SET too, and where the
 * server might see other strings than we do the digest stops. Built on the lexer that also judges the
 * statements.
 */

import { DigestText } from '../digest-text.ts';
import { Lexer, type TokenSink } from './lexer.ts';
import type { Syntax } from './syntax.ts';
import { WORD_LENGTH_MAX, type WordId, wordId } from './words.ts';

const DEFAULT = wordId('default');
const FOR = wordId('for');
const SET = wordId('set');

const SEMICOLON = 0x3b;
const COMMA = 0x2c;
const EQUALS = 0x3d;
const CHUNK_BYTES = 4096;

/** The digest of a statement text, at most `maxLength` characters long. */
export function digest(text: Uint8Array, syntax: Syntax, maxLength = 200): string {
  const writer = new DigestWriter(syntax);
  const { lexer } = writer;
  for (let at = 0; at < text.length && !writer.isFull(maxLength); at += CHUNK_BYTES) {
    lexer.push(text, at, Math.min(at + CHUNK_BYTES, text.length));
  }
  lexer.end();
  return writer.digest(maxLength);
}

class DigestWriter implements TokenSink {
  readonly lexer = new Lexer(this);
  private readonly decoder = new TextDecoder();
  private readonly text = new DigestText();
  private firstWord: WordId | undefined = undefined;
  /** After `SET name =`: words here are values. */
  private isValue = false;
  private endsInLiteral = false;

  constructor(syntax: Syntax) {
    this.lexer.reset(syntax);
  }

  isFull(maxLength: number): boolean {
    return this.text.isFull(maxLength);
  }

  digest(maxLength: number): string {
    return this.text.cut(maxLength);
  }

  word(id: WordId): void {
    this.firstWord ??= id;
    if (id === FOR) this.isValue = false;
    if (this.isValue && id !== DEFAULT) this.literal();
    else this.put(this.tokenText(), true);
  }

  name(): void {
    if (this.isValue) this.literal();
    else this.put(`\`${this.tokenText().replaceAll('`', '``')}\``, true);
  }

  /** Strings side by side are one. */
  string(): void {
    if (!this.endsInLiteral) this.literal();
  }

  number(): void {
    this.literal();
  }

  userVariable(): void {
    const name = this.tokenText();
    this.put(/^[\w.$]+$/.test(name) ? `@${name}` : '@?', false);
  }

  systemVariable(): void {
    this.put('@@', false);
  }

  symbol(byte: number): void {
    this.put(String.fromCharCode(byte), false);
    if (byte === SEMICOLON) this.firstWord = undefined;
    if (byte === SEMICOLON || byte === COMMA) this.isValue = false;
    else if (byte === EQUALS && this.firstWord === SET) this.isValue = true;
  }

  obscured(): void {
    this.text.stop(this.lexer.gap);
  }

  private tokenText(): string {
    const length = Math.min(this.lexer.length, WORD_LENGTH_MAX);
    return this.decoder.decode(this.lexer.text.subarray(0, length));
  }

  private literal(): void {
    this.put('?', true);
    this.endsInLiteral = true;
  }

  private put(token: string, isWord: boolean): void {
    this.endsInLiteral = false;
    this.text.put(token, isWord, this.lexer.gap);
  }
}
