/**
 * Follows the tokens of a text and gathers what its statements do to the session. It knows one
 * statement at a time and looks back one token; what to expect is in `rules.ts`.
 *
 * It does not parse. A text that is no valid SQL is refused by the server as a whole, so only valid
 * texts need the right answer; where one token is not enough to tell, the answer is to pin.
 *
 * What it cannot see: the inside of functions and procedures, SQL in strings that functions run, and
 * an unqualified CREATE TABLE under a transaction-local `search_path` that begins with `pg_temp`.
 */

import { NO_REASONS, READS_LOCALLY, type ReasonSet, reasonSet } from './effects.ts';
import { Lexer, type StringForm, type StringSyntax, type TokenSink } from './lexer.ts';
import { functionReasons, opensBlock, Phase, statementPhases, statementReasons } from './rules.ts';
import { FIRST_FUNCTION, OTHER, type WordId, wordId, wordText } from './words.ts';

/** Told what was recognised, statement by statement. For tests and for explaining. */
export interface ScanObserver {
  /** A statement ended; its first keyword, `select` if it began with a parenthesis. */
  statement(keyword: string): void;
  /** A call of a function that has an effect of its own. */
  call(name: string): void;
}

/** What the text is: statements, or the block of a DO statement. */
type Dialect = 'sql' | 'plpgsql';

/** A word id, or one of these. */
type Token = WordId;
const STRING: Token = -1;
const SYMBOL: Token = -2;
const DOT: Token = -3;
/** A name written with Unicode escapes: it could be any name. */
const ENCODED_NAME: Token = -4;

const AS = wordId('as');
const ALTER = wordId('alter');
const ANALYSE = wordId('analyse');
const ANALYZE = wordId('analyze');
const ATOMIC = wordId('atomic');
const BEGIN = wordId('begin');
const CASE = wordId('case');
const COMMIT = wordId('commit');
const CONSTRAINTS = wordId('constraints');
const CREATE = wordId('create');
const DROP = wordId('drop');
const END = wordId('end');
const EXECUTE = wordId('execute');
const FOR = wordId('for');
const FUNCTION = wordId('function');
const GLOBAL = wordId('global');
const GRANT = wordId('grant');
const HOLD = wordId('hold');
const INSERT = wordId('insert');
const INTO = wordId('into');
const LANGUAGE = wordId('language');
const LOCAL = wordId('local');
const MERGE = wordId('merge');
const ON = wordId('on');
const OR = wordId('or');
const PG_TEMP = wordId('pg_temp');
const PLPGSQL = wordId('plpgsql');
const PROCEDURE = wordId('procedure');
const REPLACE = wordId('replace');
const REVOKE = wordId('revoke');
const SELECT = wordId('select');
const SET_CONFIG = wordId('set_config');
const TABLE = wordId('table');
const TEMP = wordId('temp');
const TEMPORARY = wordId('temporary');
const TRANSACTION = wordId('transaction');
const TRUE = wordId('true');
const UESCAPE = wordId('uescape');
const VALUES = wordId('values');
const VERBOSE = wordId('verbose');
const WITH = wordId('with');

const HARMLESS: ReadonlySet<Token> = new Set([
  wordId('application_name'),
  wordId('idle_in_transaction_session_timeout'),
  wordId('lock_timeout'),
  wordId('statement_timeout'),
  wordId('synchronous_commit'),
  wordId('transaction_timeout'),
  wordId('work_mem'),
]);

const PINS_SET = reasonSet('set');
const PINS_TEMPORARY_OBJECT = reasonSet('temporary_object');
const PINS_SQL_PREPARE = reasonSet('sql_prepare');
const PINS_HOLD_CURSOR = reasonSet('hold_cursor');
const PINS_UNKNOWN = reasonSet('unknown');

export class Classifier implements TokenSink {
  private readonly isBlock: boolean;
  private readonly observer: ScanObserver | undefined;
  private syntax: StringSyntax = 'unsure';
  private reasons: ReasonSet = NO_REASONS;

