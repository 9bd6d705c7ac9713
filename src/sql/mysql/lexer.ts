/**
 * A resumable lexer for the statement text of MySQL and MariaDB. Bytes go in, in pieces cut anywhere;
 * tokens go to a sink. Memory is constant however long the text is, every input is accepted, nothing
 * throws, and every byte is looked at once.
 *
 * Where a server could see other tokens than the ones reported, it says so: `obscured`.
 * https://dev.mysql.com/doc/refman/9.4/en/language-structure.html
 * https://mariadb.com/docs/server/reference/sql-structure/sql-language-structure/comment-syntax
 */

import {
  Byte,
  folded,
  isDigit,
  isTrail,
  latinStarts,
  leadsOf,
  Start,
  starts as safeStarts,
} from './bytes.ts';
import { type Syntax, UNKNOWN_SYNTAX } from './syntax.ts';
import { findWord, hashStep, WORD_LENGTH_MAX, type WordId } from './words.ts';

/** Receives tokens. Comments and white space are not tokens; the lexer knows if there were any. */
export interface TokenSink {
  /** A keyword or unquoted identifier. Its text is in `lexer.text` during the call. */
  word(id: WordId): void;
  /** A quoted identifier. Its text is in `lexer.text` during the call. */
  name(id: WordId): void;
  /** A string constant of any kind. */
  string(): void;
  /** A number, at `lexer.start` up to `lexer.position`. Also a name that begins with a digit. */
  number(isInteger: boolean): void;
  /** `@name`, quoted or not; also the host in `user@host`. Its text is in `lexer.text`. */
  userVariable(): void;
  /** `@@`; its name follows. */
  systemVariable(): void;
  /** One byte of an operator or of punctuation, or one that no token can begin with. */
  symbol(byte: number): void;
  /** From here on the server may see other tokens than the ones reported. */
  obscured(): void;
}

/** Where the lexer is. Numbers, because the state is looked at for every token of every statement. */
const State = {
  base: 0,
  word: 1,
  name: 2,
  nameQuote: 3,
  string: 4,
  stringEscape: 5,
  stringQuote: 6,
  number: 7,
  numberSign: 8,
  minus: 9,
  minusMinus: 10,
  slash: 11,
  star: 12,
  at: 13,
  variable: 14,
  commentOpen: 15,
  commentM: 16,
  version: 17,
  lineComment: 18,
  blockComment: 19,
  lost: 20,
} as const;
type State = (typeof State)[keyof typeof State];

/** The versions that MariaDB leaves to MySQL: it skips `/*!50700` up to `/*!99999`. */
const MYSQL_ONLY_MIN = 50_700;
const MYSQL_ONLY_MAX = 99_999;
/** Digits of a version in a conditional comment; before MySQL 8.0 five. */
const VERSION_DIGITS_MIN = 5;
const VERSION_DIGITS_MAX = 6;
/** From here on `$tag$` may quote a text. */
const DOLLAR_QUOTES_SINCE = 80_000;

/** Reads statement text in pieces. One at a time; not to be pushed from inside its own sink. */
export class Lexer {
  /** The word or name that is being reported, in lower case, cut at 64 bytes. */
  readonly text = new Uint8Array(WORD_LENGTH_MAX + 1);
  /** The length of that word or name in full: it may be more than `text` holds. */
  length = 0;
  /** Whether white space or a comment came before the token that is being reported. */
  gap = false;
  /** Where a number begins, counted in bytes from the start of the text. */
  start = 0;
  /** Where the token that is being reported ends. */
  position = 0;

  private readonly sink: TokenSink;
  private syntax: Syntax = UNKNOWN_SYNTAX;
  private starts = safeStarts;
  private leads = leadsOf('safe');
  private state: State = State.base;
  /** Bytes of the text before the piece that is being read. */
  private offset = 0;
  private hash = 0;
  /** The byte before may be the first of two. */
  private isLead = false;
  /** What ends the string or name. */
  private quote = 0;
  private isVariable = false;

