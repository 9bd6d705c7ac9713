/**
 * Logs in to a database: connect, greeting and TLS, the log-in packet, the authentication. One deadline for
 * the last two together. What a fresh connection needs beside that (the session trackers, the InitQuery)
 * is for whoever gets it.
 */

import { BerthError } from '../../../base/errors.ts';
import { Timer } from '../../../base/timer-wheel.ts';
import type { Secret } from '../../../credential/secret.ts';
import { IGNORE, type Stream, type StreamHandler } from '../../../net/stream.ts';
import type { OpenFailure, OpeningHandle } from '../../../pool/contract.ts';
import {
  firstPassword,
  NO_TLS_FOR_TOKEN,
  type PasswordTrial,
  TOKEN_NOT_ASKED_FOR,
  type TokenSource,
} from '../../database-passwords.ts';
import type { ConnectTarget } from '../../target-place.ts';
import {
  DatabaseAuthenticator,
  type DatabaseLoginFailure,
  type DatabaseLoginStep,
} from '../auth/database-authenticator.ts';
import { ERR_HEADER, OK_HEADER } from '../wire/capabilities.ts';
import { loginPacket, readAuthMore, readAuthSwitch } from '../wire/handshake.ts';
import { PacketAssembler, packet, type Received, sequenceAfter } from '../wire/packets.ts';
import { errorPayload, readError, readOk, type ServerError } from '../wire/replies.ts';
import { isAboutAuthentication, isFull, isPasswordRefused, isTemporary } from './login-errors.ts';
import type { Capabilities } from './negotiation.ts';
import { factsOf, type KnownServer, type ServerFacts } from './server-facts.ts';
import {
  type ConnectFailure,
  type Opened,
  SERVERS_OWN_COLLATION,
  TargetConnect,
} from './target-connect.ts';

const LOGIN_TIMEOUT_MS = 15_000;
/** No packet of a log-in is longer; a server's public key might lie about it. */
const LOGIN_PACKET_MAX = 64 * 1024;
const PROGRAM_NAME = 'berth';

/** A database to log in to. */
export type LoginTarget = ConnectTarget & { readonly server: KnownServer };

export interface LoginIdentity {
  readonly user: string;
  readonly password: Secret | TokenSource;
  /** Knows other passwords, and is told what becomes of them. Default: there is only this one. */
  readonly trial?: PasswordTrial;
  /** What clients of the connection have agreed on; see `variantOf`. Default: nothing in particular. */
  readonly variant?: Capabilities;
  /** As `performance_schema` shows it. */
  readonly programName?: string;
}

/** What a log-in has found out. */
export interface LoggedInFacts extends Capabilities {
  readonly server: ServerFacts;
  /** The database's number for the connection, for KILL. */
  readonly threadId: number;
  /** SERVER_STATUS_* of the first OK. */
  readonly status: number;
}

export interface LoginCallbacks {
  /** Sets the stream's handler, which then gets what the database has sent already. */
  opened(stream: Stream, facts: LoggedInFacts): void;
  tlsBegan?(): void;
  failed(failure: LoginFailure): void;
}

export interface LoginFailure extends OpenFailure {
  /** The database has said so. */
  readonly isAnswer?: boolean;
  readonly reason: 'UNREACHABLE' | 'CONNECTION_FAILED' | 'AUTH_FAILURE';
  /** The server is there, and refuses only us. */
  readonly isAlive?: boolean;
}

export class DatabaseLogin implements StreamHandler, OpeningHandle {
  private readonly target: LoginTarget;
  private readonly identity: LoginIdentity | undefined;
  /** The one that is tried. */
  private password: Secret | undefined = undefined;
  private readonly callbacks: LoginCallbacks;
  /** Undefined while there is nothing to log in with yet. */
  private connect: TargetConnect | undefined = undefined;
  private readonly deadline: Timer;
  private assembler = new PacketAssembler(LOGIN_PACKET_MAX);
  private opened: Opened | undefined = undefined;
  private authenticator: DatabaseAuthenticator | undefined = undefined;
  private isOver = false;

