const TEXT = 'Would Thursday at ten suit you as well? '.repeat(25);

/** The data of an event: 1 KB of JSON, as a long chat message has. */
export function eventData(number: number): string {
  return JSON.stringify({ number, text: TEXT });
}
