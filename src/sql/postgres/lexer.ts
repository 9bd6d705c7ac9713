/**
 * A resumable lexer for PostgreSQL statement text. Bytes go in, in pieces cut anywhere; tokens go to
 * a sink. Memory is constant however long the text is, every input is accepted, nothing throws.
 *
 * It follows the server's scan.l, and where versions differ it follows the one that hides less:
 * https://github.com/postgres/postgres/blob/REL_18_STABLE/src/backend/parser/scan.l
 * https://www.postgresql.org/docs/18/sql-syntax-lexical.html
 *
 * The text must be in an encoding that is safe in the server (UTF8, the ISO and Windows ones). In
 * SJIS, BIG5, GBK, UHC, GB18030 and JOHAB the second byte of a character may be an ASCII byte such as
 * a backslash; whoever lets a client choose one of these must not rely on what is found here.
 */

import { Byte, folded, isDigit, Start, starts } from './bytes.ts';
import { NumberPart, nextNumberPart } from './numbers.ts';
import { findWord, hashStep, WORD_LENGTH_MAX, type WordId } from './words.ts';

/** How a string constant was written: '...' or N'...', E'...', U&'...', B'...' or X'...', $$...$$. */
export type StringForm = 'plain' | 'escape' | 'unicode' | 'bits' | 'dollar';

/** What is known of `standard_conforming_strings`: it is on, or it might be off. */
export type StringSyntax = 'standard' | 'unsure';

/** Receives tokens. Comments and white space are not tokens; the lexer knows if there were any. */
export interface TokenSink {
  /** A keyword or unquoted identifier. Its text is in `lexer.text` during the call. */
  word(id: WordId): void;
  /** A "quoted identifier". Its text is in `lexer.text` during the call. */
  name(id: WordId): void;
  /** A U&"quoted identifier", whose escapes are not decoded. */
  unicodeName(): void;
  /** A string constant begins. True asks for its bytes, which then come as `content`. */
  string(form: StringForm): boolean;
  /** The next bytes of the string constant that was asked for. Valid during the call only. */
  content(bytes: Uint8Array, from: number, to: number): void;
  number(): void;
  /** `$1` */
  parameter(): void;
  /** One byte of an operator or of punctuation, or one that no token can begin with. */
  symbol(byte: number): void;
  /** From here on the server may see other tokens than the ones reported. */
  obscured(): void;
}

/** Where the lexer is. Numbers, because the state is looked at for every token of every statement. */
const State = {
  base: 0,
  word: 1,
  unicodePrefix: 2,
  name: 3,
  nameQuote: 4,
  string: 5,
  stringEscape: 6,
  stringQuote: 7,
  dollar: 8,
  tag: 9,
  dollarString: 10,
  parameter: 11,
  number: 12,
  minus: 13,
  slash: 14,
  dot: 15,
  lineComment: 16,
  blockComment: 17,
  lost: 18,
} as const;
type State = (typeof State)[keyof typeof State];

const TAG_LENGTH_MAX = 64;

/** Reads statement text in pieces. One at a time; not to be pushed from inside its own sink. */
export class Lexer {
  /** The word or name that is being reported, lower case if unquoted, cut at 64 bytes. */
  readonly text = new Uint8Array(WORD_LENGTH_MAX + 1);
  /** The length of that word or name in full: it may be more than `text` holds. */
  length = 0;
  /** Whether white space or a comment came before the token that is being reported. */
  gap = false;

  private readonly sink: TokenSink;
  private syntax: StringSyntax = 'unsure';
  private state: State = State.base;
  private hash = 0;
  private isUnicode = false;
  private numberPart: NumberPart = NumberPart.integer;
  private commentDepth = 0;
  private commentByte = 0;

  private form: StringForm = 'plain';
  private wantsContent = false;
  /** Whether a server with standard_conforming_strings off would take the next byte as escaped. */
  private isEscaped = false;
  /** After a string constant: a quote on a later line continues it. */
  private mayContinue = false;
  private sawNewline = false;

  /** The delimiter of a dollar quote, `$tag$`. */
  private readonly tag = new Uint8Array(TAG_LENGTH_MAX);
  private tagLength = 0;
  private tagMatched = 0;

  constructor(sink: TokenSink) {
    this.sink = sink;
  }

  /** Forget everything and begin a new text. */
  reset(syntax: StringSyntax): void {
    this.syntax = syntax;
    this.state = State.base;
    this.gap = false;
    this.mayContinue = false;
    this.wantsContent = false;
  }

  /** Read the bytes from `from` up to, not including, `to`. */
  push(bytes: Uint8Array, from: number, to: number): void {
    let at = from;
    while (at < to) at = this.step(bytes, at, to);
  }

