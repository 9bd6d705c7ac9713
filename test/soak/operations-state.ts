/**
 * What a session leaves in its database connection, and a look at what is there: exactly what
 * this session put, and nothing that anybody else left behind.
 */

import { query } from '../../bench/wire/messages.ts';
import type { Operation } from './operations.ts';
import { cleanState, type Session } from './session.ts';

async function run(session: Session, sql: string): Promise<boolean> {
  return (await session.exchange(query(sql))).errors.length === 0;
}

async function inspect(session: Session): Promise<void> {
  const { state } = session;
  const reply = await session.exchange(
    query(`select coalesce(current_setting('soak.owner', true), ''),
      (select count(*) from pg_class where relnamespace = pg_my_temp_schema() and relkind = 'r'),
      (select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()),
      (select count(*) from pg_prepared_statements where from_sql),
      (select count(*) from pg_cursors),
      (select count(*) from pg_listening_channels() where not ${state.isListening})`),
  );
  if (reply.errors.length > 0) return;
  const expected = [
    state.owner,
    ...[state.temporary, state.hasAdvisoryLock, state.prepared, state.hasCursor].map(countOf),
    // What this session listens to may be somewhere else; on its connection there is nobody else's.
    '0',
  ];
  const got = reply.rows[0] ?? [];
  if (expected.some((value, index) => value !== got[index])) {
    session.violation('session_state', `has ${got.join(' ')}, should have ${expected.join(' ')}`);
  }
}

function countOf(thing: string | boolean | undefined): string {
  return thing ? '1' : '0';
}

async function setOwner(session: Session): Promise<void> {
  const { marker } = session;
  if (await run(session, `set soak.owner = '${marker}'`)) session.state.owner = marker;
}

async function temporaryTable(session: Session): Promise<void> {
  const { marker, state } = session;
  if (state.temporary === undefined) {
    if (!(await run(session, `create temporary table mine as select '${marker}' as marker`)))
      return;
    state.temporary = marker;
  }
  session.expectRows(await session.exchange(query('select marker from mine')), [state.temporary]);
}

async function advisoryLock(session: Session): Promise<void> {
  const { state, actor } = session;
  const call = state.hasAdvisoryLock ? 'pg_advisory_unlock' : 'pg_advisory_lock';
  if (await run(session, `select ${call}(${actor})`))
    state.hasAdvisoryLock = !state.hasAdvisoryLock;
}

async function sqlPrepare(session: Session): Promise<void> {
  const { marker, state } = session;
  if (state.prepared === undefined) {
    if (!(await run(session, `prepare mine as select '${marker}'`))) return;
    state.prepared = marker;
  }
  session.expectRows(await session.exchange(query('execute mine')), [state.prepared]);
}

async function holdCursor(session: Session): Promise<void> {
  const { marker, state } = session;
  if (!state.hasCursor) {
    const select = `select '${marker}' from generate_series(1, 100)`;
    state.hasCursor = await run(session, `declare mine cursor with hold for ${select}`);
    return;
  }
  const reply = await session.exchange(query('fetch 3 from mine'));
  if (reply.errors.length === 0 && reply.rows.length > 3) {
    session.violation('wrong_rows', 'FETCH 3 gave more');
  }
}

async function listen(session: Session): Promise<void> {
  const { marker, state, actor } = session;
  if (!state.isListening) {
    // Before the reply: a notification may come with it.
    state.isListening = true;
    if (!(await run(session, `listen soak_${actor}`))) {
      state.isListening = false;
      return;
    }
  }
  const reply = await session.exchange(query(`notify soak_${actor}, '${marker}'`));
  // It follows CommandComplete, before or after ReadyForQuery; an empty query flushes it out.
  const later = await session.exchange(query(''));
  const heard = [...reply.notifications, ...later.notifications];
  if (reply.errors.length === 0 && !heard.some((payload) => payload.includes(marker))) {
    session.violation('session_state', 'the notification did not come');
  }
}

async function unlisten(session: Session, isAll: boolean): Promise<void> {
  const channel = isAll ? '*' : `soak_${session.actor}`;
  if (await run(session, `unlisten ${channel}`)) session.state.isListening = false;
}

async function discard(session: Session): Promise<void> {
  if (!(await run(session, 'discard all'))) return;
  session.state = cleanState();
  // DISCARD ALL deallocates statements that were prepared in the protocol, too.
  session.named.clear();
}

const pins = { needsPinning: true } as const;

export const STATE_OPERATIONS: readonly Operation[] = [
  { needsPinning: false, name: 'inspect', weight: 10, run: (s) => inspect(s) },
  { ...pins, name: 'set', weight: 2, run: (s) => setOwner(s) },
  { ...pins, name: 'temporary table', weight: 2, run: (s) => temporaryTable(s) },
  { ...pins, name: 'advisory lock', weight: 2, run: (s) => advisoryLock(s) },
  { ...pins, name: 'sql prepare', weight: 2, run: (s) => sqlPrepare(s) },
  { ...pins, name: 'hold cursor', weight: 2, run: (s) => holdCursor(s) },
  { ...pins, name: 'listen', weight: 2, run: (s) => listen(s) },
  { ...pins, name: 'unlisten', weight: 2, run: (s, random) => unlisten(s, random.chance(0.5)) },
  { ...pins, name: 'discard all', weight: 2, run: (s) => discard(s) },
];
