import { beforeAll, describe, expect, test } from 'bun:test';
import fc from 'fast-check';
import { ScramKeys } from '../../../src/engine/postgres/auth/scram-keys.ts';
import {
  SCRAM_MESSAGE_BYTES_MAX,
  SCRAM_NONCE_LENGTH_MAX,
  SCRAM_SHA_256,
  SCRAM_SHA_256_PLUS,
} from '../../../src/engine/postgres/auth/scram-message.ts';
import {
  ScramServer,
  type ScramServerOptions,
} from '../../../src/engine/postgres/auth/scram-server.ts';
import type { ScramVerifier } from '../../../src/engine/postgres/auth/scram-verifiers.ts';
import { bytes, messageOf, quickVerifier, RFC_7677, text } from './fixtures.ts';

const MALFORMED = { kind: 'failed', why: 'malformed' } as const;
const WRONG_PROOF = { kind: 'failed', why: 'wrong_proof' } as const;

let verifier: ScramVerifier;
beforeAll(async () => {
  const { password, salt, iterations } = RFC_7677;
  const keys = await ScramKeys.derive(password, salt, iterations);
  verifier = { salt, iterations, keys, isMock: false };
});

function serverWith(options: Partial<ScramServerOptions> = {}): ScramServer {
  const { serverNonce: nonce } = RFC_7677;
  return new ScramServer({ verifier, mechanism: SCRAM_SHA_256, nonce, ...options });
}

function started(options: Partial<ScramServerOptions> = {}): ScramServer {
  const server = serverWith(options);
  messageOf(server.start(bytes(RFC_7677.clientFirst)));
  return server;
}

describe('the exchange of RFC 7677', () => {
  test('server-first and server-final', () => {
    const server = serverWith();
    expect(text(messageOf(server.start(bytes(RFC_7677.clientFirst))))).toBe(RFC_7677.serverFirst);
    const final = server.finish(bytes(RFC_7677.clientFinal));
    expect(text(messageOf(final))).toBe(RFC_7677.serverFinal);
  });

  test('a mock verifier fails even when the proof is right', () => {
    const server = started({ verifier: { ...verifier, isMock: true } });
    expect(server.finish(bytes(RFC_7677.clientFinal))).toEqual(WRONG_PROOF);
  });

  test('another proof', () => {
    const final = RFC_7677.clientFinal.replace('p=dHz', 'p=dHy');
    expect(started().finish(bytes(final))).toEqual(WRONG_PROOF);
  });
});

describe('client-first', () => {
  test.each([
    ['no user name', 'n,,n=,r=abc'],
    ['any user name', 'n,,n=a=2Cb=3D!,r=abc'],
    ['a user name that is not ASCII', 'n,,n=\u00fc,r=abc'],
    ['flag y while PLUS was not offered', 'y,,n=,r=abc'],
    ['extensions', 'n,,n=,r=abc,x=1,Y=,z=a=b'],
    ['the longest nonce', `n,,n=,r=${'x'.repeat(SCRAM_NONCE_LENGTH_MAX)}`],
  ])('takes %s', (_, message) => {
    expect(serverWith().start(bytes(message)).kind).toBe('message');
  });

  test.each([
    ['nothing', ''],
    ['no header', 'n=,r=abc'],
    ['half a header', 'n,'],
    ['an unknown flag', 'z,,n=,r=abc'],
    ['a capital flag', 'N,,n=,r=abc'],
    ['a flag with a value', 'n=x,,n=,r=abc'],
    ['PLUS when it was not offered', 'p=tls-server-end-point,,n=,r=abc'],
    ['p without a name', 'p=,,n=,r=abc'],
    ['an authorisation identity', 'n,a=admin,n=,r=abc'],
    ['a mandatory extension', 'n,,m=x,n=,r=abc'],
    ['no user name', 'n,,r=abc'],
    ['no nonce', 'n,,n='],
    ['an empty nonce', 'n,,n=,r='],
    ['wrong order', 'n,,r=abc,n='],
    ['a space in the nonce', 'n,,n=,r=a b'],
    ['a control character in the nonce', 'n,,n=,r=a\u0001'],
    ['a nonce that is not ASCII', 'n,,n=,r=\u00fc'],
    ['a zero byte', 'n,,n=,r=abc\0'],
    ['a repeated nonce', 'n,,n=,r=abc,r=def'],
    ['a repeated user name', 'n,,n=,r=abc,n=x'],
    ['an empty extension', 'n,,n=,r=abc,'],
    ['garbage for an extension', 'n,,n=,r=abc,garbage'],
    ['an extension without a letter', 'n,,n=,r=abc,1=x'],
    ['a nonce that is too long', `n,,n=,r=${'x'.repeat(SCRAM_NONCE_LENGTH_MAX + 1)}`],
    ['a message that is too long', `n,,n=${'x'.repeat(SCRAM_MESSAGE_BYTES_MAX)},r=abc`],
  ])('refuses %s', (_, message) => {
    const server = serverWith();
    expect(server.start(bytes(message))).toEqual(MALFORMED);
    expect(server.finish(bytes(RFC_7677.clientFinal))).toEqual(MALFORMED);
  });
});