  /** The text is complete: report the token that was still open. */
  end(): void {
    switch (this.state) {
      case State.word:
        this.finishWord();
        break;
      case State.unicodePrefix:
        this.finishWord();
        this.symbol(Byte.ampersand);
        break;
      case State.nameQuote:
        this.finishName();
        break;
      case State.minus:
        this.symbol(Byte.minus);
        break;
      case State.slash:
        this.symbol(Byte.slash);
        break;
      case State.dot:
        this.symbol(Byte.dot);
        break;
      case State.dollar:
      case State.tag:
        this.symbol(Byte.dollar);
        break;
      default:
        break;
    }
    this.state = State.base;
  }

  /** Consume at least one byte, or leave the state for one that does. */
  private step(bytes: Uint8Array, at: number, to: number): number {
    switch (this.state) {
      case State.base:
        return this.inBase(bytes, at, to);
      case State.word:
        return this.inWord(bytes, at, to);
      case State.unicodePrefix:
        return this.afterUnicodePrefix(bytes, at);
      case State.name:
        return this.inName(bytes, at, to);
      case State.nameQuote:
        return this.afterNameQuote(bytes, at);
      case State.string:
        return this.inString(bytes, at, to);
      case State.stringEscape:
        this.state = State.string;
        return at + 1;
      case State.stringQuote:
        return this.afterStringQuote(bytes, at);
      case State.dollar:
        return this.afterDollar(bytes, at);
      case State.tag:
        return this.inTag(bytes, at);
      case State.dollarString:
        return this.inDollarString(bytes, at, to);
      case State.parameter:
        return this.inParameter(bytes, at, to);
      case State.number:
        return this.inNumber(bytes, at, to);
      case State.minus:
        return this.afterMinus(bytes, at);
      case State.slash:
        return this.afterSlash(bytes, at);
      case State.dot:
        return this.afterDot(bytes, at);
      case State.lineComment:
        return this.inLineComment(bytes, at, to);
      case State.blockComment:
        return this.inBlockComment(bytes, at, to);
      case State.lost:
        return to;
    }
  }

  private inBase(bytes: Uint8Array, from: number, to: number): number {
    for (let at = from; at < to; at += 1) {
      const byte = bytes[at] ?? 0;
      switch (starts[byte]) {
        case Start.space:
          this.gap = true;
          if (byte === Byte.newline || byte === Byte.carriageReturn) this.sawNewline = true;
          break;
        case Start.word:
          this.beginText(State.word);
          at = this.inWord(bytes, at, to) - 1;
          if (this.state !== State.base) return at + 1;
          break;
        case Start.digit:
          this.beginNumber(byte === Byte.zero ? NumberPart.leadingZero : NumberPart.integer);
          return at + 1;
        case Start.special:
          this.beginSpecial(byte);
          return at + 1;
        default:
          this.symbol(byte);
      }
    }
    return to;
  }

  private beginSpecial(byte: number): void {
    switch (byte) {
      case Byte.quote:
        this.beginString('plain');
        return;
      case Byte.doubleQuote:
        this.isUnicode = false;
        this.beginText(State.name);
        return;
      case Byte.dollar:
        this.state = State.dollar;
        return;
      case Byte.dot:
        this.state = State.dot;
        return;
      case Byte.minus:
        this.state = State.minus;
        return;
      default:
        this.state = State.slash;
    }
  }

  private symbol(byte: number): void {
    this.sink.symbol(byte);
    this.finishToken();
  }

  private finishToken(): void {
    this.gap = false;
    this.mayContinue = false;
  }

  // Words and names.

  private beginText(state: State): void {
    this.state = state;
    this.length = 0;
    this.hash = 0;
  }

  private append(byte: number): void {
    if (this.length <= WORD_LENGTH_MAX) this.text[this.length] = byte;
    this.length += 1;
    this.hash = hashStep(this.hash, byte);
  }

  /** The loop that runs for most bytes of most statements: fields are kept in locals. */
  private inWord(bytes: Uint8Array, from: number, to: number): number {
    const text = this.text;
    let { length, hash } = this;
    let at = from;
    let next = 0;
    for (; at < to; at += 1) {
      next = bytes[at] ?? 0;
      const byte = folded[next] ?? 0;
      if (byte === 0) break;
      if (length <= WORD_LENGTH_MAX) text[length] = byte;
      length += 1;
      hash = hashStep(hash, byte);
    }
    this.length = length;
    this.hash = hash;
    if (at === to) return to;
    if (length === 1 && this.isPrefix(next)) return at + 1;
    this.finishWord();
    return at;
  }