  private isInteger = false;
  private hasPoint = false;
  private lastDigit = 0;

  /** Within a comment whose text is run. */
  private isExecutable = false;
  private isMariaDbComment = false;
  private version = 0;
  private versionDigits = 0;
  /** How many comments may still begin within the one that is skipped. */
  private commentsWithin = 0;
  private commentDepth = 0;
  private commentByte = 0;
  /** A comment of optimizer hints, in which names and strings may be quoted. */
  private isHint = false;
  private hintQuote = 0;

  constructor(sink: TokenSink) {
    this.sink = sink;
  }

  /** Forget everything and begin a new text. */
  reset(syntax: Syntax): void {
    this.syntax = syntax;
    this.starts = syntax.charset === 'latin' ? latinStarts : safeStarts;
    this.leads = leadsOf(syntax.charset);
    this.state = State.base;
    this.offset = 0;
    this.gap = false;
    this.isLead = false;
    this.isExecutable = false;
  }

  /** Read the bytes from `from` up to, not including, `to`. */
  push(bytes: Uint8Array, from: number, to: number): void {
    this.offset -= from;
    let at = from;
    while (at < to) at = this.step(bytes, at, to);
    this.offset += to;
  }

  /** The text is complete: report the token that was still open. */
  end(): void {
    this.position = this.offset;
    switch (this.state) {
      case State.word:
        this.finishWord();
        break;
      case State.nameQuote:
        this.finishName();
        break;
      case State.string:
      case State.stringEscape:
      case State.stringQuote:
        this.finishString();
        break;
      case State.number:
      case State.numberSign:
        this.finishNumber();
        break;
      case State.minus:
        this.symbol(Byte.minus);
        break;
      case State.slash:
        this.symbol(Byte.slash);
        break;
      case State.star:
        this.symbol(Byte.star);
        break;
      case State.at:
      case State.variable:
        this.finishVariable();
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
      case State.number:
        return this.inNumber(bytes, at, to);
      case State.numberSign:
        return this.afterExponentMark(bytes, at);
      case State.minus:
        return this.afterMinus(bytes, at);
      case State.minusMinus:
        return this.afterMinusMinus(bytes, at);
      case State.slash:
        return this.afterSlash(bytes, at);
      case State.star:
        return this.afterStar(bytes, at);
      case State.at:
        return this.afterAt(bytes, at);
      case State.variable:
        return this.inVariable(bytes, at, to);
      case State.commentOpen:
        return this.afterCommentOpen(bytes, at);
      case State.commentM:
        return this.afterCommentM(bytes, at);
      case State.version:
        return this.inVersion(bytes, at);
      case State.lineComment:
        return this.inLineComment(bytes, at, to);
      case State.blockComment:
        return this.inBlockComment(bytes, at, to);
      case State.lost:
        return to;
    }
  }

  private inBase(bytes: Uint8Array, from: number, to: number): number {
    const { starts } = this;
    for (let at = from; at < to; at += 1) {
      const byte = bytes[at] ?? 0;
      switch (starts[byte]) {
        case Start.space:
          this.gap = true;
          break;
        case Start.word:
          this.beginText(State.word);
          at = this.inWord(bytes, at, to) - 1;
          if (this.state !== State.base) return at + 1;
          break;
        case Start.digit:
          this.beginNumber(at);
          return at;
        case Start.special:
          this.beginSpecial(byte);
          return at + 1;
        case Start.nul:
          this.lose();
          return to;
        default:
          if (byte === Byte.openBracket && this.syntax.bracketQuotes) {
            this.beginName(Byte.closeBracket);
            return at + 1;
          }
          this.position = this.offset + at + 1;
          this.symbol(byte);
      }
    }
    return to;
  }

