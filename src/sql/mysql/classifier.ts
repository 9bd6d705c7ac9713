/**
 * Follows the tokens of a text and gathers what its statements may do to the session. It knows one
 * statement at a time and looks back one token; what to expect is in `rules.ts`.
 *
 * It does not parse. A text that is no valid SQL is refused by the server from there on, so only
 * valid texts need the right answer; where one token is not enough to tell, the answer is the
 * suspicion. What it cannot see: the inside of routines and triggers, and texts in strings.
 */

import { Effect, type EffectSet, PLAIN } from './effects.ts';
import { Lexer, type TokenSink } from './lexer.ts';
import {
  functionEffects,
  isForNextTransaction,
  opensBlock,
  Phase,
  settingEffects,
  statementEffects,
  statementPhases,
  variableEffects,
} from './rules.ts';
import type { Syntax } from './syntax.ts';
import { FIRST_NAME, OTHER, type WordId, wordId, wordText } from './words.ts';

/** Told what was recognised, statement by statement. For tests and for explaining. */
export interface ScanObserver {
  /** A statement ended; its first keyword, empty if it began with something else. */
  statement(keyword: string): void;
}

/** The number of a connection in a KILL, in bytes from the start of the text. */
export interface KillTarget {
  readonly from: number;
  readonly to: number;
}

/** A word id, or one of these. */
type Token = WordId;
const VALUE: Token = -1;
const SYMBOL: Token = -2;
const DOT: Token = -3;
const USER_VARIABLE: Token = -4;
const SYSTEM_VARIABLE: Token = -5;
const COLON: Token = -6;
const OPEN: Token = -7;
const CLOSED: Token = -8;
const SEMICOLON: Token = -9;

/** More KILL statements in one text are not looked up. */
const KILL_TARGETS_MAX = 8;

const ANALYZE = wordId('analyze');
const AUTHORIZATION = wordId('authorization');
const BEGIN = wordId('begin');
const CASE = wordId('case');
const CHAR = wordId('char');
const CHARACTER = wordId('character');
const CHARSET = wordId('charset');
const CLOSE = wordId('close');
const COLLATE = wordId('collate');
const COMMIT = wordId('commit');
const CONNECTION = wordId('connection');
const CREATE = wordId('create');
const DEFAULT = wordId('default');
const END = wordId('end');
const ERRORS = wordId('errors');
const EVENT = wordId('event');
const EXISTS = wordId('exists');
const EXPLAIN = wordId('explain');
const EXPORT = wordId('export');
const FOR = wordId('for');
const FUNCTION = wordId('function');
const GLOBAL = wordId('global');
const HARD = wordId('hard');
const IF = wordId('if');
const IMMEDIATE = wordId('immediate');
const INFILE = wordId('infile');
const INSERT = wordId('insert');
const INTO = wordId('into');
const LAST_INSERT_ID = wordId('last_insert_id');
const LOCAL = wordId('local');
const LOCK = wordId('lock');
const LOOP = wordId('loop');
const NAMES = wordId('names');
const NEXT = wordId('next');
const NO = wordId('no');
const OPEN_WORD = wordId('open');
const PACKAGE = wordId('package');
const PASSWORD = wordId('password');
const PERSIST = wordId('persist');
const PERSIST_ONLY = wordId('persist_only');
const PREPARE = wordId('prepare');
const PREVIOUS = wordId('previous');
const PROCEDURE = wordId('procedure');
const PROCESSLIST = wordId('processlist');
const PROFILE = wordId('profile');
const PROFILES = wordId('profiles');
const QUERY = wordId('query');
const RECOVER = wordId('recover');
const RELEASE = wordId('release');
const REPEAT = wordId('repeat');
const REPLACE = wordId('replace');
const RESOURCE = wordId('resource');
const RETURNING = wordId('returning');
const ROLE = wordId('role');
const ROLLBACK = wordId('rollback');
const SELECT = wordId('select');
const SEQUENCE = wordId('sequence');
const SESSION = wordId('session');
const SOFT = wordId('soft');
const SQL_CALC_FOUND_ROWS = wordId('sql_calc_found_rows');
const STATEMENT = wordId('statement');
const TABLE = wordId('table');
const TABLES = wordId('tables');
const TEMPORARY = wordId('temporary');
const TRANSACTION = wordId('transaction');
const TRIGGER = wordId('trigger');
const UNLOCK = wordId('unlock');
const VALUE_WORD = wordId('value');
const WARNINGS = wordId('warnings');
const WHILE = wordId('while');
const WORK = wordId('work');