  private phase: Phase = Phase.start;
  private keyword: WordId = OTHER;
  private previous: Token = OTHER;
  /** How many parentheses and brackets are open. */
  private depth = 0;

  private isRoutine = false;
  /** How many BEGIN ATOMIC and CASE are open in the body of a routine. */
  private atomicDepth = 0;
  private makesTemporary = false;
  private dropsOnCommit = false;

  /** The depth inside the parentheses of the `set_config` call that is being judged, or 0. */
  private callDepth = 0;
  private argument = 0;
  private argumentTokens = 0;
  private argumentIsTrue = false;
  /** The name of the setting is a constant with a dot in it: one that only applications read. */
  private isCustomSetting = false;

  private block: Block | undefined = undefined;
  private isBlockOpen = false;

  constructor(dialect: Dialect, observer?: ScanObserver) {
    this.isBlock = dialect === 'plpgsql';
    this.observer = observer;
  }

  /** Forget everything and begin a new text. */
  reset(syntax: StringSyntax): void {
    this.syntax = syntax;
    this.reasons = NO_REASONS;
    this.atomicDepth = 0;
    this.beginStatement();
  }

  /** The text is complete: what it does. */
  end(): ReasonSet {
    this.atomicDepth = 0;
    this.endStatement();
    return this.reasons;
  }

  // Tokens.

  word(id: WordId): void {
    const isFirst = this.phase === Phase.start || (this.isBlock && this.followsOpener());
    const token = this.isBlock && id === EXECUTE ? this.execute(isFirst) : id;
    if (isFirst) this.firstWord(token);
    else this.token(token);
  }

  name(id: WordId): void {
    this.laterToken(id === PG_TEMP || id === PLPGSQL || id >= FIRST_FUNCTION ? id : OTHER);
  }

  unicodeName(): void {
    this.laterToken(ENCODED_NAME);
  }

  number(): void {
    this.laterToken(OTHER);
  }

  parameter(): void {
    this.laterToken(OTHER);
  }

  string(form: StringForm): boolean {
    if (this.phase === Phase.do) return this.openBlock(form);
    this.laterToken(STRING);
    return this.isSettingName && form === 'plain';
  }

  content(bytes: Uint8Array, from: number, to: number): void {
    if (this.isBlockOpen) this.block?.lexer.push(bytes, from, to);
    else if (bytes.subarray(from, to).includes(0x2e)) this.isCustomSetting = true;
  }

  obscured(): void {
    this.reasons |= PINS_UNKNOWN;
  }

  symbol(byte: number): void {
    switch (byte) {
      case 0x3b: // ;
        this.semicolon();
        return;
      case 0x28: // (
        this.openParenthesis();
        return;
      case 0x5b: // [
        this.laterToken(SYMBOL);
        this.depth += 1;
        return;
      case 0x29: // )
      case 0x5d: // ]
        this.closeParenthesis();
        return;
      case 0x2c: // ,
        this.comma();
        return;
      case 0x2e: // .
        this.laterToken(DOT);
        return;
      default:
        this.laterToken(SYMBOL);
    }
  }

  /** A token that no statement can begin with. */
  private laterToken(token: Token): void {
    if (this.phase === Phase.start) this.unknownStatement();
    this.token(token);
  }

  private token(token: Token): void {
    if (this.callDepth !== 0) this.countArgumentToken(token);
    if (this.atomicDepth !== 0) this.countAtomic(token);
    if (this.phase > Phase.rest) this.follow(token);
    this.remember(token);
  }

  /** U&"name" UESCAPE '!' is one name. */
  private remember(token: Token): void {
    if (this.previous === ENCODED_NAME && (token === UESCAPE || token === STRING)) return;
    this.previous = token;
  }

  // Statements.

  /** In a block a statement also begins after BEGIN, THEN, ELSE and LOOP. */
  private followsOpener(): boolean {
    return this.previous > OTHER && opensBlock[this.previous] === 1;
  }

