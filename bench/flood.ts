import process from 'node:process';
import { connect } from 'nats';
import { clockMs } from './clock.ts';
import { eventData } from './event-data.ts';

/** `events` is the total. Each event goes to the next subject, round-robin. */
export type FloodOrder = { readonly natsUrl: string; readonly events: number; readonly subjects: readonly string[] };
/** The message of a flood after JetStream has acknowledged all events. */
export type FloodMessage = {
  /** The time of the first publish, in milliseconds of clockMs. */
  readonly begunAt: number;
  readonly lastSequence: number;
};

const IN_FLIGHT = 256;

/** Publishes the events as fast as JetStream acknowledges them. */
async function flood({ natsUrl, events, subjects }: FloodOrder): Promise<FloodMessage> {
  const { host: servers, username: user, password: pass } = new URL(natsUrl);
  const nats = await connect({ servers, user, pass });
  const jetStream = nats.jetstream();
  let published = 0;
  let lastSequence = 0;
  async function publishInTurn(): Promise<void> {
    while (published < events) {
      const number = published;
      published += 1;
      const subject = subjects[number % subjects.length] ?? '';
      const { seq } = await jetStream.publish(subject, eventData(number), { msgID: `${process.pid}-${number}` });
      lastSequence = Math.max(lastSequence, seq);
    }
  }
  const begunAt = clockMs();
  await Promise.all(Array.from({ length: IN_FLIGHT }, publishInTurn));
  await nats.close();
  return { begunAt, lastSequence };
}

process.on('disconnect', () => process.exit(0));
process.on('message', (order: FloodOrder) => {
  void flood(order).then((message) => process.send?.(message));
});
