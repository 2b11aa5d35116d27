import type { NatsConnection } from 'nats';
import type { Stack } from './stack.ts';

/** True when all events up to this sequence of EVENTS are in Postgres, and their deliveries are in DELIVERIES. */
export async function isDispatched(nats: NatsConnection, sequence: number): Promise<boolean> {
  const manager = await nats.jetstreamManager();
  const { ack_floor: done } = await manager.consumers.info('EVENTS', 'dispatcher');
  return done.stream_seq >= sequence;
}

/** True when no delivery is pending, and JetStream has no undelivered or unacknowledged message. */
export async function isCalm({ nats, query }: Stack): Promise<boolean> {
  const manager = await nats.jetstreamManager();
  const consumers = [
    await manager.consumers.info('EVENTS', 'dispatcher'),
    await manager.consumers.info('DELIVERIES', 'sender'),
  ];
  if (consumers.some(({ num_pending, num_ack_pending }) => num_pending + num_ack_pending > 0)) return false;
  const pending = await query(`SELECT FROM deliveries WHERE status = 'PENDING' LIMIT 1`);
  return pending.length === 0;
}