  /** In a block EXECUTE runs a text that is not here, unless it is a privilege or in a trigger. */
  private execute(isFirst: boolean): WordId {
    if (!isFirst && mentionsExecute(this.keyword)) return EXECUTE;
    this.reasons |= PINS_UNKNOWN;
    return OTHER;
  }

  private beginStatement(): void {
    this.phase = Phase.start;
    this.keyword = OTHER;
    this.previous = OTHER;
    this.depth = 0;
    this.callDepth = 0;
    this.isRoutine = false;
    this.makesTemporary = false;
    this.dropsOnCommit = false;
    this.isBlockOpen = false;
  }

  private firstWord(id: WordId): void {
    if (this.isBlock) this.settle();
    if (this.atomicDepth !== 0) this.countAtomic(id);
    else this.keyword = id;
    if (statementPhases[id] === Phase.start) this.unknownStatement();
    else this.enter(id);
    this.previous = id;
  }

  private enter(id: WordId): void {
    this.phase = (statementPhases[id] ?? Phase.rest) as Phase;
    this.reasons |= statementReasons[id] ?? NO_REASONS;
  }

  /** PL/pgSQL has statements of its own, and so has the body of a routine (RETURN). */
  private unknownStatement(): void {
    this.phase = Phase.rest;
    if (!this.isBlock && this.atomicDepth === 0) this.reasons |= PINS_UNKNOWN;
  }

  /** Semicolons within CREATE RULE ... DO (...; ...) end no statement. */
  private semicolon(): void {
    if (this.depth > 0) {
      this.token(SYMBOL);
      return;
    }
    this.endStatement();
  }

  /**
   * Within BEGIN ATOMIC a semicolon is treated as an end too, only the statement is not reported: if
   * the count of CASE and END were ever wrong, what follows would still be judged.
   */
  private endStatement(): void {
    if (this.phase === Phase.start && this.keyword === OTHER) return;
    this.settle();
    const keyword = this.keyword;
    this.beginStatement();
    if (this.atomicDepth !== 0) this.keyword = keyword;
    else this.observer?.statement(wordText(keyword));
  }

  /** Add what only the whole statement could tell. */
  private settle(): void {
    if (this.makesTemporary) {
      this.reasons |= this.dropsOnCommit ? READS_LOCALLY : PINS_TEMPORARY_OBJECT;
    }
    if (this.callDepth !== 0) this.reasons |= PINS_SET;
    if (this.isBlockOpen && this.block !== undefined) this.closeBlock(this.block);
    this.makesTemporary = false;
    this.dropsOnCommit = false;
    this.callDepth = 0;
  }

  // What follows the first word.

  private follow(token: Token): void {
    switch (this.phase) {
      case Phase.query:
        if (token === INTO && !isInsertion(this.previous)) this.phase = Phase.queryInto;
        return;
      case Phase.queryInto:
        this.followInto(token);
        return;
      case Phase.set:
        this.followSet(token);
        return;
      case Phase.setScope:
        this.followSetScope(token);
        return;
      case Phase.setLocal:
        this.followSetLocal(token);
        return;
      case Phase.prepare:
      case Phase.prepareTransaction:
        this.followPrepare(token);
        return;
      case Phase.declare:
        this.followDeclare(token);
        return;
      case Phase.create:
        this.followCreate(token);
        return;
      case Phase.createObject:
        this.followCreateObject(token);
        return;
      case Phase.createOnCommit:
        this.followOnCommit(token);
        return;
      case Phase.explain:
        this.followExplain(token);
        return;
      case Phase.do:
      case Phase.doLanguage:
        this.followDo(token);
        return;
    }
  }

  /** SELECT ... INTO [LOCAL|GLOBAL] TEMP. In PL/pgSQL, INTO names variables. */
  private followInto(token: Token): void {
    if (token === LOCAL || token === GLOBAL || token === TABLE) return;
    this.phase = Phase.query;
    if (this.isBlock) return;
    if (isTemporary(token) || token === PG_TEMP) this.makesTemporary = true;
    if (token === ENCODED_NAME) this.reasons |= PINS_UNKNOWN;
  }