  /** Whether a word of one letter turns out to be the prefix of what the next byte opens. */
  private isPrefix(next: number): boolean {
    const letter = this.text[0];
    if (next === Byte.ampersand && letter === Byte.u) {
      this.state = State.unicodePrefix;
      return true;
    }
    if (next !== Byte.quote) return false;
    this.mayContinue = false;
    if (letter === Byte.e) this.beginString('escape');
    else if (letter === Byte.b || letter === Byte.x) this.beginString('bits');
    else if (letter === Byte.n) this.beginString('plain');
    else return false;
    return true;
  }

  private finishWord(): void {
    this.state = State.base;
    this.sink.word(findWord(this.text, this.length, this.hash));
    this.finishToken();
  }

  private afterUnicodePrefix(bytes: Uint8Array, at: number): number {
    if (bytes[at] === Byte.quote) {
      this.beginString('unicode');
      return at + 1;
    }
    if (bytes[at] === Byte.doubleQuote) {
      this.isUnicode = true;
      this.beginText(State.name);
      return at + 1;
    }
    this.finishWord();
    this.symbol(Byte.ampersand);
    return at;
  }

  private inName(bytes: Uint8Array, from: number, to: number): number {
    for (let at = from; at < to; at += 1) {
      const byte = bytes[at] ?? 0;
      if (byte === Byte.doubleQuote) {
        this.state = State.nameQuote;
        return at + 1;
      }
      this.append(byte);
    }
    return to;
  }

  private afterNameQuote(bytes: Uint8Array, at: number): number {
    if (bytes[at] === Byte.doubleQuote) {
      this.append(Byte.doubleQuote);
      this.state = State.name;
      return at + 1;
    }
    this.finishName();
    return at;
  }

  private finishName(): void {
    this.state = State.base;
    if (this.isUnicode) this.sink.unicodeName();
    else this.sink.name(findWord(this.text, this.length, this.hash));
    this.finishToken();
  }

  // String constants.

  /** A quote after a string and a new line continues that string, in that string's form. */
  private beginString(form: StringForm): void {
    this.state = State.string;
    this.isEscaped = false;
    if (form === 'plain' && this.mayContinue && this.sawNewline) return;
    this.form = form;
    this.wantsContent = this.sink.string(form);
    this.finishToken();
  }

  private inString(bytes: Uint8Array, from: number, to: number): number {
    for (let at = from; at < to; at += 1) {
      const byte = bytes[at] ?? 0;
      if (byte === Byte.quote) {
        this.content(bytes, from, at);
        if (this.isEscaped) this.obscure();
        this.state = State.stringQuote;
        return at + 1;
      }
      if (byte === Byte.backslash) {
        if (this.form === 'escape') {
          this.content(bytes, from, at + 1);
          this.state = State.stringEscape;
          return at + 1;
        }
        this.noteBackslash();
      } else {
        this.isEscaped = false;
      }
    }
    this.content(bytes, from, to);
    return to;
  }

  /**
   * A backslash in '...' is an ordinary character, unless standard_conforming_strings is off. What
   * is the same in both readings is no problem: where the string ends, if nobody looks inside.
   * https://www.postgresql.org/docs/18/runtime-config-compatible.html
   */
  private noteBackslash(): void {
    if (this.form !== 'plain' || this.syntax === 'standard') return;
    this.isEscaped = !this.isEscaped;
    if (this.wantsContent) this.obscure();
  }

  private obscure(): void {
    this.isEscaped = false;
    this.sink.obscured();
  }

  private afterStringQuote(bytes: Uint8Array, at: number): number {
    if (bytes[at] === Byte.quote && this.form !== 'bits') {
      this.content(bytes, at, at + 1);
      this.state = State.string;
      return at + 1;
    }
    this.state = State.base;
    this.mayContinue = true;
    this.sawNewline = false;
    return at;
  }

  private content(bytes: Uint8Array, from: number, to: number): void {
    if (this.wantsContent && from < to) this.sink.content(bytes, from, to);
  }

  // Dollar quotes and parameters.

  private afterDollar(bytes: Uint8Array, at: number): number {
    const byte = bytes[at] ?? 0;
    this.tag[0] = Byte.dollar;
    this.tagLength = 1;
    if (isDigit(byte)) {
      this.sink.parameter();
      this.finishToken();
      this.state = State.parameter;
      return at + 1;
    }
    this.state = State.tag;
    return at;
  }

  private inTag(bytes: Uint8Array, at: number): number {
    const byte = bytes[at] ?? 0;
    if (byte === Byte.dollar) {
      this.beginDollarString();
      return at + 1;
    }
    if (folded[byte] === 0) {
      this.state = State.base;
      this.symbol(Byte.dollar);
      return at;
    }
    if (this.tagLength < TAG_LENGTH_MAX) this.tag[this.tagLength] = byte;
    this.tagLength += 1;
    return at + 1;
  }

