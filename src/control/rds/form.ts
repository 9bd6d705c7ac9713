/**
 * Reads the form that an AWS Query API takes: `Auth.member.1.SecretArn=...` is the member `SecretArn` of
 * the first item of the list `Auth`. What comes out is a tree of texts; `parameters.ts` says what it means.
 */

import { Fault } from '../aws/fault.ts';

/** More than any operation takes: 200 entries of `Auth` have six members each. */
export const PARAMETERS_MAX = 2_000;
const DEPTH_MAX = 8;

export interface FormTree {
  readonly [name: string]: FormTree | string;
}

interface GrowingTree {
  [name: string]: GrowingTree | string;
}

/** Throws `Fault`. */
export function readForm(body: string): FormTree {
  const tree = emptyTree();
  let count = 0;
  for (const [path, value] of new URLSearchParams(body)) {
    if (++count > PARAMETERS_MAX)
      throw malformed(`there are more than ${PARAMETERS_MAX} parameters`);
    put(tree, path, value);
  }
  return tree;
}

function put(tree: GrowingTree, path: string, value: string): void {
  const steps = path.split('.');
  const last = steps.pop() ?? '';
  if (steps.length >= DEPTH_MAX) throw malformed('a parameter is nested too deep');
  let place = tree;
  for (const step of steps) {
    const inner = place[step] ?? emptyTree();
    if (typeof inner === 'string') throw malformed(`the parameter ${path} is there twice`);
    place[step] = inner;
    place = inner;
  }
  if (place[last] !== undefined) throw malformed(`the parameter ${path} is there twice`);
  place[last] = value;
}

/** Without a prototype, so that `constructor` is a name like any other. */
function emptyTree(): GrowingTree {
  return Object.create(null);
}

function malformed(why: string): Fault {
  return new Fault('MalformedQueryString', `The query string is malformed: ${why}.`);
}

/** The items of a list, in the order of their numbers; undefined when it is none. */
export function listItems(
  tree: FormTree | string,
  itemNames: readonly string[],
): readonly (FormTree | string)[] | undefined {
  // An empty list is sent as an empty text.
  if (typeof tree === 'string') return tree === '' ? [] : undefined;
  const [name, ...others] = Object.keys(tree);
  if (name === undefined || others.length > 0 || !itemNames.includes(name)) return undefined;
  const items = tree[name];
  if (items === undefined || typeof items === 'string') return undefined;
  const entries = Object.entries(items);
  if (entries.some(([index]) => !/^[1-9]\d{0,5}$/.test(index))) return undefined;
  return entries.sort(([a], [b]) => Number(a) - Number(b)).map(([, item]) => item);
}
