/**
 * Several sends in one system call: Linux's io_uring, used as a list that the kernel works off while we
 * wait, and nothing more. No operation outlives the call, so no thread and no lock is needed.
 *
 * Layouts: io_uring(7), io_uring_setup(2), io_uring_enter(2).
 */

import { dlopen, type FFIFunction, type Pointer, ptr, toArrayBuffer } from 'bun:ffi';

/** The same on every architecture that Bun runs on (Linux's include/uapi/asm-generic/unistd.h). */
const SYS_IO_URING_SETUP = 425;
const SYS_IO_URING_ENTER = 426;

// struct io_uring_params, in words of 4 bytes.
const PARAMETER_WORDS = 30;
const SQ_ENTRIES = 0;
const CQ_ENTRIES = 1;
const FEATURES = 5;
const SQ_HEAD_OFFSET = 10;
const SQ_TAIL_OFFSET = 11;
const SQ_ARRAY_OFFSET = 16;
const CQ_HEAD_OFFSET = 20;
const CQ_TAIL_OFFSET = 21;
const CQ_CQES_OFFSET = 25;
/** Both rings lie in one mapping; since Linux 5.4. */
const FEATURE_SINGLE_MMAP = 1;

const SQES_AT = 0x1000_0000;
const PROT_READ_WRITE = 3;
/** MAP_SHARED, and MAP_POPULATE: no page fault at the first send. */
const MAP_FLAGS = 0x8001;

// struct io_uring_sqe and io_uring_cqe, in words.
const SQE_WORDS = 16;
const CQE_WORDS = 4;
const SQE_OPCODE = 0;
const SQE_FD = 1;
const SQE_ADDRESS = 4;
const SQE_LENGTH = 6;
const SQE_MESSAGE_FLAGS = 7;
const SQE_USER_DATA = 8;
const CQE_RESULT = 2;

const IORING_OP_NOP = 0;
/** Since Linux 5.6. */
const IORING_OP_SEND = 26;
const IORING_ENTER_GETEVENTS = 1;
/** MSG_DONTWAIT and MSG_NOSIGNAL: what does not fit now is answered with EAGAIN at once. */
const SEND_FLAGS = 0x4040;

const TWO_TO_32 = 2 ** 32;
/** -1, as an address: above all that are used. */
const MAP_FAILED = 2 ** 63;

/** Why there is none: an old kernel, or one that is told not to (containers often are). */
export class IoUringUnavailable extends Error {
  override readonly name = 'IoUringUnavailable';
}

type Enter = (
  call: number,
  ring: number,
  submit: number,
  waitFor: number,
  flags: number,
  signals: null,
  size: number,
) => number;

export class IoUring {
  private readonly ring: number;
  private readonly enter: Enter;
  private readonly queues: Int32Array;
  private readonly entries: Int32Array;
  private readonly sqHead: number;
  private readonly sqTail: number;
  private readonly sqMask: number;
  private readonly cqHead: number;
  private readonly cqTail: number;
  private readonly cqMask: number;
  private readonly cqes: number;
  /** Where the next entry goes; the kernel counts on beyond the ring's size, modulo 2^32. */
  private tail = 0;
  /** Put, and not yet submitted. */
  private count = 0;

  /** `size` is a power of two. Throws `IoUringUnavailable`. */
  constructor(size: number) {
    const { enter, map, setup } = systemCalls();
    const parameters = new Int32Array(PARAMETER_WORDS);
    const at = (index: number): number => parameters[index] ?? 0;
    this.enter = enter;
    this.ring = setup(SYS_IO_URING_SETUP, size, ptr(parameters));
    if (this.ring < 0) throw new IoUringUnavailable('the system does not allow it');
    if ((at(FEATURES) & FEATURE_SINGLE_MMAP) === 0) {
      throw new IoUringUnavailable('the kernel is older than Linux 5.4');
    }
    const queuesLength = Math.max(
      at(SQ_ARRAY_OFFSET) + at(SQ_ENTRIES) * 4,
      at(CQ_CQES_OFFSET) + at(CQ_ENTRIES) * CQE_WORDS * 4,
    );
    this.queues = map(this.ring, 0, queuesLength);
    this.entries = map(this.ring, SQES_AT, at(SQ_ENTRIES) * SQE_WORDS * 4);
    this.sqHead = at(SQ_HEAD_OFFSET) / 4;
    this.sqTail = at(SQ_TAIL_OFFSET) / 4;
    this.sqMask = at(SQ_ENTRIES) - 1;
    this.cqHead = at(CQ_HEAD_OFFSET) / 4;
    this.cqTail = at(CQ_TAIL_OFFSET) / 4;
    this.cqMask = at(CQ_ENTRIES) - 1;
    this.cqes = at(CQ_CQES_OFFSET) / 4;
    // The kernel reads entries through a list of indexes; ours are always in order.
    const indexes = at(SQ_ARRAY_OFFSET) / 4;
    for (let index = 0; index <= this.sqMask; index++) this.queues[indexes + index] = index;
  }

