/**
 * Logs in to a database: connect and TLS, start-up, authentication, and the parameters that the database
 * reports. One deadline for start-up and authentication together.
 *
 * Asks for protocol 3.2 where the target may know it, see `ServerProtocol`.
 */

import { BerthError } from '../../../base/errors.ts';
import { Timer } from '../../../base/timer-wheel.ts';
import type { Secret } from '../../../credential/secret.ts';
import { IGNORE, type Stream, type StreamHandler } from '../../../net/stream.ts';
import type { OpenFailure, OpeningHandle } from '../../../pool/contract.ts';
import type { Observation } from '../../../target/monitor.ts';
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
} from '../auth/database-authenticator.ts';
import type { ConnectionFacts } from '../database-connection.ts';
import { ReportedParameters } from '../parameters.ts';
import { latin1 } from '../settings.ts';
import type { TargetContext } from '../target-context.ts';
import { readFields, readNegotiatedVersion, readParameterStatus } from '../wire/backend.ts';
import { PROTOCOL_3_0, PROTOCOL_3_2, passwordMessage, startupMessage } from '../wire/frontend.ts';
import {
  AUTHENTICATION,
  BACKEND_KEY_DATA,
  ERROR_RESPONSE,
  HEADER_BYTES,
  int32At,
  lengthAt,
  NEGOTIATE_PROTOCOL_VERSION,
  NOTICE_RESPONSE,
  PARAMETER_STATUS,
  READY_FOR_QUERY,
} from '../wire/messages.ts';
import { TargetConnect } from './target-connect.ts';

const LOGIN_TIMEOUT_MS = 15_000;
/** No message of a login is longer; a certificate request of an unknown method might lie about it. */
const LOGIN_MESSAGE_MAX = 64 * 1024;
/** The longest cancel key of protocol 3.2; that of 3.0 has four bytes. */
const CANCEL_KEY_MAX = 256;

/**
 * What a database says at login that passes by itself: it is starting, stopping or recovering, has no
 * connection to spare, or lacks something for the moment. Everything else needs somebody to act.
 */
const TEMPORARY_SQL_STATES = /^(57P0[1-5]|53|08|40|55P03|58)/;

const INVALID_PASSWORD = '28P01';
const TOO_MANY_CONNECTIONS = '53300';

/** What a failed log-in tells of the database. */
export function observationOf({ reason, detail, databaseMessage }: LoginFailure): Observation {
  const sqlState = databaseMessage && readFields(databaseMessage).get('C');
  const isAlive = reason === 'AUTH_FAILURE' || sqlState === TOO_MANY_CONNECTIONS;
  return { isOk: false, reason, detail, isAlive, isAnswer: databaseMessage !== undefined };
}

export interface LoginIdentity {
  readonly user: string;
  readonly database: string;
  readonly password: Secret | TokenSource;
  /** Knows other passwords, and is told what becomes of them. Default: there is only this one. */
  readonly trial?: PasswordTrial;
  readonly applicationName?: string;
  readonly initQuery: string | undefined;
  /** More of the start-up packet, in latin1: byte for byte. */
  readonly startup?: Iterable<readonly [string, string]>;
}

/** A database to log in to. */
export type LoginTarget = ConnectTarget & Pick<TargetContext, 'protocol'>;

export interface LoginCallbacks {
  /** Sets the stream's handler, which then gets what the database has sent already. */
  opened(stream: Stream, facts: ConnectionFacts): void;
  tlsBegan?(): void;
  /** What the database says after the authentication: ParameterStatus and NoticeResponse, whole. */
  greeted?(message: Buffer): void;
  failed(failure: LoginFailure): void;
}

export interface LoginFailure extends OpenFailure {
  readonly reason: 'UNREACHABLE' | 'CONNECTION_FAILED' | 'AUTH_FAILURE';
  /** The database's own ErrorResponse, if it sent one. */
  readonly databaseMessage?: Buffer;
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
  private authenticator: DatabaseAuthenticator | undefined = undefined;
  private stream: Stream | undefined = undefined;
  private buffer: Buffer | undefined = undefined;
  private isBusy = false;
  private isAuthenticated = false;
  private isOver = false;
  /** The version that the start-up packet asks for. */
  private protocol: number;
  /** The database has answered the start-up packet, and not with an error. */
  private isUnderstood = false;
  private parameters = ReportedParameters.NONE;
  private cancelKey: ConnectionFacts['cancelKey'] = undefined;

