/**
 * Follows messages through a stream that is passed on as it is: where one ends and of which type it was.
 * Keeps no bytes, so chunks may be cut anywhere and be given away afterwards.
 */

import { HEADER_BYTES, lengthAt } from './messages.ts';

export interface FrameWitness {
  /** A message has gone by whole; `lastByte` is the last one of its body, 0 for a body without any. */
  messageEnded(type: number, lastByte: number): void;
}

export class FrameTracker {
  private readonly witness: FrameWitness;
  private type = 0;
  private length = 0;
  /** How much of a header has come that is cut. */
  private headerBytes = 0;
  private bodyLeft = 0;
  /** A length made no sense; what comes after it cannot be told apart. */
  private isLost = false;

  constructor(witness: FrameWitness) {
    this.witness = witness;
  }

  /** Between two messages. */
  get isBetween(): boolean {
    return this.bodyLeft === 0 && this.headerBytes === 0 && !this.isLost;
  }

  follow(bytes: Buffer): void {
    const end = bytes.length;
    let at = 0;
    while (at < end && !this.isLost) {
      if (this.bodyLeft > 0) {
        const taken = Math.min(this.bodyLeft, end - at);
        at += taken;
        this.bodyLeft -= taken;
        if (this.bodyLeft === 0) this.witness.messageEnded(this.type, bytes[at - 1]);
      } else if (this.headerBytes === 0 && end - at >= HEADER_BYTES) {
        this.type = bytes[at];
        this.length = lengthAt(bytes, at);
        at += HEADER_BYTES;
        this.headerEnded();
      } else {
        if (this.headerBytes === 0) this.type = bytes[at];
        else this.length = (this.length << 8) | bytes[at];
        at++;
        this.headerBytes++;
        if (this.headerBytes === HEADER_BYTES) this.headerEnded();
      }
    }
  }

  private headerEnded(): void {
    this.headerBytes = 0;
    this.isLost = this.length < 4;
    if (this.isLost) return;
    this.bodyLeft = this.length - 4;
    if (this.bodyLeft === 0) this.witness.messageEnded(this.type, 0);
  }
}