  private beginSpecial(byte: number): void {
    switch (byte) {
      case Byte.quote:
        this.beginString(byte);
        return;
      case Byte.doubleQuote:
        if (this.syntax.ansiQuotes) this.beginName(byte);
        else this.beginString(byte);
        return;
      case Byte.backtick:
        this.beginName(byte);
        return;
      case Byte.hash:
        this.state = State.lineComment;
        return;
      case Byte.minus:
        this.state = State.minus;
        return;
      case Byte.slash:
        this.state = State.slash;
        return;
      case Byte.star:
        if (this.isExecutable) this.state = State.star;
        else this.symbol(byte);
        return;
      default:
        this.state = State.at;
    }
  }

  private symbol(byte: number): void {
    this.state = State.base;
    // What follows a semicolon is read as a text of its own.
    if (byte === 0x3b) this.isExecutable = false;
    this.sink.symbol(byte);
    this.gap = false;
  }

  /** The server might read the rest in another way. */
  private lose(): void {
    this.state = State.lost;
    this.sink.obscured();
  }

  // Words and names.

  private beginText(state: State): void {
    this.state = state;
    this.length = 0;
    this.hash = 0;
    this.isLead = false;
  }

  private append(byte: number): void {
    const lower = folded[byte] || byte;
    if (this.length <= WORD_LENGTH_MAX) this.text[this.length] = lower;
    this.length += 1;
    this.hash = hashStep(this.hash, lower);
  }

  /** The loop that runs for most bytes of most statements: fields are kept in locals. */
  private inWord(bytes: Uint8Array, from: number, to: number): number {
    const { text, starts, leads } = this;
    let { length, hash, isLead } = this;
    let at = from;
    for (; at < to; at += 1) {
      const next = bytes[at] ?? 0;
      if (isLead && isTrail(this.syntax.charset, next)) isLead = false;
      else {
        // In a latin set the space above 0x7f ends a word.
        if (folded[next] === 0 || starts[next] === Start.space) break;
        isLead = leads[next] === 1;
      }
      const byte = folded[next] || next;
      if (length <= WORD_LENGTH_MAX) text[length] = byte;
      length += 1;
      hash = hashStep(hash, byte);
    }
    this.length = length;
    this.hash = hash;
    this.isLead = isLead;
    this.position = this.offset + at;
    if (at === to) return to;
    const next = bytes[at] ?? 0;
    if (next === Byte.quote && length === 1 && this.isPrefix()) {
      this.beginString(next);
      return at + 1;
    }
    if (this.isUncertain(next)) this.lose();
    else this.finishWord();
    return at;
  }

  /** Of X'1f', B'01' and N'text'. */
  private isPrefix(): boolean {
    const letter = this.text[0];
    return letter === Byte.x || letter === Byte.b || letter === Byte.n;
  }

  /** Whether a byte may belong to the character before it, in a character set that is not known. */
  private isUncertain(byte: number): boolean {
    if (!this.isLead || this.syntax.charset !== 'unknown') return false;
    return byte === Byte.backslash || byte === Byte.backtick || byte === Byte.at;
  }

  private finishWord(): void {
    if (this.mayQuoteText()) {
      this.lose();
      return;
    }
    this.state = State.base;
    this.sink.word(findWord(this.text, this.length, this.hash));
    this.gap = false;
  }

  /** MySQL's `$$ ... $$` is not read: what is inside is code in another language. */
  private mayQuoteText(): boolean {
    const { isMariaDb, version } = this.syntax;
    if (this.text[0] !== Byte.dollar || this.length < 2 || isMariaDb) return false;
    if (version !== 0 && version < DOLLAR_QUOTES_SINCE) return false;
    if (this.length > WORD_LENGTH_MAX) return true;
    const second = this.text.indexOf(Byte.dollar, 1);
    return second > 0 && second < this.length;
  }

  private beginName(quote: number): void {
    this.beginText(State.name);
    this.quote = quote;
    this.isVariable = false;
  }

