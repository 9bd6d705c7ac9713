/**
 * Which DB instance of a cluster is the writer, out of what each says of itself. Pure: what was seen goes
 * in, the next view comes out, and what is remembered is a part of the view.
 *
 * Nothing is taken from names, from the configuration's order or from the network. Who has been promoted
 * last is the writer: PostgreSQL counts promotions itself (the timeline), of others we remember whom we
 * have seen to begin to take writes. Who was passed over once, a former writer that has come back for
 * example, is not the writer before it has been seen as a reader in between, or the last writer follows it:
 * it lacks what was written elsewhere. In doubt there is no writer, and clients wait.
 */

/** What a DB instance says of its part in replication. */
export interface Standing {
  /** It refuses to write: it is in recovery, or read-only for everybody. */
  readonly isReadOnly: boolean;
  /** The instance that it is set up to follow; undefined: none, or it does not tell. */
  readonly source: Source | undefined;
  /** What others call it that follow it; undefined when it does not tell. */
  readonly serverId: string | undefined;
  /** PostgreSQL: counts the promotions in its history. Told by who is not in recovery. */
  readonly timeline: number | undefined;
  /** How far it has got, in bytes of the log; only numbers of the same cluster can be compared. */
  readonly position: number | undefined;
  /** How far what can be read here is behind the writer; undefined when it does not tell, or is the writer. */
  readonly lagMs: number | undefined;
}

export interface Source {
  readonly serverId: string | undefined;
  /** It gets changes from there, or tries to. */
  readonly isRunning: boolean;
}

/** `silent`: it does not answer. `unseen`: nobody knows yet. */
export type Sight = Standing | 'silent' | 'unseen';

export interface Seen {
  readonly id: string;
  readonly sight: Sight;
}

export interface View {
  readonly writer: string | undefined;
  /** Those that answer and take no writes. */
  readonly readers: readonly string[];
  /** Goes up with every writer that is another than the one before. */
  readonly generation: number;
  /** How this writer was found, or why there is none; ends a sentence. */
  readonly why: string;
  /** Who has to be cut off from now on: it was the writer. */
  readonly fenced: string | undefined;
  readonly memory: Memory;
}

/** What is remembered of earlier views. */
interface Memory {
  /** Who was the writer last, also when there is none now. */
  readonly last: string | undefined;
  /** It has been cut off since. */
  readonly isLastFenced: boolean;
  /** Of the last writer. */
  readonly timeline: number;
  /** How the others were when they answered last. */
  readonly parts: ReadonlyMap<string, Part>;
  /** When each was seen to begin to take writes; higher is later. */
  readonly promotions: ReadonlyMap<string, number>;
  /** They took writes when another was taken for the writer. */
  readonly passedOver: ReadonlySet<string>;
}

/** `halted`: it takes writes, but is set up to follow somebody and has been told to pause. */
type Part = 'writing' | 'halted' | 'reading';

export const NO_VIEW: View = {
  writer: undefined,
  readers: [],
  generation: 0,
  why: 'nobody has been asked yet',
  fenced: undefined,
  memory: {
    last: undefined,
    isLastFenced: true,
    timeline: 0,
    parts: new Map(),
    promotions: new Map(),
    passedOver: new Set(),
  },
};

/** The view of a target that is one DB instance: whatever it says, requests go there. */
export function soleView(id: string): View {
  return { ...NO_VIEW, writer: id, generation: 1, why: 'it is the only DB instance' };
}

interface Candidate {
  readonly id: string;
  readonly part: Part;
  readonly timeline: number;
  readonly promotion: number;
  readonly followers: number;
}

interface Choice {
  readonly chosen: Candidate | undefined;
  readonly why: string;
}

export function nextView(before: View, members: readonly Seen[]): View {
  const memory = remember(before.memory, members);
  const candidates = candidatesOf(members, memory);
  const { chosen, why } = choose(candidates, members, memory);
  const { last } = memory;
  const isAnother = chosen !== undefined && chosen.id !== last;
  const isBack = chosen !== undefined && chosen.id === last && memory.isLastFenced;
  const hasLostRole = last !== undefined && (isAnother || memory.parts.get(last) === 'reading');
  const mustFence = hasLostRole && !memory.isLastFenced;
  return {
    writer: chosen?.id,
    readers: members.filter(({ sight }) => partOf(sight) === 'reading').map(({ id }) => id),
    generation: before.generation + (isAnother || isBack ? 1 : 0),
    why,
    fenced: mustFence ? last : undefined,
    memory: {
      ...memory,
      last: chosen?.id ?? last,
      isLastFenced: chosen === undefined ? memory.isLastFenced || mustFence : false,
      timeline: Math.max(memory.timeline, chosen?.timeline ?? 0),
      passedOver: chosen === undefined ? memory.passedOver : passedOver(memory, candidates, chosen),
    },
  };
}

/** Forgets who is no member any more, and takes in what each says now. */
function remember(before: Memory, members: readonly Seen[]): Memory {
  const isMember = (id: string) => members.some((member) => member.id === id);
  const parts = new Map([...before.parts].filter(([id]) => isMember(id)));
  const promotions = new Map([...before.promotions].filter(([id]) => isMember(id)));
  const passedOver = new Set([...before.passedOver].filter(isMember));
  for (const { id, sight } of members) {
    const part = partOf(sight);
    if (part === undefined) continue;
    if (part === 'writing' && parts.get(id) === 'reading') {
      promotions.set(id, 1 + Math.max(0, ...promotions.values()));
      passedOver.delete(id);
    }
    if (part === 'reading') passedOver.delete(id);
    parts.set(id, part);
  }
  const isLastHere = before.last !== undefined && isMember(before.last);
  return {
    last: isLastHere ? before.last : undefined,
    isLastFenced: isLastHere ? before.isLastFenced : true,
    // Of another database altogether, perhaps: who replaces all members begins anew.
    timeline: isLastHere ? before.timeline : 0,
    parts,
    promotions,
    passedOver,
  };
}

