/**
 * Has what was written to a file put on the disk, without anybody waiting who need not. Whoever asks while
 * a flush is under way waits for the next one, which is then for all of them.
 */

import { closeSync, fdatasync, fsync, openSync } from 'node:fs';
import { promisify } from 'node:util';

const flushData = promisify(fdatasync);
const flushAll = promisify(fsync);

export class DiskFlush {
  private readonly file: string;
  private readonly directory: string;
  private descriptor: number | undefined = undefined;
  /** Counts what was written, and how much of that is on the disk. */
  private writes = 0;
  private flushes = 0;
  private running: Promise<void> | undefined = undefined;
  private error: unknown = undefined;

  /** The file is made by others, before the first write, in `directory`. */
  constructor(file: string, directory: string) {
    this.file = file;
    this.directory = directory;
  }

  /**
   * Once a flush has failed nobody knows what is on the disk: the system forgets what it could not write,
   * and another flush would succeed without it. https://wiki.postgresql.org/wiki/Fsync_Errors
   */
  get failure(): unknown {
    return this.error;
  }

  written(): void {
    this.writes++;
  }

  async flushed(): Promise<void> {
    const wanted = this.writes;
    while (this.flushes < wanted) {
      if (this.error !== undefined) throw this.error;
      this.running ??= this.flush();
      await this.running;
    }
  }

  close(): void {
    // What waits for a flush was flushed by who wrote it, when it closed.
    this.flushes = this.writes;
    const { descriptor } = this;
    this.descriptor = undefined;
    if (descriptor !== undefined && this.running === undefined) closeSync(descriptor);
  }

  private async flush(): Promise<void> {
    const { writes } = this;
    let descriptor: number | undefined;
    try {
      descriptor = this.descriptor ?? (await this.open());
      await flushData(descriptor);
      this.flushes = Math.max(this.flushes, writes);
    } catch (error) {
      this.error = error;
    } finally {
      this.running = undefined;
      // It was closed meanwhile.
      if (descriptor !== undefined && this.descriptor === undefined) closeSync(descriptor);
    }
  }

  /** The file may be new, and then its directory must know of it. */
  private async open(): Promise<number> {
    const folder = openSync(this.directory, 'r');
    try {
      await flushAll(folder);
    } finally {
      closeSync(folder);
    }
    this.descriptor = openSync(this.file, 'r+');
    return this.descriptor;
  }
}