  private inName(bytes: Uint8Array, from: number, to: number): number {
    const { leads, quote } = this;
    for (let at = from; at < to; at += 1) {
      const byte = bytes[at] ?? 0;
      if (this.isUncertain(byte)) {
        this.lose();
        return to;
      }
      if (this.isLead && isTrail(this.syntax.charset, byte)) this.isLead = false;
      else if (byte === quote) {
        this.isLead = false;
        this.state = State.nameQuote;
        return at + 1;
      } else this.isLead = leads[byte] === 1;
      this.append(byte);
    }
    return to;
  }

  private afterNameQuote(bytes: Uint8Array, at: number): number {
    if (bytes[at] === this.quote) {
      this.append(this.quote);
      this.state = State.name;
      return at + 1;
    }
    this.position = this.offset + at;
    this.finishName();
    return at;
  }

  private finishName(): void {
    if (this.isVariable) {
      this.finishVariable();
      return;
    }
    this.state = State.base;
    this.sink.name(findWord(this.text, this.length, this.hash));
    this.gap = false;
  }

  // Strings.

  private beginString(quote: number): void {
    this.state = State.string;
    this.quote = quote;
    this.isLead = false;
    this.isVariable = false;
  }

  private inString(bytes: Uint8Array, from: number, to: number): number {
    const { leads, quote } = this;
    const hasEscapes = !this.syntax.noBackslashEscapes;
    let { isLead } = this;
    for (let at = from; at < to; at += 1) {
      const byte = bytes[at] ?? 0;
      if (isLead) {
        isLead = false;
        if (isTrail(this.syntax.charset, byte)) {
          if (this.syntax.charset !== 'unknown') continue;
          if (byte === Byte.backslash && hasEscapes) {
            this.lose();
            return to;
          }
        }
      }
      if (byte === quote || (byte === Byte.backslash && hasEscapes)) {
        this.isLead = false;
        this.state = byte === quote ? State.stringQuote : State.stringEscape;
        return at + 1;
      }
      isLead = leads[byte] === 1;
    }
    this.isLead = isLead;
    return to;
  }

  private afterStringQuote(bytes: Uint8Array, at: number): number {
    if (bytes[at] === this.quote) {
      this.state = State.string;
      return at + 1;
    }
    this.position = this.offset + at;
    this.finishString();
    return at;
  }

  private finishString(): void {
    if (this.isVariable) {
      this.finishVariable();
      return;
    }
    this.state = State.base;
    this.sink.string();
    this.gap = false;
  }

  // Numbers, and names that begin with a digit.

  private beginNumber(at: number): void {
    this.state = State.number;
    this.start = this.offset + at;
    this.isInteger = true;
    this.hasPoint = false;
    this.lastDigit = 0;
  }

  private inNumber(bytes: Uint8Array, from: number, to: number): number {
    for (let at = from; at < to; at += 1) {
      const byte = bytes[at] ?? 0;
      const isPoint = byte === Byte.dot && !this.hasPoint;
      if (!isPoint && (folded[byte] === 0 || this.starts[byte] === Start.space)) {
        return this.endNumber(byte, at);
      }
      if (isPoint) this.hasPoint = true;
      if (!isDigit(byte)) this.isInteger = false;
      this.lastDigit = byte;
    }
    this.position = this.offset + to;
    return to;
  }

  private endNumber(byte: number, at: number): number {
    this.position = this.offset + at;
    const isExponent = (this.lastDigit | 0x20) === Byte.e;
    if (isExponent && (byte === Byte.plus || byte === Byte.minus)) {
      // It is only a sign if digits stand before the mark and behind the sign; the rest is as harmless.
      this.state = State.numberSign;
      this.lastDigit = byte;
      return at + 1;
    }
    this.finishNumber();
    return at;
  }

