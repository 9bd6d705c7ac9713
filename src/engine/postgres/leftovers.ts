/**
 * What a session leaves on its connection. The texts say what may be there, a `Suspicion`; when everything
 * is answered and the transaction over, the database says what is (`audit.ts`): settings become the
 * session's, anything else pins it, or nothing is left and it is not pinned any more.
 */

import type { PinReason } from '../../observe/reasons.ts';
import type { Effects } from '../../sql/postgres/effects.ts';
import type { Pins } from '../pins.ts';
import { AUDITED, auditQuery, type Findings, isAudited, readFindings } from './audit.ts';
import type { DatabaseConnection } from './database-connection.ts';
import type { ClientSubscriptions } from './notification/client-subscriptions.ts';
import { OwnStatement } from './own-statement.ts';
import type { SessionSettings } from './settings.ts';
import { Suspicion } from './suspicion.ts';
import type { UserPool } from './user-pool.ts';
import type { BoundParameters } from './wire/bound-parameters.ts';
import { STATUS_IDLE } from './wire/messages.ts';

/** https://www.postgresql.org/docs/current/errcodes-appendix.html */
const SYNTAX_ERROR = '42601';
/** What DISCARD ALL does not take away, or may not. */
const SURVIVES_DISCARD: ReadonlySet<PinReason> = new Set(['load', 'unknown']);

/** The session, as far as it is asked about. */
export interface LeftoversHost {
  readonly userPool: UserPool;
  /** What the client listens to by way of a hub, once it has tried to. */
  readonly subscriptions: ClientSubscriptions | undefined;
  /** The connection has the settings `actual` now, and they are the session's. */
  adopt(connection: DatabaseConnection, actual: SessionSettings): void;
  /** A statement of ours has ended that a cancel request may have waited for. */
  cancelBehind(connection: DatabaseConnection): void;
}

export class Leftovers {
  /** How many requests there were since everything was answered last. */
  requests = 0;
  /** What has ended with the connection was not only what a lost request would have left. */
  private isBeyondRequest = false;
  private readonly host: LeftoversHost;
  private readonly pins: Pins<DatabaseConnection>;
  /** What its statements may have left since the database was asked last. */
  private suspicion: Suspicion | undefined = undefined;
  /** The database is being asked. */
  private isAsking = false;

  constructor(host: LeftoversHost, pins: Pins<DatabaseConnection>) {
    this.host = host;
    this.pins = pins;
  }

  /** Something of this session alone may be on the connection. */
  get mayBeThere(): boolean {
    return this.pins.isPinned || this.suspicion !== undefined || this.isAsking;
  }

  /** DISCARD ALL does not take it all away, or may not. */
  get surviveDiscard(): boolean {
    return [...this.pins.reasons].some((reason) => SURVIVES_DISCARD.has(reason));
  }

  /** A request goes out. */
  requested({ ledger }: DatabaseConnection): void {
    // What one of several in a pipeline has left is not undone with the last of them.
    if (this.suspicion !== undefined && this.requests > 0) {
      this.isBeyondRequest ||= !ledger.isEmpty && ledger.status === STATUS_IDLE;
    }
    this.requests++;
  }

  /**
   * The connection is lost: has the client been told of something that has ended with it? What a request
   * that is not answered has left, and what goes with a rollback, it does not rely on.
   */
  areLostWith({ ledger }: DatabaseConnection): boolean {
    const { isBeyondRequest, requests, suspicion } = this;
    if (this.pins.isPinned || isBeyondRequest) return true;
    if (suspicion === undefined || suspicion.isEmpty) return false;
    if (ledger.status !== STATUS_IDLE) return !suspicion.endsWithTransaction;
    return requests > 1 || ledger.isEmpty;
  }

  /** The connection is not the session's any more, and nothing on it was. */
  forget(): void {
    this.suspicion = undefined;
    this.requests = 0;
    this.isBeyondRequest = false;
  }

  /** A statement with `effects` is about to run. */
  suspect(
    connection: DatabaseConnection,
    effects: Effects,
    text: Uint8Array,
    parameters?: BoundParameters,
  ): void {
    if (effects.reasons.length === 0 && !this.pins.isPinned) return;
    this.suspicion ??= new Suspicion();
    this.suspicion.add(effects, text, parameters);
    connection.isDirty = true;
  }

  /** A DISCARD ALL is about to run. */
  discarding(): void {
    if (!this.pins.isPinned && this.suspicion === undefined) return;
    this.suspicion = new Suspicion(this.suspicion);
  }

  /** It has run. `isForGood`: the session is pinned whatever it leaves. */
  discarded(connection: DatabaseConnection, isForGood: boolean): void {
    // What follows in a pipeline may already have left something again.
    if (connection.ledger.depth <= 1) this.suspicion = undefined;
    else this.suspicion = this.suspicion?.afterDiscard();
    // The InitQuery's settings went with it, and come back with the reset.
    connection.isDirty = connection.initQuery !== undefined || this.suspicion !== undefined;
    if (!isForGood && !this.surviveDiscard) this.pins.clear(connection);
  }

  /** A request of the client's failed; `fields` are those of the error. */
  requestFailed(fields: ReadonlyMap<string, string>): void {
    const { suspicion } = this;
    if (suspicion === undefined) return;
    suspicion.hasFailed = true;
    // With a context, it comes from a text that a running statement made.
    const isInside = fields.has('W') || fields.has('q');
    if (fields.get('C') === SYNTAX_ERROR && !isInside) suspicion.hasFailedToParse = true;
  }

