/**
 * Which protocol version a target is asked for. A server of PostgreSQL 18 speaks 3.2, whose cancel keys
 * are long; older ones answer with the newest that they know. But servers from before that answer
 * existed, and some of the poolers and proxies that may be in front of one, refuse a minor version
 * that they do not know or hang up. Those are asked again for 3.0, and for nothing else from then on.
 * https://www.postgresql.org/docs/current/protocol-overview.html#PROTOCOL-VERSIONS
 */

import { PROTOCOL_3_0, PROTOCOL_3_2 } from '../wire/frontend.ts';

/** What a refusal of the version may say: 0A000, 08P01, or nothing in particular. */
const REFUSALS = /^(0A000|08P01|XX000|)$/;

/** One for each target, shared by all its logins. */
export class ServerProtocol {
  /** What the next login asks for. */
  asked = PROTOCOL_3_2;
  /** Somebody got an answer to it. */
  private isUnderstood = false;

  /** The target may be another from here on. */
  forget(): void {
    this.asked = PROTOCOL_3_2;
    this.isUnderstood = false;
  }

  /** A login that asked for `version` is being authenticated. */
  understood(version: number): void {
    this.asked = version;
    this.isUnderstood = true;
  }

  /** Whether an error before anything else may be about `version`, so that 3.0 is worth a try. */
  isRefusal(version: number, sqlState: string): boolean {
    return version !== PROTOCOL_3_0 && REFUSALS.test(sqlState);
  }

  /** The same for a target that hung up without a word: as it may for other reasons, only at first. */
  isHangUp(version: number): boolean {
    if (version === PROTOCOL_3_0) return false;
    return !this.isUnderstood || version !== this.asked;
  }
}