  constructor(target: LoginTarget, identity: LoginIdentity | undefined, callbacks: LoginCallbacks) {
    this.target = target;
    this.identity = identity;
    this.callbacks = callbacks;
    this.protocol = target.protocol.asked;
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
    return new TargetConnect(this.target, {
      opened: (stream, serverEndPoint) => this.connected(stream, serverEndPoint),
      tlsBegan: () => this.callbacks.tlsBegan?.(),
      failed: ({ reason, isTemporary, detail }) => this.fail(reason, isTemporary, detail),
    });
  }

  abandon(): void {
    if (this.isOver) return;
    this.isOver = true;
    this.connect?.abandon();
    this.target.wheel.disarm(this.deadline);
    this.stream?.destroy();
  }

  private connected(stream: Stream, serverEndPoint: Uint8Array | undefined): void {
    this.stream = stream;
    stream.handler = this;
    const { identity, password, target } = this;
    target.wheel.arm(this.deadline, LOGIN_TIMEOUT_MS);
    if (identity === undefined || password === undefined) {
      this.fail('AUTH_FAILURE', false, 'the proxy has no credentials for the user');
      return;
    }
    const { hasToken } = this;
    if (hasToken && !stream.isEncrypted) {
      this.fail('AUTH_FAILURE', false, NO_TLS_FOR_TOKEN);
      return;
    }
    const { user, database, applicationName, startup = [] } = identity;
    this.authenticator = new DatabaseAuthenticator({
      user,
      password,
      isToken: hasToken,
      ...(serverEndPoint === undefined ? {} : { serverEndPoint }),
    });
    const parameters = new Map([
      ['user', latin1(user)],
      ['database', latin1(database)],
      ...startup,
    ]);
    if (applicationName !== undefined) parameters.set('application_name', applicationName);
    stream.write(startupMessage(this.protocol, parameters));
  }

  /** The target does not take the version, or may not: once more, with the first one. */
  private fallBack(): void {
    this.hangUp();
    this.protocol = PROTOCOL_3_0;
    this.connect = this.newConnect();
  }