  constructor(target: LoginTarget, identity: LoginIdentity | undefined, callbacks: LoginCallbacks) {
    this.target = target;
    this.identity = identity;
    this.callbacks = callbacks;
    this.deadline = new Timer(() =>
      this.fail('UNREACHABLE', true, `the login did not complete within ${LOGIN_TIMEOUT_MS} ms`),
    );
    this.begin(identity?.password);
  }

  private begin(password: LoginIdentity['password'] | undefined): void {
    if (password !== undefined && 'token' in password) {
      void this.beginWithToken(password);
      return;
    }
    this.password = password;
    this.connect = this.newConnect();
  }

  private async beginWithToken(source: TokenSource): Promise<void> {
    const token = await firstPassword(source, this.target.address);
    if (this.isOver) return;
    if ('why' in token) this.fail('AUTH_FAILURE', false, token.why);
    else this.begin(token);
  }

  private get hasToken(): boolean {
    const password = this.identity?.password;
    return password !== undefined && 'token' in password;
  }

  private newConnect(): TargetConnect {
    return new TargetConnect(this.target, this.identity?.variant, {
      opened: (opened) => this.connected(opened),
      tlsBegan: () => this.callbacks.tlsBegan?.(),
      failed: (failure) => this.connectFailed(failure),
    });
  }

  /** The password was refused: once more with another one, if there is one. */
  private async tryAnother(trial: PasswordTrial, failure: LoginFailure): Promise<void> {
    this.hangUp();
    const next = await trial.refused();
    if (this.isOver) return;
    if (next === undefined) {
      this.over(failure);
    } else if (next === 'wait') {
      this.over({ ...failure, isTemporary: true, isOfUser: true });
    } else {
      this.password = next;
      this.connect = this.newConnect();
    }
  }

  /** Whatever comes of the connection so far is of no interest. */
  private hangUp(): void {
    const stream = this.opened?.stream;
    if (stream !== undefined) {
      stream.handler = IGNORE;
      stream.destroy();
    }
    this.opened = undefined;
    this.authenticator = undefined;
    this.assembler = new PacketAssembler(LOGIN_PACKET_MAX);
    this.target.wheel.disarm(this.deadline);
  }

  abandon(): void {
    if (this.isOver) return;
    this.isOver = true;
    this.connect?.abandon();
    this.target.wheel.disarm(this.deadline);
    this.opened?.stream.destroy();
  }

  private connected(opened: Opened): void {
    const { stream, greeting, asked, sequence } = opened;
    const { identity, password, target } = this;
    this.opened = opened;
    stream.handler = this;
    target.wheel.arm(this.deadline, LOGIN_TIMEOUT_MS);
    target.server.learn(factsOf(greeting));
    if (identity === undefined || password === undefined) {
      this.fail('AUTH_FAILURE', false, 'the proxy has no credentials for the user');
      return;
    }
    const { isEncrypted, isLocal } = stream;
    const { hasToken } = this;
    if (hasToken && !isEncrypted) {
      this.fail('AUTH_FAILURE', false, NO_TLS_FOR_TOKEN);
      return;
    }
    this.authenticator = new DatabaseAuthenticator({
      password,
      isToken: hasToken,
      isSecure: isEncrypted || isLocal,
      isEncrypted,
    });
    const { plugin, answer } = this.authenticator.begin(greeting.plugin, greeting.scramble);
    this.assembler.expect(sequenceAfter(sequence));
    const login = {
      ...asked,
      collation: SERVERS_OWN_COLLATION,
      user: Buffer.from(identity.user),
      authResponse: answer,
      database: undefined,
      plugin,
      attributes: new Map([['program_name', identity.programName ?? PROGRAM_NAME]]),
    };
    stream.write(loginPacket(sequence, login));
  }

  received(bytes: Buffer): void {
    this.assembler.push(bytes);
    while (!this.isOver) {
      const next = this.assembler.next();
      if (next === undefined) return;
      if (typeof next === 'string') this.notUnderstood();
      else this.read(next);
    }
  }

  congested(): void {}

  drained(): void {}

  closed(): void {
    this.fail('CONNECTION_FAILED', true, 'the database closed the connection during the login');
  }