/** What can be created and has no body. */
const OTHER_OBJECTS: ReadonlySet<Token> = new Set(
  (
    ['table', 'index', 'view', 'user', 'server', 'sequence', 'role', 'database', 'schema'] as const
  ).map(wordId),
);

/** The scope that the next assignment of a SET has. */
const Scope = { none: 0, session: 1, global: 2 } as const;
type Scope = (typeof Scope)[keyof typeof Scope];

export class Classifier implements TokenSink {
  readonly lexer = new Lexer(this);
  /** Where the numbers of connections stand in KILL statements; none unless all could be found. */
  killTargets: KillTarget[] = [];

  private readonly observer: ScanObserver | undefined;
  private effects: EffectSet = PLAIN;
  private areTargetsKnown = true;

  private phase: Phase = Phase.start;
  private keyword: WordId = OTHER;
  private previous: Token = OTHER;
  /** How many parentheses are open. */
  private depth = 0;
  private scope: Scope = Scope.none;
  /** In `@@scope.name`. */
  private isSystemVariable = false;
  /** The last token but for a colon is a user variable. */
  private isVariableBefore = false;
  /** In `LAST_INSERT_ID(`, before its argument. */
  private isInsertIdCall = false;
  private hasKillTarget = false;

  /** In the body of a routine: it is kept, not run. */
  private isRoutine = false;
  /** How many BEGIN and CASE are open in it. */
  private blockDepth = 0;
  /** The END before this word has ended one. */
  private hasEnded = false;

  constructor(observer?: ScanObserver) {
    this.observer = observer;
  }

  /** Forget everything and begin a new text. */
  reset(syntax: Syntax): void {
    this.lexer.reset(syntax);
    this.effects = PLAIN;
    if (this.killTargets.length > 0) this.killTargets = [];
    this.areTargetsKnown = true;
    this.beginStatement();
  }

  /** The text is complete: what it does. */
  end(): EffectSet {
    this.lexer.end();
    this.endStatement();
    if (!this.areTargetsKnown) this.killTargets = [];
    return this.effects;
  }

  // Tokens.

  word(id: WordId): void {
    if (this.isRoutine) this.inBody(id);
    else if (this.phase === Phase.start) this.firstWord(id);
    else this.token(id);
  }

  name(id: WordId): void {
    this.later(id >= FIRST_NAME ? id : OTHER);
  }

  string(): void {
    this.later(VALUE);
  }

  number(isInteger: boolean): void {
    if (isInteger && this.phase === Phase.kill && !this.hasKillTarget) {
      this.addKillTarget();
      return;
    }
    this.later(VALUE);
  }

  userVariable(): void {
    this.later(USER_VARIABLE);
    this.isVariableBefore = true;
  }

  systemVariable(): void {
    this.later(SYSTEM_VARIABLE);
    this.isSystemVariable = true;
  }

  symbol(byte: number): void {
    switch (byte) {
      case 0x3b: // ;
        this.semicolon();
        return;
      case 0x28: // (
        this.openParenthesis();
        return;
      case 0x29: // )
        if (this.depth > 0) this.depth -= 1;
        this.later(CLOSED);
        return;
      case 0x2c: // ,
        this.later(SYMBOL);
        if (this.isInSetValue) this.beginAssignment();
        return;
      case 0x2e: // .
        this.later(DOT);
        return;
      case 0x3a: // :
        this.colon();
        return;
      case 0x3d: // =
        this.equals();
        return;
      default:
        this.later(SYMBOL);
    }
  }

  obscured(): void {
    this.effects |= Effect.unknown;
    // Where it happens, and not before, the text is not what it seems.
    this.areTargetsKnown = false;
  }

  private add(effects: EffectSet): void {
    if (!this.isRoutine) this.effects |= effects;
  }

  /** A token that no statement can begin with. */
  private later(token: Token): void {
    if (this.isRoutine) {
      this.previous = token;
      return;
    }
    if (this.phase === Phase.start) this.unknownStatement();
    this.token(token);
  }