  /** A cancel that comes late would hit what the database is asked; `cancelEnded` follows. */
  mayBeCancelled({ cancelsInFlight, hasStrayParameters }: DatabaseConnection): boolean {
    return cancelsInFlight > 0 && (this.suspicion !== undefined || hasStrayParameters);
  }

  /** Everything is answered and the transaction is over. Returns whether the database is asked now. */
  investigate(connection: DatabaseConnection): boolean {
    const { requests } = this;
    const { isPinned } = this.pins;
    this.requests = 0;
    this.isBeyondRequest = false;
    if (!isPinned && connection.hasStrayParameters) {
      // Something that no text showed, such as a function, has changed a setting.
      this.suspicion ??= new Suspicion();
      this.suspicion.reasons.add('set');
    }
    const suspicion = this.suspicion?.afterFailedDiscard();
    if (suspicion === undefined) return false;
    if (isPinned) return this.reinvestigate(connection, suspicion);
    this.suspicion = undefined;
    if (suspicion.isGroundless(requests)) {
      connection.isDirty = false;
    } else if (suspicion.isBeyondAudit) {
      this.pins.add(connection, suspicion.pinReason, suspicion.digest);
      for (const reason of suspicion.reasons) this.pins.suspect(reason);
      // Its other traces are asked for when something may have been cleared.
      this.suspicion = suspicion;
    } else if (!this.isSettingsChangeKnown(connection, suspicion.soleSet(requests), suspicion)) {
      this.audit(connection, suspicion, suspicion.soleSet(requests));
      return true;
    }
    return false;
  }

  /** Of a pinned session: is the last reason gone? */
  private reinvestigate(connection: DatabaseConnection, suspicion: Suspicion): boolean {
    const { pins } = this;
    if (suspicion.certain !== undefined) pins.suspect(suspicion.certain);
    for (const reason of suspicion.reasons) pins.suspect(reason);
    if (!suspicion.mayClear) return false;
    suspicion.mayClear = false;
    if (suspicion.isBeyondAudit || ![...pins.reasons].every(isAudited)) return false;
    this.suspicion = undefined;
    // What a statement that was prepared in SQL does is not in the text that runs it.
    for (const reason of AUDITED) suspicion.reasons.add(reason);
    this.audit(connection, suspicion, undefined);
    return true;
  }

  /** The same text has been run on the same settings before, or has failed. */
  private isSettingsChangeKnown(
    connection: DatabaseConnection,
    text: string | undefined,
    { hasFailed }: Suspicion,
  ): boolean {
    if (text === undefined) return false;
    const { settings } = connection;
    const after = hasFailed ? settings : this.host.userPool.settingsKnownAfter(text, settings);
    if (after === undefined) return false;
    this.host.adopt(connection, after);
    connection.isDirty = false;
    return true;
  }

  private audit(
    connection: DatabaseConnection,
    suspicion: Suspicion,
    soleSet: string | undefined,
  ): void {
    const customNames = suspicion.reasons.has('set')
      ? new Set([...suspicion.customNames, ...connection.settings.customNames])
      : [];
    const before = connection.settings;
    this.host.subscriptions?.asked();
    const statement = new OwnStatement((outcome) => {
      this.isAsking = false;
      this.host.cancelBehind(connection);
      if (!outcome.isOk) {
        this.host.subscriptions?.committed([]);
        // Without a word of the database the connection is gone.
        if (outcome.message === undefined) this.isBeyondRequest = true;
        else this.pins.add(connection, suspicion.pinReason, suspicion.digest);
        return;
      }
      const { base } = connection;
      const { user } = connection.pool.key;
      const findings = readFindings(outcome.rows, { base, user });
      this.audited(connection, suspicion, findings);
      if (soleSet === undefined || findings.settings === undefined) return;
      if (findings.reasons.size === 0)
        this.host.userPool.learnSettings(soleSet, before, findings.settings);
    });
    this.isAsking = true;
    connection.run(auditQuery(suspicion.reasons, customNames), statement);
  }

  private audited(connection: DatabaseConnection, suspicion: Suspicion, found: Findings): void {
    if (found.settings !== undefined) this.host.adopt(connection, found.settings);
    const areHeard = this.host.subscriptions?.committed(found.channels.map(latin1)) === true;
    const reasons = new Set<PinReason>(found.reasons);
    if (areHeard) reasons.delete('listen');
    if (reasons.size > 0 || this.pins.isPinned) {
      this.pins.found(connection, reasons, suspicion.digest);
    } else {
      connection.isDirty = this.suspicion !== undefined;
    }
    if (areHeard && found.channels.length > 0) this.unlisten(connection);
  }

  /** A hub listens to all that the connection listens to. */
  private unlisten(connection: DatabaseConnection): void {
    connection.isDirty = true;
    if (this.pins.isPinned) return;
    if (!connection.ledger.isSettled) {
      // The client has sent more already, and this must not become a part of its transaction.
      this.suspicion ??= new Suspicion();
      this.suspicion.reasons.add('listen');
      return;
    }
    const statement = new OwnStatement((outcome) => {
      this.host.cancelBehind(connection);
      if (outcome.isOk) connection.isDirty = this.suspicion !== undefined;
    });
    connection.run('UNLISTEN *', statement);
  }
}

/** Names of channels are compared byte for byte. */
function latin1(text: string): string {
  return Buffer.from(text).toString('latin1');
}