  private read({ payload, sequence }: Received): void {
    const { authenticator, opened } = this;
    if (authenticator === undefined || opened === undefined) return;
    if (payload[0] === OK_HEADER) {
      this.accepted(opened, payload);
      return;
    }
    if (payload[0] === ERR_HEADER) {
      const said = readError(payload);
      if (said === undefined) this.notUnderstood();
      else this.refused(said);
      return;
    }
    const more = readAuthMore(payload);
    if (more !== undefined) {
      this.act(authenticator.more(more), sequence);
      return;
    }
    const change = readAuthSwitch(payload);
    if (change === undefined) this.notUnderstood();
    else if (change === 'old') this.unsupported('mysql_old_password');
    else this.act(authenticator.switchTo(change.plugin, change.data), sequence);
  }

  private act(step: DatabaseLoginStep, sequence: number): void {
    switch (step.kind) {
      case 'send':
        this.opened?.stream.write(packet(sequenceAfter(sequence), step.body));
        // The answer to it counts on.
        this.assembler.expect(sequenceAfter(sequenceAfter(sequence)));
        return;
      case 'wait':
        return;
      case 'failed':
        this.fail('AUTH_FAILURE', false, describe(step));
        return;
      default:
        step satisfies never;
    }
  }

  private unsupported(plugin: string): void {
    this.act({ kind: 'failed', why: 'unsupported_plugin', plugin }, 0);
  }

  private notUnderstood(): void {
    this.fail('CONNECTION_FAILED', false, 'the database sent something that belongs to no login');
  }

  private accepted({ stream, greeting, asked }: Opened, payload: Buffer): void {
    const ok = readOk(payload, asked.capabilities);
    if (ok === undefined) {
      this.notUnderstood();
      return;
    }
    const facts = {
      ...asked,
      server: factsOf(greeting),
      threadId: greeting.threadId,
      status: ok.status,
    };
    const rest = this.assembler.takeRest();
    this.isOver = true;
    this.target.wheel.disarm(this.deadline);
    this.identity?.trial?.accepted();
    this.callbacks.opened(stream, facts);
    // The database's last word may be right behind its welcome.
    if (rest !== undefined) stream.handler.received(rest);
  }

  private connectFailed({ reason, isTemporary, detail, said }: ConnectFailure): void {
    if (said === undefined) this.fail(reason, isTemporary, detail);
    else this.refused(said);
  }

  /** The database's own error, which goes to the clients as it is when nobody can mend it by waiting. */
  private refused(said: ServerError): void {
    const isAuth = isAboutAuthentication(said);
    const detail = `${said.text} (error ${said.errno}, SQLSTATE ${said.sqlState})`;
    const failure: LoginFailure = {
      isAnswer: true,
      reason: isAuth ? 'AUTH_FAILURE' : 'CONNECTION_FAILED',
      isTemporary: isTemporary(said),
      isAlive: isAuth || isFull(said),
      detail,
      error: isAuth
        ? new BerthError('database_login_failed', { params: { user: this.identity?.user ?? '' } })
        : new BerthError('connection_refused', {
            databaseMessage: errorPayload(said),
            detail: `The database says: ${detail}.`,
          }),
    };
    const trial = isPasswordRefused(said) ? this.identity?.trial : undefined;
    if (trial === undefined) this.over(failure);
    else void this.tryAnother(trial, failure);
  }

  private fail(reason: LoginFailure['reason'], isTemporary: boolean, detail: string): void {
    const user = this.identity?.user ?? '';
    const error =
      reason === 'AUTH_FAILURE'
        ? new BerthError('database_login_failed', { params: { user } })
        : new BerthError('connection_refused');
    this.over({ reason, isTemporary, detail, error });
  }

  private over(failure: LoginFailure): void {
    if (this.isOver) return;
    this.abandon();
    this.callbacks.failed(failure);
  }
}

function describe(failure: DatabaseLoginFailure): string {
  switch (failure.why) {
    case 'unsupported_plugin':
      return `the database asks for the authentication plugin ${failure.plugin}, which Berth does not know`;
    case 'cleartext_refused':
      return 'the database asks for the password in clear (mysql_clear_password), which Berth never sends';
    case 'token_not_asked_for':
      return TOKEN_NOT_ASKED_FOR;
    case 'unusable_key':
      return 'the public key of the database is of no use for this password; TLS does without it';
    case 'malformed_packet':
      return 'the database sent something that belongs to no authentication';
  }
}
