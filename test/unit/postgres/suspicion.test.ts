/** What statements may have left, when a DISCARD ALL between them fails. */

import { expect, test } from 'bun:test';
import { Suspicion } from '../../../src/engine/postgres/suspicion.ts';
import { classify } from '../../../src/sql/postgres/classify.ts';

function suspect(suspicion: Suspicion, sql: string): Suspicion {
  const text = Buffer.from(sql);
  suspicion.add(classify(text, 0, text.length, 'standard'), text);
  return suspicion;
}

test('all that came before is suspected again, however many there were', () => {
  let suspicion = suspect(new Suspicion(), 'listen first');
  for (let n = 0; n < 50_000; n++) suspicion = new Suspicion(suspicion);
  suspect(suspicion, "set app.name = 'x'");
  suspicion = new Suspicion(suspicion);
  const all = suspicion.afterFailedDiscard();
  expect([...all.reasons].sort()).toEqual(['listen', 'set']);
  expect([...all.customNames]).toEqual(['app.name']);
  expect(all.digest).toBe('listen first');
  expect(all.soleSet(1)).toBeUndefined();
});

test('with one on its way, what came before is forgotten when it has succeeded', () => {
  const before = suspect(new Suspicion(), 'listen first');
  const suspicion = suspect(new Suspicion(before), 'create temp table t (a int)');
  expect([...(suspicion.afterDiscard()?.afterFailedDiscard().reasons ?? [])]).toEqual([
    'temporary_object',
  ]);
});
