/** Who is the writer: what happens to a cluster, step by step, and the view after each step. */

import { describe, expect, test } from 'bun:test';
import {
  NO_VIEW,
  nextView,
  type Sight,
  type Standing,
  type View,
} from '../../../src/target/topology.ts';

const NOTHING: Standing = {
  isReadOnly: false,
  source: undefined,
  serverId: undefined,
  timeline: undefined,
  position: undefined,
  lagMs: undefined,
};

// PostgreSQL.
const primary = (timeline: number): Sight => ({ ...NOTHING, timeline });
const standby: Sight = { ...NOTHING, isReadOnly: true };
// MySQL and MariaDB. A replica of theirs takes writes, unless somebody has told it not to.
const source = (serverId: string): Sight => ({ ...NOTHING, serverId });
const replica = (of: string, serverId = 'r'): Sight => ({
  ...NOTHING,
  isReadOnly: true,
  serverId,
  source: { serverId: of, isRunning: true },
});
const writableReplica = (of: string): Sight => ({
  ...NOTHING,
  source: { serverId: of, isRunning: true },
});
/** Told to pause, and still set up to follow. */
const halted = (of: string): Sight => ({
  ...NOTHING,
  source: { serverId: of, isRunning: false },
});
const readOnly: Sight = { ...NOTHING, isReadOnly: true };

type Members = Readonly<Record<string, Sight>>;

/** The members as they are seen, and what comes of it: `writer`, `+writer` with a new generation. */
type Step = readonly [Members, string, { fenced?: string; readers?: string; why?: string }?];

