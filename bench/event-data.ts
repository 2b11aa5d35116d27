const TEXT = 'Would Thursday at ten suit you as well? '.repeat(25);

/** The data of an event: 1 KB of JSON, the size of a long chat message. */
export function eventData(number: number): string {
  return JSON.stringify({ number, text: TEXT });
}