  private token(token: Token): void {
    const { previous } = this;
    if (previous === OPEN && this.isInsertIdCall) this.countInsertIdCall(token);
    if (this.isSystemVariable) this.followSystemVariable(token);
    if (this.phase > Phase.rest) this.follow(token);
    if (token > OTHER) this.anyWord(token);
    else if (token === USER_VARIABLE && previous === INTO) this.add(Effect.userVariable);
    this.previous = token;
    this.isVariableBefore = false;
  }

  /** What means the same wherever it stands. */
  private anyWord(token: Token): void {
    if (token === SQL_CALC_FOUND_ROWS) this.add(Effect.leavesFoundRows);
    // What ends the rows of MariaDB's INSERT ... RETURNING has no insert id.
    const isInsert = this.keyword === INSERT || this.keyword === REPLACE;
    if (token === RETURNING && isInsert) this.add(Effect.leavesInsertId);
    const isLastValue = this.previous === NEXT || this.previous === PREVIOUS;
    if (token === VALUE_WORD && isLastValue) this.add(Effect.sequence);
  }

  // Statements.

  private beginStatement(): void {
    this.phase = Phase.start;
    this.keyword = OTHER;
    this.previous = OTHER;
    this.depth = 0;
    this.scope = Scope.none;
    this.isSystemVariable = false;
    this.isInsertIdCall = false;
    this.isVariableBefore = false;
    this.hasKillTarget = false;
    this.isRoutine = false;
    this.blockDepth = 0;
  }

  private firstWord(id: WordId): void {
    this.keyword = id;
    if (statementPhases[id] === Phase.start) this.unknownStatement();
    else this.enter(id);
    this.previous = id;
  }

  private enter(id: WordId): void {
    this.phase = (statementPhases[id] ?? Phase.rest) as Phase;
    this.add(statementEffects[id] ?? PLAIN);
  }

  /** Also MariaDB's IF, LOOP and so on outside a routine: blocks of any statements. */
  private unknownStatement(): void {
    this.phase = Phase.rest;
    this.add(Effect.unknown);
  }

  private semicolon(): void {
    if (this.isRoutine && this.blockDepth > 0) {
      this.previous = SEMICOLON;
      return;
    }
    this.endStatement();
  }

  private endStatement(): void {
    if (this.phase === Phase.start && this.keyword === OTHER) return;
    if (this.keyword === KILL && !this.hasKillTarget) this.areTargetsKnown = false;
    const { keyword } = this;
    this.beginStatement();
    this.observer?.statement(wordText(keyword));
  }

  // Assignments in any statement: `@a := 1`.

  private colon(): void {
    const isVariableBefore = this.isVariableBefore;
    this.later(COLON);
    this.isVariableBefore = isVariableBefore;
  }

  private equals(): void {
    if (this.previous === COLON && this.isVariableBefore) this.add(Effect.userVariable);
    this.later(SYMBOL);
    if (this.phase === Phase.setTarget) this.phase = Phase.setValue;
  }

  /** `@@name`, `@@session.name`. */
  private followSystemVariable(token: Token): void {
    if (token > OTHER) this.add(variableEffects[token] ?? PLAIN);
    else if (token !== OTHER && token !== DOT && token !== SYSTEM_VARIABLE) {
      this.isSystemVariable = false;
    }
    if (token >= OTHER && this.previous === DOT) this.isSystemVariable = false;
  }

  // Calls.

  private openParenthesis(): void {
    const called = this.previous;
    if (this.phase === Phase.start && !this.isRoutine) {
      this.phase = Phase.rest;
      this.keyword = SELECT;
    }
    this.later(OPEN);
    this.depth += 1;
    this.isInsertIdCall = called === LAST_INSERT_ID;
    if (called > OTHER) this.add(functionEffects[called] ?? PLAIN);
    if (this.isInsertIdCall) this.add(Effect.readsInsertId);
  }

  /** With an argument the function says what the next call without one is to give. */
  private countInsertIdCall(token: Token): void {
    this.isInsertIdCall = false;
    if (token !== CLOSED) this.add(Effect.leavesInsertId);
  }

  // What follows the first word.

