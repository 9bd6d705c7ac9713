/**
 * COM_CHANGE_USER: a log-in in the middle of a connection. The client is always asked for another answer,
 * to a scramble of its own, because what it has sent answers the one of its first log-in. The database
 * hears nothing of it: the session borrows from another pool from then on.
 * https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_com_change_user.html
 */

import { BerthError } from '../../base/errors.ts';
import { Timer, type TimerWheel } from '../../base/timer-wheel.ts';
import type { Stream, StreamHandler } from '../../net/stream.ts';
import { type LoginFailure, refusalOf } from '../token-login.ts';
import { type ClientAuthenticator, newScramble, type Step } from './auth/client-authenticator.ts';
import type { ClientSession } from './client-session.ts';
import type { Flavour } from './login/server-facts.ts';
import type { InitialState } from './session-state.ts';
import type { UserPool, Welcome } from './user-pool.ts';
import { SESSION_TRACK_SCHEMA } from './wire/capabilities.ts';
import { authMorePacket, authSwitchPacket } from './wire/handshake.ts';
import { lenencString, PacketAssembler, sequenceAfter } from './wire/packets.ts';
import { errorPacket, okPacket, sessionState } from './wire/replies.ts';

/** A password of 64 KiB, such as a token. */
const ANSWER_MAX = 64 * 1024 + 1024;
const EMPTY = Buffer.alloc(0);
/** No plugin is called that, so the client is asked for its plugin's answer. */
const NO_PLUGIN = '';

/** What follows a change that is refused: MySQL closes the connection, MariaDB goes on as the user before. */
const GOES_ON: Readonly<Record<Flavour, boolean>> = { mysql: false, mariadb: true };

/** What the session is after it. */
export interface NewUser {
  readonly userPool: UserPool;
  readonly state: InitialState;
  readonly applicationName: string;
  readonly priority: number;
}

/** What a change needs from the engine. */
export interface UserChangeHost {
  readonly wheel: TimerWheel;
  readonly timeoutMs: number;
  readonly flavour: Flavour;
  readonly user: string;
  readonly authenticator: ClientAuthenticator;
  readonly applicationName: string;
  readonly priority: number;
  authenticationFailed(why: LoginFailure): void;
  /** Joins the pool of the new user; it is kept until `poolLeft`. */
  join(welcomed: (welcome: Welcome) => void): UserPool;
  poolLeft(userPool: UserPool): void;
}

export class UserChange implements StreamHandler {
  private readonly host: UserChangeHost;
  private readonly session: ClientSession;
  private readonly stream: Stream;
  private readonly deadline: Timer;
  private readonly assembler = new PacketAssembler(ANSWER_MAX);
  /** Of the next packet to the client. */
  private sequence = 1;
  private userPool: UserPool | undefined = undefined;
  private isOver = false;

  constructor(host: UserChangeHost, session: ClientSession, stream: Stream) {
    this.host = host;
    this.session = session;
    this.stream = stream;
    this.deadline = new Timer(() => this.timedOut());
    host.wheel.arm(this.deadline, host.timeoutMs);
    const first = { plugin: NO_PLUGIN, answer: EMPTY, scramble: newScramble() };
    this.act(host.authenticator.begin(first));
  }

  received(bytes: Buffer): void {
    this.assembler.push(bytes);
    // Behind the last answer comes what is for the session.
    if (this.userPool !== undefined) return;
    const next = this.assembler.next();
    if (next === undefined) return;
    if (typeof next === 'string') {
      const code = next === 'too_large' ? 'packet_too_large' : 'packets_out_of_order';
      this.violated(new BerthError(code));
      return;
    }
    this.sequence = sequenceAfter(next.sequence);
    this.act(this.host.authenticator.respond(next.payload));
  }

  congested(): void {
    this.session.congested();
  }

  drained(): void {
    this.session.drained();
  }

  closed(): void {
    this.session.closed();
  }

  /** The session is over. */
  stop(): void {
    if (this.isOver) return;
    this.isOver = true;
    this.host.wheel.disarm(this.deadline);
    if (this.userPool !== undefined) this.host.poolLeft(this.userPool);
  }

  private act(step: Step): void {
    switch (step.kind) {
      case 'switch':
        this.ask(authSwitchPacket(this.sequence, step.plugin, step.data));
        return;
      case 'more':
        this.ask(authMorePacket(this.sequence, step.data));
        return;
      case 'failed':
        this.host.authenticationFailed(step.why);
        this.refused(refusalOf(step.why, this.host.user, { hasPassword: step.hasPassword }));
        return;
      case 'too_old':
        this.refused(new BerthError('client_protocol_too_old'));
        return;
      case 'done':
        if (step.final !== undefined) {
          this.stream.write(authMorePacket(this.sequence, step.final));
          this.sequence = sequenceAfter(this.sequence);
        }
        this.authenticated();
        return;
      default:
        step satisfies never;
    }
  }

  private ask(message: Buffer): void {
    this.sequence = sequenceAfter(this.sequence);
    this.assembler.expect(this.sequence);
    this.stream.write(message);
  }

  private authenticated(): void {
    this.host.wheel.disarm(this.deadline);
    let early: Welcome | undefined;
    const userPool = this.host.join((welcome) => {
      if (this.userPool === undefined) early = welcome;
      else this.welcomed(this.userPool, welcome);
    });
    this.userPool = userPool;
    if (early !== undefined) this.welcomed(userPool, early);
  }

  private welcomed(userPool: UserPool, welcome: Welcome): void {
    if (this.isOver) return;
    if (!welcome.isOk) {
      this.userPool = undefined;
      this.host.poolLeft(userPool);
      this.refused(welcome.error);
      return;
    }
    const { status, schema } = welcome.state;
    const data = lenencString(schema);
    const state = schema === '' ? EMPTY : sessionState([{ type: SESSION_TRACK_SCHEMA, data }]);
    this.stream.write(okPacket(this.sequence, this.session.capabilities, { status, state }));
    const { applicationName, priority } = this.host;
    const former = this.session.userPool;
    this.over({ userPool, state: welcome.state, applicationName, priority });
    this.host.poolLeft(former);
  }

  private refused(error: BerthError): void {
    if (GOES_ON[this.host.flavour]) {
      this.stream.write(errorPacket(this.sequence, error));
      this.over(undefined);
    } else {
      this.violated(error);
    }
  }

  private timedOut(): void {
    const seconds = this.host.timeoutMs / 1000;
    this.violated(new BerthError('login_timeout', { params: { seconds } }));
  }

  private violated(error: BerthError): void {
    this.stream.write(errorPacket(this.sequence, error));
    this.session.close('login_failed');
  }

  private over(as: NewUser | undefined): void {
    this.isOver = true;
    this.host.wheel.disarm(this.deadline);
    this.session.userChangeEnded(as, this.assembler.takeRest());
  }
}
