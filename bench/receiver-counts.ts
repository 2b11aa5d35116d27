import type { ReceiverCounts } from './receiver.ts';

/** How many requests have come to one of a receiver's endpoints, and on how many connections. */
export async function readReceiverCounts(url: string): Promise<ReceiverCounts> {
  const response = await fetch(url);
  return (await response.json()) as ReceiverCounts; // as receiver.ts says it
}