  private follow(token: Token): void {
    switch (this.phase) {
      case Phase.start:
      case Phase.rest:
        return;
      case Phase.set:
      case Phase.setTarget:
        this.followSet(token);
        return;
      case Phase.setValue:
        return;
      case Phase.setNames:
        if (token === COLLATE) this.add(Effect.collation);
        return;
      case Phase.setStatement:
        if (token === FOR && this.depth === 0) this.beginNested();
        return;
      case Phase.create:
        this.followCreate(token);
        return;
      case Phase.begin:
        if (token !== WORK) this.add(Effect.unknown);
        return;
      case Phase.drop:
        this.followDrop(token);
        return;
      case Phase.execute:
        if (token === IMMEDIATE) this.add(Effect.unknown);
        this.phase = Phase.rest;
        return;
      case Phase.explain:
        this.followExplain(token);
        return;
      case Phase.flush:
        if (token === LOCK || token === EXPORT) this.add(Effect.tableLock);
        return;
      case Phase.handler:
        if (token === OPEN_WORD) this.add(Effect.handler);
        else if (token === CLOSE) this.add(Effect.mayClear);
        return;
      case Phase.kill:
        this.followKill(token);
        return;
      case Phase.load:
        if (token === INFILE && this.previous === LOCAL) this.add(Effect.loadLocal);
        else if (token === USER_VARIABLE) this.add(Effect.userVariable);
        return;
      case Phase.show:
        this.followShow(token);
        return;
      case Phase.outputs:
        if (token === USER_VARIABLE) this.add(Effect.userVariable);
        return;
      case Phase.xa:
        if (token !== RECOVER) this.add(Effect.xa);
        if (token === COMMIT || token === ROLLBACK) this.add(Effect.mayClear);
        this.phase = Phase.rest;
        return;
      case Phase.completion:
        if (token === RELEASE && this.previous !== NO) this.add(Effect.ends);
        return;
      case Phase.backup:
        if (token === END || token === UNLOCK) this.add(Effect.mayClear);
        return;
    }
  }

  /** A statement within another one. */
  private beginNested(): void {
    this.phase = Phase.start;
    this.scope = Scope.none;
  }

  private followDrop(token: Token): void {
    this.phase = token === TEMPORARY ? Phase.drop : Phase.rest;
    const isTable = token === TEMPORARY || token === TABLE || token === TABLES;
    if (isTable || token === SEQUENCE || token === PREPARE) this.add(Effect.mayClear);
  }

  /** EXPLAIN ANALYZE and ANALYZE run their statement. */
  private followExplain(token: Token): void {
    if (token === CONNECTION && this.previous === FOR) this.add(Effect.readsConnectionId);
    if (token === INSERT || token === REPLACE) this.add(Effect.leavesInsertId);
    if (token > OTHER && token < FIRST_NAME && statementPhases[token] === Phase.rest) {
      if (token !== TABLE) this.enter(token);
    }
  }

  private followKill(token: Token): void {
    const isModifier = token === CONNECTION || token === QUERY || token === HARD || token === SOFT;
    if (isModifier && !this.hasKillTarget) return;
    // An expression, a query's number or a user's name.
    this.areTargetsKnown = false;
    this.phase = Phase.rest;
  }

  private addKillTarget(): void {
    this.hasKillTarget = true;
    this.previous = VALUE;
    if (this.killTargets.length === KILL_TARGETS_MAX) this.areTargetsKnown = false;
    else this.killTargets.push({ from: this.lexer.start, to: this.lexer.position });
  }

  private followShow(token: Token): void {
    switch (token) {
      case WARNINGS:
      case ERRORS:
        this.add(Effect.readsDiagnostics);
        return;
      case PROCESSLIST:
      // Of another connection, by its number.
      case EXPLAIN:
      case ANALYZE:
        this.add(Effect.readsConnectionId);
        return;
      case PROFILE:
      case PROFILES:
        this.add(Effect.readsProfile);
        return;
    }
  }

  // SET

  private get isInSetValue(): boolean {
    return (this.phase === Phase.setValue || this.phase === Phase.setNames) && this.depth === 0;
  }

  private beginAssignment(): void {
    this.phase = Phase.set;
    this.scope = Scope.none;
    this.isSystemVariable = false;
  }

