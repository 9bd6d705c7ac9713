/** What a client may ask for first, where there is no TLS to be had. */

import { expect, test } from 'bun:test';
import { TimerWheel } from '../../../src/base/timer-wheel.ts';
import type { EngineSettings } from '../../../src/engine/contract.ts';
import { ClientLogin } from '../../../src/engine/postgres/login/client-login.ts';
import type { LoginHost } from '../../../src/engine/postgres/login/login-host.ts';
import { EndpointCounters } from '../../../src/observe/counters.ts';
import * as frontend from '../../harness/frontend-messages.ts';
import { FakeSocket } from './fake-session.ts';

/** A client that has just connected, and how its login ended. */
function connected() {
  const ended: string[] = [];
  const unused = () => {
    throw new Error('nobody gets this far');
  };
  const clientTls = { accept: undefined, isRequired: false, isCertificateRequired: false };
  const host: LoginHost = {
    endpoint: {
      proxy: 'orders',
      name: 'default',
      wheel: new TimerWheel(0),
      observer: { emit: () => undefined },
      counters: new EndpointCounters(),
      limits: { loginTimeoutMs: 15_000, clientTls } as EngineSettings,
      isReadOnly: false,
      hubFor: unused,
      sessionClosed: unused,
    },
    encrypted: unused,
    tlsFailed: unused,
    admit: unused,
    credentialFor: unused,
    checkToken: unused,
    authenticationFailed: unused,
    poolFor: unused,
    poolLeft: unused,
    borrowFailed: unused,
    priorityOf: unused,
    loggedIn: unused,
    replicationPool: unused,
    replicating: unused,
    cancel: unused,
    loginEnded: (reason) => ended.push(reason),
  };
  const socket = new FakeSocket();
  new ClientLogin(socket.stream, host);
  return { socket, ended };
}

const SSL = ['SSLRequest', frontend.sslRequest()] as const;
const GSS = ['GSSENCRequest', frontend.gssEncRequest()] as const;

test.each([
  [SSL, GSS],
  [GSS, SSL],
] as const)('PG-02 both are refused once, in either order (%#)', (one, other) => {
  const { socket, ended } = connected();
  socket.arrives(one[1]);
  expect(socket.taken().toString()).toBe('N');
  socket.arrives(other[1]);
  expect(socket.taken().toString()).toBe('N');
  expect(ended).toEqual([]);
});

test.each([SSL, GSS])('PG-02 a second %s is a violation', (_name, request) => {
  const { socket, ended } = connected();
  socket.arrives(request);
  socket.arrives(request);
  expect(socket.taken().toString()).toStartWith('NE');
  expect(ended).toEqual(['protocol_violation']);
  expect(socket.isOpen).toBe(false);
});

test('PG-03 TLS at once is closed without a word', () => {
  const { socket, ended } = connected();
  socket.arrives(Buffer.from([0x16, 3, 1, 2, 0, 1, 0]));
  expect(socket.taken()).toHaveLength(0);
  expect(ended).toEqual(['protocol_violation']);
  expect(socket.isOpen).toBe(false);
});
