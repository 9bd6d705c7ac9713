/**
 * What a client saw, as text that can be compared. Everything is kept but what can never be the same
 * twice: process ids, where exactly a cancel struck, the line of one error, the order of parameters, and the object ids of what the case itself
 * made, which become `new1`, `new2`, … in the order in which they appear.
 */

import { type BackendMessage, formatMessage } from '../harness/backend-messages.ts';

/** Object ids below are PostgreSQL's own, and the same everywhere. */
const FIRST_NORMAL_OBJECT_ID = 16_384;

const CANCELLED = /^ErrorResponse .*M="canceling statement due to user request"/;
/** Where in the server's source the error is made: the proxy gives it too, and does not know the line. */
const CHANGED_PLAN = /^ErrorResponse .* R="RevalidateCachedQuery"/;
const LINE = / L="\d+"/;
const CONTEXT = / W="(?:[^"\\]|\\.)*"/;

export class Transcript {
  readonly #lines: string[] = [];
  readonly #objectIds = new Map<string, string>();

  get text(): string {
    return `${this.#lines.join('\n')}\n`;
  }

  add(session: string, message: BackendMessage): void {
    const text = formatMessage(message);
    const hasObjectIds = message.type === 'T' || message.type === 't';
    const named = hasObjectIds ? this.#nameObjects(text) : text;
    const bare = CHANGED_PLAN.test(named) ? named.replace(LINE, '') : named;
    if (message.type === 'S') this.#noteParameter(session, bare);
    else this.note(session, CANCELLED.test(bare) ? bare.replace(CONTEXT, '') : bare);
  }

  /** In which order several are reported depends on what was set on the connection before. */
  #noteParameter(session: string, text: string): void {
    const line = `${session} ${text}`;
    let at = this.#lines.length;
    while (at > 0 && isParameterOf(session, this.#lines[at - 1] ?? '', line)) at--;
    this.#lines.splice(at, 0, line);
  }

  note(session: string, text: string): void {
    this.#lines.push(`${session} ${text}`);
  }

  #nameObjects(text: string): string {
    return text.replace(/(?<=[: ])\d+(?=[./ ]|$)/g, (id) => {
      if (Number(id) < FIRST_NORMAL_OBJECT_ID) return id;
      const name = this.#objectIds.get(id) ?? `new${this.#objectIds.size + 1}`;
      this.#objectIds.set(id, name);
      return name;
    });
  }
}

/** Whether `before` is a parameter of the same session that belongs behind `line`. */
function isParameterOf(session: string, before: string, line: string): boolean {
  const [name] = line.slice(`${session} ParameterStatus `.length).split('=', 1);
  const prefix = `${session} ParameterStatus `;
  // Several values of one parameter stay in their order.
  return before.startsWith(prefix) && !before.startsWith(`${prefix}${name}=`) && before > line;
}
