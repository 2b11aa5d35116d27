/** Why `text` cannot be the id a publisher gives to an event; undefined if it can. */
export function problemOfEventId(text: string): string | undefined {
  return /^[\x21-\x7e]{1,256}$/.test(text)
    ? undefined
    : 'must be 1 to 256 visible ASCII characters: it is sent as a header';
}