  /** https://dev.mysql.com/doc/refman/9.4/en/set-variable.html */
  private followSet(token: Token): void {
    switch (token) {
      case USER_VARIABLE:
        this.add(Effect.userVariable);
        this.phase = Phase.setTarget;
        return;
      case SYSTEM_VARIABLE:
      case DOT:
      case SYMBOL:
      case COLON:
        return;
      case GLOBAL:
      case PERSIST:
      case PERSIST_ONLY:
        this.scope = Scope.global;
        this.add(Effect.global);
        return;
      case SESSION:
      case LOCAL:
        this.scope = Scope.session;
        return;
    }
    if (this.phase === Phase.set && !this.isSystemVariable && this.isSpecial(token)) return;
    this.phase = Phase.setTarget;
    this.setVariable(token);
  }

  /** SET followed by something that is no variable. */
  private isSpecial(token: Token): boolean {
    switch (token) {
      case NAMES:
        this.add(Effect.setting);
        this.phase = Phase.setNames;
        return true;
      case CHARACTER:
      case CHARSET:
      case CHAR:
        this.add(Effect.setting | Effect.collation);
        this.phase = Phase.setValue;
        return true;
      case TRANSACTION:
        this.add(TRANSACTION_SCOPES[this.scope]);
        this.phase = Phase.rest;
        return true;
      case STATEMENT:
        this.add(Effect.setStatement);
        this.phase = Phase.setStatement;
        return true;
      case ROLE:
        this.add(Effect.role);
        this.phase = Phase.rest;
        return true;
      case AUTHORIZATION:
      case RESOURCE:
        this.add(Effect.untrackedSetting);
        this.phase = Phase.rest;
        return true;
      case DEFAULT:
      case PASSWORD:
        this.phase = Phase.rest;
        return true;
      default:
        return false;
    }
  }

  private setVariable(token: Token): void {
    const does = token > OTHER ? (settingEffects[token] ?? PLAIN) : PLAIN;
    if (this.scope === Scope.global) return;
    const isNext = this.scope === Scope.none && this.isSystemVariable;
    if (isNext && isForNextTransaction(token)) this.add(Effect.nextTransaction);
    this.add(Effect.setting | does);
  }

  // CREATE, and what has a body.

  private followCreate(token: Token): void {
    if (token === TEMPORARY) {
      if (this.keyword === CREATE) this.add(Effect.temporaryTable);
    } else if (isRoutineKind(token)) this.isRoutine = true;
    else if (OTHER_OBJECTS.has(token)) this.phase = Phase.rest;
  }

  /** Counts what an END ends, to find the semicolon behind the body. */
  private inBody(id: WordId): void {
    const { previous } = this;
    this.previous = id;
    if (previous === END && id === CASE) return;
    if (previous === END && this.hasEnded && isUncounted(id)) this.blockDepth += 1;
    else if (id === CASE || (id === BEGIN && this.mayOpenBlock(previous))) this.blockDepth += 1;
    this.hasEnded = id === END && this.blockDepth > 0;
    if (this.hasEnded) this.blockDepth -= 1;
  }

  private mayOpenBlock(previous: Token): boolean {
    if (previous === SEMICOLON || previous === COLON || opensBlock[previous] === 1) return true;
    return this.blockDepth === 0 && !namesRoutine(previous);
  }
}

/** Blocks that only count when they end: END IF ends no BEGIN. */
function isUncounted(id: WordId): boolean {
  return id === IF || id === LOOP || id === WHILE || id === REPEAT || id === FOR;
}

/** What follows is the name of a routine. */
function namesRoutine(token: Token): boolean {
  return token === DOT || token === EXISTS || isRoutineKind(token);
}

function isRoutineKind(token: Token): boolean {
  switch (token) {
    case PROCEDURE:
    case FUNCTION:
    case TRIGGER:
    case EVENT:
    case PACKAGE:
      return true;
    default:
      return false;
  }
}

const KILL = wordId('kill');

const TRANSACTION_SCOPES: Readonly<Record<Scope, EffectSet>> = {
  [Scope.none]: Effect.nextTransaction,
  [Scope.session]: Effect.setting,
  [Scope.global]: Effect.global,
};