  private afterExponentMark(bytes: Uint8Array, at: number): number {
    const sign = this.lastDigit;
    if (isDigit(bytes[at] ?? 0)) {
      this.lastDigit = 0;
      this.state = State.number;
      return at;
    }
    this.finishNumber();
    if (sign === Byte.minus) this.state = State.minus;
    else this.symbol(sign);
    return at;
  }

  private finishNumber(): void {
    this.state = State.base;
    this.sink.number(this.isInteger);
    this.gap = false;
  }

  // Variables.

  private afterAt(bytes: Uint8Array, at: number): number {
    const byte = bytes[at] ?? 0;
    if (byte === Byte.at) {
      this.state = State.base;
      this.position = this.offset + at + 1;
      this.sink.systemVariable();
      this.gap = false;
      return at + 1;
    }
    this.length = 0;
    if (byte === Byte.quote || byte === Byte.doubleQuote || byte === Byte.backtick) {
      const isName =
        byte === Byte.backtick || (byte === Byte.doubleQuote && this.syntax.ansiQuotes);
      if (isName) this.beginName(byte);
      else this.beginString(byte);
      this.isVariable = true;
      return at + 1;
    }
    this.beginText(State.variable);
    return at;
  }

  private inVariable(bytes: Uint8Array, from: number, to: number): number {
    for (let at = from; at < to; at += 1) {
      const byte = bytes[at] ?? 0;
      const isPart = byte === Byte.dot || (folded[byte] !== 0 && this.starts[byte] !== Start.space);
      if (!isPart) {
        this.position = this.offset + at;
        this.finishVariable();
        return at;
      }
      this.append(byte);
    }
    return to;
  }

  private finishVariable(): void {
    this.state = State.base;
    this.isVariable = false;
    this.sink.userVariable();
    this.gap = false;
  }

  // Comments.

  private afterMinus(bytes: Uint8Array, at: number): number {
    if (bytes[at] === Byte.minus) {
      this.state = State.minusMinus;
      return at + 1;
    }
    this.position = this.offset + at;
    this.symbol(Byte.minus);
    return at;
  }

  /** `--` begins a comment before a space or a control character; else the second may do so. */
  private afterMinusMinus(bytes: Uint8Array, at: number): number {
    const byte = bytes[at] ?? 0;
    if (byte <= Byte.space || byte === Byte.delete) {
      this.state = State.lineComment;
      return at;
    }
    const { charset } = this.syntax;
    if (byte >= 0x80 && (charset === 'latin' || charset === 'unknown')) {
      // A space or a control character in some of these sets.
      this.lose();
      return at;
    }
    this.position = this.offset + at - 1;
    this.symbol(Byte.minus);
    this.state = State.minus;
    return at;
  }

  private inLineComment(bytes: Uint8Array, from: number, to: number): number {
    this.gap = true;
    for (let at = from; at < to; at += 1) {
      const byte = bytes[at];
      if (byte === Byte.newline) {
        this.state = State.base;
        return at + 1;
      }
      if (byte === 0) {
        this.lose();
        return to;
      }
    }
    return to;
  }

  private afterSlash(bytes: Uint8Array, at: number): number {
    if (bytes[at] === Byte.star) {
      this.state = State.commentOpen;
      return at + 1;
    }
    this.position = this.offset + at;
    this.symbol(Byte.slash);
    return at;
  }

  /** A star within an executable comment: is this its end? */
  private afterStar(bytes: Uint8Array, at: number): number {
    if (bytes[at] === Byte.slash) {
      this.isExecutable = false;
      this.gap = true;
      this.state = State.base;
      return at + 1;
    }
    this.position = this.offset + at;
    this.symbol(Byte.star);
    return at;
  }

