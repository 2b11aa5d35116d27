import type { ReceiverCounts } from './receiver.ts';

/** Reads the numbers of requests and connections of one receiver endpoint. */
export async function readReceiverCounts(url: string): Promise<ReceiverCounts> {
  const response = await fetch(url);
  return (await response.json()) as ReceiverCounts; // as receiver.ts sends it
}
