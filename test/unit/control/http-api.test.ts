/** The HTTP API's answers, and the server under it. */

import { describe, expect, test } from 'bun:test';
import { createServer } from 'node:net';
import { type HttpApiParts, httpApi, type ProxyReadiness } from '../../../src/control/http/api.ts';
import { HttpListenError, serveHttp } from '../../../src/control/http/server.ts';

function api(parts: Partial<HttpApiParts> = {}) {
  return httpApi({
    metrics: async () => ({ contentType: 'text/plain; version=0.0.4', body: 'x 1\n' }),
    health: () => undefined,
    readiness: () => [],
    sessions: () => ({ items: [], total: 0 }),
    pools: () => [],
    onError: (error) => {
      throw error;
    },
    allowAnonymous: true,
    aws: undefined,
    ...parts,
  });
}

async function get(path: string, parts?: Partial<HttpApiParts>, method = 'GET') {
  const response = await api(parts).fetch(new Request(`http://localhost${path}`, { method }));
  return { status: response.status, headers: response.headers, text: await response.text() };
}

describe('the API', () => {
  test('/metrics is what the metrics say', async () => {
    const { status, headers, text } = await get('/metrics');
    expect(status).toBe(200);
    expect(headers.get('content-type')).toBe('text/plain; version=0.0.4');
    expect(text).toBe('x 1\n');
  });

  test('/healthz', async () => {
    expect(await get('/healthz')).toMatchObject({ status: 200, text: '{"healthy":true}' });
    const wedged = await get('/healthz', { health: () => 'the event loop is blocked' });
    expect(wedged).toMatchObject({
      status: 503,
      text: '{"healthy":false,"reason":"the event loop is blocked"}',
    });
  });

  test('/readyz says which proxy is not ready, and why', async () => {
    const proxies: ProxyReadiness[] = [
      { proxy: 'orders', reasons: [] },
      { proxy: 'reports', reasons: ['target reports-db: UNREACHABLE'] },
    ];
    const { status, text } = await get('/readyz', { readiness: () => proxies });
    expect(status).toBe(503);
    expect(JSON.parse(text)).toEqual({
      ready: false,
      proxies: [
        { proxy: 'orders', ready: true, reasons: [] },
        { proxy: 'reports', ready: false, reasons: ['target reports-db: UNREACHABLE'] },
      ],
    });
    const ready = await get('/readyz', { readiness: () => proxies.slice(0, 1) });
    expect(ready.status).toBe(200);
  });

  test.each([
    ['GET', '/'],
    ['GET', '/metrics/x'],
    ['POST', '/metrics'],
    ['POST', '/sessions'],
    ['GET', '/pools/x'],
    ['DELETE', '/healthz'],
  ])('%s %s is not there', async (method, path) => {
    const { status, headers, text } = await get(path, {}, method);
    expect(status).toBe(404);
    expect(headers.get('content-type')).toStartWith('application/json');
    expect(JSON.parse(text)).toEqual({ error: 'there is nothing at this path' });
  });

  test('without anonymous use, only health and readiness are open', async () => {
    const closed = { allowAnonymous: false };
    expect((await get('/healthz', closed)).status).toBe(200);
    expect((await get('/readyz', closed)).status).toBe(200);
    for (const path of ['/metrics', '/sessions', '/sessions?x', '/pools', '/', '/anything']) {
      const { status, text } = await get(path, closed);
      expect(status).toBe(403);
      expect(JSON.parse(text).code).toBe('MissingAuthenticationToken');
    }
  });

  test('an error is told to the operator, not to the client', async () => {
    const errors: unknown[] = [];
    const { status, text } = await get('/metrics', {
      metrics: () => Promise.reject(new Error('hunter2')),
      onError: (error) => errors.push(error),
    });
    expect(status).toBe(500);
    expect(text).toBe('{"error":"internal error"}');
    expect(errors).toHaveLength(1);
  });
});

describe('the server', () => {
  test('serves, says which port it got, and stops', async () => {
    const server = serveHttp(api(), { host: '127.0.0.1', port: 0 });
    const url = `http://127.0.0.1:${server.address.port}/healthz`;
    expect((await fetch(url)).status).toBe(200);
    await server.stop();
    expect(fetch(url)).rejects.toThrow();
  });

  test('says when the port is in use', async () => {
    const other = createServer();
    await new Promise<void>((done) => other.listen(0, '127.0.0.1', done));
    const address = other.address();
    const port = typeof address === 'object' && address !== null ? address.port : 0;
    const serve = () => serveHttp(api(), { host: '127.0.0.1', port });
    expect(serve).toThrow(HttpListenError);
    expect(serve).toThrow(`Api.Listen: cannot listen on 127.0.0.1:${port}: the port is in use`);
    other.close();
  });
});