  /** https://www.postgresql.org/docs/18/sql-set.html */
  private followSet(token: Token): void {
    if (token === LOCAL || token === TRANSACTION || token === CONSTRAINTS) {
      this.phase = Phase.setScope;
      return;
    }
    this.phase = Phase.rest;
    this.reasons |= PINS_SET;
  }

  /** `SET local.user = 1` sets a session setting whose name has two parts. */
  private followSetScope(token: Token): void {
    this.phase = Phase.rest;
    if (token === DOT) this.reasons |= PINS_SET;
    else if (this.previous === LOCAL && !HARMLESS.has(token)) this.phase = Phase.setLocal;
  }

  /** What follows the name in SET LOCAL; one of two parts is the application's own. */
  private followSetLocal(token: Token): void {
    this.phase = Phase.rest;
    if (token !== DOT) this.reasons |= READS_LOCALLY;
  }

  /** `PREPARE TRANSACTION 'id'`, but `PREPARE transaction AS SELECT 1` is a statement's name. */
  private followPrepare(token: Token): void {
    if (this.phase === Phase.prepare && token === TRANSACTION) {
      this.phase = Phase.prepareTransaction;
      return;
    }
    if (this.phase === Phase.prepare || token !== STRING) this.reasons |= PINS_SQL_PREPARE;
    this.phase = Phase.rest;
  }

  private followDeclare(token: Token): void {
    if (token === FOR) this.phase = Phase.rest;
    else if (token === HOLD && this.previous === WITH) this.reasons |= PINS_HOLD_CURSOR;
  }

  /** CREATE [OR REPLACE] [GLOBAL|LOCAL] [TEMP|TEMPORARY] ... */
  private followCreate(token: Token): void {
    if (token === OR || token === REPLACE || token === GLOBAL || token === LOCAL) return;
    this.phase = Phase.createObject;
    this.makesTemporary = isTemporary(token);
    this.isRoutine = token === FUNCTION || token === PROCEDURE;
  }

  private followCreateObject(token: Token): void {
    switch (this.previous) {
      case PG_TEMP:
        if (token === DOT) this.makesTemporary = true;
        return;
      case ENCODED_NAME:
        if (token === DOT) this.reasons |= PINS_UNKNOWN;
        return;
      case AS:
        if (token === EXECUTE) this.reasons |= PINS_SQL_PREPARE;
        return;
      case ON:
        if (token === COMMIT) this.phase = Phase.createOnCommit;
        return;
      case BEGIN:
        if (token === ATOMIC && this.isRoutine) this.beginAtomic();
        return;
    }
  }

  /** A temporary table that is ON COMMIT DROP does not outlive its transaction. */
  private followOnCommit(token: Token): void {
    if (token === DROP) this.dropsOnCommit = true;
    this.phase = Phase.createObject;
  }

  /** EXPLAIN ANALYZE runs its statement; the options in parentheses are passed over. */
  private followExplain(token: Token): void {
    if (token === SELECT || token === WITH || token === VALUES) this.phase = Phase.query;
    if (this.depth > 0 || token < OTHER) return;
    if (token === ANALYZE || token === ANALYSE || token === VERBOSE) return;
    if (token < FIRST_FUNCTION && statementPhases[token] !== Phase.start) this.enter(token);
    else this.phase = Phase.rest;
  }

  /** What is written in another language than PL/pgSQL cannot be judged. */
  private followDo(token: Token): void {
    if (this.phase === Phase.do) {
      if (token === LANGUAGE) this.phase = Phase.doLanguage;
      return;
    }
    this.phase = Phase.do;
    if (token !== PLPGSQL) this.reasons |= PINS_UNKNOWN;
  }

  // BEGIN ATOMIC ... END

  private beginAtomic(): void {
    this.atomicDepth = 1;
    this.phase = Phase.start;
  }