function partOf(sight: Sight): Part | undefined {
  if (typeof sight === 'string') return undefined;
  if (sight.isReadOnly || sight.source?.isRunning === true) return 'reading';
  return sight.source === undefined ? 'writing' : 'halted';
}

function candidatesOf(members: readonly Seen[], memory: Memory): readonly Candidate[] {
  const all = members.flatMap(({ id, sight }) => {
    const part = partOf(sight);
    if (typeof sight === 'string' || part === undefined || part === 'reading') return [];
    const { serverId, timeline = 0 } = sight;
    const promotion = memory.promotions.get(id) ?? 0;
    const followers = followersOf(serverId, members);
    return [{ id, part, serverId, timeline, promotion, followers }];
  });
  const last = members.find(({ id }) => id === memory.last);
  return all.filter(({ id, serverId, timeline }) => {
    const isNewer = timeline > memory.timeline;
    const isOlder = timeline > 0 && timeline < memory.timeline;
    // It lacks nothing that the last writer has, if that gets its changes from there now.
    const isFollowedByLast = last !== undefined && followersOf(serverId, [last]) > 0;
    return isNewer || isFollowedByLast || !(isOlder || memory.passedOver.has(id));
  });
}

function followersOf(serverId: string | undefined, members: readonly Seen[]): number {
  if (serverId === undefined) return 0;
  return members.filter(
    ({ sight }) => typeof sight !== 'string' && sight.source?.serverId === serverId,
  ).length;
}

function choose(
  candidates: readonly Candidate[],
  members: readonly Seen[],
  memory: Memory,
): Choice {
  const { last } = memory;
  const writing = candidates.filter(({ part }) => part === 'writing');
  // Who follows somebody is the writer only where there is no other.
  const able = writing.length > 0 ? writing : candidates;
  const current = able.find(({ id }) => id === last);
  const [best, second] = able.toSorted((a, b) => ahead(b, a));
  if (current !== undefined && best !== undefined) {
    if (!isNewer(best, current)) return { chosen: current, why: `${current.id} takes writes` };
    return { chosen: best, why: `${best.id} has been promoted since` };
  }
  if (best === undefined) return { chosen: undefined, why: whyNobody(members, memory) };
  // Somebody who has not been asked yet may be the one.
  const unseen = members.filter(({ sight }) => sight === 'unseen').map(({ id }) => id);
  if (last === undefined && unseen.length > 0) {
    return { chosen: undefined, why: `${listed(unseen)} ${has(unseen)} not answered yet` };
  }
  if (second !== undefined && ahead(best, second) === 0) {
    const both = able.filter((each) => ahead(best, each) === 0).map(({ id }) => id);
    return { chosen: undefined, why: `${listed(both)} all take writes, and none is newer` };
  }
  return { chosen: best, why: `${best.id} takes writes` };
}

/** Positive when `a` has the better claim. */
function ahead(a: Candidate, b: Candidate): number {
  return a.timeline - b.timeline || a.promotion - b.promotion || a.followers - b.followers;
}

/** Whether `a` was promoted after `b`. */
function isNewer(a: Candidate, b: Candidate): boolean {
  return a.timeline === b.timeline ? a.promotion > b.promotion : a.timeline > b.timeline;
}

function passedOver(
  memory: Memory,
  candidates: readonly Candidate[],
  chosen: Candidate,
): ReadonlySet<string> {
  const all = new Set(memory.passedOver);
  for (const { id, part } of candidates) {
    // Who is halted may well be promoted later, and nobody would see it begin to take writes.
    if (part === 'writing') all.add(id);
  }
  const { last } = memory;
  if (last !== undefined && memory.parts.get(last) !== 'reading') all.add(last);
  all.delete(chosen.id);
  return all;
}

function whyNobody(members: readonly Seen[], { last }: Memory): string {
  if (members.length === 0) return 'it has no DB instances';
  const named = (isWanted: (sight: Sight) => boolean) =>
    members.filter(({ sight }) => isWanted(sight)).map(({ id }) => id);
  const silent = named((sight) => sight === 'silent');
  const reading = named((sight) => partOf(sight) === 'reading');
  const parts = [
    silent.length > 0 ? `${listed(silent)} ${does(silent)} not answer` : undefined,
    reading.length > 0 ? `${listed(reading)} ${takes(reading)} no writes` : undefined,
  ].filter((part) => part !== undefined);
  const stale = named((sight) => partOf(sight) === 'writing');
  if (stale.length > 0) {
    parts.push(
      `${listed(stale)} ${takes(stale)} writes but may lack what ${last ?? 'another'} has`,
    );
  }
  return parts.length === 0 ? 'nobody has been asked yet' : parts.join('; ');
}

function listed(ids: readonly string[]): string {
  return ids.length < 3
    ? ids.join(' and ')
    : `${ids.slice(0, -1).join(', ')} and ${ids.at(-1) ?? ''}`;
}

const has = (ids: readonly string[]) => (ids.length === 1 ? 'has' : 'have');
const does = (ids: readonly string[]) => (ids.length === 1 ? 'does' : 'do');
const takes = (ids: readonly string[]) => (ids.length === 1 ? 'takes' : 'take');