  private afterCommentOpen(bytes: Uint8Array, at: number): number {
    const byte = bytes[at];
    this.gap = true;
    if (byte === Byte.bang) {
      this.beginVersion(false);
      return at + 1;
    }
    if (byte === Byte.m && (this.syntax.isMariaDb || this.syntax.version === 0)) {
      this.state = State.commentM;
      return at + 1;
    }
    this.beginComment(0);
    this.isHint = byte === Byte.plus && !this.syntax.isMariaDb;
    return at;
  }

  private afterCommentM(bytes: Uint8Array, at: number): number {
    if (bytes[at] === Byte.bang) {
      if (this.syntax.isMariaDb) this.beginVersion(true);
      else this.lose();
      return at + 1;
    }
    this.beginComment(0);
    return at;
  }

  private beginVersion(isMariaDbComment: boolean): void {
    this.state = State.version;
    this.isMariaDbComment = isMariaDbComment;
    this.version = 0;
    this.versionDigits = 0;
  }

  private inVersion(bytes: Uint8Array, at: number): number {
    const byte = bytes[at] ?? 0;
    if (isDigit(byte) && this.versionDigits < this.versionDigitsMax) {
      this.version = this.version * 10 + byte - 0x30;
      this.versionDigits += 1;
      return at + 1;
    }
    const { versionDigits } = this;
    if (versionDigits >= VERSION_DIGITS_MIN) this.decideComment();
    else this.enterComment();
    // Fewer digits are no version but the first token in it.
    if (versionDigits > 0 && versionDigits < VERSION_DIGITS_MIN) {
      this.start = this.offset + at - versionDigits;
      this.position = this.offset + at;
      this.isInteger = false;
      this.finishNumber();
    }
    return at;
  }

  private get versionDigitsMax(): number {
    const { isMariaDb, version } = this.syntax;
    return isMariaDb || version >= 80_000 ? VERSION_DIGITS_MAX : VERSION_DIGITS_MIN;
  }

  /** Whether the server runs what is in a conditional comment, or skips it. */
  private decideComment(): void {
    const { version } = this;
    if (this.syntax.version === 0) this.lose();
    else if (this.isRun(version)) this.enterComment();
    else this.beginComment(1);
  }

  private isRun(version: number): boolean {
    if (version > this.syntax.version) return false;
    if (!this.syntax.isMariaDb || this.isMariaDbComment) return true;
    return version < MYSQL_ONLY_MIN || version > MYSQL_ONLY_MAX;
  }

  private enterComment(): void {
    this.isExecutable = true;
    this.gap = true;
    this.state = State.base;
  }

  private beginComment(commentsWithin: number): void {
    this.state = State.blockComment;
    this.commentsWithin = commentsWithin;
    this.commentDepth = 1;
    this.commentByte = 0;
    this.isHint = false;
    this.hintQuote = 0;
  }

  private inBlockComment(bytes: Uint8Array, from: number, to: number): number {
    for (let at = from; at < to; at += 1) {
      const byte = bytes[at] ?? 0;
      const before = this.commentByte;
      this.commentByte = byte;
      if (this.isHint) this.followHint(byte);
      if (byte === Byte.slash && before === Byte.star) {
        this.commentByte = 0;
        this.commentDepth -= 1;
        if (this.commentDepth === 0) return this.endComment(at);
      } else if (byte === Byte.star && before === Byte.slash) {
        if (this.commentDepth > this.commentsWithin) continue;
        this.commentByte = 0;
        this.commentDepth += 1;
      }
    }
    return to;
  }

  private endComment(at: number): number {
    this.gap = true;
    this.state = State.base;
    // In a quoted name of a hint this is no end, in a comment that only looks like hints it is one.
    if (this.isHint && this.hintQuote !== 0) this.lose();
    return at + 1;
  }

  private followHint(byte: number): void {
    if (this.hintQuote !== 0) {
      if (byte === this.hintQuote) this.hintQuote = 0;
    } else if (byte === Byte.backtick || byte === Byte.quote || byte === Byte.doubleQuote) {
      this.hintQuote = byte;
    }
  }
}