const SCENARIOS: Readonly<Record<string, readonly Step[]>> = {
  'a primary with two standbys, from the start': [
    [{ a: 'unseen', b: 'unseen', c: 'unseen' }, 'none'],
    [{ a: 'unseen', b: standby, c: standby }, 'none', { why: 'b and c take no writes' }],
    [{ a: primary(1), b: standby, c: standby }, '+a', { readers: 'b c', why: 'a takes writes' }],
    [{ a: primary(1), b: standby, c: standby }, 'a'],
  ],
  'nobody is the writer before everybody has been asked': [
    [{ a: primary(1), b: 'unseen' }, 'none', { why: 'b has not answered yet' }],
    [{ a: primary(1), b: primary(2) }, '+b'],
  ],
  'but who does not answer holds nobody up': [[{ a: primary(1), b: 'silent' }, '+a']],
  'the writer dies, and a standby is promoted': [
    [{ a: primary(1), b: standby, c: standby }, '+a'],
    [
      { a: 'silent', b: standby, c: standby },
      'none',
      { why: 'a does not answer; b and c take no writes' },
    ],
    [{ a: 'silent', b: primary(2), c: standby }, '+b', { fenced: 'a', readers: 'c' }],
    [{ a: 'silent', b: primary(2), c: standby }, 'b'],
  ],
  'the writer restarts where it was': [
    [{ a: primary(1), b: standby }, '+a'],
    [{ a: 'silent', b: standby }, 'none'],
    [{ a: primary(1), b: standby }, 'a'],
  ],
  'a standby is promoted while the writer goes on: it wins, and the old one is cut off': [
    [{ a: primary(1), b: standby }, '+a'],
    [{ a: primary(1), b: primary(2) }, '+b', { fenced: 'a', why: 'b has been promoted since' }],
    [{ a: primary(1), b: primary(2) }, 'b'],
  ],
  'the old writer is the writer again before anybody saw it as a reader: the one in between follows it':
    [
      [{ a: source('1'), b: replica('1', '2') }, '+a'],
      [{ a: 'silent', b: source('2') }, '+b', { fenced: 'a' }],
      [{ a: source('1'), b: 'silent' }, 'none'],
      [{ a: source('1'), b: replica('1', '2') }, '+a', { fenced: 'b', readers: 'b' }],
    ],
  'the old writer comes back as a second one, and is not the writer even when the new one is away':
    [
      [{ a: primary(1), b: standby }, '+a'],
      [{ a: 'silent', b: primary(2) }, '+b', { fenced: 'a' }],
      [{ a: primary(1), b: primary(2) }, 'b'],
      [
        { a: primary(1), b: 'silent' },
        'none',
        { why: 'b does not answer; a takes writes but may lack what b has' },
      ],
      [{ a: standby, b: 'silent' }, 'none'],
      [{ a: primary(3), b: 'silent' }, '+a', { fenced: 'b' }],
    ],
  'two primaries at the start: the higher timeline': [[{ a: primary(4), b: primary(3) }, '+a']],
  'two primaries at the start, and nothing tells them apart: nobody': [
    [
      { a: primary(1), b: primary(1) },
      'none',
      { why: 'a and b all take writes, and none is newer' },
    ],
    [{ a: primary(1), b: standby }, '+a'],
  ],
  'flapping: whoever was promoted last, and each former writer is cut off once': [
    [{ a: primary(1), b: standby }, '+a'],
    [{ a: standby, b: primary(2) }, '+b', { fenced: 'a' }],
    [{ a: primary(3), b: standby }, '+a', { fenced: 'b' }],
    [{ a: standby, b: primary(4) }, '+b', { fenced: 'a' }],
    [{ a: standby, b: primary(4) }, 'b'],
  ],
  'a planned switch: the writer becomes a reader first': [
    [{ a: primary(1), b: standby }, '+a'],
    [{ a: standby, b: standby }, 'none', { fenced: 'a', readers: 'a b' }],
    [{ a: standby, b: standby }, 'none'],
    [{ a: standby, b: primary(2) }, '+b', { readers: 'a' }],
  ],
  'the writer is read-only for a while': [
    [{ a: source('1'), b: replica('1') }, '+a'],
    [{ a: readOnly, b: replica('1') }, 'none', { fenced: 'a' }],
    [{ a: source('1'), b: replica('1') }, '+a'],
  ],
  'an instance is added, and is a reader': [
    [{ a: primary(1) }, '+a'],
    [{ a: primary(1), b: 'unseen' }, 'a'],
    [{ a: primary(1), b: standby }, 'a', { readers: 'b' }],
  ],
  'an instance is added that takes writes: it is of another cluster, perhaps': [
    [{ a: source('1') }, '+a'],
    [{ a: source('1'), b: source('2') }, 'a'],
    [{ a: 'silent', b: source('2') }, 'none'],
  ],
  'the writer is removed: whoever takes writes, and what was known of it is forgotten': [
    [{ a: primary(7), b: standby }, '+a'],
    [{ b: standby }, 'none'],
    [{ b: primary(2) }, '+b'],
  ],
  'all members are replaced by others': [
    [{ a: primary(7), b: standby }, '+a'],
    [{ c: primary(1), d: standby }, '+c', { readers: 'd' }],
  ],
  'MySQL: a replica is promoted while the source goes on': [
    [{ a: source('1'), b: replica('1') }, '+a'],
    [{ a: source('1'), b: source('2') }, '+b', { fenced: 'a' }],
  ],
  'MySQL: the source comes back as a second one': [
    [{ a: source('1'), b: replica('1') }, '+a'],
    [{ a: 'silent', b: source('2') }, '+b', { fenced: 'a' }],
    [{ a: source('1'), b: source('2') }, 'b'],
    [{ a: source('1'), b: 'silent' }, 'none'],
    // Somebody has made it a replica of the new one since, and then promoted it.
    [{ a: replica('2'), b: 'silent' }, 'none'],
    [{ a: source('1'), b: 'silent' }, '+a', { fenced: 'b' }],
  ],
  'MySQL: two sources at the start: the one that replicas follow': [
    [{ a: source('1'), b: source('2'), c: replica('2', '3') }, '+b', { readers: 'c' }],
  ],
  'MySQL: a replica that would take writes is none that does': [
    [{ a: source('1'), b: writableReplica('1') }, '+a', { readers: 'b' }],
    [{ a: 'silent', b: writableReplica('1') }, 'none'],
  ],
  'MySQL: replication is paused for a while, and that is no promotion': [
    [{ a: source('1'), b: writableReplica('1') }, '+a'],
    [{ a: source('1'), b: halted('1') }, 'a'],
    [{ a: source('1'), b: writableReplica('1') }, 'a'],
  ],
  'MySQL: promoted by halting it, when the source is gone': [
    [{ a: source('1'), b: replica('1') }, '+a'],
    [{ a: 'silent', b: replica('1') }, 'none'],
    [{ a: 'silent', b: halted('1') }, '+b', { fenced: 'a' }],
    [{ a: 'silent', b: source('2') }, 'b'],
  ],
  'no members at all': [[{}, 'none', { why: 'it has no DB instances' }]],
};

describe('the view of a cluster', () => {
  for (const [title, steps] of Object.entries(SCENARIOS)) {
    test(title, () => {
      let view: View = NO_VIEW;
      for (const [index, [members, expected, more = {}]] of steps.entries()) {
        const before = view;
        view = nextView(
          before,
          Object.entries(members).map(([id, sight]) => ({ id, sight })),
        );
        const isNew = view.generation > before.generation ? '+' : '';
        const seen = {
          step: index,
          writer: `${isNew}${view.writer ?? 'none'}`,
          fenced: view.fenced,
        };
        expect(seen).toEqual({ step: index, writer: expected, fenced: more.fenced });
        if (more.readers !== undefined) expect(view.readers.join(' ')).toBe(more.readers);
        if (more.why !== undefined) expect(view.why).toBe(more.why);
      }
    });
  }

  test('a lagging reader stays a reader', () => {
    const lagging = { ...NOTHING, isReadOnly: true, lagMs: 60_000, position: 1 };
    const view = nextView(NO_VIEW, [
      { id: 'a', sight: primary(1) },
      { id: 'b', sight: lagging },
    ]);
    expect(view).toMatchObject({ writer: 'a', readers: ['b'] });
  });
});
