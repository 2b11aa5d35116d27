/** A JSON value as its text, which an answer can have as it is. */
export class JsonText {
  readonly text: string;

  /** Throws a SyntaxError for a text that is not JSON: while an answer is being written, it would be too late. */
  constructor(text: string) {
    JSON.parse(text);
    this.text = text;
  }

  /** For JSON.stringify. */
  toJSON(): unknown {
    return JSON.parse(this.text);
  }
}
