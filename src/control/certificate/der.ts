/**
 * Writes DER (ITU-T X.690), as far as certificates need it. Certificates are made while Berth serves, at
 * once and without leaving the event loop, so that a proxy has one before it listens.
 */

const BOOLEAN = 0x01;
const INTEGER = 0x02;
const BIT_STRING = 0x03;
const OCTET_STRING = 0x04;
const OBJECT_IDENTIFIER = 0x06;
const UTF8_STRING = 0x0c;
const UTC_TIME = 0x17;
const GENERALIZED_TIME = 0x18;
const SEQUENCE = 0x30;
const SET = 0x31;
const CONTEXT = 0x80;
const CONSTRUCTED = 0x20;

export type Der = Buffer;

function element(tag: number, ...contents: readonly Uint8Array[]): Der {
  const content = Buffer.concat(contents);
  return Buffer.concat([Buffer.from([tag]), lengthOf(content.length), content]);
}

function lengthOf(length: number): Buffer {
  if (length < 0x80) return Buffer.from([length]);
  const bytes: number[] = [];
  for (let rest = length; rest > 0; rest = Math.floor(rest / 256)) bytes.unshift(rest % 256);
  return Buffer.from([0x80 | bytes.length, ...bytes]);
}

export function sequence(...items: readonly Uint8Array[]): Der {
  return element(SEQUENCE, ...items);
}

export function setOf(item: Uint8Array): Der {
  return element(SET, item);
}

/** Big-endian, positive, and without a zero in front. */
export function integer(bytes: Uint8Array): Der {
  const isNegative = ((bytes[0] ?? 0) & 0x80) !== 0;
  return element(INTEGER, Buffer.from(isNegative ? [0] : []), bytes);
}

export function boolean(value: boolean): Der {
  return element(BOOLEAN, Buffer.from([value ? 0xff : 0]));
}

/** `unused`: how many bits at the end mean nothing. */
export function bitString(bytes: Uint8Array, unused = 0): Der {
  return element(BIT_STRING, Buffer.from([unused]), bytes);
}

export function octetString(bytes: Uint8Array): Der {
  return element(OCTET_STRING, bytes);
}

export function utf8String(text: string): Der {
  return element(UTF8_STRING, Buffer.from(text));
}

/** `2.5.29.17` */
export function objectIdentifier(dotted: string): Der {
  const [first = 0, second = 0, ...rest] = dotted.split('.').map(Number);
  return element(OBJECT_IDENTIFIER, Buffer.from([first * 40 + second, ...rest.flatMap(base128)]));
}

function base128(number: number): readonly number[] {
  const bytes = [number % 128];
  for (let rest = Math.floor(number / 128); rest > 0; rest = Math.floor(rest / 128)) {
    bytes.unshift(0x80 | (rest % 128));
  }
  return bytes;
}

/** With two digits of the year until 2049, as RFC 5280 section 4.1.2.5 wants it. */
export function time(milliseconds: number): Der {
  const digits = `${new Date(milliseconds).toISOString().replace(/[-:T]|\.\d+/g, '')}`;
  return digits >= '2050'
    ? element(GENERALIZED_TIME, Buffer.from(digits))
    : element(UTC_TIME, Buffer.from(digits.slice(2)));
}

/** `[number]` around what has a tag of its own. */
export function explicit(number: number, content: Uint8Array): Der {
  return element(CONTEXT | CONSTRUCTED | number, content);
}

/** `[number]` in place of the tag. */
export function implicit(number: number, content: Uint8Array): Der {
  return element(CONTEXT | number, content);
}