describe('client-final', () => {
  const [binding = '', nonce = '', proof = ''] = RFC_7677.clientFinal.split(',');

  test.each([
    ['nothing', ''],
    ['no binding', `${nonce},${proof}`],
    ['no nonce', `${binding},${proof}`],
    ['no proof', `${binding},${nonce}`],
    ['only a proof', proof],
    ['wrong order', `${nonce},${binding},${proof}`],
    ['the proof not at the end', `${binding},${nonce},${proof},x=1`],
    ['a trailing comma', `${binding},${nonce},${proof},`],
    ['a trailing byte', `${binding},${nonce},${proof}x`],
    ['a trailing zero byte', `${binding},${nonce},${proof}\0`],
    ['two proofs', `${binding},${nonce},${proof},${proof}`],
    ['two nonces', `${binding},${nonce},${nonce},${proof}`],
    ['two bindings', `${binding},${binding},${nonce},${proof}`],
    ['the binding of flag y', `c=eSws,${nonce},${proof}`],
    ['a binding that is not base64', `c=%%%,${nonce},${proof}`],
    ['another nonce', `${binding},${nonce}x,${proof}`],
    ['only our half of the nonce', `${binding},r=${RFC_7677.serverNonce},${proof}`],
    ['a proof without padding', `${binding},${nonce},${proof.slice(0, -1)}`],
    ['a proof with loose bits', `${binding},${nonce},${proof.slice(0, -2)}R=`],
    ['a proof in the alphabet for addresses', `${binding},${nonce},${proof.replace('+', '-')}`],
    ['a proof with a line break', `${binding},${nonce},${proof.slice(0, 9)}\n${proof.slice(9)}`],
    ['a short proof', `${binding},${nonce},p=AAAA`],
    ['an empty proof', `${binding},${nonce},p=`],
    ['a long proof', `${binding},${nonce},p=${Buffer.alloc(33).toString('base64')}`],
    ['too long', `${binding},${nonce},x=${'x'.repeat(SCRAM_MESSAGE_BYTES_MAX)},${proof}`],
  ])('refuses %s', (_, message) => {
    expect(started().finish(bytes(message))).toEqual(MALFORMED);
  });

  test('an extension is signed, not ignored', () => {
    const message = `${binding},${nonce},x=1,${proof}`;
    expect(started().finish(bytes(message))).toEqual(WRONG_PROOF);
  });
});

describe('order', () => {
  test('final before first', () => {
    expect(serverWith().finish(bytes(RFC_7677.clientFinal))).toEqual(MALFORMED);
  });

  test('first twice', () => {
    const server = started();
    expect(server.start(bytes(RFC_7677.clientFirst))).toEqual(MALFORMED);
    expect(server.finish(bytes(RFC_7677.clientFinal))).toEqual(MALFORMED);
  });

  test('a second attempt after a wrong proof', () => {
    const server = started();
    server.finish(bytes(RFC_7677.clientFinal.replace('p=dHz', 'p=dHy')));
    expect(server.finish(bytes(RFC_7677.clientFinal))).toEqual(MALFORMED);
  });
});

describe('channel binding', () => {
  const serverEndPoint = Buffer.alloc(32, 7);

  test.each([
    ['p without PLUS', SCRAM_SHA_256, 'p=tls-server-end-point,,'],
    ['y although PLUS was offered', SCRAM_SHA_256, 'y,,'],
    ['n with PLUS', SCRAM_SHA_256_PLUS, 'n,,'],
    ['y with PLUS', SCRAM_SHA_256_PLUS, 'y,,'],
    ['another channel', SCRAM_SHA_256_PLUS, 'p=tls-unique,,'],
  ] as const)('refuses %s', (_, mechanism, header) => {
    const server = serverWith({ mechanism, serverEndPoint });
    expect(server.start(bytes(`${header}n=,r=abc`))).toEqual(MALFORMED);
  });

  test('n while PLUS was offered', () => {
    const server = serverWith({ serverEndPoint });
    expect(server.start(bytes('n,,n=,r=abc')).kind).toBe('message');
  });

  test.each([
    ['the wrong certificate', Buffer.alloc(32, 8)],
    ['no certificate', Buffer.alloc(0)],
  ])('refuses the binding to %s', (_, channel) => {
    const server = serverWith({ mechanism: SCRAM_SHA_256_PLUS, serverEndPoint });
    const header = 'p=tls-server-end-point,,';
    messageOf(server.start(bytes(`${header}n=,r=abc`)));
    const binding = Buffer.concat([bytes(header), channel]).toString('base64');
    const proof = Buffer.alloc(32).toString('base64');
    const final = `c=${binding},r=abc${RFC_7677.serverNonce},p=${proof}`;
    expect(server.finish(bytes(final))).toEqual(MALFORMED);
  });
});

describe('any bytes', () => {
  test('never throw, and never log anybody in', async () => {
    const quick = await quickVerifier('password');
    const mutations = fc.array(fc.tuple(fc.nat(200), fc.integer({ min: 0, max: 255 })));
    fc.assert(
      fc.property(mutations, mutations, fc.uint8Array(), (first, final, junk) => {
        const server = new ScramServer({ verifier: quick, mechanism: SCRAM_SHA_256 });
        const step = server.start(mutated(RFC_7677.clientFirst, first));
        expect(server.finish(mutated(RFC_7677.clientFinal, final)).kind).toBe('failed');
        const other = new ScramServer({ verifier: quick, mechanism: SCRAM_SHA_256 });
        expect(other.start(junk).kind).toBe('failed');
        if (step.kind === 'message') expect(text(step.message)).toMatch(/^r=[!-~]+,s=[!-~]+,i=2$/);
      }),
    );
  });

  function mutated(message: string, changes: readonly (readonly [number, number])[]): Uint8Array {
    const result = bytes(message);
    for (const [index, value] of changes) result[index % result.length] = value;
    return result;
  }
});
