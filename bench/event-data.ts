const TEXT = 'Would Thursday at ten suit you as well? '.repeat(12);

/** The data of an event: some 500 bytes of JSON, as a chat message has. */
export function eventData(number: number): string {
  return JSON.stringify({ number, text: TEXT });
}
