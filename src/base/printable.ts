/** Text that others chose, on a screen. */

/** Names come from the network: one cannot begin a line of its own, or move a terminal's cursor. */
export function withoutControls(text: string): string {
  return text.replace(
    /[\p{Cc}\u2028\u2029]/gu,
    (character) => `\\x${(character.codePointAt(0) ?? 0).toString(16).padStart(2, '0')}`,
  );
}
