/** Notifications that wait for one client: what it cannot be told now, in order and up to a limit. */

/** What may wait for a client; what comes beyond it is dropped, for this client alone. */
export const MAILBOX_BYTES_MAX = 1024 * 1024;

/** What becomes of a notification when the mailbox is emptied. */
export type Sorting = 'deliver' | 'keep' | 'discard';

interface Letter {
  readonly channel: string;
  readonly message: Buffer;
}

export class Mailbox {
  private letters: Letter[] = [];
  private bytes = 0;

  get isEmpty(): boolean {
    return this.letters.length === 0;
  }

  /** Returns whether there was room. */
  put(channel: string, message: Buffer): boolean {
    if (this.bytes + message.length > MAILBOX_BYTES_MAX) return false;
    this.letters.push({ channel, message });
    this.bytes += message.length;
    return true;
  }

  /** Takes out what is to be delivered, and drops what is to be discarded. */
  sort(sortingOf: (channel: string) => Sorting): Buffer[] {
    const delivered: Buffer[] = [];
    const kept: Letter[] = [];
    this.bytes = 0;
    for (const letter of this.letters) {
      const sorting = sortingOf(letter.channel);
      if (sorting === 'deliver') delivered.push(letter.message);
      if (sorting !== 'keep') continue;
      kept.push(letter);
      this.bytes += letter.message.length;
    }
    this.letters = kept;
    return delivered;
  }
}
