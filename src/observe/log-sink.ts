/**
 * Writes log lines to a file descriptor without ever holding up the caller. Lines wait in a bounded
 * buffer while one write is under way, and go out together in the next; so order is kept. When the
 * reader is too slow for the buffer, lines are dropped and counted.
 */

import { write, writeSync } from 'node:fs';

/** Where finished lines go, each with its line end. */
export interface LogSink {
  write(line: string): void;
  /** Resolves when everything is written. */
  flush(): Promise<void>;
  /** Lines lost since the last call; 0 while there is no room to say so. */
  takeDropped(): number;
}

/** Lines that may wait for a slow reader, in UTF-16 code units. */
const BUFFER_LENGTH_MAX = 1024 * 1024;
/** A descriptor that is shared with a non-blocking one is asked again after this long. */
const RETRY_MS = 20;

/** A sink on a file descriptor, such as 2 for the standard error output. */
export function fileDescriptorSink(fd: number): LogSink {
  const sink = new FileDescriptorSink(fd);
  process.once('exit', () => sink.writeRest());
  return sink;
}

class FileDescriptorSink implements LogSink {
  private readonly fd: number;
  private lines: string[] = [];
  private length = 0;
  private isWriting = false;
  /** The reader went away, and there is nobody left to tell. */
  private isGone = false;
  private dropped = 0;
  private idle: PromiseWithResolvers<void> | undefined;

  constructor(fd: number) {
    this.fd = fd;
  }

  write(line: string): void {
    if (this.isGone) return;
    if (this.length + line.length > BUFFER_LENGTH_MAX) {
      this.dropped++;
      return;
    }
    this.lines.push(line);
    this.length += line.length;
    if (!this.isWriting) this.writeNext();
  }

  async flush(): Promise<void> {
    if (!this.isWriting) return;
    this.idle ??= Promise.withResolvers();
    await this.idle.promise;
  }

  takeDropped(): number {
    if (this.length > BUFFER_LENGTH_MAX / 2) return 0;
    const { dropped } = this;
    this.dropped = 0;
    return dropped;
  }

  /** For a process that ends at once: what no write has begun with. */
  writeRest(): void {
    try {
      if (this.lines.length > 0) writeSync(this.fd, this.takeAll());
    } catch {
      // The process ends; there is nowhere to say it.
    }
  }

  private writeNext(): void {
    this.isWriting = this.lines.length > 0;
    if (this.isWriting) this.writeBytes(Buffer.from(this.takeAll()));
    else this.becomeIdle();
  }

  private takeAll(): string {
    const text = this.lines.join('');
    this.lines = [];
    this.length = 0;
    return text;
  }

  private writeBytes(bytes: Uint8Array): void {
    write(this.fd, bytes, 0, bytes.length, null, (error, written) => {
      if (error?.code === 'EAGAIN') setTimeout(() => this.writeBytes(bytes), RETRY_MS);
      else if (error !== null) this.giveUp();
      else if (written < bytes.length) this.writeBytes(bytes.subarray(written));
      else this.writeNext();
    });
  }

  private giveUp(): void {
    this.isGone = true;
    this.takeAll();
    this.isWriting = false;
    this.becomeIdle();
  }

  private becomeIdle(): void {
    this.idle?.resolve();
    this.idle = undefined;
  }
}