  /**
   * Adds a send of `bytes`, which must stay alive and unchanged until `submit`, as number `index` of the
   * list. The caller adds no more than the ring's size.
   */
  putSend(index: number, fd: number, bytes: Uint8Array): void {
    const { entries } = this;
    const at = (this.tail & this.sqMask) * SQE_WORDS;
    const address: number = ptr(bytes);
    // What is not written here is never written, and was zero from the start.
    entries[at + SQE_OPCODE] = IORING_OP_SEND;
    entries[at + SQE_FD] = fd;
    entries[at + SQE_ADDRESS] = address;
    entries[at + SQE_ADDRESS + 1] = address / TWO_TO_32;
    entries[at + SQE_LENGTH] = bytes.length;
    entries[at + SQE_MESSAGE_FLAGS] = SEND_FLAGS;
    entries[at + SQE_USER_DATA] = index;
    this.tail = (this.tail + 1) | 0;
    this.count++;
  }

  /** Takes number `index` of the list back; its place in the list stays. */
  cancel(index: number): void {
    const at = ((this.tail - this.count + index) & this.sqMask) * SQE_WORDS;
    this.entries[at + SQE_OPCODE] = IORING_OP_NOP;
  }

  /**
   * Works off the list. `results[index]` is the number of bytes taken, or a negated errno; what the
   * kernel did not come to stays as it was.
   */
  submit(results: Int32Array): void {
    const { queues, sqTail, sqHead } = this;
    const wanted = this.count;
    this.count = 0;
    queues[sqTail] = this.tail;
    this.enter(SYS_IO_URING_ENTER, this.ring, wanted, 0, 0, null, 0);
    const head = queues[sqHead] ?? 0;
    let owed = (wanted - (this.tail - head)) | 0;
    // Short of memory, the kernel stops early. Nobody else must send the rest again.
    this.tail = head;
    queues[sqTail] = head;
    for (;;) {
      owed -= this.collect(results);
      if (owed <= 0) return;
      const flags = IORING_ENTER_GETEVENTS;
      this.enter(SYS_IO_URING_ENTER, this.ring, 0, owed, flags, null, 0);
    }
  }

  /** Returns how many. */
  private collect(results: Int32Array): number {
    const { queues, cqHead, cqMask, cqes } = this;
    const first = queues[cqHead] ?? 0;
    const end = queues[this.cqTail] ?? 0;
    for (let head = first; head !== end; head = (head + 1) | 0) {
      const at = cqes + (head & cqMask) * CQE_WORDS;
      results[queues[at] ?? 0] = queues[at + CQE_RESULT] ?? 0;
    }
    queues[cqHead] = end;
    return (end - first) | 0;
  }
}

interface SystemCalls {
  readonly enter: Enter;
  readonly setup: (call: number, size: number, parameters: Pointer) => number;
  readonly map: (fd: number, offset: number, length: number) => Int32Array;
}

/** glibc's name, and musl's. */
const LIBC_NAMES = ['libc.so.6', 'libc.so'];

/** Throws `IoUringUnavailable`. */
function systemCalls(): SystemCalls {
  if (process.platform !== 'linux') throw new IoUringUnavailable('this system is not Linux');
  // `syscall` takes what the call takes, so that it is there twice.
  const { syscall: setup, mmap } = libc({
    syscall: { args: ['i32', 'u32', 'ptr'], returns: 'i32' },
    mmap: { args: ['ptr', 'u64', 'i32', 'i32', 'i32', 'i64'], returns: 'ptr' },
  });
  const { syscall: enter } = libc({
    syscall: { args: ['i32', 'i32', 'u32', 'u32', 'u32', 'ptr', 'u64'], returns: 'i32' },
  });
  return {
    enter,
    setup,
    map(fd, offset, length) {
      const address = mmap(null, length, PROT_READ_WRITE, MAP_FLAGS, fd, offset);
      if (address === null || address >= MAP_FAILED) {
        throw new IoUringUnavailable('its memory cannot be had');
      }
      return new Int32Array(toArrayBuffer(address, 0, length));
    },
  };
}

function libc<Functions extends Record<string, FFIFunction>>(functions: Functions) {
  for (const name of LIBC_NAMES) {
    try {
      return dlopen(name, functions).symbols;
    } catch {
      // The next name.
    }
  }
  throw new IoUringUnavailable('the C library was not found');
}
