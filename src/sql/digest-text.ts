/**
 * The text of a digest: what a statement says without what it says it about, one token after the
 * other, with a space where the statement had one or two words would meet.
 */

export class DigestText {
  private text = '';
  private isStopped = false;
  /** Whether the last token was a word, a name or a placeholder, and not a symbol. */
  private endsInWord = false;

  isFull(maxLength: number): boolean {
    return this.isStopped || this.text.length > maxLength;
  }

  /** What was put, without control characters, at most `maxLength` characters long. */
  cut(maxLength: number): string {
    const text = this.text.replace(/\p{Cc}/gu, '').replace(/[; ]+$/, '');
    return text.slice(0, maxLength);
  }

  /** The next token; `gap`: the statement has white space or a comment before it. */
  put(token: string, isWord: boolean, gap: boolean): void {
    if (this.isStopped) return;
    if (this.needsSpace(token, isWord, gap)) this.text += ' ';
    this.text += token;
    this.endsInWord = isWord;
  }

  /** What follows cannot be told from literals. */
  stop(gap: boolean): void {
    this.put('...', true, gap);
    this.isStopped = true;
  }

  private needsSpace(token: string, isWord: boolean, gap: boolean): boolean {
    if (this.text === '') return false;
    if (this.endsInWord && isWord) return true;
    return gap && !/[([,]$/.test(this.text) && !/^[)\],;]/.test(token);
  }
}