  /** CASE and END after AS or a dot are names of columns. */
  private countAtomic(token: Token): void {
    if (this.previous === AS || this.previous === DOT) return;
    if (token === CASE) this.atomicDepth += 1;
    else if (token === END) this.atomicDepth -= 1;
  }

  // Parentheses and calls.

  private openParenthesis(): void {
    const called = this.previous;
    if (this.phase === Phase.start) this.beginParenthesized();
    this.token(SYMBOL);
    this.depth += 1;
    if (called >= FIRST_FUNCTION) this.call(called);
    else if (called === ENCODED_NAME) this.reasons |= PINS_UNKNOWN;
  }

  private beginParenthesized(): void {
    this.phase = Phase.query;
    if (this.atomicDepth === 0) this.keyword = SELECT;
  }

  private closeParenthesis(): void {
    if (this.depth > 0) this.depth -= 1;
    if (this.callDepth > this.depth) this.endSetConfig();
    this.laterToken(SYMBOL);
  }

  private call(id: WordId): void {
    this.observer?.call(wordText(id));
    if (id === SET_CONFIG && this.callDepth === 0) this.beginSetConfig();
    else this.reasons |= functionReasons[id] ?? NO_REASONS;
  }

  /** `set_config(name, value, true)` ends with the transaction, like SET LOCAL. */
  private beginSetConfig(): void {
    this.callDepth = this.depth;
    this.argument = 1;
    this.argumentTokens = 0;
    this.argumentIsTrue = false;
    this.isCustomSetting = false;
  }

  private get isSettingName(): boolean {
    return this.argument === 1 && this.argumentTokens === 1 && this.callDepth === this.depth;
  }

  private comma(): void {
    if (this.callDepth === this.depth && this.depth > 0) {
      if (this.argument === 1 && this.argumentTokens !== 1) this.isCustomSetting = false;
      this.argument += 1;
      this.argumentTokens = 0;
      this.previous = SYMBOL;
      return;
    }
    this.laterToken(SYMBOL);
  }

  private countArgumentToken(token: Token): void {
    this.argumentTokens += 1;
    this.argumentIsTrue = token === TRUE;
  }

  private endSetConfig(): void {
    const isLocal = this.argument === 3 && this.argumentTokens === 1 && this.argumentIsTrue;
    if (!isLocal) this.reasons |= PINS_SET;
    else if (!this.isCustomSetting) this.reasons |= READS_LOCALLY;
    this.callDepth = 0;
  }

  // DO

  /** A block in a block, or one written with escapes, is not looked into. */
  private openBlock(form: StringForm): boolean {
    const isReadable = form === 'dollar' || form === 'plain';
    if (this.isBlock || !isReadable) {
      this.reasons |= PINS_UNKNOWN;
      return false;
    }
    this.block ??= new Block();
    if (!this.isBlockOpen) this.block.reset(this.syntax);
    this.isBlockOpen = true;
    return true;
  }

  private closeBlock(block: Block): void {
    this.reasons |= block.end();
    this.isBlockOpen = false;
  }
}

/** The block of a DO statement, read as it passes by. */
class Block {
  readonly lexer: Lexer;
  private readonly classifier: Classifier;

  constructor() {
    this.classifier = new Classifier('plpgsql');
    this.lexer = new Lexer(this.classifier);
  }

  reset(syntax: StringSyntax): void {
    this.classifier.reset(syntax);
    this.lexer.reset(syntax);
  }

  end(): ReasonSet {
    this.lexer.end();
    return this.classifier.end();
  }
}

function isTemporary(token: Token): boolean {
  return token === TEMP || token === TEMPORARY;
}

/** INSERT INTO and MERGE INTO name an existing table. */
function isInsertion(previous: Token): boolean {
  return previous === INSERT || previous === MERGE;
}

/** Where the word EXECUTE is a privilege or names a trigger's function. */
function mentionsExecute(keyword: WordId): boolean {
  return keyword === GRANT || keyword === REVOKE || keyword === CREATE || keyword === ALTER;
}