  private beginDollarString(): void {
    if (this.tagLength >= TAG_LENGTH_MAX) {
      this.state = State.lost;
      this.sink.obscured();
      return;
    }
    this.tag[this.tagLength] = Byte.dollar;
    this.tagLength += 1;
    this.tagMatched = 0;
    this.form = 'dollar';
    this.state = State.dollarString;
    this.wantsContent = this.sink.string('dollar');
    this.finishToken();
  }

  /** A dollar sign that turns out not to begin the closing tag may itself be before one that does. */
  private inDollarString(bytes: Uint8Array, from: number, to: number): number {
    let contentFrom = from;
    for (let at = from; at < to; at += 1) {
      const byte = bytes[at] ?? 0;
      if (byte === this.tag[this.tagMatched]) {
        if (this.tagMatched === 0) this.content(bytes, contentFrom, at);
        this.tagMatched += 1;
        contentFrom = at + 1;
        if (this.tagMatched < this.tagLength) continue;
        this.state = State.base;
        return at + 1;
      }
      if (this.tagMatched > 0) {
        this.content(this.tag, 0, this.tagMatched);
        this.tagMatched = byte === Byte.dollar ? 1 : 0;
        contentFrom = at + this.tagMatched;
      }
    }
    if (this.tagMatched === 0) this.content(bytes, contentFrom, to);
    return to;
  }

  private inParameter(bytes: Uint8Array, from: number, to: number): number {
    for (let at = from; at < to; at += 1) {
      if (isDigit(bytes[at] ?? 0)) continue;
      this.state = State.base;
      return at;
    }
    return to;
  }

  // Numbers.

  private beginNumber(part: NumberPart): void {
    this.state = State.number;
    this.numberPart = part;
    this.sink.number();
    this.finishToken();
  }

  /** Letters right after a number are an error since PostgreSQL 15, and a new word before. */
  private inNumber(bytes: Uint8Array, from: number, to: number): number {
    for (let at = from; at < to; at += 1) {
      const byte = bytes[at] ?? 0;
      const part = nextNumberPart(this.numberPart, byte);
      if (part === undefined) {
        this.finishNumber(byte);
        return at;
      }
      this.numberPart = part;
    }
    return to;
  }

  /**
   * What looked like an exponent may be a word: `then 1else 2`, or even `1e--comment`. What looked
   * like a decimal point may be a range: `1..2`.
   */
  private finishNumber(next: number): void {
    const part = this.numberPart;
    this.state = State.base;
    if (part === NumberPart.point && next === Byte.dot) this.state = State.dot;
    if (part < NumberPart.exponentMark || part > NumberPart.exponentMinus) return;
    this.beginText(State.word);
    this.append(Byte.e);
    if (part === NumberPart.exponentMark) return;
    this.finishWord();
    if (part === NumberPart.exponentPlus) this.symbol(Byte.plus);
    else this.state = State.minus;
  }

  private afterDot(bytes: Uint8Array, at: number): number {
    const byte = bytes[at] ?? 0;
    this.state = State.base;
    if (isDigit(byte)) {
      this.beginNumber(NumberPart.fraction);
      return at + 1;
    }
    this.symbol(Byte.dot);
    if (byte !== Byte.dot) return at;
    this.symbol(Byte.dot);
    return at + 1;
  }

  // Comments.

  private afterMinus(bytes: Uint8Array, at: number): number {
    if (bytes[at] === Byte.minus) {
      this.state = State.lineComment;
      this.gap = true;
      return at + 1;
    }
    this.state = State.base;
    this.symbol(Byte.minus);
    return at;
  }

  private afterSlash(bytes: Uint8Array, at: number): number {
    if (bytes[at] === Byte.star) {
      this.state = State.blockComment;
      this.commentDepth = 1;
      this.commentByte = 0;
      this.gap = true;
      this.mayContinue = false;
      return at + 1;
    }
    this.state = State.base;
    this.symbol(Byte.slash);
    return at;
  }

  private inLineComment(bytes: Uint8Array, from: number, to: number): number {
    for (let at = from; at < to; at += 1) {
      const byte = bytes[at];
      if (byte !== Byte.newline && byte !== Byte.carriageReturn) continue;
      this.state = State.base;
      return at;
    }
    return to;
  }

  private inBlockComment(bytes: Uint8Array, from: number, to: number): number {
    for (let at = from; at < to; at += 1) {
      const byte = bytes[at] ?? 0;
      const change = this.commentChange(byte);
      this.commentByte = change === 0 ? byte : 0;
      this.commentDepth += change;
      if (this.commentDepth > 0) continue;
      this.state = State.base;
      return at + 1;
    }
    return to;
  }

  private commentChange(byte: number): -1 | 0 | 1 {
    if (this.commentByte === Byte.slash && byte === Byte.star) return 1;
    return this.commentByte === Byte.star && byte === Byte.slash ? -1 : 0;
  }
}
