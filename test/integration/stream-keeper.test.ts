import { connect, nanos } from 'nats';
import { pino } from 'pino';
import { expect, it } from 'vitest';
import { StreamKeeper } from '../../src/events/streams.ts';
import { startTestNats } from '../support/nats.ts';
import { waitFor } from '../support/wait-for.ts';

it('a consumer that has passed messages of its work queue is created again, and they are delivered', async () => {
  const server = await startTestNats();
  const connection = await connect({ servers: server.url });
  const jsm = await connection.jetstreamManager();
  const jetStream = connection.jetstream();
  const keeper = new StreamKeeper(pino({ level: 'silent' }));
  expect(await keeper.check(jsm)).toBe(true);
  expect(await keeper.check(jsm)).toBe(false);
  // What a crash does to a consumer, done by its settings: after one delivery it gives a message up and goes on.
  await jsm.consumers.update('DELIVERIES', 'sender', { ack_wait: nanos(500), max_deliver: 1 });
  const consumer = await jetStream.consumers.get('DELIVERIES', 'sender');
  for (const body of ['passed', 'acked']) await jetStream.publish('deliveries.s1', body);
  expect((await consumer.next())?.string()).toBe('passed');
  (await consumer.next())?.ack();
  await waitFor(
    async () => {
      // Its floor moves with an ack that comes after it gave the message up.
      await jetStream.publish('deliveries.s1', 'another');
      (await consumer.next())?.ack();
      return (await consumer.info()).ack_floor.stream_seq >= 2;
    },
    { what: 'the consumer to pass the message' },
  );
  expect((await jsm.streams.info('DELIVERIES')).state.first_seq).toBe(1);
  expect(await keeper.check(jsm)).toBe(false);
  expect(await keeper.check(jsm)).toBe(true);
  const again = await jetStream.consumers.get('DELIVERIES', 'sender');
  expect((await again.next())?.string()).toBe('passed');
  expect(await keeper.check(jsm)).toBe(false);
  await connection.close();
  await server.stop();
});