  /** Whatever comes of the connection so far is of no interest. */
  private hangUp(): void {
    const { stream, target } = this;
    if (stream !== undefined) {
      stream.handler = IGNORE;
      stream.destroy();
    }
    this.stream = undefined;
    this.buffer = undefined;
    target.wheel.disarm(this.deadline);
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
      this.parameters = ReportedParameters.NONE;
      this.cancelKey = undefined;
      this.connect = this.newConnect();
    }
  }

  received(bytes: Buffer): void {
    this.buffer = this.buffer === undefined ? bytes : Buffer.concat([this.buffer, bytes]);
    this.proceed();
  }

  congested(): void {}

  drained(): void {}

  closed(): void {
    if (!this.isOver && !this.isUnderstood && this.target.protocol.isHangUp(this.protocol)) {
      this.fallBack();
      return;
    }
    this.fail('CONNECTION_FAILED', true, 'the database closed the connection during the login');
  }

  private proceed(): void {
    while (!this.isOver && !this.isBusy && this.buffer !== undefined) {
      const { buffer } = this;
      if (buffer.length < HEADER_BYTES) return;
      const length = lengthAt(buffer, 0);
      if (length < 4 || length > LOGIN_MESSAGE_MAX) {
        this.fail('CONNECTION_FAILED', false, 'the target does not speak the PostgreSQL protocol');
        return;
      }
      if (buffer.length < 1 + length) return;
      this.buffer = buffer.length === 1 + length ? undefined : buffer.subarray(1 + length);
      this.read(buffer.subarray(0, 1 + length));
    }
  }

  private read(whole: Buffer): void {
    switch (whole[0]) {
      case AUTHENTICATION:
        this.understood();
        void this.authenticate(Buffer.from(whole.subarray(HEADER_BYTES)));
        return;
      case PARAMETER_STATUS: {
        const parameter = readParameterStatus(whole);
        if (parameter !== undefined) this.parameters = this.parameters.with(...parameter);
        this.callbacks.greeted?.(Buffer.from(whole));
        return;
      }
      case BACKEND_KEY_DATA:
        this.keyReceived(whole);
        return;
      case ERROR_RESPONSE:
        this.refused(Buffer.from(whole));
        return;
      case READY_FOR_QUERY:
        this.ready();
        return;
      case NOTICE_RESPONSE:
        this.callbacks.greeted?.(Buffer.from(whole));
        return;
      case NEGOTIATE_PROTOCOL_VERSION:
        this.negotiated(readNegotiatedVersion(whole));
        return;
      default:
        this.fail('CONNECTION_FAILED', false, `unexpected message of type ${whole[0]} at login`);
    }
  }

  private understood(): void {
    if (this.isUnderstood) return;
    this.isUnderstood = true;
    this.target.protocol.understood(this.protocol);
  }

  /** The database knows only this version. 3.1 is nobody's. */
  private negotiated(version: number): void {
    const isKnown = version === PROTOCOL_3_0 || version === PROTOCOL_3_2;
    if (!isKnown || version > this.protocol) {
      const detail = 'the database answered the protocol version with one that was not asked for';
      this.fail('CONNECTION_FAILED', false, detail);
    }
  }

  /** A database that sends none, such as another proxy, cannot be asked to cancel. */
  private keyReceived(whole: Buffer): void {
    const key = Buffer.from(whole.subarray(HEADER_BYTES + 4));
    if (key.length === 0 || key.length > CANCEL_KEY_MAX) {
      this.fail('CONNECTION_FAILED', false, 'the database sent a cancel key of a wrong length');
      return;
    }
    this.cancelKey = { processId: int32At(whole, HEADER_BYTES), key };
  }

  private async authenticate(body: Buffer): Promise<void> {
    this.isBusy = true;
    const step = await this.authenticator?.receive(body);
    this.isBusy = false;
    if (this.isOver || step === undefined) return;
    switch (step.kind) {
      case 'send':
        this.stream?.write(passwordMessage(step.body));
        break;
      case 'ok':
        this.isAuthenticated = true;
        break;
      case 'wait':
        break;
      case 'failed':
        this.fail('AUTH_FAILURE', false, describe(step.why));
        return;
      default:
        step satisfies never;
    }
    this.proceed();
  }

  private ready(): void {
    const { stream } = this;
    if (stream === undefined || !this.isAuthenticated) {
      this.fail(
        'CONNECTION_FAILED',
        false,
        'the database was ready before it authenticated anybody',
      );
      return;
    }
    const rest = this.buffer;
    this.buffer = undefined;
    this.isOver = true;
    this.target.wheel.disarm(this.deadline);
    this.identity?.trial?.accepted();
    this.callbacks.opened(stream, {
      parameters: this.parameters,
      cancelKey: this.cancelKey,
      initQuery: this.identity?.initQuery,
    });
    // The database's last word may be right behind its welcome.
    if (rest !== undefined) stream.handler.received(rest);
  }

  /** The database's own error, which goes to the clients as it is when nobody can mend it by waiting. */
  private refused(message: Buffer): void {
    const fields = readFields(message);
    const sqlState = fields.get('C') ?? '';
    if (!this.isUnderstood && this.target.protocol.isRefusal(this.protocol, sqlState)) {
      this.fallBack();
      return;
    }
    const isAuth = sqlState.startsWith('28');
    const said = `${fields.get('M') ?? 'no message'} (SQLSTATE ${sqlState || 'absent'})`;
    // For the log, and for whoever has waited in vain: it has answered, so it is reachable.
    const detail = `The database says: ${said}.`;
    const failure: LoginFailure = {
      databaseMessage: message,
      reason: isAuth ? 'AUTH_FAILURE' : 'CONNECTION_FAILED',
      isTemporary: TEMPORARY_SQL_STATES.test(sqlState),
      detail: said,
      error: isAuth
        ? new BerthError('database_login_failed', { params: { user: this.identity?.user ?? '' } })
        : new BerthError('connection_refused', { databaseMessage: message, detail }),
    };
    const trial = sqlState === INVALID_PASSWORD ? this.identity?.trial : undefined;
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

function describe(why: DatabaseLoginFailure): string {
  return why === 'token_not_asked_for' ? TOKEN_NOT_ASKED_FOR : why;
}
