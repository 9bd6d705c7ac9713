/** Logins that must not succeed, or that never finish: one ends at every step there is. */

import { connect } from 'node:net';
import { connect as connectTls } from 'node:tls';
import {
  cancelRequest,
  saslInitialResponse,
  sslRequest,
  startup,
} from '../../bench/wire/messages.ts';
import { type Address, RawClient } from '../../bench/wire/raw-client.ts';
import { ScramClient } from '../../bench/wire/scram.ts';
import type { Stage } from './actor.ts';
import type { Random } from './random.ts';

const PAUSE_MAX_MS = 10;
const NONSENSE = Buffer.from('GET / HTTP/1.1\r\nHost: nobody\r\n\r\n');

type BadLogin = (stage: Stage, random: Random) => Promise<void>;

/** Says something, waits a moment, and is gone. */
function saying(words: (stage: Stage, random: Random) => Buffer): BadLogin {
  return async (stage, random) => {
    const client = await RawClient.open(stage.address).catch(() => undefined);
    client?.send(words(stage, random));
    await Bun.sleep(random.between(0, PAUSE_MAX_MS));
    client?.reset();
  };
}

function startupOf({ credentials }: Stage): Buffer {
  const { user, database } = credentials;
  return startup({ user, database });
}

/** Up to the server's first question, or one step further. */
const inScram: BadLogin = async (stage, random) => {
  const client = await RawClient.open(stage.address).catch(() => undefined);
  if (client === undefined) return;
  client.send(startupOf(stage));
  await client.receive().catch(() => undefined);
  if (random.chance(0.5)) {
    const scram = new ScramClient(stage.credentials.password);
    client.send(saslInitialResponse('SCRAM-SHA-256', scram.first()));
    if (random.chance(0.5)) await client.receive().catch(() => undefined);
  }
  client.reset();
};

const withWrongPassword: BadLogin = async ({ address, credentials, findings }) => {
  try {
    const client = await RawClient.connect(address, { ...credentials, password: 'not this' });
    client.reset();
    findings.violation('login', 'a wrong password was accepted');
  } catch {
    findings.count('wrong password refused');
  }
};

/** Cut at any byte of the client's first flight. */
const inHandshake: BadLogin = async ({ address }, random) => {
  const client = await RawClient.open(address).catch(() => undefined);
  if (client === undefined) return;
  const answered = new Promise<void>((resolve) => {
    client.onBytes = () => resolve();
  });
  client.send(sslRequest());
  await Promise.race([answered, Bun.sleep(1_000)]);
  const hello = await clientHello();
  client.send(hello.subarray(0, random.between(1, hello.length)));
  await Bun.sleep(random.between(0, PAUSE_MAX_MS));
  client.reset();
};

/** A handshake that ends well, and then a start-up packet that never becomes whole. */
const afterHandshake: BadLogin = async (stage, random) => {
  const socket = await openTls(stage.address);
  if (socket === undefined) return;
  const packet = startupOf(stage);
  socket.write(packet.subarray(0, random.between(0, packet.length)));
  await Bun.sleep(random.between(0, PAUSE_MAX_MS));
  socket.destroy();
};

function openTls({ host, port }: Address) {
  const { promise, resolve } = Promise.withResolvers<ReturnType<typeof connectTls> | undefined>();
  const plain = connect({ host, port });
  plain.once('error', () => resolve(undefined));
  plain.once('close', () => resolve(undefined));
  plain.once('connect', () => plain.write(sslRequest()));
  plain.once('data', () => {
    const secured = connectTls({ socket: plain, rejectUnauthorized: false });
    secured.once('error', () => resolve(undefined));
    secured.once('secureConnect', () => resolve(secured));
  });
  return promise;
}

let knownHello: Promise<Buffer> | undefined;

/** What a TLS client says first, from one that speaks to nobody. */
function clientHello(): Promise<Buffer> {
  knownHello ??= new Promise((resolve) => {
    const listener = Bun.listen({
      hostname: '127.0.0.1',
      port: 0,
      socket: {
        data(socket, bytes) {
          resolve(Buffer.from(bytes));
          socket.terminate();
          listener.stop(true);
        },
      },
    });
    connectTls({ host: '127.0.0.1', port: listener.port }).on('error', () => undefined);
  });
  return knownHello;
}

const BAD_LOGINS: readonly BadLogin[] = [
  saying(() => Buffer.alloc(0)),
  saying((stage, random) => startupOf(stage).subarray(0, random.between(1, 20))),
  saying(() => NONSENSE),
  saying(() => sslRequest()),
  saying(() => sslRequest().subarray(0, 5)),
  saying((stage) => startupOf(stage)),
  saying(() => cancelRequest({ processId: 1, secret: 1 }).subarray(0, 12)),
  inScram,
  withWrongPassword,
];

/** For a subject that has TLS. */
const BAD_TLS_LOGINS: readonly BadLogin[] = [inHandshake, afterHandshake];

export async function loginBadly(stage: Stage, random: Random): Promise<void> {
  stage.findings.count('bad login');
  const choice = stage.hasTls ? [...BAD_LOGINS, ...BAD_TLS_LOGINS] : BAD_LOGINS;
  await random.pick(choice)(stage, random);
}
