/** What a conformance case does, whichever way it was written down. */

import type { MysqlProduct } from '../../../src/embedded/mysql.ts';
import type { AnswerForm } from '../../harness/mysql/answer-reader.ts';

/** What a command needs to know when it is sent. */
export interface Context {
  /** The id of a statement that the session prepared under a name of the case. */
  readonly statement: (name: string) => number;
  readonly capabilities: number;
  /** Puts the connection ids of sessions in place of `${id NAME}`. */
  readonly fill: (text: string) => string;
}

export interface Command {
  readonly encode: (context: Context) => Buffer;
  /** What its answer looks like; undefined when it has none. */
  readonly form: AnswerForm | undefined;
  /** The name for the statement that is prepared. */
  readonly prepares?: string;
}

export interface ChangeUser {
  readonly user: string;
  readonly password: string;
  readonly database: string;
}

export type Step =
  /** Go on in another session; it is opened when it is first named. */
  | { readonly kind: 'session'; readonly name: string }
  /** End the session and open it anew. */
  | { readonly kind: 'reconnect' }
  /** Write commands: at once, or in pieces of these lengths. */
  | {
      readonly kind: 'send';
      readonly commands: readonly Command[];
      readonly split: readonly number[];
    }
  /** Read the answers to all that was sent. */
  | { readonly kind: 'read' }
  /** Read until the connection is closed. */
  | { readonly kind: 'closed' }
  /** Wait until root gets a row for this. */
  | { readonly kind: 'eventually'; readonly sql: string }
  | ({ readonly kind: 'change user' } & ChangeUser)
  /** SQL and its whole answer; `localFile` is what a LOCAL INFILE in it reads. */
  | { readonly kind: 'query'; readonly sql: string; readonly localFile: string | undefined };

export interface Case {
  readonly name: string;
  readonly steps: readonly Step[];
  /** How many database connections the case holds at once. */
  readonly connections: number;
  /** The products that it is for; default: all. */
  readonly products: readonly MysqlProduct[];
  /** Which capabilities it is about, as the words of `capabilities:`. */
  readonly capabilities: readonly string[];
}

const PRODUCTS: readonly MysqlProduct[] = ['MariaDB', 'MySQL'];

/** What the comment that begins a case says: `pool: N`, `only: PRODUCT`, `capabilities: NAME …`. */
export function headOf(text: string): Pick<Case, 'connections' | 'products' | 'capabilities'> {
  const value = (key: string) => new RegExp(`^(?:--|#) ${key}: (.+)$`, 'm').exec(text)?.[1];
  const only = value('only');
  const products = PRODUCTS.filter((product) => only === undefined || only === product);
  if (products.length === 0) throw new Error(`no such product: ${only}`);
  return {
    connections: Number(value('pool') ?? 1),
    products,
    capabilities: value('capabilities')?.split(' ') ?? [],
  };
}
