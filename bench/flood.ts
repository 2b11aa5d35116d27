import process from 'node:process';
import { connect } from 'nats';
import { eventData } from './event-data.ts';

/** What a flood says when JetStream has everything. */
export type FloodMessage = { readonly lastSequence: number };

const IN_FLIGHT = 256;

/** Publishes `count` events to each subject, in turn, as fast as JetStream takes them. */
async function flood(server: string, count: number, subjects: readonly string[]): Promise<number> {
  const nats = await connect({ servers: server });
  const jetStream = nats.jetstream();
  let published = 0;
  let lastSequence = 0;
  async function publishInTurn(): Promise<void> {
    while (published < count * subjects.length) {
      const number = published;
      published += 1;
      const subject = subjects[number % subjects.length] ?? '';
      const { seq } = await jetStream.publish(subject, eventData(number), { msgID: `${subject}-${number}` });
      lastSequence = Math.max(lastSequence, seq);
    }
  }
  await Promise.all(Array.from({ length: IN_FLIGHT }, publishInTurn));
  await nats.close();
  return lastSequence;
}

process.on('disconnect', () => process.exit(0));
const [server = '', count, ...subjects] = process.argv.slice(2);
process.send?.({ lastSequence: await flood(server, Number(count), subjects) } satisfies FloodMessage);
